"""Model files: loaded, or refused with the reason."""

import pathlib
import re
import zipfile
import zlib

import keras

import keras_warn
from keras_warn import images
from keras_warn.cli.errors import Refused
from keras_warn.cli.errors import refusing

# What Keras raises on files that hold no model, or a broken one.
LOADING_ERRORS = (
    AttributeError,
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)

# How Keras says that a class or function of the user's is not there.
MISSING_CODE = re.compile(r"Could not (locate|deserialize) \w+ '[^'\n]*'")


def load_model(path):
    """The model with attention in a file.

    Args:
        path: String.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        Refused: if there is none that can be loaded, or it has no attention.
    """
    file = pathlib.Path(path)
    if not file.exists():
        raise Refused(f"the model file {path} does not exist.")
    if file.suffix not in (".keras", ".h5", ".hdf5"):
        raise Refused(
            "the model must be a file that model.save wrote, which ends in "
            f".keras. Received: {path}."
        )
    try:
        # Opened first for what the system says; Keras says "not found".
        with file.open("rb"):
            pass
        if file.suffix == ".keras" and not zipfile.is_zipfile(file):
            raise Refused(
                f"{path} is not a model of Keras: it is not the zip archive "
                "that model.save writes, or was cut short."
            )
        model = keras.saving.load_model(file, compile=False)
    except LOADING_ERRORS as error:
        raise Refused(
            f"{path} cannot be loaded as a model. {_reason(error)}"
        ) from error
    with refusing(
        TypeError,
        ValueError,
        before=f"{path} holds a model without attention of keras_warn. ",
    ):
        keras_warn.inspect(model)
    return model


def _reason(error):
    """Why a model cannot be loaded, and what can be done."""
    missing = MISSING_CODE.search(str(error))
    if missing:
        return (
            f"{missing.group()}. It needs code of its own, which this command "
            "cannot import. Call keras_warn.explain or keras_warn.report from "
            "Python instead, on a model loaded with `custom_objects`."
        )
    # What Keras says before it prints whole configurations.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    if len(text) > 300:
        text = f"{text[:300]} ..."
    return f"{type(error).__name__}: {text}"


def image_input(model):
    """Data format, size and channels of the one image that a model takes.

    Args:
        model: A model with attention.

    Returns:
        An `images.ModelInput`.

    Raises:
        Refused: if the model takes anything else.
    """
    with refusing(ValueError):
        return images.model_input(model)


def check_size(given, size):
    """Checks that --size fits a model.

    Args:
        given: Height and width, or `None`.
        size: Those that the model takes, `None` where it takes any.

    Raises:
        Refused: if it does not.
    """
    if given is not None and any(
        length not in (None, wanted)
        for length, wanted in zip(size, given, strict=True)
    ):
        raise Refused(
            f"--size must be that of the model, {size[0]}x{size[1]}, or be "
            f"left out. Received: {given[0]}x{given[1]}."
        )
