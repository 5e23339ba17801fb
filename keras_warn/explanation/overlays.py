"""Images, and what a model saw in them drawn over, as arrays of bytes."""

import typing

import numpy as np
from keras import ops

from keras_warn import checks

# What is left of the image's brightness outside of a mask, and the light that
# the strongest point of a mask adds: orange, so that white stays brighter.
DIMMED = 0.55
LIGHT = (0.75, 0.36, 0.0)

# What speaks for and what speaks against, told apart with any colour vision.
# The strongest point takes this much of its colour, and keeps the rest of the
# image: added light would turn white image and both colours alike to white.
FOR, AGAINST = (1.0, 0.5, 0.0), (0.0, 0.45, 1.0)
TINT = 0.7

# Luma of Rec. 601.
LUMA = np.array((0.299, 0.587, 0.114))

# How far images may leave their range by rounding.
ROUNDING = 1e-3


class _Preparation(typing.NamedTuple):
    """What black and white become when images are made ready for a model."""

    black: float | np.ndarray  # or one for each channel
    white: float | np.ndarray
    blue_first: bool = False  # whether channels are blue, green, red


_PLAIN = (
    _Preparation(0.0, 1.0),
    _Preparation(-1.0, 1.0),
    _Preparation(0.0, 255.0),
)

# With statistics of ImageNet, as `preprocess_input` in `keras.applications`
# has them: "torch", red to blue, and "caffe", blue to red.
_MEAN = np.array((0.485, 0.456, 0.406), "float32")
_DEVIATION = np.array((0.229, 0.224, 0.225), "float32")
_TORCH = _Preparation(-_MEAN / _DEVIATION, (1 - _MEAN) / _DEVIATION)
_CAFFE_MEAN = np.array((103.939, 116.779, 123.68), "float32")
_CAFFE = _Preparation(-_CAFFE_MEAN, 255 - _CAFFE_MEAN, blue_first=True)

# Standardised images stay below this, bytes less their mean do not.
_DEVIATIONS = 10


def displayable(images, data_format=None) -> np.ndarray:
    """Images as a model takes them, as images.

    Which preparation the model wants is told from the values of all images
    together:

    - bytes (`uint8`) stay as they are;
    - numbers in [0, 1] are multiplied by 255;
    - numbers in [-1, 1] are shifted, then scaled;
    - numbers in [0, 255] are rounded;
    - numbers of three channels in the ranges that `preprocess_input` makes in
      `keras.applications` for ResNet50 and VGG (bytes less the means of
      ImageNet, blue first) or for DenseNet (standardised by mean and deviation
      of ImageNet) are taken for these, and come back in their true colours;
    - any others, such as otherwise standardised ones, are stretched: the
      smallest is black, the largest white.

    Args:
        images: Array or tensor `(b, height, width, c)`, or `(b, c, height,
            width)` channels first, with 1 or 3 channels.
        data_format: `"channels_last"` or `"channels_first"`, the images'.
            Defaults to `keras.config.image_data_format()`.

    Returns:
        A NumPy array of bytes, `(b, height, width, 3)`.

    Example:

    >>> images = ops.array([[[[-1.0], [0.0], [1.0]]]])
    >>> displayable(images, "channels_last")[0, 0, :, 0].tolist()
    [0, 128, 255]
    """
    data_format = checks.data_format(data_format)
    images = ops.convert_to_numpy(images)
    if images.ndim == 4 and data_format == "channels_first":
        images = images.transpose(0, 2, 3, 1)
    if (
        images.ndim != 4
        or images.shape[-1] not in (1, 3)
        or not all(images.shape)
    ):
        raise ValueError(
            "`images` must have shape (b, height, width, c), or (b, c, height, "
            "width) channels first, with 1 or 3 channels. Received: images of "
            f"shape {images.shape}, {data_format}."
        )
    if images.dtype != np.uint8:
        # bfloat16 has no NumPy arithmetic of its own.
        images = images.astype("float32")
        low, high = images.min(axis=(0, 1, 2)), images.max(axis=(0, 1, 2))
        black, white, blue_first = _preparation(low, high)
        images = _to_bytes((images - black) / (white - black))
        if blue_first:
            images = images[..., ::-1]
    return images if images.shape[-1] == 3 else np.repeat(images, 3, axis=-1)


def mask_overlay(images, masks) -> np.ndarray:
    """Images in grey, lit in orange where a mask is strong, dimmed elsewhere.

    The darkest point of a mask is its minimum, the brightest its maximum,
    however large its sum. A mask that is the same everywhere points nowhere,
    and so does one with NaNs.

    Args:
        images: Array of bytes `(b, height, width, 3)`, as from `displayable`.
        masks: Non-negative array `(b, height, width)`, such as one module's
            of `keras_warn.explanation.masks.module_masks`.

    Returns:
        An array of bytes `(b, height, width, 3)`.

    Example:

    >>> import numpy as np
    >>> white = np.full((1, 1, 2, 3), 255, "uint8")
    >>> mask_overlay(white, np.array([[[0.0, 0.1]]]))[0, 0].tolist()
    [[140, 140, 140], [255, 255, 255]]
    """
    brightness = _brightness(images)
    masks = ops.convert_to_numpy(masks).astype("float32")
    low = masks.min(axis=(1, 2), keepdims=True)
    strength = _shares(masks - low)[..., None]
    lit = DIMMED + (1 - DIMMED) * strength
    return _to_bytes(brightness[..., None] * lit + strength * LIGHT)


def attribution_overlay(images, attribution) -> np.ndarray:
    """Images in grey, orange where something speaks for, blue where against.

    The colours are as strong as the evidence, relative to the strongest of
    the image in either direction.

    Args:
        images: Array of bytes `(b, height, width, 3)`, as from `displayable`.
        attribution: Array `(b, height, width)`: evidence, positive where it
            speaks for the class in question.

    Returns:
        An array of bytes `(b, height, width, 3)`.

    Example:

    >>> import numpy as np
    >>> white = np.full((1, 1, 3, 3), 255, "uint8")
    >>> overlay = attribution_overlay(white, np.array([[[0.2, 0.0, -0.2]]]))
    >>> overlay[0, 0].tolist()
    [[255, 166, 77], [140, 140, 140], [77, 157, 255]]
    """
    brightness = _brightness(images)[..., None]
    attribution = ops.convert_to_numpy(attribution).astype("float32")
    strength = _shares(np.abs(attribution))[..., None]
    color = np.where(attribution[..., None] > 0, FOR, AGAINST)
    lit = brightness * (DIMMED + (1 - DIMMED) * strength)
    tint = TINT * strength
    return _to_bytes((1 - tint) * lit + tint * color)


def _preparation(low, high):
    """How images were prepared whose channels go from `low` to `high`."""
    likely = list(_PLAIN)
    if len(low) == 3:
        wide = max(-low.min(), high.max()) > _DEVIATIONS
        likely.append(_CAFFE if wide else _TORCH)
    for preparation in likely:
        black, white, _ = preparation
        if (black - ROUNDING <= low).all() and (high <= white + ROUNDING).all():
            return preparation
    low, high = float(low.min()), float(high.max())
    return _Preparation(low, high if high > low else low + 1)


def _brightness(images):
    """Brightness `(b, height, width)` of images, in [0, 1]."""
    if images.dtype != np.uint8:
        raise ValueError(
            "`images` must be bytes (uint8), as `displayable` makes them. "
            f"Received: {images.dtype}."
        )
    return images @ LUMA / 255


def _shares(values):
    """Non-negative `values` relative to the largest of their image."""
    highest = values.max(axis=(1, 2), keepdims=True)
    # Comparisons with NaN are false.
    return np.divide(
        values, highest, out=np.zeros_like(values), where=highest > 0
    )


def _to_bytes(pixels):
    """Numbers in [0, 1] as bytes."""
    return np.rint(np.clip(pixels, 0, 1) * 255).astype("uint8")
