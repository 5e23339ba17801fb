"""All that a training needs to go on, in one file that is whole or not there.

Keras's own files of models and weights leave out the state of random layers,
and that of metrics in the middle of an epoch.
"""

import json
import os
import pathlib
import zipfile

import keras
import numpy as np

from keras_warn import files

# Tells our files from others. The number is the version of what is in them.
FORMAT = "keras_warn_snapshot_1"
PREVIOUS = ".previous"


def save(path, model, notes):
    """Writes the state of a model, its optimizer and its metrics.

    The file that was there stays as `path` with `.previous` at its end. All
    else is written to the disk before either name changes: whatever happens,
    one of the two files is whole.

    Args:
        path: The file, in a folder that exists.
        model: A compiled, built `keras.Model`.
        notes: What JSON can hold: where the training is.

    Raises:
        OSError: if the file cannot be written. What was there stays.
    """
    path = pathlib.Path(path)
    # Copied before anything is written: the next step may change them.
    arrays = {
        name: keras.ops.convert_to_numpy(variable)
        for name, variable in variables(model)
    }
    try:
        with files.replacing(path) as unfinished:
            with open(unfinished, "wb") as file:
                content = np.frombuffer(json.dumps(notes).encode(), "uint8")
                np.savez(file, **{FORMAT: content}, **arrays)
                file.flush()
                os.fsync(file.fileno())
            # One may be killed here: `find` knows the name.
            if path.exists():
                os.replace(path, previous(path))
    except OSError as error:
        raise type(error)(
            f"The state of the training cannot be written to {path}: {error}. "
            "What was saved before is as it was."
        ) from error


def load(path, model, metrics=True):
    """Brings back what `save` has written.

    Args:
        path: The file.
        model: A compiled model, built from the same settings, with its
            optimizer built.
        metrics: Whether to bring back metrics, too, which exist from the
            first step of `fit` on.

    Returns:
        The `notes`.

    Raises:
        ValueError: if the file cannot be read, or is of another model. The
            model stays as it was.
    """
    notes, arrays = read(path)
    own = dict(variables(model))
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
    return notes


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
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        notes = json.loads(arrays.pop(FORMAT).tobytes().decode())
    except (
        EOFError,
        KeyError,
        OSError,
        ValueError,
        zipfile.BadZipFile,
    ) as error:
        advice = "Remove it to begin anew."
        if previous(path).exists() and path.name != previous(path).name:
            advice = (
                f"Remove it to go on from what was saved before it, "
                f"{previous(path).name}."
            )
        raise ValueError(
            f"{path} must be the state of a training, and whole. Received a "
            f"file that cannot be read ({error}). {advice}"
        ) from error
    return notes, arrays


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


def variables(model):
    """All that changes while a model trains, by name.

    Args:
        model: A compiled `keras.Model` with its optimizer built.

    Yields:
        Pairs of a name and a `keras.Variable`.
    """
    # Numbered: names of layers depend on what the process has built before.
    for i, variable in enumerate(model.variables):
        yield f"model_{i}_{variable.path.split('/')[-1]}", variable
    for i, variable in enumerate(model.optimizer.variables):
        yield f"optimizer_{i}", variable
    for i, variable in enumerate(model.metrics_variables):
        yield f"metrics_{i}", variable
