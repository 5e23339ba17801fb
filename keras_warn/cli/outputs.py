"""What commands write to: nothing that others made, or that they read."""

import contextlib
import json
import os
import pathlib

from keras_warn import files
from keras_warn.cli.errors import UsageError
from keras_warn.cli.errors import usage_errors

EXPLANATIONS = "explanations.json"
# Tells our `explanations.json` from those of others. The number is the
# version of what is kept in it.
MARKER = {"keras_warn_explanations": 1}


def check_out(path, overwrite) -> None:
    """Raises `UsageError` unless a file may be written to `path`."""
    with usage_errors(OSError):
        files.check_new(path, overwrite, "--out", "--overwrite replaces it")


def keep_inputs(outputs, inputs) -> None:
    """Raises `UsageError` if an output is among the inputs, some `None`."""
    # By identity: names of one file differ by case, links and `..`.
    read = {_identity(path) for path in inputs if path is not None} - {None}
    for path in outputs:
        if _identity(path) in read:
            raise UsageError(
                f"--out must not replace what is read. {path} would be: "
                "choose another."
            )


def _identity(path):
    """What tells a file from all others; `None` if there is none."""
    if not os.path.exists(path):
        return None
    status = os.stat(path)
    return status.st_dev, status.st_ino


class OutFolder:
    """A folder of figures and their numbers, which knows what is its own.

    Figures of an earlier call go when the call is repeated; files of others
    stay, and are replaced with `overwrite` alone.
    """

    def __init__(self, path, overwrite):
        self.path = pathlib.Path(path)
        self._new = not self.path.exists()
        # What an earlier call wrote, or someone else: kept, for `undo`.
        self._before, names = None, []
        if not self._new:
            if not self.path.is_dir():
                raise UsageError(f"--out must be a folder. {path} is a file.")
            with usage_errors(
                OSError, before=f"--out {path} cannot be read: ", after="."
            ):
                names = sorted(os.listdir(path))
                if EXPLANATIONS in names:
                    self._before = (self.path / EXPLANATIONS).read_bytes()
        names = [name for name in names if not files.is_unfinished(name)]
        old = _figures_of(self._before)
        if names and old is None and not overwrite:
            raise UsageError(
                "--out must be new, empty, or made by this command. "
                f"{path} holds {', '.join(names[:3])}"
                f"{' and more' if len(names) > 3 else ''}. --overwrite "
                "replaces files of the same names there, and keeps others."
            )
        # Figures of an earlier call, and what is not of this command.
        self._old = old or []
        others = {*names} - {EXPLANATIONS, *self._old}
        self._others = set() if overwrite else others

    def start(self, planned) -> None:
        """Makes the folder ready, and proves that it can be written to.

        Names of the figures to come are written down, for a later call to know
        what is of this one.
        """
        for name in planned:
            if name in self._others:
                raise UsageError(
                    f"--out {self.path} holds {name}, which this command did "
                    "not make. --overwrite replaces it."
                )
        figures = [*planned, *(set(self._old) - set(planned))]
        with usage_errors(
            OSError,
            before=f"--out {self.path} cannot be written to: ",
            after=".",
        ):
            self.path.mkdir(parents=True, exist_ok=True)
            files.remove_unfinished(self.path)
            self._write({"finished": False, "figures": figures})

    def replacing(self, name) -> contextlib.AbstractContextManager:
        """A path to write a figure to, which then replaces `name`."""
        return files.replacing(self.path / name)

    def finish(self, content) -> None:
        """Writes all that is known, with the names of the figures there."""
        for name in set(self._old) - set(content["figures"]):
            (self.path / name).unlink(missing_ok=True)
        self._write({"finished": True, **content})

    def undo(self) -> None:
        """Takes back what `start` did."""
        if self._before is not None:
            with self.replacing(EXPLANATIONS) as unfinished:
                unfinished.write_bytes(self._before)
            return
        (self.path / EXPLANATIONS).unlink()
        if self._new:
            self.path.rmdir()

    def _write(self, content):
        text = json.dumps({**MARKER, **content}, indent=2, allow_nan=False)
        with self.replacing(EXPLANATIONS) as unfinished:
            unfinished.write_text(text + "\n", "utf-8")


def _figures_of(content):
    """The figures that an `explanations.json` names; `None` of another."""
    try:
        content = json.loads(content or b"")
    except ValueError:
        return None
    if not isinstance(content, dict) or any(
        content.get(key) != value for key, value in MARKER.items()
    ):
        return None
    return [
        name
        for name in content.get("figures", [])
        # Nothing outside of the folder, even if the list was edited.
        if name == pathlib.Path(name).name
    ]
