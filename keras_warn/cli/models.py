"""Model files: loaded, or refused with the reason."""

import pathlib

import keras

import keras_warn
from keras_warn import _model_files
from keras_warn import metadata
from keras_warn.cli.errors import UsageError
from keras_warn.cli.errors import usage_errors
from keras_warn.data import model_inputs


def load_model(path) -> keras.Model:
    """The model with attention in a file.

    Args:
        path: String.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        UsageError: if there is none that can be loaded, or it has no attention.
    """
    if not pathlib.Path(path).exists():
        raise UsageError(f"the model file {path} does not exist.")
    with usage_errors(OSError, ValueError):
        model = _model_files.load_model(path)
    with usage_errors(
        TypeError,
        ValueError,
        before=f"{path} holds a model without attention of keras_warn. ",
    ):
        keras_warn.inspect(model)
    with usage_errors(
        TypeError, ValueError, before=f"{path} holds wrong metadata. "
    ):
        metadata.of_model(model)
    return model


def image_input(model, path) -> model_inputs.ModelInput:
    """Data format, size and channels of the one image that a model takes.

    Args:
        model: A model with attention.
        path: Its file, as it was given.

    Returns:
        An `model_inputs.ModelInput`.

    Raises:
        UsageError: if the model takes anything else.
    """
    with usage_errors(ValueError, before=f"{path}: "):
        return model_inputs.model_input(model)


def check_size(given, size) -> None:
    """Checks that --size fits a model.

    Args:
        given: Height and width, or `None`.
        size: Those that the model takes, `None` where it takes any.

    Raises:
        UsageError: if it does not.
    """
    if given is not None and any(
        length not in (None, wanted)
        for length, wanted in zip(size, given, strict=True)
    ):
        raise UsageError(
            f"--size must be that of the model, {size[0]}x{size[1]}, or be "
            f"omitted. Received: {given[0]}x{given[1]}."
        )
