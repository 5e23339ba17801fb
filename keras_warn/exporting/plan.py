"""What is exported: a model, and all that is decided about it."""

import dataclasses

import keras

from keras_warn import metadata
from keras_warn._version import __version__
from keras_warn.attention import attention_of
from keras_warn.data import images
from keras_warn.data import model_inputs
from keras_warn.explanation import geometry

# Tells our `metadata.json` from those of others, and its version.
MARKER = {"keras_warn_export": 1}


@dataclasses.dataclass(frozen=True)
class Plan:
    """A model, and how it is exported.

    `None` stands for what is not known.
    """

    model: object
    size: tuple  # of images as the model takes them, with `None` for any
    channels: int
    data_format: str
    class_names: tuple | None
    masks: str  # "modules", "heads" or "maps"
    placements: list | None  # as of `geometry.placements`, but for "maps"
    preprocessing: str | None  # how the model takes images
    resize: str | None  # how they are brought to `size`
    resize_shorter_edge: int | None
    prepared: bool  # whether `serve` and `explain` do the preprocessing
    fitted: bool  # whether they bring images to `size` before
    encoded: bool  # whether there are signatures that take encoded images
    quantization: str | None = None
    representative_images: object = None  # an array, for "int8"

    @property
    def takes(self) -> str:
        """What `serve` and `explain` take, in words."""
        if not self.prepared:
            return "numbers as the model takes them"
        fitted = ", of any height and width" if self.fitted else ""
        return f"pixels in [0, 255]{fitted}"

    def shape(self, size) -> tuple:
        """Of what `serve` and `explain` take, of images of a size."""
        if self.data_format == "channels_first" and not self.prepared:
            return None, self.channels, *size
        return None, *size, self.channels

    def in_float32(self) -> "Plan":
        """The plan for a copy of the model that computes in float32.

        The same plan where the model does that anyway.
        """
        if all(_is_float32(layer) for layer in self.model.layers):
            return self
        return dataclasses.replace(self, model=float32_copy(self.model))

    def metadata(self, file_format, signatures) -> dict:
        """What a program needs to know of the exported model, for JSON."""
        known = metadata.of_model(self.model)
        return {
            **MARKER,
            "format": file_format,
            "model": self.model.name,
            "classes": self.model.output_shape[-1],
            "class_names": self.class_names and list(self.class_names),
            "size": list(self.size),
            "channels": self.channels,
            "data_format": self.data_format,
            "resize": self.resize,
            "resize_shorter_edge": self.resize_shorter_edge,
            "preprocessing": self.preprocessing,
            "masks": self.masks,
            "quantization": self.quantization,
            "signatures": signatures,
            "calibration": known.to_json()["calibration"],
            "early_exits": known.to_json()["early_exits"],
            "training": known.training,
            "keras_warn": __version__,
            "keras": keras.__version__,
        }


def make_plan(
    model,
    class_names,
    masks,
    preprocessing,
    size,
    resize,
    resize_shorter_edge,
    encoded,
) -> Plan:
    """Decides what arguments of `keras_warn.export` leave open."""
    attention_of(model)  # or an error
    found = model_inputs.model_input(model)
    data_format, own, channels = found
    known = metadata.of_model(model)
    if class_names is None:
        class_names = known.class_names
    else:
        class_names = metadata.class_names(
            "class_names", class_names, model.output_shape[-1]
        )
    if preprocessing is not None:
        model_inputs.check_preprocessing(preprocessing, channels, model)
    if size is not None:
        # `RESIZES[0]`, for the size alone to be checked.
        images.check_resize(images.RESIZES[0], size)
        size = found.with_size(size).size
    prepared, fitted = preprocessing is not None, resize is not None
    wanted = preprocessing or known.preprocessing
    if wanted is None:
        try:
            wanted = model_inputs.default_preprocessing(model)
        except ValueError as error:
            if encoded or fitted:
                raise ValueError(
                    f"`preprocessing` must be given with `resize` and "
                    f"`encoded`. {error}"
                ) from error
    chosen = size or (None if None in own else own)
    if chosen is None and (fitted or encoded):
        chosen = known.size
        if chosen is None:
            raise ValueError(
                "`size` must be given with `resize` and `encoded` for a model "
                "that takes images of any size. Received: size=None."
            )
    resize, resize_shorter_edge = known.resizing(
        chosen, resize, resize_shorter_edge
    )
    if encoded and resize is None:
        resize = "crop"
    if resize is not None:
        images.check_resize(resize, chosen, resize_shorter_edge)
    elif resize_shorter_edge is not None:
        raise ValueError(
            "`resize_shorter_edge` must come with `resize` or `encoded`. "
            f"Received: resize_shorter_edge={resize_shorter_edge}, "
            "resize=None and encoded=False."
        )
    return Plan(
        model=model,
        size=chosen or own,
        channels=channels,
        data_format=data_format,
        class_names=class_names,
        masks=masks,
        placements=_placements(model, masks, chosen or own),
        preprocessing=wanted,
        resize=resize,
        resize_shorter_edge=resize_shorter_edge,
        prepared=prepared or fitted,
        fitted=fitted,
        encoded=encoded,
    )


def _placements(model, masks, size):
    """Where masks lie in images of `size`, if they are returned in pixels."""
    if masks == "maps":
        return None
    is_open = None in size
    find = geometry.open_placements if is_open else geometry.placements
    found = find(model, size)
    if found is None:
        raise ValueError(
            "`size` must be given for masks in pixels of a model that crops or "
            "resizes its images or reads tokens, or `masks` be 'maps'. "
            f"Received: size=None and masks={masks!r}."
        )
    why = geometry.why_unknown(found)
    if why is not None:
        raise ValueError(
            f"`masks` must be 'maps', as they are: {why}. Received: "
            f"masks={masks!r}."
        )
    return found


def float32_copy(model) -> keras.Model:
    """A copy of a model of mixed precision that computes in float32."""
    copy = keras.models.clone_model(model, clone_function=_float32_layer)
    copy.set_weights(model.get_weights())  # float32 already
    return copy


def _is_float32(layer):
    policy = layer.dtype_policy
    return policy.compute_dtype == policy.variable_dtype == "float32"


def _float32_layer(layer):
    if isinstance(layer, keras.Sequential):
        # Its own configuration says nothing of the layers' precision.
        return keras.Sequential(
            [_float32_layer(inner) for inner in layer.layers], name=layer.name
        )
    config = layer.get_config()
    # Operations, such as Add, have none.
    if isinstance(layer, keras.layers.Layer) and not (
        _is_float32(layer) or isinstance(layer, keras.layers.InputLayer)
    ):
        config["dtype"] = "float32"
    return layer.__class__.from_config(config)
