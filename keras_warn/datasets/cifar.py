"""CIFAR-10 and CIFAR-100, in the layouts they are published in.

Nothing is downloaded. Both of the published forms are read: the binary one, and
the one for Python, which is pickled. Pickles can run any program. Here they
cannot: nothing that they ask for is called.
"""

import dataclasses
import io
import pickle
from pathlib import Path

import numpy as np

from keras_warn.datasets import listing

SIDE = 32
PIXELS = 3 * SIDE * SIDE


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where a CIFAR keeps what.

    Attributes:
        name: String.
        classes: Integer, how many there are.
        coarse: Whether a coarse label stands before the label.
        key: Bytes, what a label is called in pickles.
        folders: Dictionary from versions, "binary" and "python", to folders.
        names: Dictionary from versions to files with the classes' names.
        train: Dictionary from versions to files to train with.
        test: Dictionary from versions to the file to test with.
    """

    name: str
    classes: int
    coarse: bool
    key: bytes
    folders: dict
    names: dict
    train: dict
    test: dict

    def files(self, version):
        """Dictionary from splits to the files of a version."""
        return {"train": self.train[version], "test": (self.test[version],)}


CIFAR10 = Layout(
    name="CIFAR-10",
    classes=10,
    coarse=False,
    key=b"label",
    folders={"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"},
    names={"binary": "batches.meta.txt", "python": "batches.meta"},
    train={
        "binary": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "python": tuple(f"data_batch_{i}" for i in range(1, 6)),
    },
    test={"binary": "test_batch.bin", "python": "test_batch"},
)
CIFAR100 = Layout(
    name="CIFAR-100",
    classes=100,
    coarse=True,
    key=b"fine_label",
    folders={"binary": "cifar-100-binary", "python": "cifar-100-python"},
    names={"binary": "fine_label_names.txt", "python": "meta"},
    train={"binary": ("train.bin",), "python": ("train",)},
    test={"binary": "test.bin", "python": "test"},
)


def load_cifar10(folder):
    """Reads the published files of CIFAR-10.

    Args:
        folder: The folder `cifar-10-batches-bin` or `cifar-10-batches-py` of
            the published archives, or the one that it lies in. Where there
            are both, the first is read.

    Returns:
        A `Listing` with the splits "train" and "test", in the order of the
        files. Its `contents` are pixels, uint8 `(b, 32, 32, 3)`; its `paths`
        are names alone.

    Raises:
        FileNotFoundError: if the folder or one of these files is missing.
        ValueError: if a file is not what it should be. Files may have fewer
            pictures than the published ones.

    Example:

    >>> pictures = load_cifar10("cifar-10-batches-bin")  # doctest: +SKIP
    >>> pictures.contents.shape, pictures.names[0]  # doctest: +SKIP
    ((60000, 32, 32, 3), 'airplane')

    Reference:
        [CIFAR-10](https://www.cs.toronto.edu/~kriz/cifar.html)
    """
    return _load(CIFAR10, folder)


def load_cifar100(folder):
    """Reads the published files of CIFAR-100, with the 100 fine classes.

    Args:
        folder: The folder `cifar-100-binary` or `cifar-100-python` of the
            published archives, or the one that it lies in. Where there are
            both, the first is read.

    Returns:
        A `Listing` as of `load_cifar10`.

    Raises:
        FileNotFoundError: if the folder or one of these files is missing.
        ValueError: if a file is not what it should be. Files may have fewer
            pictures than the published ones.

    Example:

    >>> pictures = load_cifar100("cifar-100-binary")  # doctest: +SKIP
    >>> pictures.contents.shape, pictures.names[0]  # doctest: +SKIP
    ((60000, 32, 32, 3), 'apple')

    Reference:
        [CIFAR-100](https://www.cs.toronto.edu/~kriz/cifar.html)
    """
    return _load(CIFAR100, folder)


def _load(layout, folder):
    folder, version = _find(layout, Path(folder))
    names = _names(layout, version, folder / layout.names[version])
    read = _read_binary if version == "binary" else _read_pickle
    paths, labels, pixels, splits = [], [], [], {}
    for split, files in layout.files(version).items():
        before = len(paths)
        for file in files:
            more, rows = read(layout, folder / file)
            wrong = more[more >= len(names)]
            if wrong.size:
                raise ValueError(
                    f"{folder / file} must have labels from 0 to "
                    f"{len(names) - 1}. Received: {wrong[0]}."
                )
            labels.append(more)
            # Planes of red, green and blue.
            planes = rows.reshape(-1, 3, SIDE, SIDE)
            pixels.append(planes.transpose(0, 2, 3, 1))
            number = len(paths) - before
            paths += [
                f"{split}/{i:05d}" for i in range(number, number + len(more))
            ]
        splits[split] = np.arange(before, len(paths))
    return listing.Listing(
        name=layout.name,
        paths=paths,
        labels=np.concatenate(labels),
        names=names,
        splits=splits,
        contents=np.concatenate(pixels),
    )


def _find(layout, folder):
    """The folder of a layout, and which version it is."""
    for place in (folder, *(folder / name for name in layout.folders.values())):
        for version in layout.folders:
            if (place / layout.names[version]).is_file():
                files = [
                    file
                    for group in layout.files(version).values()
                    for file in group
                ]
                needed = [layout.names[version], *files]
                return listing.check_folder(place, layout.name, needed), version
    folder = listing.check_folder(folder, layout.name, ())
    raise listing.not_that_of(
        folder,
        layout.name,
        [
            " or ".join(f"{name}/" for name in layout.folders.values()),
            " or ".join(layout.names.values()),
        ],
    )


def _names(layout, version, path):
    """The names of the classes."""
    if version == "binary":
        names = [line.strip() for _, line in listing.read_lines(path)]
    else:
        found = _unpickled(path).get(layout.key + b"_names")
        if not isinstance(found, list) or not found:
            raise ValueError(
                f"{path} must have a list {_text(layout.key)}_names. Received: "
                f"{found!r}."
            )
        names = [_text(name) for name in found]
    if len(names) > layout.classes or len(set(names)) < len(names):
        raise ValueError(
            f"{path} must name every class once, and {layout.classes} at most. "
            f"Received: {len(names)} classes with {len(set(names))} names."
        )
    return names


def _read_binary(layout, path):
    """Labels `(b,)` and pixels `(b, 3072)`, uint8."""
    content = np.frombuffer(path.read_bytes(), "uint8")
    start = 2 if layout.coarse else 1
    if not content.size or content.size % (start + PIXELS):
        raise ValueError(
            f"{path} must have {start + PIXELS} bytes for every picture. "
            f"Received: {content.size} bytes."
        )
    rows = content.reshape(-1, start + PIXELS)
    return rows[:, start - 1], rows[:, start:]


def _read_pickle(layout, path):
    """Labels `(b,)` and pixels `(b, 3072)`, uint8."""
    content = _unpickled(path)
    rows, labels = content.get(b"data"), content.get(layout.key + b"s")
    if (
        not isinstance(rows, np.ndarray)
        or rows.dtype != np.uint8
        or rows.shape[1:] != (PIXELS,)
        or not len(rows)
    ):
        received = type(rows).__name__
        if isinstance(rows, np.ndarray):
            received = f"shape {rows.shape}, {rows.dtype}"
        raise ValueError(
            f"{path} must have data, uint8 (b, {PIXELS}). Received: {received}."
        )
    if (
        not isinstance(labels, list)
        or len(labels) != len(rows)
        or not all(type(one) is int and one >= 0 for one in labels)
    ):
        raise ValueError(
            f"{path} must have {_text(layout.key)}s, an integer from 0 for "
            f"each of its {len(rows)} pictures."
        )
    return np.array(labels, "int64"), rows


class _Unpickler(pickle.Unpickler):
    """Calls nothing that a pickle asks for, but keeps what it asked.

    NumPy's own parts are not called either: they trust what they are given.
    """

    def find_class(self, module, name):
        kind = KINDS.get((module.replace("numpy._core", "numpy.core"), name))
        if kind is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return kind


class _Asked:
    """What a pickle asks to make: of which arguments, and with what state."""

    def __init__(self, *arguments):
        self.arguments = arguments
        self.state = ()

    def __setstate__(self, state):
        self.state = state


class _Dtype(_Asked):
    """In place of `numpy.dtype`."""


class _Array(_Asked):
    """In place of `numpy.ndarray`."""

    def parts(self):
        _, shape, dtype, in_columns, content = self.state
        return shape, dtype, in_columns, content


class _Frombuffer(_Array):
    """In place of what arrays are made by in pickles of protocol 5."""

    def parts(self):
        content, dtype, shape, order = self.arguments
        return shape, dtype, order == "F", content


class _Encoded(_Asked):
    """In place of `_codecs.encode`: how Python 3 pickles bytes for 2."""

    def __new__(cls, text, encoding):
        return text.encode("latin1")


KINDS = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _Frombuffer,
    ("_codecs", "encode"): _Encoded,
}


def _array(asked):
    """The array of bytes that a pickle asks for."""
    shape, dtype, in_columns, content = asked.parts()
    if dtype.arguments[0] not in ("u1", b"u1"):
        raise ValueError(f"an array of {dtype.arguments[0]!r}")
    order = "F" if in_columns else "C"
    return np.frombuffer(content, "uint8").reshape(shape, order=order)


def _unpickled(path):
    """A pickled dictionary, with its keys as bytes."""
    try:
        file = io.BytesIO(path.read_bytes())
        content = _Unpickler(file, encoding="bytes").load()
        return {
            key.encode() if isinstance(key, str) else key: (
                _array(value) if isinstance(value, _Asked) else value
            )
            for key, value in content.items()
        }
    # What was seen of pickles that are cut short, damaged or of other things.
    except (
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:
        raise ValueError(
            f"{path} must be a pickled dictionary of arrays of bytes and of "
            f"lists, and nothing else. Received: {type(error).__name__}, "
            f"{error}."
        ) from error


def _text(name):
    """A name as a string: Python 2 pickled bytes."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name
