"""Where in the image the positions of a feature map lie.

A map is followed from the image through the layers in front of it. Crops,
padding and resizing move positions, strides widen them, and what works on each
position or channel leaves them where they are.

In front of the first stride this is exact. Convolutions and poolings keep the
middle of the map where it is: an even image has no middle pixel, so a stride
of 2 may as well begin at its first or second row, and which of them depends on
the layer. Behind five of these, positions could lie half a position further
left or right. That is omitted: fields of view are cut at the borders of the
image, and on average the middle is nearer to what positions really read.
"""

import dataclasses
import math
import operator
import weakref

import keras
import numpy as np
from keras import ops

from keras_warn import graph
from keras_warn.attention import attention_of
from keras_warn.layers import feature_maps

# A class token and up to eight registers stand before those of the image.
MOST_TOKENS_WITHOUT_PLACE = 9

# Lengths of images, to see what depends on them.
ANY = (1024, 1536)


@dataclasses.dataclass(frozen=True)
class Axis:
    """The positions of a map along one side of the image.

    Attributes:
        length: The number of positions.
        start: Where the first begins, in pixels from the image's border.
        step: How far it is from one to the next, in pixels.
        crop: Where the part of the image begins and ends that reaches the
            map, in pixels.
    """

    length: int
    start: float
    step: float
    crop: tuple

    @classmethod
    def of_image(cls, length) -> "Axis":
        return cls(length, 0.0, 1.0, (0.0, float(length)))

    @property
    def end(self) -> float:
        return self.start + self.length * self.step

    def padded(self, before, after) -> "Axis":
        """Axis with more positions at its ends; with fewer, if negative."""
        start = self.start - before * self.step
        if self.step != 1:
            # An odd row belongs to the next stride, as in MobileNetV2.
            odd = (before - after) % 2 * self.step / 2
            start += odd if before > after else -odd
        length = self.length + before + after
        axis = Axis(length, start, self.step, self.crop)
        first, last = self.crop
        if before < 0:
            first = max(first, start)
        if after < 0:
            last = min(last, axis.end)
        return dataclasses.replace(axis, crop=(first, last))

    def resized(self, length) -> "Axis":
        """Axis whose positions share the same part of the image."""
        step = self.step * self.length / length
        return dataclasses.replace(self, length=length, step=step)

    def strided(self, length, stride, rest=0) -> "Axis":
        """Axis behind a stride, without `rest` positions at its end."""
        step = self.step * stride
        middle = (self.start + self.end - rest * self.step) / 2
        return Axis(length, middle - length * step / 2, step, self.crop)

    def agrees(self, other) -> bool:
        """Whether both cover the same part, but for less than a position."""
        return (
            self.length == other.length
            and abs(self.start - other.start) < self.step
            and abs(self.end - other.end) < self.step
        )

    def interpolation(self, pixels, _=None) -> np.ndarray:
        """How much each pixel has of each position: `(pixels, length)`.

        Linear between the middles of two positions. From the outermost it
        reaches to the border of the crop, if that is less than a position
        away; pixels further out have nothing, and neither have positions that
        lie in padding alone.
        """
        starts = self.start + np.arange(self.length) * self.step
        first, last = self.crop
        inside = (starts + self.step > first + 1e-6) & (starts < last - 1e-6)
        middles = (starts + self.step / 2)[inside]
        at = (np.arange(pixels) + 0.5)[:, None]
        nearest = np.clip(at, middles[0], middles[-1])
        # Positions closer than pixels share them.
        shares = 1 - np.abs(nearest - middles) / max(self.step, 1)
        shares = np.maximum(shares, 0)
        shares /= shares.sum(axis=1, keepdims=True)
        start, end = starts[inside][0], starts[inside][-1] + self.step
        first = first if start - first < self.step else start
        last = last if last - end < self.step else end
        found = np.zeros((pixels, self.length))
        found[:, inside] = shares * ((at >= first) & (at <= last))
        return found


@dataclasses.dataclass(frozen=True)
class OpenAxis:
    """An `Axis` of images of any length, none of which is cropped away.

    Attributes:
        step: How far it is from one position to the next, in pixels. `None`
            if positions share the whole image, however large.
        shift: How far the middle of the map is behind that of the image.
    """

    step: float | None
    shift: float

    @classmethod
    def of(cls, axes, lengths) -> "OpenAxis":
        """What two axes in images of these lengths have in common, or `None`.

        Patches beside each other leave out less than a patch of the image,
        which depends on its length. That is not followed.
        """
        first, second = axes
        if any(
            axis.crop != (0, length)
            for axis, length in zip(axes, lengths, strict=True)
        ):
            return None
        if first.step == second.step:
            shift = (first.start + first.end - lengths[0]) / 2
            return cls(first.step, shift)
        whole = all(
            abs(axis.start) < axis.step / 2
            and abs(axis.end - length) < axis.step / 2
            for axis, length in zip(axes, lengths, strict=True)
        )
        return cls(None, 0.0) if whole else None

    def interpolation(self, pixels, length) -> keras.KerasTensor:
        """As of `Axis`, of numbers that are known when a graph runs."""
        pixels, length = (ops.cast(n, "float32") for n in (pixels, length))
        step = pixels / length if self.step is None else self.step
        start = pixels / 2 + self.shift - length * step / 2
        end = start + length * step
        # Those between the first and the last that is not in padding alone.
        first = ops.maximum(ops.floor(-start / step + 1e-6), 0.0)
        last = ops.maximum(ops.floor((end - pixels) / step + 1e-6), 0.0)
        middles = ops.arange(pixels) + 0.5
        at = (middles - start) / step - 0.5
        at = ops.clip(at, first, length - 1 - last)
        shares = ops.relu(1 - ops.abs(at[:, None] - ops.arange(length)))
        empty = (start >= step) & (middles < start)
        empty = empty | ((pixels - end >= step) & (middles > end))
        return ops.where(empty[:, None], 0.0, shares)


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where the positions of a map, or tokens, lie in the image.

    Attributes:
        rows: `Axis` from the top of the image to its bottom.
        columns: `Axis` from its left to its right.
        axes: Which axes of the map these are. Twice the same for tokens, row
            by row.
        before: The number of tokens before those of the image.
    """

    rows: Axis
    columns: Axis
    axes: tuple
    before: int = 0

    @property
    def lengths(self) -> tuple:
        return self.rows.length, self.columns.length

    @property
    def positions(self) -> int:
        return self.rows.length * self.columns.length

    @property
    def of_tokens(self) -> bool:
        return self.axes[0] == self.axes[1]

    def agrees(self, other) -> bool:
        return (
            (self.axes, self.before) == (other.axes, other.before)
            and self.rows.agrees(other.rows)
            and self.columns.agrees(other.columns)
        )

    def each(self, method, rows, columns) -> "Placement":
        """With `method` of each axis called with these arguments."""
        return dataclasses.replace(
            self,
            rows=getattr(self.rows, method)(*rows),
            columns=getattr(self.columns, method)(*columns),
        )

    def as_grid(self, maps, of=ops) -> keras.KerasTensor:
        """Maps or tokens as rows and columns: `(b, k, h, w)`.

        Args:
            maps: Tensor `(b, k, h, w)`, or `(b, k, p)` of tokens.
            of: `keras.ops`, or `numpy` for arrays.
        """
        if self.of_tokens:
            maps = maps[:, :, self.before : self.before + self.positions]
            return of.reshape(maps, (-1, maps.shape[1], *self.lengths))
        if self.axes[0] > self.axes[1]:
            return of.swapaxes(maps, 2, 3)
        return maps

    def interpolated(self, maps, size) -> keras.KerasTensor:
        """Maps `(b, k, h, w)`, as of `as_grid`, as `(b, k, *size)`."""
        _, _, height, width = ops.shape(maps)
        rows = self.rows.interpolation(size[0], height)
        columns = self.columns.interpolation(size[1], width)
        rows, columns = (ops.cast(x, "float32") for x in (rows, columns))
        # Products of matrices are the same in all formats of exported models:
        # tf2onnx 1.17 makes of a resizing one to scales, which miss the size
        # by a pixel.
        return ops.matmul(ops.matmul(rows, maps), ops.transpose(columns))


@dataclasses.dataclass(frozen=True)
class Unknown:
    """That it is not known where positions lie, and why.

    Attributes:
        because: What is to blame, in words.
        placement: The last `Placement` that was known, or `None`.
        elements: The number of elements of that map for one image.
    """

    because: str
    placement: Placement | None = None
    elements: int = 0


def placements(model, size) -> list:
    """Where the maps of all modules lie in the image.

    Args:
        model: A model made by `keras_warn.augment`.
        size: Height and width of the images, a pair of integers.

    Returns:
        A list with, for each module, a `Placement`, or `Unknown` where a layer
        in front moves positions in a way that is not known: one that changes
        their number, and that is none of Keras's convolutions, poolings,
        crops, paddings, resizings and reshapings.

    Example:

    >>> from keras_warn.explanation import geometry
    >>> inputs = keras.Input((64, 64, 3))
    >>> x = keras.layers.CenterCrop(32, 32)(inputs)
    >>> x = keras.layers.Conv2D(4, 3, 2, "same", activation="relu")(x)
    >>> model = keras_warn.augment(keras.Model(inputs, x), 5, depth=1, width=2)
    >>> (placement,) = geometry.placements(model, (64, 64))
    >>> placement.rows.start, placement.rows.step, placement.rows.length
    (16.0, 2.0, 16)
    """
    found = _FOUND.setdefault(model, {})
    size = tuple(size)
    if size not in found:
        found[size] = _placements(model, size)
    return [*found[size]]


# Following a map takes as long as some images, and a model keeps its layers.
_FOUND = weakref.WeakKeyDictionary()


def _placements(model, size):
    network = graph.Graph(model)
    axes = (2, 3) if network.data_format == "channels_first" else (1, 2)
    shapes = _shapes(network, size, axes)
    found = {}
    for tensor in model.inputs:
        shape = shapes[id(tensor)]
        if len(shape) == 4 and (shape[axes[0]], shape[axes[1]]) == size:
            found[id(tensor)] = Placement(*map(Axis.of_image, size), axes)
        else:
            found[id(tensor)] = Unknown(f"the input {tensor.name!r}")
    for call in network.calls:
        given = [(found[id(x)], shapes[id(x)]) for x in call.inputs]
        for tensor in call.outputs:
            if id(tensor) not in found:
                found[id(tensor)] = _follow(call, given, shapes[id(tensor)])
    maps = []
    for module in attention_of(model).modules:
        tensor = module.features
        placement = found[id(tensor)]
        channels = feature_maps.channel_axis(
            tensor.shape, module.masks.data_format
        )
        if isinstance(placement, Placement) and channels in placement.axes:
            placement = _unknown(network.producer(tensor))
        maps.append(placement)
    return maps


def open_placements(model, size) -> list | None:
    """Where the maps of all modules lie in images whose size is open.

    Args:
        model: A model made by `keras_warn.augment`.
        size: Height and width of the images, `None` where any will do.

    Returns:
        As `placements`, with an `OpenAxis` for each side that is open; or
        `None`, if crops, resizing or tokens depend on the size.
    """
    # Once in portrait, once in landscape format.
    some = [
        placements(model, [size[0] or height, size[1] or width])
        for height, width in (ANY, ANY[::-1])
    ]
    if why_unknown(some[0]) is not None:
        return some[0]
    found = []
    for first, second in zip(*some, strict=True):
        if first.of_tokens:
            return None
        axes = [
            both[0] if length else OpenAxis.of(both, lengths)
            for length, lengths, *both in (
                (size[0], ANY, first.rows, second.rows),
                (size[1], ANY[::-1], first.columns, second.columns),
            )
        ]
        if None in axes:
            return None
        found.append(Placement(*axes, first.axes))
    return found


def why_unknown(found) -> str | None:
    """Which layer is to blame that maps have no place, or `None`.

    Args:
        found: What `placements` returns.
    """
    for i, placement in enumerate(found, start=1):
        if isinstance(placement, Unknown):
            return (
                f"where in the image the positions of module {i} lie is not "
                f"known behind {placement.because}"
            )
    return None


def _shapes(network, size, axes):
    """Shapes of all tensors for images of a size, by identity."""
    tensors = [tensor for call in network.calls for tensor in call.outputs]
    if all(None not in tensor.shape[1:] for tensor in network.model.inputs):
        return {id(tensor): tensor.shape for tensor in tensors}
    shapes = []
    for tensor in network.model.inputs:
        shape = list(tensor.shape)
        if len(shape) == 4:
            for axis, length in zip(axes, size, strict=True):
                shape[axis] = shape[axis] or length
        shapes.append(tuple(shape))
    return network.shapes(shapes)


def _unknown(call, placement=None, shape=()):
    operation = call.operation
    return Unknown(
        f"the layer {operation.name!r} ({type(operation).__name__})",
        placement,
        math.prod(shape[1:]),
    )


def _follow(call, given, shape):
    """Where what a call returns lies, from that and the shape of each input."""
    placed = [one for one in given if isinstance(one[0], Placement)]
    rule = _rule(call.operation)
    if not placed:
        return _patches(rule, [unknown for unknown, _ in given], shape)
    if rule in (None, _concatenated):  # which look at all that is read
        found = (rule or _kept)(call, placed, shape)
    else:
        found = rule(call, *placed[0], shape)
    return found or _unknown(call, *placed[0])


def _rule(operation):
    """What follows an operation, by the names of its class and its bases."""
    names = (kind.__name__ for kind in type(operation).__mro__)
    return next((_RULES[name] for name in names if name in _RULES), None)


def _kept(call, placed, shape):
    """Of what works on each position alone, or adds maps."""
    same = [
        placement
        for placement, given in placed
        if len(given) == len(shape)
        and all(given[axis] == shape[axis] for axis in placement.axes)
    ]
    if same and all(same[0].agrees(other) for other in same):
        return same[0]
    operation = call.operation
    of_others = not type(operation).__module__.startswith("keras.src.")
    of_others = of_others or isinstance(operation, keras.layers.Lambda)
    if not same and len(shape) == 3 and of_others:
        # Patches are embedded, or tokens are added.
        return _tokens(placed[0][0], shape[1])
    return None


def _tokens(placement, count):
    """Tokens that some layer makes of a map or of other tokens, or `None`."""
    if placement.axes == (1, 1):
        before = count - placement.positions
        if 0 <= before <= MOST_TOKENS_WITHOUT_PLACE:
            return dataclasses.replace(placement, before=before)
    grid = _grid(count, placement.lengths)
    if grid is None:
        return None
    rows, columns = grid
    patch = placement.rows.length // rows
    found = placement.each("strided", (rows, patch), (columns, patch))
    before = count - rows * columns
    return dataclasses.replace(found, axes=(1, 1), before=before)


def _grid(tokens, size):
    """Rows and columns of the smallest square patches that fit, or `None`."""
    height, width = size
    for patch in range(1, min(height, width) + 1):
        grid = height // patch, width // patch
        if height % patch == width % patch == 0 and (
            grid[0] * grid[1] <= tokens
        ):
            few = tokens - grid[0] * grid[1] <= MOST_TOKENS_WITHOUT_PLACE
            return grid if few else None
    return None


def _patches(rule, unknown, shape):
    """Patches that come from reshaping and transposing a map."""
    unknown = next((one for one in unknown if one.placement), unknown[0])
    if (
        unknown.placement
        and len(shape) == 3
        and rule is _reshaped
        and math.prod(shape[1:]) == unknown.elements
    ):
        return _tokens(unknown.placement, shape[1]) or unknown
    return unknown


def _convolved(call, placement, given, shape):
    operation = call.operation
    names = ("pool_size", "kernel_size", "size")
    found = [getattr(operation, name, None) for name in names]
    # `ops.conv` is given its kernel.
    size = (
        next(filter(None, found), None)
        or (call.node.arguments.args[1].shape[:2])
    )
    sizes = _pair(size)
    strides = sizes if operation.strides is None else _pair(operation.strides)
    arguments = []
    for axis, size, stride in zip(placement.axes, sizes, strides, strict=True):
        rest = 0
        if operation.padding == "valid" and size <= stride:
            # Patches beside each other: what is left over is at the end.
            rest = max(0, given[axis] - shape[axis] * stride)
        arguments.append((shape[axis], stride, rest))
    return placement.each("strided", *arguments)


def _transposed_convolution(call, placement, given, shape):
    strides = _pair(call.operation.strides)
    pairs = zip(placement.axes, strides, strict=True)
    return placement.each("strided", *((shape[i], 1 / n) for i, n in pairs))


def _padded(call, placement, given, shape):
    widths = getattr(call.operation, "padding", None)
    if widths is None:  # `ops.pad`
        widths = [call.operation.pad_width[axis] for axis in placement.axes]
        if placement.of_tokens:
            return _shifted(placement, widths[0][0])
    return placement.each("padded", *widths)


def _cropped(call, placement, given, shape):
    widths = [(-before, -after) for before, after in call.operation.cropping]
    return placement.each("padded", *widths)


def _sliced(call, placement, given, shape):
    arguments = call.node.arguments
    key = arguments.kwargs.get("key") or arguments.args[-1]
    parts = key if isinstance(key, tuple) else (key,)
    if not all(part is Ellipsis or isinstance(part, slice) for part in parts):
        return None
    widths = []
    for axis in placement.axes:
        # Numbers of the positions along this axis, cut as the map is.
        others = [i for i in range(len(given)) if i != axis]
        numbers = np.expand_dims(np.arange(given[axis]), others)
        left = np.broadcast_to(numbers, (1, *given[1:]))[key]
        left = np.moveaxis(left, axis, -1)[(0,) * len(others)]
        if not len(left) or (np.diff(left) != 1).any():
            return None
        start, stop = int(left[0]), int(left[-1]) + 1
        widths.append((-start, stop - given[axis]))
    if placement.of_tokens:
        if stop < placement.before + placement.positions:
            return None
        return _shifted(placement, -start)
    return placement.each("padded", *widths)


def _shifted(placement, before):
    """Tokens with more or fewer before them, or `None` if some are lost."""
    before += placement.before
    if before < 0:
        return None
    return dataclasses.replace(placement, before=before)


def _concatenated(call, placed, shape):
    operation, (placement, given) = call.operation, placed[0]
    if operation.axis % len(given) not in placement.axes:
        return _kept(call, placed, shape)
    if not placement.of_tokens or len(placed) > 1:
        return None
    # Class tokens and the like, before the image's or after them.
    more = 0
    for tensor in call.inputs:
        if tensor.shape[1:] == tuple(given[1:]):
            break
        more += tensor.shape[placement.axes[0]]
    return _shifted(placement, more)


def _center_cropped(call, placement, given, shape):
    goal = call.operation.height, call.operation.width
    if any(map(operator.lt, placement.lengths, goal)):
        return _fitted(placement, goal, crop=True)  # enlarged and cropped
    return _centered(placement, goal)


def _resized(call, placement, given, shape):
    return _fitted(
        placement,
        [shape[axis] for axis in placement.axes],
        crop=getattr(call.operation, "crop_to_aspect_ratio", False),
        pad=getattr(call.operation, "pad_to_aspect_ratio", False),
    )


def _fitted(placement, target, crop=False, pad=False):
    """Resized, and cropped or padded before to the shape of `target`."""
    height, width = placement.lengths
    goal = width * target[0] // target[1], height * target[1] // target[0]
    if crop:
        goal = max(min(height, goal[0]), 1), max(min(width, goal[1]), 1)
        placement = _centered(placement, goal)
    elif pad:
        goal = max(height, goal[0]), max(width, goal[1])
        placement = _centered(placement, goal)
    return placement.each("resized", (target[0],), (target[1],))


def _centered(placement, goal):
    """Cropped or padded to these lengths, about its middle."""
    more = map(operator.sub, goal, placement.lengths)
    return placement.each(
        "padded", *((int(n / 2), n - int(n / 2)) for n in more)
    )


def _transposed(call, placement, given, shape):
    # Lengths that tell the axes apart.
    lengths = (2, 3, 5, 7, 11, 13)[: len(given)]
    spec = call.operation.compute_output_spec(keras.KerasTensor(lengths))
    axes = tuple(spec.shape.index(lengths[axis]) for axis in placement.axes)
    return dataclasses.replace(placement, axes=axes)


def _reshaped(call, placement, given, shape):
    rows, columns = placement.axes
    if placement.of_tokens and placement.positions == given[rows]:
        if len(shape) == 4 and shape[rows : rows + 2] == placement.lengths:
            return dataclasses.replace(placement, axes=(rows, rows + 1))
    elif columns == rows + 1 and len(shape) == 3:
        if shape[rows] == placement.positions:
            return dataclasses.replace(placement, axes=(rows, rows))
    return placement if tuple(shape) == tuple(given) else None


def _pipeline(call, placement, given, shape):
    """Layers one after the other, in one layer."""
    for layer in call.operation.layers:
        inner = graph.Call(layer, (), (), None)
        after = layer.compute_output_shape(given)
        placement = _follow(inner, [(placement, given)], after)
        given = after
    return placement if isinstance(placement, Placement) else None


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


# How layers, and operations of `keras.ops`, move what they read.
_RULES = {
    name: rule
    for rule, names in (
        (
            _convolved,
            "Conv2D DepthwiseConv2D SeparableConv2D MaxPooling2D "
            "AveragePooling2D Conv DepthwiseConv SeparableConv MaxPool "
            "AveragePool ExtractPatches",
        ),
        (_transposed_convolution, "Conv2DTranspose ConvTranspose"),
        (_padded, "ZeroPadding2D Pad"),
        (_cropped, "Cropping2D"),
        (_sliced, "GetItem"),
        (_center_cropped, "CenterCrop"),
        (_resized, "Resizing UpSampling2D Resize"),
        (_transposed, "Permute Transpose Swapaxes Moveaxis"),
        (_reshaped, "Reshape"),
        (_concatenated, "Concatenate"),
        (_pipeline, "Pipeline"),
        (
            # The shape of a map stays, but not the place of its positions.
            lambda *_: None,
            "AffineTransform ElasticTransform Flip MapCoordinates "
            "PerspectiveTransform Roll Rot90 ScaleAndTranslate Sort "
            "SpatialTransformer",
        ),
    )
    for name in names.split()
}
