"""Where a model looked, in pixels, and whether that was the right place."""

import keras
import numpy as np
from keras import ops

from keras_warn import checks
from keras_warn.explanation import geometry
from keras_warn.explanation.intermediates import outputs_of
from keras_warn.layers import feature_maps

# Points this close to the strongest are as strong: what separates them is
# rounding, which differs from backend to backend.
TIE = 1e-5


def module_masks(model, intermediates, size) -> np.ndarray:
    """Where each module looked, at the resolution of the images.

    Each mask is put where its positions lie in the image:
    `keras_warn.explanation.geometry` follows the crops, padding and resizing
    in front of the map. It is interpolated bilinearly, and brought to a sum of
    1, so that coarse and fine, softmax and sigmoid masks weigh alike. The head
    gates weigh them, and the module's global gate weighs their sum.

    Args:
        model: A model made by `keras_warn.augment`.
        intermediates: The outputs of `keras_warn.inspect(model)`, as tensors
            or NumPy arrays. Without gates (`gates="linear"`) all heads, and
            all modules and the backbone, weigh the same.
        size: Height and width of the images, a pair of integers.

    Returns:
        A NumPy array `(b, m, height, width)`, from module 1 on. Module `i` of
        an image sums to its global gate: its share in the prediction.

    Raises:
        ValueError: if it is not known where in the image the positions of a
            mask lie, as behind layers that change their number in a way of
            their own; or if an argument is out of its range.

    Example:

    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=2, width=3)
    >>> intermediates = keras_warn.inspect(model)(ops.zeros((1, 96, 96, 3)))
    >>> module_masks(model, intermediates, (96, 96)).shape
    (1, 2, 96, 96)
    """
    size = checks.size("size", size)
    found = masks_of(intermediates, geometry.placements(model, size), size)
    return ops.convert_to_numpy(found)


def masks_of(intermediates, placements, size) -> keras.KerasTensor:
    """`module_masks` as a tensor, for use inside of a graph.

    Of `placements` as of `keras_warn.explanation.geometry`.
    """
    found = outputs_of(intermediates)
    why = geometry.why_unknown(placements)
    if why is not None:
        raise ValueError(
            "`model` must have layers of known geometry in front of its "
            f"attention, for masks in pixels. Received: {why}."
        )
    modules = []
    for outputs, placement in zip(found.modules, placements, strict=True):
        masks = head_masks(outputs.masks, placement, size)
        weights = _weights(outputs.head_gates, masks.shape[1])
        modules.append(ops.sum(masks * weights[:, :, None, None], axis=1))
    shares = _weights(found.global_gates, len(modules) + 1)
    return shares[:, 1:, None, None] * ops.stack(modules, axis=1)


def head_masks(masks, placement, size) -> keras.KerasTensor:
    """A module's masks in pixels `(b, k, height, width)`, each of the sum 1.

    Args:
        masks: As `keras_warn.inspect` returns them.
        placement: A `keras_warn.explanation.geometry.Placement`, where their
            positions lie.
        size: Height and width of the images, a pair.
    """
    masks = ops.cast(ops.convert_to_tensor(masks), "float32")
    first = 3 in placement.axes
    masks = feature_maps.heads_first(
        masks, "channels_first" if first else "channels_last"
    )
    masks = placement.interpolated(placement.as_grid(masks), size)
    totals = ops.sum(masks, axis=(2, 3), keepdims=True)
    # A sigmoid mask may be zero everywhere, and stays so.
    return ops.divide_no_nan(masks, totals)


def combined_mask(model, intermediates, size) -> np.ndarray:
    """Where the model looked, over all its modules and heads.

    The sum of `module_masks`: masks weighed as the predictions made from them
    are weighed.

    Returns:
        A NumPy array `(b, height, width)`. An image's sum is what its global
        gates leave to the modules; the rest is the backbone's own.

    Example:

    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=2, width=3)
    >>> intermediates = keras_warn.inspect(model)(ops.zeros((2, 96, 96, 3)))
    >>> combined_mask(model, intermediates, (96, 96)).shape
    (2, 96, 96)
    """
    return module_masks(model, intermediates, size).sum(axis=1)


def to_pixels(maps, placement, size) -> np.ndarray:
    """Spreads what was found at each position over the pixels of the image.

    Bilinear, like the interpolation of masks, but what a position has is
    divided among pixels and neither lost nor multiplied: a map keeps its sum.
    Tokens before those of the image, such as the class token, and positions
    that lie in padding have no place in the image and are omitted.

    Args:
        maps: Array `(b, h, w)`, or `(b, p)` of tokens; of any sign.
        placement: A `keras_warn.explanation.geometry.Placement`, where the map
            lies.
        size: Height and width of the images, a pair of integers.

    Returns:
        A NumPy array `(b, height, width)` of `float64`.

    Example:

    >>> import numpy as np
    >>> from keras_warn.explanation.geometry import Axis, Placement
    >>> from keras_warn.explanation.masks import to_pixels
    >>> maps = np.array([[[3.0, -1.0], [0.0, 0.0]]])
    >>> axis = Axis.of_image(96).strided(2, 48)
    >>> pixels = to_pixels(maps, Placement(axis, axis, (1, 2)), (96, 96))
    >>> float(pixels.sum().round(6))
    2.0
    """
    maps = np.asarray(maps, "float64")[:, None]
    rows = _spreading(placement.rows, size[0])
    columns = _spreading(placement.columns, size[1])
    # Two products for all images, and not two for each.
    spread = np.tensordot(placement.as_grid(maps, np)[:, 0], columns, (2, 1))
    return np.tensordot(rows, spread, (1, 1)).swapaxes(0, 1)


def _spreading(axis, pixels):
    """How each position is divided among pixels: `(pixels, length)`."""
    shares = axis.interpolation(pixels)
    totals = shares.sum(axis=0)
    return shares / np.where(totals == 0, 1, totals)


def pointing_accuracy(masks, boxes) -> float:
    """The share of images whose strongest point lies inside the box.

    Where several points of a mask are equally strong, the share of them that
    lie inside counts. A mask that is the same everywhere thus scores what
    random points do, see `random_baseline`.

    Args:
        masks: Array `(b, height, width)`, as from `combined_mask`.
        boxes: Integer array `(b, 4)`: top, left, bottom and right of what
            should be looked at, in pixels, bottom and right exclusive.

    Returns:
        A float in [0, 1].

    Example:

    >>> import numpy as np
    >>> masks = np.zeros((2, 4, 4))
    >>> masks[:, 1, 2] = 1.0
    >>> pointing_accuracy(masks, np.array([[0, 2, 2, 4], [0, 0, 2, 2]]))
    0.5

    Reference:
        Zhang et al., "Top-down neural attention by excitation backprop",
        ECCV 2016 (the pointing game)
    """
    masks = ops.convert_to_numpy(masks)
    boxes = _boxes(boxes, masks.shape[1:])
    if len(boxes) != len(masks):
        raise ValueError(
            f"`boxes` must have a row for each of the {len(masks)} masks. "
            f"Received: {len(boxes)} rows."
        )
    highest = masks.max(axis=(1, 2), keepdims=True)
    peaks = masks >= highest - TIE * np.abs(highest)
    inside = peaks & _interiors(boxes, masks.shape[1:])
    return float(np.mean(inside.sum(axis=(1, 2)) / peaks.sum(axis=(1, 2))))


def random_baseline(boxes, size) -> float:
    """The pointing accuracy of random points: the mean area of the boxes.

    A low bar where the objects are large: for those near the middle, a model
    that always points to the middle scores higher. What of the score comes
    from following the image is what is lost when masks and boxes of
    *different* images are paired, `pointing_accuracy(np.roll(masks, 1, 0),
    boxes)`.

    Args:
        boxes: Integer array `(b, 4)`, as for `pointing_accuracy`.
        size: Height and width of the images, a pair of integers.

    Returns:
        A float in [0, 1].

    Example:

    >>> import numpy as np
    >>> random_baseline(np.array([[0, 0, 2, 2], [0, 0, 4, 4]]), (4, 4))
    0.625
    """
    size = checks.size("size", size)
    top, left, bottom, right = _boxes(boxes, size).T
    return float(np.mean((bottom - top) * (right - left)) / (size[0] * size[1]))


def _weights(gates, count):
    """Gates `(b, count)`, or equal weights `(1, count)` without."""
    if gates is None:
        return ops.full((1, count), 1 / count, "float32")
    return ops.cast(ops.convert_to_tensor(gates), "float32")


def _boxes(boxes, size):
    """`boxes` as an array of integers, inside images of `size`."""
    boxes = ops.convert_to_numpy(boxes).astype(np.int64, casting="same_kind")
    corners, ends = boxes[:, :2], boxes[:, 2:]
    fits = (0 <= corners) & (corners < ends) & (ends <= size)
    wrong = boxes[~fits.all(axis=1)]
    if len(wrong):
        raise ValueError(
            "`boxes` must have 0 <= top < bottom <= height and 0 <= left < "
            f"right <= width. Received: box {wrong[0].tolist()} in images of "
            f"{size[0]} by {size[1]}."
        )
    return boxes


def _interiors(boxes, size):
    """Which pixels lie inside: a boolean array `(b, height, width)`."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    top, left, bottom, right = boxes.T[:, :, None, None]
    return (
        (top <= rows) & (rows < bottom) & (left <= columns) & (columns < right)
    )
