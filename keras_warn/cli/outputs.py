"""What commands write to: nothing that others made, or that they read."""

import os
import pathlib

from keras_warn import files
from keras_warn.cli.errors import UsageError
from keras_warn.cli.errors import usage_errors


def check_out(path, overwrite, inputs) -> None:
    """Raises `UsageError` unless a file may be written to `path`.

    It may not replace one of `inputs`, paths or `None`.
    """
    with usage_errors(OSError):
        files.check_new(path, overwrite, "--out", "--overwrite replaces it")
        if path.exists() and any(
            path.samefile(one) for one in inputs if one and os.path.exists(one)
        ):
            raise UsageError(
                f"--out must not replace what is read. Received: {path}."
            )


def check_folder(path, overwrite) -> None:
    """Raises `UsageError` unless files may be written to a folder."""
    with usage_errors(
        OSError, before=f"--out {path} cannot be read: ", after="."
    ):
        found = path.exists() and any(path.iterdir())
    if found and not overwrite:
        raise UsageError(
            f"--out must be new or empty. {path} is not. --overwrite replaces "
            "files of the same names there, and keeps others."
        )


def make_folder(path) -> None:
    """Makes a folder, or raises `UsageError` if it cannot be written to."""
    with usage_errors(
        OSError, before=f"--out {path} cannot be written to: ", after="."
    ):
        path.mkdir(parents=True, exist_ok=True)
        files.check_replacing(pathlib.Path(path, "figure"))
