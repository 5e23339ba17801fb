"""Model files: read, or refused with their name and the reason."""

import json
import pathlib
import re
import zipfile

import keras

from keras_warn import files

SUFFIXES = (".keras", ".h5", ".hdf5")

# What Keras and its layers raise, too, on files that hold no model.
ERRORS = (
    *files.BROKEN,
    ArithmeticError,
    AssertionError,
    AttributeError,
    TypeError,
)

# How Keras says that a class or function of the user's is not there.
MISSING_CODE = re.compile(r"Could not (locate|deserialize) \w+ '[^'\n]*'")


def load_model(path) -> keras.Model:
    """The model in a file that `model.save` wrote, not compiled.

    Raises `OSError` if the file cannot be read, and `ValueError`, with its
    name, if it holds no model that can be loaded.
    """
    file = pathlib.Path(path)
    if file.suffix not in SUFFIXES:
        raise ValueError(
            "the model must be a file that model.save wrote, which ends in "
            f".keras. Received: {path}."
        )
    if file.suffix == ".keras":
        read_config(file)
    # Opened first for what the system says; Keras says "not found".
    with file.open("rb"):
        pass
    try:
        model = keras.saving.load_model(file, compile=False)
    except ERRORS as error:
        raise ValueError(
            f"{path} cannot be loaded as a model. {_reason(error)}"
        ) from error
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"{path} must hold a model. Received: a {type(model).__name__}."
        )
    return model


def read_config(path) -> dict:
    """The configuration in a file that ends in `.keras`, without loading it.

    Raises as `load_model`.
    """
    with open(path, "rb") as file:
        try:
            return json.loads(zipfile.ZipFile(file).read("config.json"))
        except ERRORS as error:
            raise ValueError(
                f"{path} is not a model of Keras: it is not the zip archive "
                f"that model.save writes, or was cut short. {_reason(error)}"
            ) from error


def _reason(error):
    """Why a model cannot be loaded, and what can be done."""
    missing = MISSING_CODE.search(str(error))
    if missing:
        return (
            f"{missing.group()}. It needs code of its own, which cannot be "
            "imported here. In Python, load it with `custom_objects`."
        )
    # What Keras says before it prints whole configurations.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    if len(text) > 300:
        text = f"{text[:300]} ..."
    return f"{type(error).__name__}: {text}"
