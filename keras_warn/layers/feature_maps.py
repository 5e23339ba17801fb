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
    """Checks the rank of a map, and that a wide kernel has a plane to lie on."""
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


def shifts(x, kernel_size):
    """Zero-padded copies of `x`, moved by each offset of a square kernel.

    Args:
        x: Tensor of shape `(b, h, w, ...)`.
        kernel_size: Odd integer `s`.

    Yields:
        For each offset `(i, j)` of the kernel, in row-major order, the tensor
        whose entry at `(y, x)` is that of `x` at `(y + i, x + j)`, both
        counted from the centre of the kernel. Same shape as `x`.
    """
    reach = kernel_size // 2
    padding = [(0, 0), (reach, reach), (reach, reach)]
    padded = ops.pad(x, padding + [(0, 0)] * (len(x.shape) - 3))
    for i in range(kernel_size):
        for j in range(kernel_size):
            rows = slice(i, i - kernel_size + 1 or None)
            columns = slice(j, j - kernel_size + 1 or None)
            yield padded[:, rows, columns]
