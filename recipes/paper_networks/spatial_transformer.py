"""Spatial transformers, which the paper compares attention with."""

import keras
from keras import ops

from keras_warn.layers.numerics import wide

# Of the row-major affine map (x, y, 1) -> (x, y).
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@keras.saving.register_keras_serializable(package="keras_warn")
class SpatialTransformer(keras.layers.Layer):
    """Looks at images through an affine map that it predicts for each.

    A linear map of what a localisation network found gives the six numbers of
    an affine map, which says for each place of the output where in the image
    to read:

    `theta = found @ kernel + bias`,
    `output(x, y) = images(theta @ (x, y, 1))`.

    Places run from -1 to 1 between the outer edges of the image, `x` to the
    right and `y` down. Between pixels, values are interpolated bilinearly;
    outside of the image they are zero. The kernel starts at zero and the bias
    at the identity, where the layer returns the images as they are.

    Input shape:
        `images`: `(b, h, w, c)`; and `found`, the last features of the
        localisation network: `(b, f)`. `b`, `h` and `w` may be unknown.

    Output shape:
        Same as the images, in the layer's compute dtype.

    Example:

    >>> import paper_networks
    >>> images = keras.random.uniform((2, 5, 7, 3))
    >>> found = keras.random.normal((2, 11))
    >>> same = paper_networks.SpatialTransformer()(images, found)
    >>> bool(ops.all(same == images))
    True

    Reference:
        [Jaderberg et al., 2015](https://arxiv.org/abs/1506.02025)
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def build(self, images_shape, found_shape):
        # Keras would round weights for a layer that does not cast its inputs.
        self.kernel = self.add_weight(
            shape=(found_shape[-1], 6),
            initializer="zeros",
            autocast=False,
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(6,),
            initializer=lambda shape, dtype: ops.array(_IDENTITY, dtype),
            autocast=False,
            name="bias",
        )

    def call(self, images, found):
        # Half precision would miss the pixel.
        dtype = wide(self.compute_dtype)
        images, found, kernel, bias = (
            ops.cast(x, dtype) for x in (images, found, self.kernel, self.bias)
        )
        theta = ops.matmul(found, kernel) + bias
        x, y = _places(theta, *ops.shape(images)[1:3])
        return ops.cast(_read(images, x, y), self.compute_dtype)

    def compute_output_spec(self, images, found):
        return keras.KerasTensor(images.shape, dtype=self.compute_dtype)


def _places(theta, height, width):
    """Where places of the output read, in pixels: `x` and `y` `(b, h, w)`."""
    half_h, half_w = (ops.cast(n, theta.dtype) / 2 for n in (height, width))
    middle_x, middle_y = half_w - 0.5, half_h - 0.5
    # In pixels from the middle the identity is exact.
    x = ops.cast(ops.arange(width), theta.dtype) - middle_x
    y = ops.cast(ops.arange(height), theta.dtype)[:, None] - middle_y
    xx, xy, x1, yx, yy, y1 = (theta[:, i, None, None] for i in range(6))
    return (
        xx * x + xy * y * (half_w / half_h) + x1 * half_w + middle_x,
        yx * x * (half_h / half_w) + yy * y + y1 * half_h + middle_y,
    )


def _read(images, x, y):
    """Images `(b, h, w, c)` at the places `x` and `y`, between four pixels."""
    batch, height, width, channels = ops.shape(images)
    # A rim of zeros, on which all places outside come to lie.
    pixels = ops.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
    pixels = ops.reshape(pixels, (-1, channels))
    left, right_share = _between(x, width)
    top, lower_share = _between(y, height)
    row = width + 2
    image = ops.arange(batch)[:, None, None] * (height + 2)
    first = (image + top + 1) * row + left + 1

    def across(upper_left):
        left, right = (
            ops.take(pixels, upper_left + step, axis=0) for step in (0, 1)
        )
        return left + right_share * (right - left)

    upper, lower = across(first), across(first + row)
    return upper + lower_share * (lower - upper)


def _between(places, length):
    """The pixels before places, as integers, and the next pixels' shares."""
    places = ops.clip(places, -1, ops.cast(length, places.dtype))
    before = ops.clip(ops.cast(ops.floor(places), "int32"), -1, length - 1)
    return before, (places - ops.cast(before, places.dtype))[..., None]
