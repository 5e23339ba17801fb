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
    """The model with attention in a file, not compiled, or a `UsageError`."""
    if not pathlib.Path(path).exists():
        raise UsageError(f"the model file {path} does not exist.")
    with usage_errors(OSError, ValueError):
        model = _model_files.load_model(path)
    for check, what in (
        (keras_warn.inspect, "a model without attention of keras_warn"),
        (metadata.of_model, "wrong metadata"),
    ):
        with usage_errors(
            TypeError, ValueError, before=f"{path} holds {what}. "
        ):
            check(model)
    return model


def image_input(model, arguments) -> model_inputs.ModelInput:
    """The image that a model takes, of --size if that is given and fits."""
    with usage_errors(ValueError, before=f"{arguments.model}: "):
        found = model_inputs.model_input(model)
    if arguments.size is None:
        return found
    with usage_errors(ValueError):
        return found.with_size(arguments.size, "--size")
