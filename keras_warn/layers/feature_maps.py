"""Feature maps as lists of positions, whichever way they are laid out.

The large feature map keeps its own layout. What is derived from it has one
entry a head, is small, and is handled as `(b, k, h, w)`: rows of one head are
then contiguous, which shifts and softmaxes over positions like.
"""

import keras
from keras import ops

from keras_warn import checks

LAYOUTS = "(b, h, w, c), (b, c, h, w) with `channels_first`, or (b, p, c)"


def channel_axis(shape, data_format) -> int:
    """The axis of the channels; tokens `(b, p, c)` always have them last."""
    first = len(shape) == 4 and data_format == "channels_first"
    return 1 if first else len(shape) - 1


def spatial_shape(shape, data_format) -> tuple:
    """`(h, w)` of a map, `(p,)` of tokens."""
    axis = channel_axis(shape, data_format)
    return tuple(shape[1:axis]) + tuple(shape[axis + 1 :])


def check(name, shape, kernel_size) -> None:
    """Checks the rank of a map, and that a wide kernel has a plane."""
    checks.rank(name, shape, (3, 4), LAYOUTS)
    if kernel_size > 1 and len(shape) == 3:
        raise ValueError(
            "`kernel_size` must be 1 on tokens, which have no neighbours in a "
            f"plane. Received: kernel_size={kernel_size}, {name} of shape "
            f"{tuple(shape)}."
        )


def flatten_positions(x, data_format) -> keras.KerasTensor:
    """Merges height and width: `(b, p, c)`, or `(b, c, p)` channels first."""
    if len(x.shape) == 3:
        return x
    shape = ops.shape(x)
    axis = channel_axis(shape, data_format)
    height, width = spatial_shape(shape, data_format)
    positions = height * width
    if axis == 1:
        return ops.reshape(x, (-1, shape[1], positions))
    return ops.reshape(x, (-1, positions, shape[3]))


def heads_first(masks, data_format) -> keras.KerasTensor:
    """Masks as `(b, k, h, w)`, or `(b, k, p)` of tokens."""
    if channel_axis(masks.shape, data_format) == 1:
        return masks
    axes = range(len(masks.shape))
    return ops.transpose(masks, (0, axes[-1], *axes[1:-1]))


def from_heads_first(masks, data_format) -> keras.KerasTensor:
    """The inverse of `heads_first`."""
    if channel_axis(masks.shape, data_format) == 1:
        return masks
    axes = range(len(masks.shape))
    return ops.transpose(masks, (0, *axes[2:], 1))


def offsets(kernel_size) -> list:
    """The offsets `(rows, columns)` of a square kernel, row by row."""
    reach = range(-(kernel_size // 2), kernel_size // 2 + 1)
    return [(rows, columns) for rows in reach for columns in reach]


def with_border(x, kernel_size) -> keras.KerasTensor:
    """A map `(b, k, h, w)` in zeros, as far as a kernel reaches beyond it."""
    reach = kernel_size // 2
    return ops.pad(x, [(0, 0), (0, 0), (reach, reach), (reach, reach)])


def shift(bordered, rows, columns, kernel_size) -> keras.KerasTensor:
    """The map whose entry at `(y, x)` is that at `(y + rows, x + columns)`.

    Args:
        bordered: The map as of `with_border`, once for all offsets: Keras
            takes longer to pad on PyTorch than the products here take.
        rows: Integer, one of the `offsets`.
        columns: Integer.
        kernel_size: As of `with_border`.

    Returns:
        Tensor `(b, k, h, w)`; zero where the entry lies outside of the map.
    """
    reach = kernel_size // 2
    inside = [slice(reach + n, n - reach or None) for n in (rows, columns)]
    return bordered[:, :, inside[0], inside[1]]
