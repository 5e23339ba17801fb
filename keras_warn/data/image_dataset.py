"""Which images a data set has, and what is known of them."""

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_warn import checks
from keras_warn.data import images
from keras_warn.data.stratified import held_out

if TYPE_CHECKING:
    import PIL.Image


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """Which `b` examples a data set has, and what is known of them.

    No image is opened before `read`, `problems` or `check` is called.
    Images that are listed and do not exist are found by them, too.

    Attributes:
        name: String, such as "Stanford Dogs".
        paths: Tuple of `b` `pathlib.Path`s. With `boxes`, an image may be
            there more than once. With `contents`, they are names alone.
        labels: int32 `(b,)`, classes from 0.
        names: Tuple of the `n` classes' names.
        splits: Dictionary from names, such as "train" and "test", to int64
            indices of examples. No example is in two of them.
        boxes: float32 `(b, 4)`, or `None`: top, left, bottom and right of
            what the example shows, in pixels of the image as it is stored,
            whatever its EXIF orientation. As published: a few may reach
            beyond it.
        groups: int64 `(b,)`, or `None`. Examples of the same number, such as
            crops of one photo, must stay together when data are split.
        skipped: Dictionary from reasons to the number of examples that the
            whole data set lists, or ought to, and that are not here.
        contents: `None`, or what the `b` images are where they are not in
            files: each the `bytes` of a file, or pixels, uint8 `(h, w, c)`
            with 1 or 3 channels. An array `(b, h, w, c)` stays one.
    """

    name: str
    paths: tuple
    labels: np.ndarray
    names: tuple
    splits: dict
    boxes: np.ndarray | None = None
    groups: np.ndarray | None = None
    skipped: dict = dataclasses.field(default_factory=dict)
    contents: np.ndarray | tuple | None = None

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        put("paths", tuple(map(Path, self.paths)))
        put("names", tuple(self.names))
        put("skipped", dict(self.skipped))
        splits = self.splits.items()
        put("splits", {k: _indices(k, one) for k, one in splits})
        for name, dtype, shape in (
            ("labels", "int32", (len(self),)),
            ("boxes", "float32", (len(self), 4)),
            ("groups", "int64", (len(self),)),
        ):
            value = getattr(self, name)
            if value is None:
                continue
            # Not of fractions, which it would cut.
            put(name, np.asarray(value).astype(dtype, casting="same_kind"))
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(
                    f"`{name}` must have shape {shape}, for {len(self)} paths. "
                    f"Received: shape {found}."
                )
        if self.contents is not None:
            put("contents", _contents(self.contents, len(self)))
        _check_range("labels", self.labels, len(self.names))
        if self.splits:
            indices = np.concatenate(list(self.splits.values()))
            _check_range("splits", indices, len(self))
            _check_distinct("splits", indices)

    def __len__(self):
        return len(self.paths)

    def split(self, *names) -> "ImageDataset":
        """The examples of one or several of the `splits`, in the same order."""
        indices = np.concatenate([self.splits[name] for name in names])
        return self.select(np.unique(indices))

    def select(self, indices) -> "ImageDataset":
        """Some of the examples.

        Args:
            indices: Integers, each once, or booleans `(b,)`.

        Returns:
            An `ImageDataset` of these examples, in this order. `names` and
            `skipped` stay as they are; `splits` without examples are gone.
        """
        indices = np.arange(len(self))[indices]
        _check_distinct("indices", indices)
        places = np.full(len(self), -1, "int64")
        places[indices] = np.arange(len(indices))
        splits = {
            name: np.sort(places[old][places[old] >= 0])
            for name, old in self.splits.items()
        }
        chosen = {"splits": {k: new for k, new in splits.items() if new.size}}
        for name in ("paths", "labels", "boxes", "groups", "contents"):
            values = getattr(self, name)
            if isinstance(values, np.ndarray):
                chosen[name] = values[indices]
            elif values is not None:
                chosen[name] = tuple(values[i] for i in indices)
        return dataclasses.replace(self, **chosen)

    def without(self, paths) -> "ImageDataset":
        """What is left without some of the images, such as those of `problems`.

        Args:
            paths: Paths of images, all in the attribute `paths`.

        Returns:
            An `ImageDataset`. Its `skipped` counts the examples that are gone,
            as "cannot be read".
        """
        paths = set(map(Path, paths))
        if unknown := paths.difference(self.paths):
            raise ValueError(
                f"`paths` must be of images of {self.name}. Received: "
                f"{min(unknown)}."
            )
        kept = [i for i, path in enumerate(self.paths) if path not in paths]
        skipped = collections.Counter(self.skipped)
        # Which leaves out what is zero.
        skipped += {"cannot be read": len(self) - len(kept)}
        return dataclasses.replace(self.select(kept), skipped=skipped)

    def hold_out(self, share, seed) -> tuple:
        """Splits the examples in two, to train and to validate with.

        Every class is split by the same share, and `groups` stay together
        where there are any; these may miss the share by some examples. Every
        class keeps examples to train with. What is held out depends on the
        seed, the classes and the names of the files alone: not on where they
        lie, on the machine, or on a library's version.

        Args:
            share: Number between 0 and 1, the part to validate with.
            seed: Non-negative integer.

        Returns:
            A pair of `ImageDataset`s: to train, and to validate with.

        Raises:
            ValueError: if one is out of its range, or a part would be empty,
                or there are test images among the examples: use the
                `split("train")` first.

        Example:

        >>> names = ("finch", "wren")
        >>> paths = [f"{i}.jpg" for i in range(20)]
        >>> birds = ImageDataset("birds", paths, [0, 1] * 10, names, splits={})
        >>> training, validation = birds.hold_out(0.2, seed=0)
        >>> training.labels.tolist().count(0), validation.labels.tolist()
        (8, [0, 0, 1, 1])
        """
        share = checks.real("share", share, 0, 1)
        seed = checks.integer("seed", seed, 0)
        if "test" in self.splits:
            raise ValueError(
                "`hold_out` must not see test images: call it on "
                "`split('train')`. Received: a data set with the splits "
                f"{', '.join(self.splits)}."
            )
        held = held_out(self, share, seed)
        if not held.any():
            raise ValueError(
                "`share` must leave examples to validate with. Received: "
                f"share={share} of {len(self)} examples of {self.name}"
                f"{'' if self.groups is None else ', in too few groups'}."
            )
        return self.select(~held), self.select(held)

    def image(self, i, cropped=False) -> "PIL.Image.Image":
        """Decodes an image.

        Args:
            i: Integer, the index of an example.
            cropped: Whether to cut out its box, rounded to whole pixels that
                hold all of it, as far as the image reaches. Boxes are those
                of the image as it is stored: its EXIF orientation is then
                not applied. Otherwise it is.

        Returns:
            A `PIL.Image.Image` of mode "RGB", as of `images.open_image`.

        Raises:
            ImportError: if Pillow is not installed.
            ValueError: if the image cannot be read, as of
                `images.open_image`, or its box shows nothing.
        """
        image = images.open_image(
            self._content(i), apply_exif=not cropped, name=self.paths[i]
        )
        if not cropped:
            return image
        size = image.height, image.width
        top, left, bottom, right = _whole(self.boxes[i], size, self.paths[i])
        return image.crop((left, top, right, bottom))

    def read(self, i, cropped=False) -> np.ndarray:
        """Reads an image, as `image` does, into an array.

        Returns:
            A NumPy array of bytes (uint8), `(height, width, channels)`.

        Example:

        >>> pixels = np.zeros((1, 7, 5, 3), "uint8")
        >>> dots = ImageDataset(
        ...     "dots", ["1"], [0], ["dot"], {}, [(2, 1, 4.5, 3)],
        ...     contents=pixels,
        ... )
        >>> dots.read(0).shape, dots.read(0, cropped=True).shape
        ((7, 5, 3), (3, 2, 3))
        """
        return images.as_array(self.image(i, cropped))

    def problems(self, workers=8, verbose=1) -> list:
        """Images that are missing or broken, or of which a box shows nothing.

        Reads all of them.

        Args:
            workers: Positive integer, the number of threads.
            verbose: 1 for a progress bar, or 0 for none.

        Returns:
            A list of pairs, a path and a reason, in the order of `paths`.
        """
        workers = checks.integer("workers", workers)
        images.import_pillow()
        # A log file gets a line each time: not too often.
        progress = keras.utils.Progbar(
            len(self), verbose=verbose, interval=1.0, unit_name="image"
        )
        found = {}
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            reasons = pool.map(self._problem, range(len(self)))
            for i, reason in enumerate(reasons):
                if reason:
                    found.setdefault(self.paths[i], reason)
                progress.update(i + 1)
        return list(found.items())

    def check(self, workers=8, verbose=1) -> None:
        """Raises an `ImageError` with all `problems`, if there are any."""
        found = self.problems(workers, verbose)
        if found:
            lines = "\n".join(f"  {path}: {reason}" for path, reason in found)
            error = images.ImageError(
                f"{len(found)} of the {len(set(self.paths))} images of "
                f"{self.name} cannot be used:\n{lines}"
            )
            # For callers in Python; commands have options of their own.
            error.add_note(
                "`without(path for path, _ in problems())` leaves them out."
            )
            raise error

    def _content(self, i):
        """The path, the bytes or the pixels of an image."""
        return self.paths[i] if self.contents is None else self.contents[i]

    def _problem(self, i):
        """Why an image cannot be used by an example, or ""."""
        content, path = self._content(i), self.paths[i]
        try:
            images.open_image(content, name=path)
            if self.boxes is not None:
                _whole(self.boxes[i], images.image_size(content, path), path)
        except images.ImageError as error:
            # The path stands beside the reason already.
            return str(error).removeprefix(f"{path}").strip()
        return ""


@functools.lru_cache(maxsize=1)
def contents_digest(dataset) -> str:
    """Tells data apart by every byte of their images, and by their boxes.

    Reads all files, once for all trainings of a process on the same data set.
    A file that cannot be read counts as empty: reading says so later.
    """
    contents = dataset.paths if dataset.contents is None else dataset.contents
    digest = hashlib.sha256()
    # Reading files and SHA-256 leave Python to other threads.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for one in pool.map(_image_digest, contents):
            digest.update(one)
    if dataset.boxes is not None:
        digest.update(dataset.boxes.tobytes())
    return digest.hexdigest()[:16]


def _image_digest(image):
    if not isinstance(image, Path):
        digest = hashlib.sha256(image)
        digest.update(f"{np.shape(image)}".encode())
        return digest.digest()
    try:
        with open(image, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return hashlib.sha256().digest()


def _indices(split, values):
    values = np.asarray(values)
    if values.size and values.dtype.kind not in "iu":
        raise TypeError(
            "`splits` must have integers, the indices of examples. Received: "
            f"{values.dtype} in {split!r}."
        )
    return values.astype("int64")


def _check_range(name, values, number):
    outside = values[(values < 0) | (values >= number)]
    if outside.size:
        raise ValueError(
            f"`{name}` must be from 0 to {number - 1}. Received: {outside[0]}."
        )


def _check_distinct(name, indices):
    values, times = np.unique(indices, return_counts=True)
    if (times > 1).any():
        raise ValueError(
            f"`{name}` must have every index once. Received: "
            f"{values[times > 1][0]} twice."
        )


def _contents(contents, length):
    """Contents of images, as an array or a tuple, if they are."""
    array = isinstance(contents, np.ndarray) and contents.dtype != object
    if not array:
        contents = tuple(contents)
    if len(contents) != length:
        raise ValueError(
            f"`contents` must be as many as the paths, {length}. Received: "
            f"{len(contents)}."
        )
    for one in contents[:1] if array else contents:
        if isinstance(one, bytes):
            continue
        pixels = one.dtype == np.uint8 and one.ndim == 3 and one.size
        if not pixels or one.shape[2] not in (1, 3):
            raise ValueError(
                "`contents` must be bytes of files, or uint8 (h, w, c) with 1 "
                f"or 3 channels. Received: one of shape {one.shape}, "
                f"{one.dtype}."
            )
    return contents


def _whole(box, size, path):
    """Whole pixels that hold a box, as far as the image at `path` reaches."""
    top, left, bottom, right = map(float, box)
    rows = max(math.floor(top), 0), min(math.ceil(bottom), size[0])
    columns = max(math.floor(left), 0), min(math.ceil(right), size[1])
    if rows[0] >= rows[1] or columns[0] >= columns[1]:
        raise images.ImageError(
            f"{path} of {size[0]} rows and {size[1]} columns, shows nothing in "
            f"its box: rows {top:g} to {bottom:g}, columns {left:g} to "
            f"{right:g}."
        )
    return rows[0], columns[0], rows[1], columns[1]
