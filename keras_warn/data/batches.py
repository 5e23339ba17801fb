"""Batches of images, made in parallel, and the same whenever they are made.

A batch is a function of the seed, the epoch, and its number in it: nothing is
carried from one to the next. So training resumes after a kill with exactly the
batches that it would have seen, and any number of processes can make them.
"""

import collections.abc
import contextlib
import functools
import os
from typing import TYPE_CHECKING

import numpy as np

from keras_warn import checks
from keras_warn.data.images import ImageError

if TYPE_CHECKING:
    import tensorflow as tf

# What random numbers of one seed are used for; never for two of these.
ORDER, VIEW, MIX = range(3)


def packed(*arrays) -> "np.ndarray | tf.Tensor | tuple":
    """Arrays as Keras takes them: a tuple of several, or one by itself."""
    return arrays if len(arrays) > 1 else arrays[0]


class Batches:
    """What kinds of batches have in common."""

    _error = None

    @contextlib.contextmanager
    def reading(self) -> collections.abc.Iterator:
        """A context that raises the `ImageError` that a batch has raised.

        TensorFlow, which makes batches in other threads, would raise an error
        of its own with a traceback in its message.
        """
        import tensorflow as tf

        self._error = None
        try:
            yield
        except (tf.errors.OpError, TypeError) as error:
            # A TypeError is what Keras 3.15 makes of it on JAX, where it has
            # taken away the optimizer's variables for the first step.
            if self._error is None:
                raise
            raise ImageError(
                f"{self._error} It could be read before: images must not "
                "change while a model is trained."
            ) from error

    def parallel(
        self, numbers, make, example, then=packed
    ) -> "tf.data.Dataset":
        """A data set of what `make` makes of numbers, in their order.

        Args:
            numbers: A `tf.data.Dataset` of integers.
            make: Function from an integer to a tuple of arrays.
            example: What it returns for one of them.
            then: Function of these arrays, as tensors, to what the data set
                has of them.
        """
        import tensorflow as tf

        def made(number):
            try:
                return make(int(number))
            except ImageError as error:
                self._error = self._error or error
                raise

        def load(number):
            arrays = tf.numpy_function(
                made, [number], [array.dtype for array in example]
            )
            for array, like in zip(arrays, example, strict=True):
                array.set_shape(like.shape)
            return then(*arrays)

        # Reading and resizing are C code, which leaves Python to other
        # threads.
        return numbers.map(
            load, num_parallel_calls=os.cpu_count(), deterministic=True
        ).prefetch(2)


class TrainingBatches(Batches):
    """Shuffled batches of what a transform makes of images, and one-hot labels.

    Every epoch has each image once, in an order of its own; a last batch
    that would be smaller is omitted.

    Args:
        images: An `ImageDataset`.
        transform: What the model sees of an image: a function of the image, a
            `PIL.Image.Image`, and a `numpy.random.Generator`, such as
            `RandomCrop(224, 256)`. All that it returns must have one shape.
        batch_size: Positive integer.
        seed: Non-negative integer.
        cropped: Whether images are cut to their `boxes` before.
        mix: `None`, or a function of a batch's images, its one-hot labels and
            a `numpy.random.Generator` that returns others, such as `Mix`.
        part: Index and number of the processes that share each batch: this
            one makes the `index`-th of `number` equal parts.

    Example:

    >>> import numpy as np
    >>> from keras_warn.data import ImageDataset, TrainingBatches, transforms
    >>> images = ImageDataset(
    ...     "gray", ["1", "2", "3"], [0, 1, 1], ("dark", "light"), splits={},
    ...     contents=np.zeros((3, 32, 32, 3), "uint8"),
    ... )
    >>> shifted = transforms.PadAndCrop(4)
    >>> batches = TrainingBatches(images, shifted, batch_size=2)
    >>> images, labels = batches.batch(epoch=0, step=0)
    >>> images.shape, labels.shape, len(batches)
    ((2, 32, 32, 3), (2, 2), 1)
    """

    def __init__(
        self,
        images,
        transform,
        batch_size,
        seed=0,
        cropped=False,
        mix=None,
        part=(0, 1),
    ):
        self.images = images
        self.transform = transform
        self.batch_size = checks.integer("batch_size", batch_size)
        self.seed = checks.integer("seed", seed, 0)
        self.cropped = checks.flag("cropped", cropped)
        self.mix = mix
        self.part = part
        if len(images) < batch_size:
            raise ValueError(
                "`batch_size` must be at most the number of images to train "
                f"with, {len(images)} of {images.name}. Received: "
                f"batch_size={batch_size}."
            )
        index, number = part
        if not 0 <= index < number:
            raise ValueError(
                "`part` must be an index from 0 and the number of processes, "
                f"which is larger. Received: part={part}."
            )
        if batch_size % number:
            raise ValueError(
                "`batch_size` must be divisible by the number of processes, "
                f"{number}. Received: batch_size={batch_size}."
            )
        size = batch_size // number
        self._rows = slice(index * size, (index + 1) * size)
        self._order = functools.lru_cache(maxsize=2)(self._make_order)

    def __len__(self):
        """Batches in an epoch."""
        return len(self.images) // self.batch_size

    def batch(self, epoch, step) -> tuple:
        """Makes a batch.

        Returns:
            Images, uint8 `(b, h, w, c)`, or float32 if they are mixed; and
            one-hot labels, float32 `(b, n)`.
        """
        chosen = self.indices(epoch, step)
        if self.mix is None:
            # Mixing needs all of a batch; otherwise only our part is made.
            chosen = chosen[self._rows]
        images = np.stack([self.see(epoch, int(i)) for i in chosen])
        labels = np.eye(len(self.images.names), dtype="float32")[
            self.images.labels[chosen]
        ]
        if self.mix is not None:
            random = np.random.default_rng((MIX, self.seed, epoch, step))
            images, labels = self.mix(images, labels, random)
            images, labels = images[self._rows], labels[self._rows]
        return images, labels

    def dataset(self, epoch=0, step=0) -> "tf.data.Dataset":
        """The batches of all epochs, as an endless `tf.data.Dataset`.

        It begins with batch `step` of an epoch, and works ahead, on all cores.
        For `model.fit` with `steps_per_epoch=len(batches)`. One epoch at a
        time would be worse: Keras 3.15 with TensorFlow counts a step too many
        where data come to an end without their number known before.
        """
        import tensorflow as tf

        return self.parallel(
            tf.data.Dataset.counter(epoch * len(self) + step),
            lambda number: self.batch(*divmod(number, len(self))),
            self.batch(epoch, step),
        )

    def _make_order(self, epoch):
        random = np.random.default_rng((ORDER, self.seed, epoch))
        return random.permutation(len(self.images))

    def indices(self, epoch, step) -> np.ndarray:
        """Which images a batch has, of all processes: `(b,)`."""
        return self._order(epoch)[step * self.batch_size :][: self.batch_size]

    def see(self, epoch, i) -> np.ndarray:
        """What the model sees of an image in an epoch."""
        random = np.random.default_rng((VIEW, self.seed, epoch, i))
        return self.transform(self.images.image(i, self.cropped), random)


class TestBatches(Batches):
    """All images in their order, for `predict`.

    All batches have the same size: the last is filled up by repeating its
    last image, so that no device of several is left without one. `predict`
    leaves these out.

    Args:
        images: An `ImageDataset`.
        transform: As of `TrainingBatches`, such as `CenterCrop(224, 256)`; its
            second argument is `None`.
        batch_size: Positive integer.
        cropped: Whether images are cut to their `boxes` before.

    Attributes:
        labels: int32 `(len(images),)`.
        classes: Integer, the number of classes.

    Example:

    >>> import numpy as np
    >>> from keras_warn.data import ImageDataset, TestBatches, transforms
    >>> images = ImageDataset(
    ...     "gray", ["1", "2", "3"], [0, 1, 1], ("dark", "light"), splits={},
    ...     contents=np.zeros((3, 32, 32, 3), "uint8"),
    ... )
    >>> batches = TestBatches(images, transforms.Identity(), batch_size=2)
    >>> len(batches), batches.batch(1).shape
    (2, (2, 32, 32, 3))
    """

    __test__ = False  # not for pytest, which looks for such names

    def __init__(self, images, transform, batch_size, cropped=False):
        self.images = images
        self.labels = images.labels
        self.classes = len(images.names)
        self.transform = transform
        self.batch_size = checks.integer("batch_size", batch_size)
        self.cropped = checks.flag("cropped", cropped)

    def __len__(self):
        return -(-len(self.images) // self.batch_size)

    def batch(self, step) -> tuple:
        """Makes a batch: uint8 `(b, h, w, c)`."""
        first = step * self.batch_size
        chosen = range(first, min(first + self.batch_size, len(self.images)))
        images = [self.see(0, i) for i in chosen]
        images += images[-1:] * (self.batch_size - len(images))
        return np.stack(images)

    def see(self, epoch, i) -> np.ndarray:
        """What the model sees of an image, the same in all epochs."""
        return self.transform(self.images.image(i, self.cropped), None)

    def __iter__(self):
        """Pairs of images and labels, as `keras_warn.report` takes them."""
        for step, images in enumerate(self.dataset.as_numpy_iterator()):
            first = step * self.batch_size
            labels = self.labels[first : first + self.batch_size]
            yield images[: len(labels)], labels

    @functools.cached_property
    def dataset(self) -> "tf.data.Dataset":
        """The batches as a `tf.data.Dataset` that works ahead."""
        import tensorflow as tf

        return self.parallel(
            tf.data.Dataset.range(len(self)),
            lambda step: (self.batch(step),),
            (self.batch(0),),
        )

    def predict(self, model) -> np.ndarray:
        """What a model says of each image, `(len(images), n)`."""
        with self.reading():
            found = model.predict(self.dataset, verbose=0)
        return found[: len(self.images)]


class ArrayBatches:
    """Images that are in memory, for `predict`, as `TestBatches`.

    Args:
        images: Array, as the model takes them, `(b, ...)`.
        labels: Integers `(b,)`.
        classes: Positive integer, the number of classes `n`.
        batch_size: Positive integer.

    Example:

    >>> import numpy as np
    >>> batches = ArrayBatches(np.zeros((5, 8, 8, 1)), np.arange(5) % 2, 2)
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((8, 8, 1)),
    ...         keras.layers.Flatten(),
    ...         keras.layers.Dense(2),
    ...     ]
    ... )
    >>> batches.predict(model).shape
    (5, 2)
    """

    def __init__(self, images, labels, classes, batch_size=500):
        self.images = images
        self.classes = checks.integer("classes", classes)
        self.labels = checks.class_ids("labels", labels, classes)
        self.batch_size = checks.integer("batch_size", batch_size)

    def predict(self, model) -> np.ndarray:
        """What a model says of each image, `(b, n)`."""
        size = min(self.batch_size, len(self.images))
        missing = -len(self.images) % size
        images = np.concatenate([self.images, self.images[:missing]])
        return model.predict(images, size, verbose=0)[: len(self.images)]


class Mix:
    """MixUp and CutMix of a batch, image by image.

    As `keras.layers.MixUp` and `keras.layers.CutMix` do it, drawn by NumPy:
    on PyTorch, Keras's layers set the seed of the whole process for a moment,
    which threads that make batches do to each other and to the training.

    Args:
        mixup: Number from 0, the `alpha` of `keras.layers.MixUp`, or 0 for
            none.
        cutmix: Number from 0 to 1, the `factor` of `keras.layers.CutMix`, or
            0 for none. With both, each batch gets one of them.

    Call arguments:
        images: `(b, h, w, c)`.
        labels: One-hot, `(b, n)`.
        random: `numpy.random.Generator`.

    Returns:
        Images and labels of the same shapes, float32.

    Example:

    >>> import numpy as np
    >>> images, labels = np.zeros((2, 4, 4, 3), "uint8"), np.eye(2)
    >>> _, labels = Mix(mixup=0.2)(images, labels, np.random.default_rng(0))
    >>> [round(float(sum(label)), 5) for label in labels]
    [1.0, 1.0]
    """

    def __init__(self, mixup=0.0, cutmix=0.0):
        self.mixup = checks.real("mixup", mixup)
        self.cutmix = checks.real("cutmix", cutmix, 0, 1)
        if not (mixup or cutmix):
            raise ValueError(
                "`mixup` or `cutmix` must be more than 0. Received: both are 0."
            )

    def __call__(self, images, labels, random):
        partner = random.permutation(len(images))
        cut = self.cutmix and (not self.mixup or random.random() < 0.5)
        # What Keras adds keeps the parameter of `beta` positive.
        alpha = random.uniform(0, self.cutmix) + 1e-6 if cut else self.mixup
        share = random.beta(alpha, alpha, len(images))
        if cut:
            height, width = images.shape[1:3]
            pasted = np.logical_and(
                _interval(height, share, random)[:, :, None],
                _interval(width, share, random)[:, None, :],
            )
            images = np.where(pasted[..., None], images[partner], images)
            # The box is of whole pixels.
            share = 1 - pasted.mean(axis=(1, 2))
        else:
            images = _blend(images, partner, share)
        labels = _blend(labels, partner, share)
        return images.astype("float32"), labels.astype("float32")


def _blend(x, partner, share):
    """What an array keeps of itself, and the rest from a partner's."""
    share = share.astype("float32").reshape(-1, *[1] * (x.ndim - 1))
    x = x.astype("float32")
    return share * x + (1 - share) * x[partner]


def _interval(length, share, random):
    """Rows, or columns, of boxes of the area `1 - share`: `(b, length)`."""
    cut = np.sqrt(1 - share) * length
    start = random.random(len(share)) * (length - cut)
    places = np.arange(length)
    return (places >= start[:, None]) & (places < (start + cut)[:, None])
