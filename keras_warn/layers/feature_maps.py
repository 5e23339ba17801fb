"""Feature maps as lists of positions, whichever way they are laid out.

Only the large feature map keeps its own layout. Everything derived from it
has one entry a head and is small, and is handled as `(b, h, w, ...)`.
"""

from keras import ops

from keras_warn import checks

LAYOUTS = "(b, h, w, c), (b, c, h, w) with `channels_first`, or (b, p, c)"


def channel_axis(shape, data_format):
    """The axis of the channels; tokens `(b, p, c)` always have them last."""
    first = len(shape) == 4 and data_format == "channels_first"
    return 1 if first else len(shape) - 1


def spatial_shape(shape, data_format):
    """`(h, w)` of a map, `(p,)` of tokens."""
    axis = channel_axis(shape, data_format)
    return tuple(shape[1:axis]) + tuple(shape[axis + 1 :])


def check(name, shape, kernel_size):
    """Checks the rank of a map, and that a wide kernel has a plane."""
    checks.rank(name, shape, (3, 4), LAYOUTS)
    if kernel_size > 1 and len(shape) == 3:
        raise ValueError(
            "`kernel_size` must be 1 on tokens, which have no neighbours in a "
            f"plane. Received: kernel_size={kernel_size}, {name} of shape "
            f"{tuple(shape)}."
        )


def flatten_positions(x, data_format):
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


def to_channels_last(x, data_format):
    """Moves the channels of a small map to the end."""
    if channel_axis(x.shape, data_format) == 1:
        return ops.transpose(x, (0, 2, 3, 1))
    return x


def from_channels_last(x, data_format):
    """The inverse of `to_channels_last`."""
    if channel_axis(x.shape, data_format) == 1:
        return ops.transpose(x, (0, 3, 1, 2))
    return x


def offsets(kernel_size):
    """The offsets `(rows, columns)` of a square kernel, row by row."""
    reach = range(-(kernel_size // 2), kernel_size // 2 + 1)
    return [(rows, columns) for rows in reach for columns in reach]


def shift(x, rows, columns):
    """The map whose entry at `(y, x)` is that at `(y + rows, x + columns)`.

    Args:
        x: Tensor of shape `(b, h, w, k)`.
        rows: Integer.
        columns: Integer.

    Returns:
        Tensor of the same shape; zero where the entry lies outside of `x`.
    """
    if rows == columns == 0:
        return x
    padding = [(max(-n, 0), max(n, 0)) for n in (rows, columns)]
    inside = [slice(max(n, 0), min(n, 0) or None) for n in (rows, columns)]
    return ops.pad(x, [(0, 0), *padding, (0, 0)])[:, inside[0], inside[1]]
