"""What a model file says about its use: names, images, training.

It lies in the configuration of the layer `rectified`, which Keras saves with
the model: it is still there when the file is loaded and saved again, and is
read without Keras by `read_file`.
"""

import collections.abc
import dataclasses
import json
import numbers
import unicodedata
import warnings
import zlib

import keras

from keras_warn import _model_files
from keras_warn import checks
from keras_warn._version import __version__
from keras_warn.attention import RECTIFIED
from keras_warn.attention import attention_of
from keras_warn.confidence import Calibration
from keras_warn.data import images
from keras_warn.data import model_inputs
from keras_warn.exits import EarlyExits

# The version of what is kept, and how.
MARKER = {"keras_warn_metadata": 1}
# What holds for the weights that it was found with, and what finds it.
FOUND_BY = {"calibration": "calibrate", "early_exits": "early_exits"}


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What is needed to use a model, as far as it is known.

    Attributes:
        class_names: Tuple of strings, the names of all classes in their
            order.
        size: Height and width that images are brought to, in pixels.
        resize: How they are brought to it, one of
            `keras_warn.data.images.RESIZES`.
        resize_shorter_edge: With `resize="crop"`, the length that the shorter
            edge of an image is brought to before `size` is cut from its
            middle. `None` for the largest part of the image.
        preprocessing: How the model takes images, one of
            `keras_warn.data.model_inputs.PREPROCESSING`.
        training: Dictionary, for JSON: where the model comes from, such as
            the recipe, its settings, and the accuracy that was measured.
        calibration: `keras_warn.confidence.Calibration`, what its
            probabilities are worth.
        early_exits: `keras_warn.exits.EarlyExits`, when the rest of it need not
            run.
        keras_warn: The version of this package that wrote this.

    Example:

    >>> Metadata(class_names=["finch", "wren"], size=(96, 96)).resize
    'crop'
    """

    class_names: tuple | None = None
    size: tuple | None = None
    resize: str | None = None
    resize_shorter_edge: int | None = None
    preprocessing: str | None = None
    training: dict | None = None
    calibration: Calibration | None = None
    early_exits: EarlyExits | None = None
    keras_warn: str = __version__

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        if self.class_names is not None:
            put("class_names", class_names("class_names", self.class_names))
        if self.size is not None:
            if self.resize is None:
                put("resize", "crop")
            images.check_resize(
                self.resize, self.size, self.resize_shorter_edge
            )
            put("size", checks.size("size", self.size))
        elif self.resize is not None or self.resize_shorter_edge is not None:
            raise ValueError(
                "`resize` and `resize_shorter_edge` must come with `size`. "
                f"Received: resize={self.resize!r}, "
                f"resize_shorter_edge={self.resize_shorter_edge!r} and "
                "size=None."
            )
        if self.preprocessing is not None:
            checks.one_of(
                "preprocessing", self.preprocessing, model_inputs.PREPROCESSING
            )
        if self.training is not None:
            if not isinstance(self.training, dict):
                raise TypeError(
                    "`training` must be a dictionary. Received: "
                    f"training={self.training!r}."
                )
            # As it will be read back: tuples are lists, keys are strings.
            put(
                "training",
                json.loads(json.dumps(self.training, allow_nan=False)),
            )
        if isinstance(self.calibration, dict):  # as JSON has it
            put("calibration", Calibration(**self.calibration))
        if isinstance(self.early_exits, dict):
            put("early_exits", EarlyExits(**self.early_exits))

    def resizing(self, size, resize, resize_shorter_edge) -> tuple:
        """How images come to a size: as given, or as is known for that size."""
        if size == self.size and resize in (None, self.resize):
            edge = resize_shorter_edge or self.resize_shorter_edge
            return self.resize, edge
        return resize, resize_shorter_edge

    def to_json(self) -> dict:
        """A dictionary for JSON, which `from_json` takes."""
        found = {**MARKER, **dataclasses.asdict(self)}
        for name in ("class_names", "size"):
            if found[name] is not None:
                found[name] = list(found[name])
        return found


def class_names(name, value, classes=None) -> tuple:
    """Names of classes as a tuple, in the form NFC of Unicode, or an error.

    Args:
        name: What messages call them.
        value: Names of all classes in their order.
        classes: How many there must be, or `None`.
    """
    if (
        isinstance(value, str | dict)
        or not isinstance(value, collections.abc.Iterable)
        or not all(isinstance(one, str) for one in value)
    ):
        raise TypeError(
            f"`{name}` must be a list of strings. Received: {name}={value!r}."
        )
    value = tuple(unicodedata.normalize("NFC", one) for one in value)
    if classes is not None and len(value) != classes:
        raise ValueError(
            f"`{name}` must have a name for each of the {classes} classes of "
            f"the model. Received: {len(value)} names."
        )
    if not value or "" in value:
        what = f"an empty one at {value.index('')}" if value else "none"
        raise ValueError(
            f"`{name}` must be names that are not empty. Received: {what}."
        )
    return value


def from_json(found) -> Metadata:
    """The `Metadata` that `Metadata.to_json` made a dictionary of.

    What is not known is `None`, its version too. What a later version may have
    added is omitted.
    """
    if not isinstance(found, dict | None):
        raise TypeError(f"It must be a dictionary. Received: {found!r}.")
    fields = {field.name for field in dataclasses.fields(Metadata)}
    known = {"keras_warn": None, **(found or {})}
    # What earlier versions called them.
    if "short_side" in known:
        known["resize_shorter_edge"] = known["short_side"]
    if known.get("preprocessing") == "unit":
        known["preprocessing"] = "rescale"
    calibration = known.get("calibration")
    if calibration and "least_backbone_logit" not in calibration:
        warnings.warn(
            "The model was calibrated by an earlier version, with a threshold "
            "that let many unknown images pass: its calibration is ignored. "
            "`keras_warn.calibrate` finds a new one.",
            stacklevel=2,
        )
        known["calibration"] = None
    return Metadata(
        **{name: value for name, value in known.items() if name in fields}
    )


def attach(model, metadata) -> None:
    """Keeps `Metadata` with a model, from `model.save` on.

    Args:
        model: A model made by `keras_warn.augment`.
        metadata: `Metadata`, which replaces what the model has.

    Example:

    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=2, depth=1)
    >>> attach(model, Metadata(["finch", "wren"], preprocessing="mobilenet_v2"))
    >>> of_model(model).class_names
    ('finch', 'wren')
    """
    attention = attention_of(model)
    if not isinstance(metadata, Metadata):
        raise TypeError(
            "`metadata` must be a `keras_warn.metadata.Metadata`. Received: "
            f"metadata={metadata!r}."
        )
    _check_classes(model, metadata)
    if metadata.size is not None:
        taken = model_inputs.model_input(model)
        taken.with_size(metadata.size, "`metadata.size`")  # or an error
    attention.rectified.metadata = metadata.to_json()


def of_model(model) -> Metadata:
    """The `Metadata` of a model with attention.

    All of it is `None` where nothing is known, as of models that earlier
    versions saved.
    """
    found = from_json(attention_of(model).rectified.metadata)
    _check_classes(model, found)
    for name, finder in FOUND_BY.items():
        weights = getattr(getattr(found, name), "weights", None)
        if weights is not None and weights != weights_digest(model):
            warnings.warn(
                f"The model {model.name!r} was trained further since its "
                f"`{name}` was found: it is ignored. "
                f"`keras_warn.{finder}` finds it anew.",
                stacklevel=2,
            )
            found = dataclasses.replace(found, **{name: None})
    return found


def weights_digest(model) -> str:
    """Tells a model's weights from those after more training."""
    arrays = map(keras.ops.convert_to_numpy, model.weights)
    # In whatever order a file brings them back.
    found = sorted(zlib.crc32(x.astype("float32").tobytes()) for x in arrays)
    return f"{zlib.crc32(repr(found).encode()):08x}"


def _check_classes(model, metadata):
    classes, calibration = model.output_shape[-1], metadata.calibration
    if metadata.class_names is not None:
        class_names("class_names", metadata.class_names, classes)
    if calibration is not None and calibration.classes != classes:
        raise ValueError(
            f"`calibration` must be of the model's {classes} classes. "
            f"Received: one of {calibration.classes}."
        )


def read_file(path) -> Metadata:
    """The `Metadata` in a `.keras` file, as of `of_model`, without loading it.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it holds no model of Keras, or metadata of wrong types.
    """
    config = _model_files.read_config(path)
    try:
        own = (layer["config"] for layer in config["config"]["layers"])
        rectified = next((one for one in own if one["name"] == RECTIFIED), {})
        return from_json(rectified.get("metadata"))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds wrong metadata. {error}") from error


def described(metadata) -> str:
    """A few lines that say what is known, for people; "" if nothing is."""
    lines = []
    if (names := metadata.class_names) is not None:
        more = ", ..." if len(names) > 4 else ""
        lines.append(("classes", ", ".join(names[:4]) + more))
    if metadata.size is not None:
        how = metadata.resize
        if (edge := metadata.resize_shorter_edge) is not None:
            how = f"the middle of a shorter edge of {edge}"
        lines.append(("images", f"{'x'.join(map(str, metadata.size))}, {how}"))
    if metadata.preprocessing is not None:
        lines.append(("preprocessing", metadata.preprocessing))
    if (found := metadata.calibration) is not None:
        what = (
            f"temperature {found.temperature:.2f}; answers with a probability "
            f"of {found.threshold:.2f} and a logit of the backbone of "
            f"{found.least_backbone_logit:.2f} or more, "
            f"{100 * found.answered:.0f} % of images, "
            f"{100 * found.accuracy:.1f} % of them or more correctly"
        )
        lines.append(("calibration", what))
    if (found := metadata.early_exits) is not None:
        what = (
            f"with a probability of {found.threshold:.3f} or more, "
            f"{100 * sum(found.left):.0f} % of images; "
            f"{100 * found.operations:.0f} % of the operations on average; at "
            f"most {100 * found.loss:g} % of images lose a correct answer"
        )
        lines.append(("early exits", what))
    for name, value in (metadata.training or {}).items():
        if isinstance(value, str | numbers.Real):
            lines.append((name.replace("_", " "), value))
    if metadata.keras_warn is not None:
        lines.append(("keras_warn", metadata.keras_warn))
    return "\n".join(f"{name}: {value}" for name, value in lines)
