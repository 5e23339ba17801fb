"""What a training is set to: one dataclass, checked when it is made.

Options are made of it by argparse alone, not by simple_parsing or tyro:
`--attention depth=2` is merged into the recipe's own dictionary, an option that
is absent differs from "none", `--help` shows each recipe's defaults, options
are added to a parser that is there, and no further package is needed.
"""

import argparse
import ast
import collections.abc
import dataclasses
import hashlib
import inspect
import os
import pathlib
import typing

from keras_warn import checks
from keras_warn.augmenting import augment
from keras_warn.data import model_inputs

# What Python's parser raises.
NOT_LITERAL = (SyntaxError, ValueError)
# Arguments of `augment` that are not settings: the backbone, its classes, and
# probabilities for the loss.
OWN = {"backbone", "classes", "classifier_activation"}


def setting(default, help, *bounds, choices=()) -> dataclasses.Field:
    """A field of a `Checked` dataclass.

    Args:
        default: Its default.
        help: What `--help` says of it.
        *bounds: Of a number: the least it may be, and perhaps the most.
        choices: Of a word: what it may be.
    """
    metadata = {"help": help, "bounds": bounds, "choices": choices}
    if isinstance(default, dict):
        return dataclasses.field(
            default_factory=default.copy, metadata=metadata
        )
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checked:
    """A dataclass whose fields are checked, and are options of commands.

    Those that `setting` has made: by their types, which are `int`, `float`,
    `bool`, `str` (a word, or the path of a file), or `dict` (arguments of
    `keras_warn.augment`), each also `| None`.
    """

    def __post_init__(self):
        for field in _fields(self):
            value = _checked(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """All that the result of a training depends on, beside data and seed.

    The defaults fine-tune as the paper does (section 4.4), but for attention,
    whose defaults are those of `keras_warn.augment`, and the backbone. Each
    setting is described by its `help`, which `python RECIPE --help` shows.

    Example:

    >>> settings = Settings(epochs=30, batch_size=32)
    >>> dataclasses.replace(settings, attention=None).baseline
    True
    """

    backbone: str = setting(
        "ResNet50V2",
        "a constructor of keras.applications, such as "
        "'MobileNetV2(alpha=0.35)', of another module, such as "
        "paper_networks:WideResNet, or a .keras file",
    )
    weights: str = setting(
        "imagenet", "what the backbone starts from: imagenet, none, or a file"
    )
    preprocessing: str | None = setting(
        None,
        "how the backbone wants images, if it does not say so itself: none, "
        "rescale, or a module of keras.applications",
        choices=model_inputs.PREPROCESSING,
    )
    attention: dict | None = setting(
        {}, "arguments of keras_warn.augment, such as depth=2 width=8"
    )
    image_size: int = setting(
        224, "height and width of what the backbone sees", 1, 4096
    )
    resize_shorter_edge: int = setting(
        256, "shorter edge of the image that it is cut from", 1, 4096
    )
    epochs: int = setting(100, "how long to train", 1, 100_000)
    batch_size: int = setting(64, "images in a step, over all devices", 1)
    optimizer: str = setting(
        "sgd",
        "sgd (momentum 0.9), adam or adamw",
        choices=("sgd", "adam", "adamw"),
    )
    learning_rate: float = setting(
        1e-3, "of the backbone's layers, at its highest", 1e-12
    )
    attention_factor: float = setting(
        10.0, "how much faster than that attention and classifier learn"
    )
    weight_decay: float = setting(
        0.0, "decoupled, as a share of the learning rate"
    )
    schedule: str = setting(
        "steps",
        "of the learning rate: steps (times 0.1 every --decay-every epochs), "
        "cosine or constant",
        choices=("steps", "cosine", "constant"),
    )
    decay_every: int = setting(30, "epochs between two steps", 1)
    warmup: float = setting(0.0, "epochs in which the learning rate rises")
    label_smoothing: float = setting(
        0.0, "share of the target spread over all classes", 0, 0.999
    )
    mixup: float = setting(0.0, "alpha of MixUp, 0 for none", 0, 1)
    cutmix: float = setting(0.0, "factor of CutMix, 0 for none", 0, 1)
    ema: float = setting(
        0.0,
        "momentum of moving averages of the weights, 0 for none",
        0,
        0.99999,
    )
    freeze_batch_norm: bool = setting(
        True, "keep the backbone's batch normalisation"
    )
    frozen_views: int = setting(
        0,
        "random crops of each image, of which a frozen backbone's features "
        "are computed once; 0 to train the backbone, too",
        0,
        1000,
    )
    features_limit: float | None = setting(
        None,
        "GB that those of training images may take on disk, and as many those "
        "of validation images; or none for what it has",
    )
    precision: str = setting(
        "float32",
        "float32, mixed_float16 or mixed_bfloat16",
        choices=("float32", "mixed_float16", "mixed_bfloat16"),
    )
    validation_share: float = setting(
        0.1, "share of the training images to validate with, 0 for none", 0, 0.9
    )
    patience: int | None = setting(
        None,
        "epochs without a better validation accuracy after which to stop, or "
        "none",
        1,
    )

    def __post_init__(self):
        super().__post_init__()
        rules = (
            (
                self.resize_shorter_edge < self.image_size,
                "`resize_shorter_edge` must be at least `image_size`",
                ("resize_shorter_edge", "image_size"),
            ),
            (
                self.warmup > self.epochs,
                "`warmup` must be at most `epochs`",
                ("warmup", "epochs"),
            ),
            (
                self.frozen_views and (self.mixup or self.cutmix),
                "`mixup` and `cutmix` must be 0 with `frozen_views`, whose "
                "features are of single images",
                ("mixup", "cutmix"),
            ),
            (
                self.patience is not None and not self.validation_share,
                "`patience` needs validation images",
                ("patience", "validation_share"),
            ),
        )
        for broken, rule, names in rules:
            if broken:
                received = [f"{name}={getattr(self, name)}" for name in names]
                raise ValueError(f"{rule}. Received: {' and '.join(received)}.")

    @property
    def baseline(self) -> bool:
        """Whether the backbone is trained without attention."""
        return self.attention is None

    def identity(self) -> dict:
        """The settings for JSON that say what is trained.

        Files by their content: a path says nothing of what is in it.
        """
        values = dataclasses.asdict(self)
        del values["features_limit"]
        for name in ("backbone", "weights"):
            path = pathlib.Path(values[name])
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                values[name] = f"{path.name} (SHA-256 {digest[:16]})"
        return values


def _fields(settings):
    return [one for one in dataclasses.fields(settings) if one.metadata]


def _kind(field):
    """The type of a setting, and whether it may be `None`, too."""
    kind, *none = typing.get_args(field.type) or (field.type,)
    return kind, bool(none)


def _checked(field, value):
    """The value of a setting, or an error that says what it must be."""
    name, (kind, optional) = field.name, _kind(field)
    if value is None and optional:
        return None
    if kind is dict:
        return check_attention(name, value)
    if kind is bool:
        return checks.flag(name, value)
    if kind is int:
        return checks.integer(name, value, *field.metadata["bounds"])
    if kind is float:
        return checks.real(name, value, *field.metadata["bounds"])
    if field.metadata["choices"]:
        return checks.one_of(name, value, field.metadata["choices"])
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(
            f"`{name}` must be a string, or the path of a file. Received: "
            f"{name}={value!r}."
        )
    return os.fspath(value)


def check_attention(name, value) -> dict:
    """Returns arguments of `keras_warn.augment`, or says what is wrong."""
    if not isinstance(value, dict):
        raise TypeError(
            f"`{name}` must be a dictionary of arguments of "
            f"keras_warn.augment, or None. Received: {name}={value!r}."
        )
    known = [x for x in inspect.signature(augment).parameters if x not in OWN]
    if unknown := [argument for argument in value if argument not in known]:
        raise ValueError(
            f"`{name}` must have arguments of keras_warn.augment: "
            f"{', '.join(known)}. Received: {unknown[0]!r}."
        )
    return value


def add_arguments(parser, settings) -> None:
    """Adds an option for each setting to an `argparse.ArgumentParser`."""
    group = parser.add_argument_group("settings")
    for field in _fields(settings):
        default, (kind, optional) = getattr(settings, field.name), _kind(field)
        if kind is dict:
            options = {"type": named_value, "metavar": "NAME=VALUE"}
            options["nargs"] = "+"
            pairs = (f"{k}={v}" for k, v in (default or {}).items())
            default = " ".join(pairs) or "its own"
        elif kind is bool:
            options = {"action": argparse.BooleanOptionalAction}
        else:
            number = optional and kind in (int, float)
            options = {"type": number_or_none(kind) if number else kind}
            options["metavar"] = kind.__name__.upper()
            if default is None:
                default = "none" if number else "its own"
        text = f"{field.metadata['help']} (default: {default})"
        group.add_argument(
            "--" + field.name.replace("_", "-"),
            help=text.replace("%", "%%"),
            # Absent where it is not given: `None` is a value of some.
            default=argparse.SUPPRESS,
            **options,
        )


def from_arguments(arguments, settings) -> Settings:
    """The settings with what the arguments of `add_arguments` say otherwise.

    Arguments of attention are put into theirs.
    """
    names = {field.name for field in _fields(settings)}
    given = {k: v for k, v in vars(arguments).items() if k in names}
    if "attention" in given:
        own = settings.attention or {}
        given["attention"] = {**own, **dict(given["attention"])}
    return dataclasses.replace(settings, **given)


def number_or_none(kind) -> collections.abc.Callable:
    """The type of an option that is a number or the word "none"."""

    def number(text):
        return None if text == "none" else kind(text)

    number.__name__ = kind.__name__  # in messages
    return number


def named_value(text) -> tuple:
    """A name and a value, of the text "name=value": a type of options.

    Values are numbers, lists and so on as Python writes them, or else words.

    Example:

    >>> named_value("depth=2"), named_value("gates=average")
    (('depth', 2), ('gates', 'average'))
    """
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(
            f"must be NAME=VALUE. Received: {text:.40}."
        )
    try:
        return name, ast.literal_eval(value)
    except NOT_LITERAL:
        return name, value  # a word, such as softmax
