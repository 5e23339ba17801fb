"""All that a training needs to resume, in one file that is whole or not there.

`keras.callbacks.BackupAndRestore` leaves out the state of random layers, and
begins an epoch anew. `keras.callbacks.OrbaxCheckpoint` saves variables alone:
not the place in an epoch, nor the history.
"""

import io
import json
import os

import keras
import numpy as np

from keras_warn import files
from keras_warn.training import processes

# Tells our files from others. The number is the version of what is in them.
FORMAT = "keras_warn_checkpoint_3"


def arrays(model) -> dict:
    """All that changes while a model trains: copies as NumPy arrays, by name.

    Of a compiled model with its optimizer built.
    """
    return {name: to_numpy(value) for name, value in _variables(model).items()}


def to_numpy(variable) -> np.ndarray:
    """A copy of a variable's value, in a type that NumPy's files know."""
    value = np.array(keras.ops.convert_to_numpy(variable))
    # Not bfloat16, whose values are all in float32.
    return value.astype("float32") if value.dtype.kind == "V" else value


def save(path, arrays, notes) -> None:
    """Writes a checkpoint: arrays by name, and notes, which JSON can hold.

    It is on the disk before it replaces the one that was there. Raises
    `FloatingPointError` if a number is not finite.
    """
    wrong = [
        name
        for name, array in arrays.items()
        if array.dtype.kind == "f" and not np.isfinite(array).all()
    ]
    if wrong:
        names = ", ".join(wrong[:3])
        raise FloatingPointError(f"Not all of {names} is finite")
    content = json.dumps({"notes": notes, "arrays": list(arrays)})
    content = np.frombuffer(content.encode(), "uint8")
    with files.replacing(path) as unfinished:
        with open(unfinished, "wb") as file:
            np.savez(file, **{FORMAT: content}, **arrays)
            file.flush()
            os.fsync(file.fileno())


def read(path) -> tuple | None:
    """Notes and arrays of a checkpoint, or `None` without one.

    Read by the first process for all.
    """
    content = b""
    if path.exists():
        content = path.read_bytes() or b"an empty file, which is none of ours"
    content = processes.broadcast(content)
    if not content:
        return None
    try:
        arrays = files.read_arrays(io.BytesIO(content))
        about = json.loads(arrays.pop(FORMAT).tobytes())
        if about["arrays"] != list(arrays):
            raise ValueError("arrays are missing")
        return about["notes"], arrays
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path} must be a checkpoint of a training, and whole. Received a "
            f"file that cannot be used ({error}). Remove it to begin anew."
        ) from error


def restore(path, model, arrays, metrics=True) -> None:
    """Brings back what `arrays` of such a model has found.

    With `metrics`, which exist from the first step of `fit` on, or without.
    If the arrays are of another model, this one stays as it was.
    """
    own, arrays = (
        {k: v for k, v in of.items() if metrics or not k.startswith("metrics")}
        for of in (_variables(model), arrays)
    )
    shapes = {name: tuple(variable.shape) for name, variable in own.items()}
    found = {name: array.shape for name, array in arrays.items()}
    if found != shapes:
        wrong = sorted(found.items() ^ shapes.items())[:3]
        wrong = ", ".join(f"{name} of shape {shape}" for name, shape in wrong)
        raise ValueError(
            f"{path} must be a checkpoint of this model. Received one that "
            f"differs in {wrong}."
        )
    for name, variable in own.items():
        variable.assign(arrays[name])


def _variables(model):
    """All that changes while a model trains: variables by name."""
    # Numbered: names of layers depend on what the process has built before.
    found = {
        f"model_{i}_{variable.path.split('/')[-1]}": variable
        for i, variable in enumerate(model.variables)
    }
    for i, variable in enumerate(model.optimizer.variables):
        found[f"optimizer_{i}"] = variable
    for i, variable in enumerate(model.metrics_variables):
        found[f"metrics_{i}"] = variable
    return found
