"""Folders of runs that can be killed and resume."""

import contextlib
import json
import os
import pathlib
import shutil

from keras_warn import files

SETTINGS = "settings.json"
RESULTS = "results.json"
PARTS = "parts"

# Tells our `settings.json` from those of others. The number is the version of
# what is kept in the folder, and how.
MARKER = {"keras_warn_run": 1}


class RunFolder:
    """A folder for the files of one run, which outlives the process.

    A run is cut into parts, such as one trained model each. Finished parts
    are kept; the same run started again, with the same settings, does only
    what is missing. All files are written whole or not at all.

    Args:
        path: The folder. It is made if it does not exist, and tried out:
            what cannot be written is better known before the training.
        settings: Dictionary of all that the results depend on, as JSON can
            hold it. Kept in `settings.json`, with a mark that the folder
            holds a run.
        overwrite: Whether a run that is in the folder is thrown away: its
            results and parts are deleted, other files replaced as new ones
            come. A folder with files but without the mark of a run is never
            taken.
        finished: Whether the run may be finished already, to read its results.

    Attributes:
        results: What `finish` wrote, or `None`.

    Raises:
        FileExistsError: if the folder holds a finished run and `finished` is
            not set, a run with other settings, one that cannot be read, or no
            run but other files.
        OSError: if the folder cannot be made or written to.
        TypeError: if JSON cannot hold `settings`.
        ValueError: if it cannot hold a number in them, such as NaN.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as path:
    ...     for start in range(2):
    ...         run = RunFolder(path, {"epochs": 3})
    ...         run.part("first", lambda: print("training") or {"loss": 0.5})
    training
    {'loss': 0.5}
    {'loss': 0.5}
    """

    def __init__(self, path, settings, overwrite=False, finished=False):
        self.path = pathlib.Path(path)
        self.results = None
        settings = _as_read_back(settings)
        if self.path.exists():
            self._check(settings, overwrite, finished)
            files.remove_unfinished(self.path)
        if overwrite:
            # Results first: without them, the rest is an unfinished run.
            (self / RESULTS).unlink(missing_ok=True)
            if (self / PARTS).exists():
                shutil.rmtree(self / PARTS)
        if (self / RESULTS).exists():
            self.results = _read(self / RESULTS)
            return
        (self / PARTS).mkdir(parents=True, exist_ok=True)
        # Proves that files can be written and replaced, beside its purpose.
        self.write(SETTINGS, {**MARKER, "settings": settings})

    def __truediv__(self, name):
        """The path of a file in the folder, as of a `pathlib.Path`."""
        return self.path / name

    def has(self, name) -> bool:
        """Whether the part `name` is finished."""
        return (self / PARTS / f"{name}.json").exists()

    def part(self, name, function, *args, **kwargs) -> object:
        """The result of a part, which a function computes if it is missing.

        As JSON keeps it: tuples as lists, keys as strings. The name of a part
        is that of a file without extension.
        """
        file = f"{PARTS}/{name}.json"
        if not self.has(name):
            self.write(file, _to_json(function(*args, **kwargs)))
        return _read(self / file)

    def finish(self, results) -> None:
        """Writes `results.json`, by which a run is known as finished."""
        self.write(RESULTS, _to_json(results))

    def write(self, name, content) -> None:
        """Writes a string as it is, or anything else as JSON."""
        if not isinstance(content, str):
            content = _to_json(content)
        with self.replacing(name) as path:
            path.write_text(content, "utf-8")

    def replacing(self, name) -> contextlib.AbstractContextManager:
        """`keras_warn.files.replacing` of a file or folder in this folder."""
        return files.replacing(self / name)

    def _check(self, settings, overwrite, finished):
        """Raises unless the run with these settings may be in the folder."""
        found = sorted(os.listdir(self.path))
        found = [name for name in found if not files.is_unfinished(name)]
        # A process killed at the very start leaves no more than these.
        if not found or (found == [PARTS] and not os.listdir(self / PARTS)):
            return
        if SETTINGS not in found:
            raise FileExistsError(
                "The output folder must be new, empty, or hold a run. "
                f"Received: {self.path}, with {', '.join(found[:3])}"
                f"{' and more' if len(found) > 3 else ''}."
            )
        # Whether it is ours at all matters to overwriting, too.
        kept = _read_settings(self / SETTINGS)
        if overwrite:
            return
        _check_same(self.path, kept, settings)
        if RESULTS in found and not finished:
            raise FileExistsError(
                "The output folder must not hold a finished run. "
                f"{self / RESULTS} exists. Choose another folder, or overwrite "
                "the run."
            )


def check_same(path, settings) -> None:
    """Raises unless a folder holds a run with these settings.

    For processes that join a run, whose folder another one has made.
    """
    path = pathlib.Path(path)
    _check_same(path, _read_settings(path / SETTINGS), _as_read_back(settings))


def _to_json(value):
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _as_read_back(settings):
    """As JSON keeps them: tuples are lists, keys are strings."""
    return json.loads(_to_json(settings))


def _read(path):
    """What JSON in a file of a run says."""
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise FileExistsError(
            f"The output folder must hold a run that can be read. {path} is "
            f"not JSON ({error}). Choose another folder."
        ) from error


def _read_settings(path):
    """The settings in a file that a `RunFolder` wrote, and no one else."""
    content = _read(path)
    kept = content.get("settings") if isinstance(content, dict) else None
    if kept is None or content != {**MARKER, "settings": kept}:
        raise FileExistsError(
            "The output folder must be new, empty, or hold a run. "
            f"Received: {path.parent}, with a {path.name} that no run of this "
            f"version wrote: it lacks {json.dumps(MARKER)[1:-1]} beside the "
            "settings. Choose another folder."
        )
    return kept


def _flat(settings):
    """Settings in settings with a dot, to name what differs alone."""
    found = {}
    for name, value in settings.items():
        inner = _flat(value) if isinstance(value, dict) else None
        # An empty dictionary differs from none.
        if inner:
            found |= {f"{name}.{key}": one for key, one in inner.items()}
        else:
            found[name] = value
    return found


def _check_same(path, kept, settings):
    if kept != settings:
        kept, settings = _flat(kept), _flat(settings)
        differences = ", ".join(
            f"{name}={kept.get(name)!r} instead of {settings.get(name)!r}"
            for name in {**kept, **settings}
            if kept.get(name) != settings.get(name)
        )
        raise FileExistsError(
            "The output folder must hold a run with the same settings to "
            f"resume. {path} has {differences}. Choose another folder, or "
            "overwrite the run."
        )
