"""What a training is set to: one value of each, checked at once."""

import argparse
import ast
import dataclasses
import hashlib
import inspect
import os
import pathlib

from keras_warn import checks
from keras_warn.augment import augment
from keras_warn.data import images

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("steps", "cosine", "constant")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")

# Bounds of what is typed on a command line: letters, and numbers in it, which
# say how many layers, channels or heads there are.
LONGEST, LARGEST = 1000, 2048
# What Python's parser raises; the last two for nesting that is too deep.
NOT_LITERAL = (SyntaxError, ValueError, MemoryError, RecursionError)


def _setting(default, help, check=None):
    metadata = {"help": help, "check": check}
    if isinstance(default, dict):
        return dataclasses.field(
            default_factory=default.copy, metadata=metadata
        )
    return dataclasses.field(default=default, metadata=metadata)


def _integer(minimum, maximum=None):
    def check(name, value):
        value = checks.integer(name, value, minimum)
        if maximum is not None and value > maximum:
            raise ValueError(
                f"`{name}` must be at most {maximum}. Received: {name}={value}."
            )
        return value

    return check


def _real(minimum=0.0, maximum=float("inf")):
    return lambda name, value: checks.real(name, value, minimum, maximum)


def _one_of(*choices):
    return lambda name, value: checks.one_of(name, value, choices)


def _or_none(check):
    return lambda name, value: None if value is None else check(name, value)


def _word_or_file(name, value):
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(
            f"`{name}` must be a string, or the path of a file. Received: "
            f"{name}={value!r}."
        )
    return os.fspath(value)


def _positive(name, value):
    value = checks.real(name, value)
    if value == 0:
        raise ValueError(
            f"`{name}` must be more than 0. Received: {name}={value}."
        )
    return value


def check_attention(name, value):
    """Arguments of `keras_warn.augment` that a training may be set to.

    Args:
        name: What the argument is called in errors.
        value: A dictionary, or `None` for no attention.

    Returns:
        The value.

    Raises:
        TypeError: if it is no dictionary.
        ValueError: if it holds what `augment` does not take.
    """
    if value is not None and not isinstance(value, dict):
        raise TypeError(
            f"`{name}` must be a dictionary of arguments of "
            f"keras_warn.augment, or None. Received: {name}={value!r}."
        )
    # Beside the network, its classes, and probabilities for the loss.
    known = [
        name
        for name in inspect.signature(augment).parameters
        if name not in ("backbone", "classes", "classifier_activation")
    ]
    for argument in value or ():
        if argument not in known:
            raise ValueError(
                f"`{name}` must have arguments of keras_warn.augment: "
                f"{', '.join(known)}. Received: {argument!r}."
            )
    check_plain(value or {})
    return value


def check_plain(arguments):
    """Raises unless arguments are words, lists, and numbers that make sense.

    Args:
        arguments: Dictionary of what was typed.

    Raises:
        ValueError: if one is anything else, or if a number is not finite or
            larger than any count of layers, channels or heads.
    """
    for name, value in arguments.items():
        _check_plain(name, value, LARGEST)


def _check_plain(name, value, largest):
    if isinstance(value, dict):  # of an initializer, with a seed
        for key, one in value.items():
            _check_plain(key, one, 2**64)
    elif isinstance(value, (list, tuple)):
        for one in value:
            _check_plain(name, one, largest)
    elif isinstance(value, (int, float)):
        if not abs(value) <= largest:  # which NaN is not, either
            raise ValueError(
                f"`{name}` must be between -{largest} and {largest}. "
                f"Received: {name}={value!r:.40}."
            )
    elif not (value is None or isinstance(value, str)):
        raise ValueError(
            f"`{name}` must be a number, a word, or a list or dictionary of "
            f"such. Received: {name}={value!r:.40}."
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All that the result of a training depends on, beside data and seed.

    The defaults are those of the paper's fine-tuning (section 4.4). Each
    setting is described by its `help`, which `python RECIPE --help` shows.

    Raises:
        TypeError: if a setting has the wrong type.
        ValueError: if one is out of its range, or contradicts another.

    Example:

    >>> settings = Settings(epochs=30, batch_size=32)
    >>> dataclasses.replace(settings, attention=None).baseline
    True
    """

    backbone: str = _setting(
        "ResNet50V2",
        "a constructor of keras.applications, such as "
        "'MobileNetV2(alpha=0.35)', of another module, such as "
        "paper_networks:WideResNet, or a .keras file",
        _word_or_file,
    )
    weights: str = _setting(
        "imagenet",
        "what the backbone starts from: imagenet, none, or a file",
        _word_or_file,
    )
    preprocessing: str | None = _setting(
        None,
        "how the backbone wants images, if it does not say so itself: none, "
        "unit, or a module of keras.applications",
        _or_none(_one_of(*images.PREPROCESSING)),
    )
    attention: dict | None = _setting(
        {},
        "arguments of keras_warn.augment, such as depth=2 width=8",
        check_attention,
    )
    image_size: int = _setting(
        224, "height and width of what the network sees", _integer(1, 4096)
    )
    resize_shorter_edge: int = _setting(
        256, "shorter edge of the image that it is cut from", _integer(1, 4096)
    )
    epochs: int = _setting(100, "how long to train", _integer(1, 100_000))
    batch_size: int = _setting(
        64, "images in a step, over all devices", _integer(1)
    )
    optimizer: str = _setting(
        "sgd", "sgd (momentum 0.9), adam or adamw", _one_of(*OPTIMIZERS)
    )
    learning_rate: float = _setting(
        1e-3, "of the pretrained layers, at its highest", _positive
    )
    attention_factor: float = _setting(
        10.0,
        "how much faster attention and classifier learn",
        _real(),
    )
    weight_decay: float = _setting(
        0.0, "decoupled, as a part of the learning rate", _real()
    )
    schedule: str = _setting(
        "steps",
        "of the learning rate: steps (times 0.1 every --decay-every epochs), "
        "cosine or constant",
        _one_of(*SCHEDULES),
    )
    decay_every: int = _setting(30, "epochs between two steps", _integer(1))
    warmup: float = _setting(
        0.0, "epochs in which the learning rate rises", _real()
    )
    label_smoothing: float = _setting(
        0.0, "share of the target spread over all classes", _real(0, 0.999)
    )
    mixup: float = _setting(0.0, "alpha of MixUp, 0 for none", _real(0, 1))
    cutmix: float = _setting(0.0, "factor of CutMix, 0 for none", _real(0, 1))
    ema: float = _setting(
        0.0,
        "momentum of moving averages of the weights, 0 for none",
        _real(0, 0.99999),
    )
    freeze_batch_norm: bool = _setting(
        True, "keep the backbone's batch normalisation", checks.flag
    )
    frozen_views: int = _setting(
        0,
        "random views of each image, of which a frozen backbone's features "
        "are computed once; 0 to train the backbone, too",
        _integer(0, 1000),
    )
    precision: str = _setting(
        "float32", ", ".join(PRECISIONS), _one_of(*PRECISIONS)
    )
    validation_share: float = _setting(
        0.1,
        "part of the training images held out, 0 for none",
        _real(0, 0.9),
    )
    patience: int | None = _setting(
        None,
        "epochs without a better validation accuracy after which to stop, or "
        "none",
        _or_none(_integer(1)),
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check = field.metadata["check"]
            if check is not None:
                value = check(field.name, getattr(self, field.name))
                object.__setattr__(self, field.name, value)
        if self.resize_shorter_edge < self.image_size:
            raise ValueError(
                "`resize_shorter_edge` must be at least `image_size`. "
                "Received: "
                f"resize_shorter_edge={self.resize_shorter_edge} and "
                f"image_size={self.image_size}."
            )
        if self.warmup > self.epochs:
            raise ValueError(
                "`warmup` must be at most `epochs`. Received: "
                f"warmup={self.warmup} and epochs={self.epochs}."
            )
        if self.frozen_views and (self.mixup or self.cutmix):
            raise ValueError(
                "`mixup` and `cutmix` must be 0 with `frozen_views`, whose "
                "features are of single images. Received: "
                f"mixup={self.mixup} and cutmix={self.cutmix}."
            )
        if self.patience is not None and not self.validation_share:
            raise ValueError(
                "`patience` needs validation images. Received: "
                f"patience={self.patience} and validation_share=0."
            )

    @property
    def baseline(self):
        """Whether the network is trained without attention."""
        return self.attention is None

    def identity(self):
        """The settings for JSON, with files by their content.

        A file's path says nothing of what is in it.
        """
        values = dataclasses.asdict(self)
        for name in ("backbone", "weights"):
            path = pathlib.Path(values[name])
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                values[name] = f"{path.name} (SHA-256 {digest[:16]})"
        return values


# How the command line takes settings of a type.
KINDS = {
    bool: {"action": argparse.BooleanOptionalAction},
    int: {"type": int, "metavar": "INT"},
    float: {"type": float, "metavar": "FLOAT"},
}


def add_arguments(parser, settings):
    """Adds an option for each setting to a parser of arguments.

    Args:
        parser: `argparse.ArgumentParser`.
        settings: `Settings`, the defaults.
    """
    group = parser.add_argument_group("settings")
    for field in dataclasses.fields(settings):
        default = getattr(settings, field.name)
        option = "--" + field.name.replace("_", "-")
        text = field.metadata["help"].replace("%", "%%")
        if field.name == "attention":
            shown = " ".join(f"{k}={v}" for k, v in (default or {}).items())
            text += f"; instead of: {shown or 'its defaults'}"
            kind = {"type": named_value, "metavar": "NAME=VALUE", "nargs": "+"}
        else:
            if default is None:
                default = "none" if field.name == "patience" else "its own"
            text += f" (default: {default})"
            kind = KINDS.get(field.type, {"type": str, "metavar": "VALUE"})
            if field.name == "patience":
                kind = {"type": _integer_or_none, "metavar": "VALUE"}
        # Absent where they are not given: `None` is a value of some.
        group.add_argument(option, help=text, default=argparse.SUPPRESS, **kind)


def from_arguments(arguments, settings):
    """The settings with what the arguments say otherwise.

    Args:
        arguments: What a parser made of `add_arguments` returns.
        settings: `Settings`, the defaults.

    Returns:
        `Settings`.
    """
    changes = {
        field.name: getattr(arguments, field.name)
        for field in dataclasses.fields(settings)
        if hasattr(arguments, field.name)
    }
    if "attention" in changes:
        changes["attention"] = {
            **(settings.attention or {}),
            **dict(changes["attention"]),
        }
    return dataclasses.replace(settings, **changes)


def _integer_or_none(text):
    try:
        return None if text == "none" else int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"must be an integer, or none. Received: {text}."
        ) from error


def named_value(text):
    """A name and a value, of the text "name=value": a type of arguments.

    Values are numbers, lists and so on as Python writes them, or else words.

    Example:

    >>> named_value("depth=2"), named_value("gates=average")
    (('depth', 2), ('gates', 'average'))
    """
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(
            f"must be NAME=VALUE. Received: {text}."
        )
    if len(value) > LONGEST:
        raise argparse.ArgumentTypeError(
            f"must have at most {LONGEST} letters. Received: {name} with "
            f"{len(value)}."
        )
    try:
        return name, ast.literal_eval(value)
    except NOT_LITERAL:
        return name, value  # a word, such as softmax
