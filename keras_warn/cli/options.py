"""Options that several commands have, and types of their values."""

import argparse
import collections.abc

from keras_warn.data import images
from keras_warn.data import model_inputs

PREPROCESSING_HELP = """\
preprocessing:
  What the model's file says of names, size, --resize, --resize-shorter-edge and
  --preprocessing holds where these are not given. Models of the recipes say
  all of it; keras-warn summary shows it. Of others, a model that starts with
  Rescaling or Normalization layers made for bytes takes images as they are.
  For the rest --preprocessing must say what the model was trained with, since
  a wrong guess makes wrong predictions, silently:
    rescale       numbers in [0, 1]
    none          numbers in [0, 255]
    mobilenet_v2  (and so on) what preprocess_input of this module of
                  keras.applications does"""


def count(minimum) -> collections.abc.Callable:
    """A type of values: integers of at least `minimum`."""

    def parse(text):
        if not (text.isascii() and text.isdecimal() and int(text) >= minimum):
            raise argparse.ArgumentTypeError(
                f"must be an integer of at least {minimum}. Received: {text}"
            )
        return int(text)

    return parse


def size(text) -> tuple:
    """`"224"` or `"224x320"` as height and width.

    Example:

    >>> size("224"), size("224x320")
    ((224, 224), (224, 320))
    """
    lengths = text.lower().split("x")
    if len(lengths) > 2 or not all(
        n.isascii() and n.isdecimal() and int(n) > 0 for n in lengths
    ):
        raise argparse.ArgumentTypeError(
            f"must be a number, or HEIGHTxWIDTH, in pixels. Received: {text}"
        )
    return int(lengths[0]), int(lengths[-1])


OPTIONS = {
    "model": {"metavar": "MODEL", "help": "a file that model.save wrote"},
    "image": {
        "nargs": "+",
        "metavar": "IMAGE",
        "help": "an image file, or a folder that is searched for them",
    },
    "--names": {
        "metavar": "FILE",
        "help": "the names of all classes in their order, one a line (default: "
        "what the model's file says)",
    },
    "--preprocessing": {
        "choices": model_inputs.PREPROCESSING,
        "metavar": "NAME",
        "help": "what the model was trained with, see below: "
        f"{', '.join(model_inputs.PREPROCESSING)}",
    },
    "--resize": {
        "choices": images.RESIZES,
        "help": "how images come to the model's size: crop, the largest part "
        "of its shape from the middle; stretch; or pad, the whole image on "
        "black (default: what the model's file says, or crop)",
    },
    "--resize-shorter-edge": {
        "type": count(1),
        "metavar": "N",
        "help": "with crop: the pixels that an image's shorter edge is brought "
        "to before the middle is cut, such as 256 for a model of 224 (default: "
        "what the model's file says, or the largest part)",
    },
    "--size": {
        "type": size,
        "metavar": "N or HxW",
        "help": "height and width of images in pixels, for a model that takes "
        "any",
    },
    "--batch-size": {
        "type": count(1),
        "default": 32,
        "metavar": "N",
        "help": "images at a time (default: 32)",
    },
    "--overwrite": {
        "action": "store_true",
        "help": "replace files that are there",
    },
}
# Of all commands that read images.
READING = [name for name in OPTIONS if name.startswith("--")]


def add_options(parser, *names) -> None:
    """Adds some of `OPTIONS` to a parser."""
    for name in names:
        parser.add_argument(name, **OPTIONS[name])
