"""Cluttered Translated MNIST: a digit somewhere among pieces of digits.

The canvases form one endless stream that a seed names. Canvas number `i` is
a function of `(images, labels, settings, seed, i)` alone, and epoch `e` of
`count` canvases is the part from `e * count`: clutter is fresh in every epoch,
and a run that was killed resumes with the canvases it would have seen.
"""

import collections.abc
import copy
import functools
import itertools
from typing import NamedTuple

import keras
import numpy as np

from keras_warn import checks
from keras_warn import files
from keras_warn.data import downloads

SIDE = 28

# A pixel brighter than this (of 255) is ink: the faint rim that smoothing
# leaves around a stroke does not widen a digit's box.
INK = 51

# What the random words of one seed are used for; never for two of these.
ORDER, PLACE, CLUTTER = range(3)

# Words set aside for a placement: five are needed at most, and Philox makes
# them in blocks of four.
WORDS = 8
BLOCKS = WORDS // 4


class Split(NamedTuple):
    """Digits on their own: `images (n, h, w)` uint8, `labels (n,)` int32."""

    images: np.ndarray
    labels: np.ndarray


class Digits(NamedTuple):
    """The three parts of a set of digits; no image is in two of them."""

    train: Split
    validation: Split
    test: Split


class Canvases(NamedTuple):
    """Cluttered digits.

    `images` are float32 in [0, 1], `(count, canvas, canvas, 1)`; `labels`
    int32, `(count,)`; `boxes` int32, `(count, 4)`: top, left, bottom, right
    of the digit's ink in pixels, bottom and right exclusive.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray


def load_digits(source="sklearn") -> Digits:
    """Loads handwritten digits, 28 by 28 pixels, in three fixed parts.

    Args:
        source: Where the digits come from. `"sklearn"`: the 1,797 real
            digits that scikit-learn brings along, enlarged from 8x8 to
            MNIST's geometry (1,197 for training, 200 for validation, 400
            for testing); works offline. `"mnist"`: MNIST through
            TensorFlow Datasets, downloaded at the first use. Or the path of
            an `.npz` file with `x_train`, `y_train`, `x_test` and `y_test`,
            as Keras publishes MNIST. Of the last two, a sixth of the
            training images (10,000 of MNIST's) is held out for validation.

    Returns:
        `Digits(train, validation, test)`, each a `Split(images, labels)`.

    Raises:
        ValueError: If `source` is none of these, or a file that cannot be
            read.
        ConnectionError: If MNIST is not on this machine and cannot be
            downloaded.
        ImportError: If the package that serves `source` is not installed.

    Example:

    >>> from keras_warn.data import load_digits
    >>> train, validation, test = load_digits()
    >>> train.images.shape, train.labels.shape
    ((1197, 28, 28), (1197,))

    Reference:

    - [MNIST](http://yann.lecun.com/exdb/mnist/)
    - [Optical recognition of handwritten digits](
        https://archive.ics.uci.edu/dataset/80)
    """
    if source == "sklearn":
        return _from_sklearn()
    if source == "mnist":
        x_train, y_train, x_test, y_test = _from_tfds()
    elif str(source).endswith(".npz"):
        x_train, y_train, x_test, y_test = _from_npz(source)
    else:
        raise ValueError(
            "`source` must be 'sklearn', 'mnist' or the path of an .npz "
            f"file. Received: source={source!r}."
        )
    split = _hold_out(x_train, y_train, len(y_train) // 6)
    return Digits(*split, Split(x_test, y_test.astype(np.int32)))


def cluttered(
    images,
    labels,
    count=None,
    *,
    start=0,
    distractors=8,
    canvas=40,
    patch=8,
    seed=0,
) -> Canvases:
    """Makes canvases `start` to `start + count` of a seed's endless stream.

    The rules are those of the mnist-cluttered generator. On a black canvas,
    every distractor is a patch cut anywhere out of any of `images`, and
    added anywhere; the sum is clamped to at most 1. Then one whole digit is
    added anywhere, and the sum clamped again. The digits take turns in
    random order: each is used once before any is used again.

    With the same seed, the distractors of a canvas are among those it has
    with a higher number of `distractors`, and its digit stays where it is,
    so that accuracies under more and more clutter are compared on the same
    digits.

    Args:
        images: The digits of one split, uint8, `(n, h, w)`. Patches are cut
            from them too.
        labels: Their classes, integers, `(n,)`.
        count: Number of canvases. Defaults to one of each digit.
        start: The first canvas' number in the stream.
        distractors: Number of distractors on each canvas.
        canvas: Height and width of a canvas.
        patch: Height and width of a distractor.
        seed: Names the stream. Give validation and test images a seed of
            their own, or canvas `i` is laid out alike in every split.

    Returns:
        `Canvases(images, labels, boxes)`. Ink, around which boxes are
        drawn, is whatever of the digit is brighter than a fifth of white.

    Example:

    >>> import numpy as np
    >>> from keras_warn.data import cluttered
    >>> digits = np.full((3, 28, 28), 255, "uint8")
    >>> canvases = cluttered(digits, np.arange(3), count=5)
    >>> canvases.images.shape, canvases.labels.shape, canvases.boxes.shape
    ((5, 40, 40, 1), (5,), (5, 4))

    Reference:

    - [mnist-cluttered](https://github.com/deepmind/mnist-cluttered)
    """
    _check_images(images)
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` must be {len(images)} integers, one an image. Received: "
            f"{labels.dtype} of shape {labels.shape}."
        )
    h, w = images.shape[1:]
    checks.integer("distractors", distractors, 0)
    checks.integer("canvas", canvas, max(h, w))
    checks.integer("patch", patch, 1, min(h, w))
    checks.integer("seed", seed, 0)
    count = len(images) if count is None else checks.integer("count", count)
    turns = _turns(seed, len(images), start, count)
    # Sums of bytes, exact in any order; divided once, at the end.
    sums = np.zeros((count, canvas, canvas), np.float32)
    cuts = np.lib.stride_tricks.sliding_window_view(
        images, (patch, patch), axis=(1, 2)
    )
    for index in range(distractors):
        words = _words(seed, CLUTTER, index, start, count)
        # The image, and top and left of the patch in it.
        chosen = tuple(map(_below, cuts.shape[:3], words.T))
        _add(sums, cuts[chosen], words[:, 3:])
    digits = images[turns]
    corners = _add(sums, digits, _words(seed, PLACE, 0, start, count))
    boxes = np.tile(corners, 2) + _boxes(digits)
    # Clamping the clutter before the digit is added, as the generator does,
    # would change nothing.
    np.minimum(sums, 255, out=sums)
    sums /= 255
    labels, boxes = labels[turns].astype(np.int32), boxes.astype(np.int32)
    return Canvases(sums[..., None], labels, boxes)


class ClutteredDigits(keras.utils.PyDataset):
    """Batches of cluttered digits, made as they are asked for.

    For `fit`, `evaluate` and `predict` on every backend. Canvases are
    cheaper to make than to store: 200,000 of them are 1.3 GB.

    Every epoch shows fresh clutter, which depends on the number of the epoch
    alone, so that `keras_warn.training.fit` resumes with what it would have
    seen. So does Keras's `fit` of `dataset(epoch)`; that of the object itself
    starts over in a new process. Leave out `workers`, by which batches of one
    epoch run into the next; `count` says how long an epoch is.

    Args:
        images: As of `cluttered`.
        labels: As of `cluttered`.
        batch_size: Number of canvases in a batch.
        count: Number of canvases in an epoch. Defaults to one of each digit.
        drop_remainder: Whether to leave out a last batch that is smaller.
        fresh: Whether every epoch has clutter of its own. `False` for
            validation and test, whose canvases should be the same each time.
        settings: `distractors`, `canvas`, `patch` and `seed` of `cluttered`.

    Example:

    >>> import numpy as np
    >>> from keras_warn.data import ClutteredDigits
    >>> digits = np.full((300, 28, 28), 255, "uint8")
    >>> dataset = ClutteredDigits(digits, np.arange(300) % 10, batch_size=64)
    >>> images, labels = dataset[0]
    >>> len(dataset), images.shape, labels.shape
    (5, (64, 40, 40, 1), (64,))

    Reference:

    - [Attend and Rectify](https://arxiv.org/abs/1807.07320), section 4.1
    """

    def __init__(
        self,
        images,
        labels,
        batch_size=128,
        count=None,
        *,
        drop_remainder=False,
        fresh=True,
        **settings,
    ):
        super().__init__()
        self._cluttered = functools.partial(
            cluttered, images, labels, **settings
        )
        self._cluttered(1)  # or an error, now
        self.batch_size = checks.integer("batch_size", batch_size)
        count = len(images) if count is None else count
        self.count = checks.integer("count", count)
        self.drop_remainder = drop_remainder
        self.fresh = fresh
        self._epoch = 0

    def __len__(self):
        if self.drop_remainder:
            return self.count // self.batch_size
        return -(-self.count // self.batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)  # by which iteration ends
        first = index * self.batch_size
        count = min(self.batch_size, self.count - first)
        start = self._epoch * self.count + first
        images, labels, _ = self._cluttered(count, start=start)
        return images, labels

    def dataset(self, epoch=0, step=0) -> collections.abc.Iterator:
        """The batches of all epochs, without an end, from one of an epoch on.

        For `model.fit` with `steps_per_epoch=len(dataset)`; the epoch that
        `set_epoch` sets does not count.
        """
        twin = copy.copy(self)
        for number in itertools.count(epoch * len(self) + step):
            epoch, step = divmod(number, len(self))
            twin.set_epoch(epoch)
            yield twin[step]

    def set_epoch(self, epoch) -> None:
        """Makes the batches those of an epoch; no-op unless `fresh`."""
        if self.fresh:
            self._epoch = epoch

    def on_epoch_end(self) -> None:
        # A fallback: Keras also calls it before the first epoch, and when it
        # has peeked at a batch to build a model.
        self.set_epoch(self._epoch + 1)


def _check_images(images):
    if images.dtype != np.uint8 or images.ndim != 3:
        raise ValueError(
            "`images` must be uint8 of shape (n, h, w). Received: "
            f"{images.dtype} of shape {images.shape}."
        )


def _add(sums, patches, words):
    """Adds one patch to every canvas, in place; returns its top and left."""
    size, canvas, _ = sums.shape
    h, w = patches.shape[1:]
    top = _below(canvas - h + 1, words[:, 0])
    left = _below(canvas - w + 1, words[:, 1])
    spots = np.lib.stride_tricks.sliding_window_view(
        sums, (h, w), axis=(1, 2), writeable=True
    )
    # One spot a canvas: no two of these windows share a pixel.
    spots[np.arange(size), top, left] += patches
    return np.stack([top, left], axis=1)


def _boxes(digits):
    """Where the ink of digits is: top, left, bottom and right, `(n, 4)`."""
    ink = digits > INK
    rows, columns = ink.any(axis=2), ink.any(axis=1)
    h, w = digits.shape[1:]
    # `argmax` finds the first True; it says 0 for a digit without any ink,
    # whose box is then the whole image.
    return np.stack(
        [
            rows.argmax(axis=1),
            columns.argmax(axis=1),
            h - rows[:, ::-1].argmax(axis=1),
            w - columns[:, ::-1].argmax(axis=1),
        ],
        axis=1,
    )


def _turns(seed, n, start, count):
    """Which of `n` digits stands on each of the canvases from `start`."""
    first, last = start // n, (start + count - 1) // n
    orders = [_order(seed, n, number) for number in range(first, last + 1)]
    return np.concatenate(orders)[start - first * n :][:count]


# Kept because the batches of one pass share it; two for a batch in between.
@functools.lru_cache(maxsize=4)
def _order(seed, n, number):
    """The order of `n` digits in pass `number` over them."""
    words = _words(seed, ORDER, number, 0, -(-n // WORDS))
    return np.argsort(words.ravel()[:n], kind="stable")


def _words(seed, purpose, lane, start, count):
    """Random words below 2**32, `WORDS` a row: rows from `start` of a lane.

    Of Philox, NumPy promises the raw words alone to stay the same in later
    versions, and any row can be computed alone.
    """
    key = np.random.SeedSequence(seed).generate_state(2, np.uint64)
    counter = np.array([start * BLOCKS, lane, purpose, 0], np.uint64)
    bits = np.random.Philox(key=key, counter=counter)
    return bits.random_raw((count, WORDS)) >> np.uint64(32)


def _below(n, words):
    """Uniform integers in [0, n), without a visible bias for small `n`."""
    return ((words * np.uint64(n)) >> np.uint64(32)).astype(np.intp)


def _hold_out(images, labels, size):
    """Two `Split`s: of `size` images, classes in proportion, after the rest."""
    # `RandomState` is frozen for good: the parts are the same everywhere.
    order = np.random.RandomState(0).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    # Evenly spaced: every class gives its share, to within one image.
    spaced = np.arange(size) * len(labels) // size
    held = np.zeros(len(labels), bool)
    held[by_class[spaced]] = True
    labels = labels.astype(np.int32)
    return [Split(images[one], labels[one]) for one in (~held, held)]


def _from_sklearn():
    """scikit-learn's digits in MNIST's geometry, in three parts."""
    try:
        from scipy import ndimage
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            "`source='sklearn'` needs the package scikit-learn: "
            "`pip install scikit-learn`."
        ) from error
    small, labels = datasets.load_digits(return_X_y=True)
    small = small.reshape(-1, 8, 8) / 16.0
    # As in MNIST, the digit fills the central 20x20 of 28x28 pixels. Cubic
    # splines overshoot a little at the edges of strokes: hence the clip.
    large = ndimage.zoom(
        small, (1, 2.5, 2.5), order=3, mode="grid-constant", grid_mode=True
    )
    images = np.zeros((len(large), SIDE, SIDE), np.uint8)
    images[:, 4:24, 4:24] = np.rint(np.clip(large, 0, 1) * 255)
    rest, test = _hold_out(images, labels, 400)
    return Digits(*_hold_out(*rest, 200), test)


def _from_tfds():
    """MNIST's four arrays from TensorFlow Datasets."""
    builder = downloads.prepared(
        "mnist", "Pass the path of an mnist.npz as `source`, or 'sklearn'."
    )
    import tensorflow_datasets as tfds

    arrays = []
    for name in ("train", "test"):
        # In one batch.
        part = tfds.as_numpy(builder.as_dataset(split=name, batch_size=-1))
        arrays += [part["image"][..., 0], part["label"]]
    return arrays


def _from_npz(path):
    """The four arrays of an .npz file."""
    try:
        arrays = files.read_arrays(path)
        for name in ("x_train", "x_test"):
            _check_images(arrays[name])
        names = ("x_train", "y_train", "x_test", "y_test")
        return [arrays[name] for name in names]
    except (KeyError, ValueError) as error:
        raise ValueError(
            "`source` must be an .npz file, and whole, with x_train, y_train, "
            f"x_test and y_test. Received: {path} ({error})."
        ) from error
