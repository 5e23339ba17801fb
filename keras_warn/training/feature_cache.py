"""Outputs of frozen layers on disk: computed once, trained on many times."""

import dataclasses
import hashlib
import json
import os
import pathlib
import sys
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_warn import checks
from keras_warn import files
from keras_warn._version import __version__
from keras_warn.data.batches import Batches
from keras_warn.data.batches import TestBatches
from keras_warn.data.batches import packed
from keras_warn.data.image_dataset import contents_digest
from keras_warn.training import devices

if TYPE_CHECKING:
    import tensorflow as tf


class FeatureCache(Batches):
    """Batches of what frozen layers return, for the head of a split model.

    In place of the batches that it is made of: `fit` takes it to train the
    head, and as `validation`; `evaluate` takes it, too. Of `TrainingBatches`
    it stores the views of an image in the first `views` epochs, which later
    epochs repeat in turn. Order and labels are those of the batches.

    The arrays lie on disk, and may be larger than memory. Stopped or killed,
    the same call resumes. They are in a folder whose name is a digest of all
    that they depend on: the content of the images, `features` with its
    weights, the transform and the seed. Others never meet them.

    Args:
        features: The first of the two models that `keras_warn.split` returned
            with the head.
        batches: `TrainingBatches` without `mix`, or `TestBatches`.
        folder: Folder of all caches, made if it does not exist.
        views: Positive integer, how often to see each image; 1 for
            `TestBatches`.
        dtype: `"float16"` or `"float32"`, in which numbers are stored.
        limit: Number, how many GB (10^9 bytes) the arrays may take; or
            `None`, for what the disk has.
        verbose: 1 to say their size and show a progress bar, or 0.

    Attributes:
        digest: String that tells them from all others, and from what another
            version of this package would store.
        path: `pathlib.Path`, the folder of these arrays.
        nbytes: Integer, what they take on disk.
        arrays: List of read-only arrays `(views * b, ...)`, one view after
            the other.

    Raises:
        BlockingIOError: if another process writes the same arrays.
        OSError: if the disk has not the space, before anything is computed.
        TypeError: if an argument has the wrong type, or the transform is not
            a dataclass, whose fields say all that it does.
        ValueError: if the arrays would be larger than `limit`, an output of
            `features` is not finite in `dtype`; if the batches are mixed; or
            if an argument is out of its range.

    Example:

    >>> import tempfile
    >>> import numpy as np
    >>> from keras_warn.data import ImageDataset, TrainingBatches, transforms
    >>> images = ImageDataset(
    ...     "gray", ["1", "2", "3"], [0, 1, 1], ("dark", "light"), splits={},
    ...     contents=np.zeros((3, 32, 32, 3), "uint8"),
    ... )
    >>> inputs = keras.Input((32, 32, 3))
    >>> features = keras.Model(inputs, keras.layers.Conv2D(5, 8, 8)(inputs))
    >>> batches = TrainingBatches(images, transforms.PadAndCrop(4), 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = FeatureCache(features, batches, folder, 4, verbose=0)
    ...     maps, labels = cache.batch(epoch=0, step=0)
    >>> cache.nbytes, maps.shape, labels.shape
    (1920, (2, 4, 4, 5), (2, 2))
    """

    def __init__(
        self,
        features,
        batches,
        folder,
        views=1,
        dtype="float16",
        limit=20.0,
        verbose=1,
    ):
        self.batches = batches
        self.labels = batches.images.labels
        self.classes = len(batches.images.names)
        self.batch_size = batches.batch_size
        self.views = checks.integer("views", views)
        checks.one_of("dtype", dtype, ("float16", "float32"))
        if limit is not None:
            limit = checks.real("limit", limit)
        tested = isinstance(batches, TestBatches)
        if not tested and (batches.mix or batches.part != (0, 1)):
            raise ValueError(
                "`batches` must be without `mix`, which mixes images, and of "
                f"one process. Received: mix={batches.mix} and "
                f"part={batches.part}."
            )
        transform = batches.transform
        if not dataclasses.is_dataclass(transform):
            raise TypeError(
                "`batches` must have a transform that is a dataclass, to be "
                f"told from others. Received: {transform!r}."
            )
        shapes = [tuple(output.shape[1:]) for output in features.outputs]
        self._dtypes = [output.dtype for output in features.outputs]
        rows = views * len(self.labels)
        each = sum(int(np.prod(shape)) for shape in shapes)
        self.nbytes = rows * each * np.dtype(dtype).itemsize
        size = f"{self.nbytes / 1e9:.2f} GB"
        if limit is not None and self.nbytes > limit * 1e9:
            raise ValueError(
                "`limit` must be at least the size of the features. Received: "
                f"limit={limit:g} for {size}, of {len(self.labels)} images in "
                f"{views} views. Fewer `views` take less."
            )
        about = {
            "images": contents_digest(batches.images),
            "features": _digest(features),
            "transform": f"{type(transform).__module__} {transform!r}",
            "cropped": batches.cropped,
            "seed": None if tested else batches.seed,
            "views": views,
            "dtype": dtype,
            "backend": keras.backend.backend(),
            "keras_warn": __version__,
        }
        about = json.dumps(about, indent=1)
        self.digest = hashlib.sha256(about.encode()).hexdigest()[:16]
        self.path = pathlib.Path(folder) / self.digest
        self.path.mkdir(parents=True, exist_ok=True)
        names = [f"{i}.npy" for i in range(len(shapes))]
        if not (self.path / "about.json").exists():
            if verbose:
                print(f"Features of frozen layers: {size} in {self.path}")
            with files.locked(self.path):
                files.remove_unfinished(self.path)
                done = self._opened("done.npy", (rows,), "bool")
                arrays = [
                    self._opened(name, (rows, *shape), dtype)
                    for name, shape in zip(names, shapes, strict=True)
                ]
                self._write(features, arrays, done, verbose)
                # Written last: by this, the arrays are known as whole.
                with files.replacing(self.path / "about.json") as path:
                    path.write_text(about, "utf-8")
        self.arrays = [
            np.load(self.path / name, mmap_mode="r") for name in names
        ]

    def __len__(self):
        """Batches in an epoch."""
        return len(self.batches)

    def batch(self, epoch, step) -> tuple:
        """A batch: what `features` returns, and one-hot labels `(b, n)`."""
        chosen = self.batches.indices(epoch, step)
        labels = np.eye(self.classes, dtype="float32")[self.labels[chosen]]
        return self._read(epoch % self.views, chosen), labels

    def dataset(self, epoch=0, step=0) -> "tf.data.Dataset":
        """The batches of all epochs, as `TrainingBatches.dataset`."""
        import tensorflow as tf

        def flat(number):
            features, labels = self.batch(*divmod(number, len(self)))
            return (*keras.tree.flatten(features), labels)

        def cast(*arrays):
            *maps, labels = arrays
            # Here, once: in the head, each layer that reads a map would do it.
            pairs = zip(maps, self._dtypes, strict=True)
            return packed(*[tf.cast(*pair) for pair in pairs]), labels

        start = epoch * len(self) + step
        return self.parallel(
            tf.data.Dataset.counter(start), flat, flat(start), cast
        )

    def predict(self, model) -> np.ndarray:
        """What a head says of each image in its first view, `(b, n)`."""
        count = len(self.labels)
        found = [
            model.predict_on_batch(self._read(0, rows))
            for rows in _batched(np.arange(count), self.batch_size)
        ]
        return np.concatenate(found)[:count]

    def _read(self, view, chosen):
        rows = view * len(self.labels) + chosen
        # As they are stored: the head casts them, and half is read faster.
        return packed(*[_rows(array, rows) for array in self.arrays])

    def _write(self, features, arrays, done, verbose):
        """Computes the rows of arrays that are not done."""
        import tensorflow as tf

        todo = _batched(np.flatnonzero(~done), self.batch_size)
        if not todo:
            return
        if devices.jit_compile() is False:
            features.jit_compile = False
        count, source = len(self.labels), self.batches

        def images(number):
            pairs = (divmod(int(row), count) for row in todo[number])
            return (np.stack([source.see(*pair) for pair in pairs]),)

        # A log file gets a line each time: not too often.
        bar = keras.utils.Progbar(
            len(todo),
            verbose=verbose,
            interval=0.05 if sys.stdout.isatty() else 30.0,
            unit_name="batch",
        )
        dataset = source.parallel(
            tf.data.Dataset.range(len(todo)), images, images(0)
        )
        with source.reading():
            for rows, batch in zip(
                todo, dataset.as_numpy_iterator(), strict=True
            ):
                found = keras.tree.flatten(features.predict_on_batch(batch))
                for array, values in zip(arrays, found, strict=True):
                    with np.errstate(over="ignore"):  # found below
                        values = values.astype(array.dtype)
                    if not np.isfinite(values).all():
                        raise ValueError(
                            "`features` must return numbers that are finite "
                            f"in {array.dtype}. Received others, of images "
                            f"of {source.images.name}."
                        )
                    array[rows] = values
                    array.flush()
                # Last: rows count with all of their arrays.
                done[rows] = True
                done.flush()
                bar.add(1)

    def _opened(self, name, shape, dtype):
        """A file of an array, made with all its space if it is not there."""
        path = self.path / name
        if not path.exists():
            with files.replacing(path) as new:
                np.lib.format.open_memmap(new, "w+", dtype, shape).flush()
                if hasattr(os, "posix_fallocate"):
                    # A page that has no space when it is written to would
                    # end the process.
                    with open(new, "r+b") as file:
                        size = new.stat().st_size
                        os.posix_fallocate(file.fileno(), 0, size)
        return np.load(path, mmap_mode="r+")


def _rows(array, rows):
    """A copy of some rows of a memory map.

    They are read from its file: in new places of a map, the faults of pages
    would take several times as long.
    """
    copy = np.empty((len(rows), *array.shape[1:]), array.dtype)
    with open(array.filename, "rb", buffering=0) as file:
        for row, into in zip(rows, copy, strict=True):
            file.seek(array.offset + int(row) * into.nbytes)
            file.readinto(into)
    return copy


def _batched(rows, size):
    """Rows in batches of one size; the last repeats its last row."""
    return [
        rows[np.minimum(np.arange(first, first + size), len(rows) - 1)]
        for first in range(0, len(rows), size)
    ]


def _digest(model):
    """A digest of a model's layers, their order, and their weights."""
    digest = hashlib.sha256(model.to_json().encode())
    for value in model.get_weights():
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
