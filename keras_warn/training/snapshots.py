"""All that a training needs to resume, in one file that is whole or not there.

Keras's own files of models and weights leave out the state of random layers,
and that of metrics in the middle of an epoch.
"""

import io
import json
import os
import pathlib
import zipfile

import keras
import numpy as np

from keras_warn import files

# Tells our files from others. The number is the version of what is in them.
FORMAT = "keras_warn_snapshot_2"
PREVIOUS = ".previous"


def arrays(model):
    """All that changes while a model trains, by name.

    Args:
        model: A compiled `keras.Model` with its optimizer built.

    Returns:
        A dictionary of NumPy arrays, which the next step does not change.
    """
    return {name: to_numpy(variable) for name, variable in _variables(model)}


def to_numpy(variable):
    """A copy of a variable's value, in a type that NumPy's files know."""
    value = np.array(keras.ops.convert_to_numpy(variable))
    # Not bfloat16, whose values are all in float32.
    return value.astype("float32") if value.dtype.kind == "V" else value


def save(path, arrays, notes):
    """Writes the state of a training.

    The file that was there stays as `path` with `.previous` at its end. All
    else is written to the disk before either name changes: whatever happens,
    one of the two files is whole. Nothing is written that cannot be trained
    on.

    Args:
        path: The file, in a folder that exists.
        arrays: Dictionary of NumPy arrays.
        notes: What JSON can hold: where the training is.

    Raises:
        FloatingPointError: if a number is not finite. What was there stays.
        OSError: if the file cannot be written. What was there stays.
    """
    path = pathlib.Path(path)
    if wrong := not_finite(arrays):
        raise FloatingPointError(f"{wrong} must be finite, to be saved.")
    content = json.dumps({"notes": notes, "arrays": list(arrays)})
    content = np.frombuffer(content.encode(), "uint8")
    with files.replacing(path) as unfinished:
        with open(unfinished, "wb") as file:
            np.savez(file, **{FORMAT: content}, **arrays)
            file.flush()
            os.fsync(file.fileno())
        # One may be killed here: `find` knows the name.
        if path.exists():
            os.replace(path, previous(path))


def not_finite(arrays):
    """Names of the first arrays with numbers that are not finite, or ""."""
    names = [
        name
        for name, array in arrays.items()
        if array.dtype.kind == "f" and not np.isfinite(array).all()
    ]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def restore(path, model, arrays, metrics=True):
    """Brings back what `arrays` of a model has found.

    Args:
        path: What the file is called in messages.
        model: A compiled model, built from the same settings, with its
            optimizer built.
        arrays: Dictionary of NumPy arrays.
        metrics: Whether to bring back metrics, too, which exist from the
            first step of `fit` on.

    Raises:
        ValueError: if they are of another model. The model stays as it was.
    """
    own = dict(_variables(model))
    if not metrics:
        own, arrays = (
            {name: x for name, x in d.items() if not name.startswith("metrics")}
            for d in (own, arrays)
        )
    faults = [
        f"{name} of shape {arrays[name].shape}"
        if name in arrays
        else f"no {name}"
        for name, variable in own.items()
        if name not in arrays or arrays[name].shape != tuple(variable.shape)
    ]
    faults += [f"{name} besides" for name in arrays if name not in own]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ValueError(
            f"{path} must be the state of this model. Received one with "
            f"{', '.join(faults[:5])}{more}."
        )
    for name, variable in own.items():
        variable.assign(arrays[name])


def read(path):
    """Reads what `save` has written.

    Args:
        path: The file.

    Returns:
        The notes, and a dictionary from names to arrays.

    Raises:
        ValueError: if the file cannot be read, with what can be done.
    """
    path = pathlib.Path(path)
    try:
        arrays = {}
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.compress_type != zipfile.ZIP_STORED:
                    raise zipfile.BadZipFile(f"{member.filename} is packed")
                # Read whole, which compares checksums, before NumPy parses it.
                array = io.BytesIO(archive.read(member))
                name = member.filename.removesuffix(".npy")
                arrays[name] = np.lib.format.read_array(array)
        content = json.loads(arrays.pop(FORMAT).tobytes())
        if content["arrays"] != list(arrays):
            raise ValueError("arrays are missing")
        if wrong := not_finite(arrays):
            raise ValueError(f"{wrong} not finite")
    except (
        EOFError,
        KeyError,
        MemoryError,
        OSError,
        RuntimeError,
        ValueError,
        zipfile.BadZipFile,
    ) as error:
        advice = "Remove it to begin anew."
        if previous(path).exists() and path.name != previous(path).name:
            advice = (
                f"Remove it to resume from what was saved before it, "
                f"{previous(path).name}."
            )
        raise ValueError(
            f"{path} must be the state of a training, and whole. Received a "
            f"file that cannot be used ({error}). {advice}"
        ) from error
    return content["notes"], arrays


def find(path):
    """The newest file of the name `path`: itself, or the one before it.

    Args:
        path: As of `save`.

    Returns:
        A path, or `None` if there is neither.
    """
    path = pathlib.Path(path)
    for one in (path, previous(path)):
        if one.exists():
            return one
    return None


def previous(path):
    """The name of what was at `path` before."""
    path = pathlib.Path(path)
    if path.name.endswith(PREVIOUS):
        return path
    return path.with_name(path.name + PREVIOUS)


def _variables(model):
    """Pairs of a name and a `keras.Variable`."""
    # Numbered: names of layers depend on what the process has built before.
    for i, variable in enumerate(model.variables):
        yield f"model_{i}_{variable.path.split('/')[-1]}", variable
    for i, variable in enumerate(model.optimizer.variables):
        yield f"optimizer_{i}", variable
    for i, variable in enumerate(model.metrics_variables):
        yield f"metrics_{i}", variable
