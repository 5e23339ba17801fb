"""What a model sees of an image, in training and in testing.

A transform is called with a decoded image, a `PIL.Image.Image` of mode "RGB" or
"L", and a source of random numbers, and returns what the model gets: an array.
(Those of this file take arrays of bytes, too.) It is the paper's protocol:
images are brought to a shorter edge of 256 pixels, of which a random 224x224 is
cut in training, mirrored half of the time, and the middle in testing.
"""

import dataclasses

import numpy as np

from keras_warn import checks
from keras_warn.data import images


@dataclasses.dataclass(frozen=True)
class _Crop:
    """A square of an image."""

    size: int = 224
    resize_shorter_edge: int = 256

    def __post_init__(self):
        checks.integer("size", self.size)
        edge = self.resize_shorter_edge
        checks.integer("resize_shorter_edge", edge, self.size)

    def _square(self, image, down, across, mirrored=False):
        """The square whose corner is this share of the way that it can go."""
        image = images.as_pillow(image)
        # In pixels of the image, which is so cut and resized in one go.
        side = min(image.size) * self.size / self.resize_shorter_edge
        top, left = down * (image.height - side), across * (image.width - side)
        box = top, left, top + side, left + side
        return images.resample(image, box, (self.size, self.size), mirrored)


@dataclasses.dataclass(frozen=True)
class RandomCrop(_Crop):
    """A random square of an image, mirrored half of the time.

    Args:
        size: Positive integer, height and width of the square, in pixels.
        resize_shorter_edge: Integer of at least `size`, the length that the
            image's shorter edge is brought to before.

    Returns:
        uint8 `(size, size, c)`.

    Example:

    >>> import numpy as np
    >>> transform = RandomCrop(size=224, resize_shorter_edge=256)
    >>> image = np.zeros((300, 400, 3), "uint8")
    >>> transform(image, np.random.default_rng(0)).shape
    (224, 224, 3)
    """

    def __call__(self, image, random):
        down, across, mirrored = random.random(3)
        return self._square(image, down, across, mirrored < 0.5)


@dataclasses.dataclass(frozen=True)
class CenterCrop(_Crop):
    """The square in the middle of an image, otherwise as `RandomCrop`.

    Example:

    >>> import numpy as np
    >>> image = np.arange(16, dtype="uint8").reshape(4, 4, 1)
    >>> CenterCrop(size=2, resize_shorter_edge=4)(image)[..., 0].tolist()
    [[5, 6], [9, 10]]
    """

    def __call__(self, image, random=None):
        return self._square(image, 0.5, 0.5)


@dataclasses.dataclass(frozen=True)
class PadAndCrop:
    """An image moved by a few pixels, as small images such as CIFAR's are.

    The image is reflected at its edges to be `pad` pixels larger on each
    side, and a random part of its own size is cut out of that, mirrored half
    of the time.

    Args:
        pad: Positive integer, smaller than the image.

    Returns:
        uint8 `(height, width, c)`.

    Example:

    >>> import numpy as np
    >>> transform = PadAndCrop(pad=4)
    >>> image = np.zeros((32, 32, 3), "uint8")
    >>> transform(image, np.random.default_rng(0)).shape
    (32, 32, 3)
    """

    pad: int = 4

    def __post_init__(self):
        checks.integer("pad", self.pad)

    def __call__(self, image, random):
        image = images.as_array(image)
        height, width = image.shape[:2]
        wide = np.pad(image, [(self.pad,) * 2] * 2 + [(0, 0)], "reflect")
        top, left = random.integers(2 * self.pad + 1, size=2)
        moved = wide[top : top + height, left : left + width]
        return moved[:, ::-1] if random.random() < 0.5 else moved


@dataclasses.dataclass(frozen=True)
class Identity:
    """The image as it is, an array.

    Example:

    >>> import numpy as np
    >>> Identity()(np.zeros((32, 32, 3), "uint8")).shape
    (32, 32, 3)
    """

    def __call__(self, image, random=None):
        return images.as_array(image)
