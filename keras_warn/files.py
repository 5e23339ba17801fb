"""Files and folders that are written whole or not at all."""

import collections.abc
import contextlib
import io
import lzma
import os
import pathlib
import shutil
import tempfile
import zipfile
import zlib

import numpy as np

# How the names of folders begin in which something is being written.
UNFINISHED = ".unfinished-"

# What zipfile, NumPy and others raise on archives that are broken, cut short
# or none.
BROKEN = (
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)


def displayed(path) -> str:
    """The name of a file or folder as text, whatever bytes it is of.

    Example:

    >>> import os
    >>> displayed(os.fsdecode(b"caf\\xe9.jpg"))
    'caf\\\\xe9.jpg'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def replacing(path) -> collections.abc.Iterator:
    """A path to write a file or folder to, which then replaces `path`.

    An error leaves what is at `path` as it was, and so does the end of the
    process. One exception: a folder that is there already takes two renames to
    replace, and who is killed between them leaves neither the old nor the new
    one. A file does not replace a folder.

    Args:
        path: Where the file or folder shall be, in a folder that exists.

    Yields:
        A path with the same name in a folder of its own, beside `path`.

    Raises:
        OSError: if that folder cannot be made, if nothing was written to the
            path in it, or if what was written cannot replace `path`. It names
            a file, whatever raised it.

    Example:

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     notes = pathlib.Path(folder, "notes.txt")
    ...     with replacing(notes) as unfinished:
    ...         _ = unfinished.write_text("whole")
    ...     notes.read_text()
    'whole'
    """
    target = pathlib.Path(path)
    with _naming(target), _unfinished_folder(target.parent) as folder:
        new = pathlib.Path(folder, target.name)
        yield new
        # A folder that is not empty cannot be replaced in one step. The old
        # one leaves with the unfinished folder.
        if not (target.is_dir() and new.is_dir()):
            os.replace(new, target)
            return
        old = new.with_name(f"{new.name}.old")
        try:
            os.replace(target, old)
            os.replace(new, target)
        except BaseException:
            if old.exists() and not target.exists():
                os.replace(old, target)
            raise


@contextlib.contextmanager
def _naming(path):
    """Errors of the file system name a file; those of a full disk do not."""
    try:
        yield
    except OSError as error:
        # Kinds of it, such as `PermissionError`, say more.
        if type(error) is not OSError or error.filename is not None:
            raise
        raise OSError(f"{path} cannot be written: {error}.") from error


def check_replacing(path) -> None:
    """Raises `OSError` if nothing can be written beside `path`.

    A way to know before long work that its result can be written.
    """
    _unfinished_folder(pathlib.Path(path).parent).cleanup()


def check_new(
    path, overwrite, name="`path`", how="`overwrite` must be True", folder=False
) -> None:
    """Raises `OSError` unless something may be written to a path.

    To know before long work that it is there, without `overwrite`, that a
    folder is in the place of a file, or that nothing can be written beside it.
    Messages call the path `name`, and say `how` it is replaced.
    """
    if path.is_dir() and not folder:
        raise IsADirectoryError(f"{name} must be a file. {path} is a folder.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{name} must be new, or {how}. {path} exists.")
    try:
        check_replacing(path)
    except OSError as error:
        raise type(error)(
            f"{name} must lie in a folder that can be written to. Received: "
            f"{path} ({error.strerror})."
        ) from error


@contextlib.contextmanager
def locked(path) -> collections.abc.Iterator:
    """Keeps other processes that lock it, too, from a file or folder.

    They get a `BlockingIOError`. The end of the process unlocks it.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with locked(f"{folder}/run"):
    ...         pass
    """
    path = pathlib.Path(path)
    try:
        import fcntl
    except ImportError:  # Windows: nobody is kept out
        yield
        return
    with open(path.with_name(f".{path.name}.lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"{path} is in use by another process, which must end first."
            ) from error
        yield


def read_arrays(file) -> dict:
    """The arrays in an `.npz` file, by name.

    Args:
        file: Its path, or a file that is open.

    Raises:
        ValueError: if it cannot be read, whatever is wrong with it.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            # Read whole, which compares checksums, before NumPy parses it.
            return {
                name.removesuffix(".npy"): np.lib.format.read_array(
                    io.BytesIO(archive.read(name))
                )
                for name in archive.namelist()
            }
    except BROKEN as error:
        raise ValueError(f"{error}") from error


def is_unfinished(name) -> bool:
    """Whether this is the name of a folder that `replacing` writes in."""
    return name.startswith(UNFINISHED)


def remove_unfinished(folder) -> None:
    """Removes what killed processes left in the middle of `replacing`.

    Of a folder that no other process writes to.
    """
    for path in pathlib.Path(folder).glob(f"{UNFINISHED}*"):
        shutil.rmtree(path)


def _unfinished_folder(parent):
    # Beside the target, for `os.replace` to be one atomic rename.
    return tempfile.TemporaryDirectory(
        dir=parent, prefix=UNFINISHED, ignore_cleanup_errors=True
    )
