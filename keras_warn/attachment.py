"""Where attention modules may read: the feature maps of a backbone.

A module should read a tensor that summarises the backbone so far and that the
backbone itself finds useful to read. Of all tensors these are kept:

1. **Cuts**, through which all data flows, such as the output of a residual
   block and not a tensor inside of it. Backbones whose cells read the two cells
   before them (NASNet) have no cuts at most resolutions; there, tensors count
   that merge several and together with one other cut the graph.
2. **Feature maps**: what comes after the first learned kernel and before the
   classifier, at more than one position. Padding, cropping, dropout and
   reshaping add nothing to the map they read, which is kept instead.
3. **The last at each resolution**, where the number of positions falls by a
   third or more. The few that a convolution without padding loses at the
   borders do not make a resolution.
4. **Activated, if possible.** If the last one at a resolution is a plain sum
   or a linear map (ResNetV2, DenseNet, MobileNetV2), it is replaced by its
   normalised and activated form, where a next block reads that at the same
   resolution, or else by the last activated one. So inverted residual
   networks (MobileNet, EfficientNet) are attended at the wide, activated maps
   and not at the narrow linear bottlenecks between them. Where nothing is
   activated, as in ConvNeXt and in transformers, the last one stays.
5. **And the widest in front of a head.** MobileNetV2 and EfficientNet end in a
   1x1 convolution that spreads a narrow map over many channels, and sees no
   more of the image than that. There the widest activated map before it is a
   point of its own: on held-out images of birds, a module there added more
   than one at a third resolution, with either backbone.
"""

import dataclasses
import difflib
import functools
import math
import numbers

import keras

from keras_warn import checks
from keras_warn import graph
from keras_warn._classifier import RECTIFIERS
from keras_warn._classifier import find_ending
from keras_warn.layers import feature_maps

DEFAULT_DEPTH = 3
# For networks of images of any size: large enough for the deepest to keep
# several positions, and a power of two, as are most strides.
_NOMINAL_SIZE = 256
# Below this share of the positions before, a map is at a new resolution.
_SHRINKAGE = 2 / 3

_POOLING = (
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
)
_INERT = (
    keras.layers.AlphaDropout,
    keras.layers.CenterCrop,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.InputLayer,
    keras.layers.Permute,
    keras.layers.Reshape,
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
)
_NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
)
# Operations of `keras.ops`, by the names of their classes.
_INERT_OPERATIONS = ("Pad", "Reshape", "Transpose", "Cast", "Identity")
_ACTIVATION_OPERATIONS = (
    "Elu Gelu HardSwish HardSilu LeakyRelu Relu Relu6 Selu Silu Sigmoid "
    "HardSigmoid Softplus Tanh"
).split()


@dataclasses.dataclass(frozen=True, eq=False)
class _Map:
    """A tensor that a module may read."""

    tensor: keras.KerasTensor
    positions: int  # at the nominal size
    cut: bool  # whether all data flows through it alone
    depth: int  # how many calls it takes to compute it


def attachment_points(model) -> list:
    """The feature maps that attention modules may read.

    Args:
        model: A built functional or Sequential `keras.Model` with one output.

    Returns:
        A list of `KerasTensor`s from shallow to deep, one for each spatial
        resolution, and one in front of a head: `(b, h, w, c)`, or
        `(b, c, h, w)` channels first. Tokens `(b, p, c)` stand for all feature
        maps with about as many positions.

    Example:

    >>> from keras_warn.attachment import attachment_points
    >>> backbone = keras.applications.MobileNetV2(
    ...     (96, 96, 3), alpha=0.35, include_top=False, weights=None
    ... )
    >>> [tuple(point.shape[1:]) for point in attachment_points(backbone)][-3:]
    [(6, 6, 192), (3, 3, 336), (3, 3, 1280)]
    """
    return _points(graph.read(model))


def _points(network):
    reading = _Reading(network)
    points = []
    for maps in _resolutions(reading.maps()):
        cuts = [found for found in maps if found.cut] or maps
        point = reading.best(cuts)
        # A decoder comes back to resolutions of its encoder.
        points = [p for p in points if not _close(p, point)] + [point]
    if points and reading.is_of_head(points[-1].tensor):
        wide = [m for m in cuts[:-1] if reading.is_activated(m.tensor)]
        points[-1:-1] = sorted(wide, key=reading.channels, reverse=True)[:1]
    return [point.tensor for point in points]


def resolve(network, attend_at=None, depth=None) -> list:
    """The tensors that modules will read, in the order of `attend_at`.

    Args:
        network: The `graph.Graph` of a model, as `graph.read` returns it.
        attend_at: A layer name, a negative index into the attachment points
            of the model (-1 is the deepest), a `KerasTensor` of it, or a
            list or tuple of these. Defaults to the `depth` deepest points,
            from shallow to deep.
        depth: Positive integer, the number of tensors. Defaults to 3, or to
            as many points as there are if they are fewer.
    """
    if depth is not None:
        depth = checks.integer("depth", depth)
    # Once, and only if they are asked for.
    points = functools.cache(lambda: _points(network))
    if attend_at is None:
        return _deepest(network, points(), depth)
    if not isinstance(attend_at, (list, tuple)):
        attend_at = [attend_at]
    if not attend_at or depth not in (None, len(attend_at)):
        raise ValueError(
            "`attend_at` must have an entry for each module, `depth` of them. "
            f"Received: attend_at={attend_at!r} and depth={depth}."
        )
    return [_resolve_one(network, points, entry) for entry in attend_at]


def _deepest(network, points, depth):
    if not points:
        raise ValueError(
            "`backbone` must have feature maps to attend to: of shape "
            "(b, h, w, c) or (b, p, c), at more than one position. Received: "
            f"the model {network.model.name!r}, which has none."
        )
    if depth is None:
        depth = min(DEFAULT_DEPTH, len(points))
    if depth > len(points):
        names = map(graph.producer_name, points)
        raise ValueError(
            f"`depth` must be at most {len(points)}, the number of attachment "
            f"points of the model {network.model.name!r}: "
            f"{', '.join(map(repr, names))}. For other feature maps, name "
            f"layers by `attend_at`. Received: depth={depth}."
        )
    return points[-depth:]


def _resolve_one(network, points, entry):
    """The tensor for one entry; `points` returns the attachment points."""
    if isinstance(entry, str):
        tensor = _named(network, entry)
    elif isinstance(entry, keras.KerasTensor):
        tensor = network.counterpart(entry)
        if tensor is None:
            raise ValueError(
                "`attend_at` must name tensors of the model "
                f"{network.model.name!r}. Received: attend_at={entry!r}, "
                "which is not in its graph, or is the output of a layer that "
                "it uses several times."
            )
    elif isinstance(entry, numbers.Integral) and not isinstance(entry, bool):
        count = len(points())
        if not -count <= entry < 0:
            raise ValueError(
                "`attend_at` must count attachment points from the deepest, "
                f"-1, to the shallowest, {-count}, of the model "
                f"{network.model.name!r}. Received: attend_at={entry}."
            )
        tensor = points()[entry]
    else:
        raise TypeError(
            "`attend_at` must be a layer name, a negative integer, a "
            "KerasTensor, or a list of these. Received: "
            f"attend_at={entry!r} (of type {type(entry).__name__})."
        )
    if len(tensor.shape) not in (3, 4):
        raise ValueError(
            "`attend_at` must name feature maps of shape (b, h, w, c), "
            "(b, c, h, w) or (b, p, c). Received: "
            f"attend_at={entry!r}, of shape {tuple(tensor.shape)}."
        )
    return tensor


def _named(network, name):
    """The output of the operation called `name`."""
    calls = network.calls_of(name)
    if not calls:
        names = [call.operation.name for call in network.calls]
        near = difflib.get_close_matches(name, names)
        advice = (
            "; did you mean " + " or ".join(map(repr, near)) if near else ""
        )
        raise ValueError(
            "`attend_at` must name layers of the model "
            f"{network.model.name!r}, in which nested models are replaced by "
            f"their layers. Received: attend_at={name!r}{advice}."
        )
    outputs = [output for call in calls for output in call.outputs]
    if len(outputs) > 1:
        raise ValueError(
            "`attend_at` must name a layer with one output; give the tensor "
            f"instead. Received: attend_at={name!r}, which has {len(outputs)}."
        )
    return outputs[0]


def _resolutions(maps):
    """Splits maps, in the order of the backbone, by resolution."""
    groups = []
    for found in maps:
        if groups and _close(groups[-1][-1], found):
            groups[-1].append(found)
        else:
            groups.append([found])
    return groups


def _close(one, other):
    """Whether two maps are at the same resolution."""
    few, many = sorted((one.positions, other.positions))
    return few > _SHRINKAGE * many


class _Reading:
    """What is asked of a backbone's graph to choose among its tensors."""

    def __init__(self, network):
        self.network = network
        self.data_format = network.data_format
        self.shapes = network.shapes(_NOMINAL_SIZE)
        self.separators = _separators(network)

    def maps(self):
        """All feature maps through which the backbone's data flows."""
        excluded = set()
        ending = find_ending(self.network)
        if ending is not None:
            # Class scores are not features, even where they form a map.
            excluded = {id(call) for call in [ending.head, *ending.tail]}
        learned = set()
        found = []
        for call in self.network.calls:
            if _is_learned(call.operation) or any(
                id(tensor) in learned for tensor in call.inputs
            ):
                learned.update(map(id, call.outputs))
            if id(call) in excluded or _is_inert(call.operation):
                continue
            for tensor in call.outputs:
                positions = self.positions(tensor)
                if (
                    positions > 1
                    and id(tensor) in learned
                    and id(tensor) in self.separators
                    # Not the attention weights that a block returns beside.
                    and self.network.is_read(tensor)
                ):
                    separator = self.separators[id(tensor)]
                    found.append(_Map(tensor, positions, *separator))
        # Branches may run in any order, but what reads a map is deeper.
        return sorted(found, key=lambda found: found.depth)

    def positions(self, tensor):
        """The number of positions of a map or of tokens, 0 for the rest."""
        shape = self.shapes[id(tensor)]
        if len(shape) not in (3, 4):
            return 0
        lengths = feature_maps.spatial_shape(shape, self.data_format)
        return math.prod(length or 0 for length in lengths)

    def channels(self, found):
        """The number of channels of a map."""
        shape = self.shapes[id(found.tensor)]
        return shape[feature_maps.channel_axis(shape, self.data_format)]

    def is_of_head(self, tensor):
        """Whether a map is a 1x1 convolution's of a narrower one, activated."""
        call = self.network.producer(tensor)
        while len(call.inputs) == 1 and not _is_learned(call.operation):
            call = self.network.producer(call.inputs[0])
        kernel = getattr(call.operation, "kernel", None)
        return (
            isinstance(call.operation, keras.layers.Conv2D)
            and tuple(kernel.shape[:2]) == (1, 1)
            and kernel.shape[2] < kernel.shape[3]
        )

    def best(self, maps):
        """The one among the maps at a resolution that a module reads."""
        last = maps[-1]
        if self.is_activated(last.tensor):
            return last
        tensor = self.next_reading(last)
        if tensor is not None:
            return dataclasses.replace(last, tensor=tensor)
        for earlier in reversed(maps):
            # Tokens are never exchanged for the map that they came from.
            if len(earlier.tensor.shape) != len(last.tensor.shape):
                break
            if self.is_activated(earlier.tensor):
                return earlier
        return last

    def next_reading(self, found):
        """The normalised, activated form in which a next block reads a map.

        It is not a cut, since the block's shortcut reads the map itself.
        """
        activated = self.reader(found.tensor, _is_activation)
        if activated is not None:
            return activated
        normalized = self.reader(found.tensor, _is_normalization)
        if normalized is None:
            return None
        activated = self.reader(normalized, _is_activation)
        return normalized if activated is None else activated

    def reader(self, tensor, kind):
        """The output of the first reader of some kind, of the same shape."""
        for call in self.network.readers(tensor):
            output = call.outputs[0]
            if kind(call.operation) and (
                self.shapes[id(output)] == self.shapes[id(tensor)]
            ):
                return output
        return None

    def is_activated(self, tensor):
        """Whether a tensor is the output of a nonlinearity, or of a gate."""
        while True:
            call = self.network.producer(tensor)
            operation = call.operation
            if _is_activation(operation) or _is_gate(call):
                return True
            if not call.inputs:
                return False
            if isinstance(operation, keras.layers.Concatenate):
                return all(map(self.is_activated, call.inputs))
            if not (
                len(call.inputs) == 1
                and (
                    _is_inert(operation)
                    or isinstance(operation, _POOLING)
                    # A factor or a summand that is a number.
                    or type(operation).__name__ in ("Multiply", "Divide")
                )
            ):
                return False
            tensor = call.inputs[0]


def _is_learned(operation):
    """Whether an operation owns a kernel, and not statistics alone."""
    return any(
        len(weight.shape) >= 2 for weight in getattr(operation, "weights", ())
    )


def _is_inert(operation):
    return (
        isinstance(operation, _INERT)
        or type(operation).__name__ in _INERT_OPERATIONS
    )


def _is_normalization(operation):
    return isinstance(operation, _NORMALIZATIONS)


def _is_activation(operation):
    if isinstance(operation, RECTIFIERS):
        return True
    if not isinstance(operation, keras.layers.Layer):
        return type(operation).__name__ in _ACTIVATION_OPERATIONS
    function = getattr(operation, "activation", None)
    return function is not None and function is not keras.activations.linear


def _is_gate(call):
    """Whether a call multiplies tensors, as squeeze-and-excitation does."""
    return len(call.inputs) > 1 and (
        type(call.operation).__name__ == "Multiply"
    )


def _separators(network):
    """The tensors that separate input from output, alone or with another.

    Consider a tensor and all that it is computed from, and count the tensors
    in there that are read outside: 1 if all data flows through the tensor, 2
    if one other tensor bypasses it, such as a shortcut. All that count 1, and
    those that merge several and count 2, by `id(tensor)`: whether it counts 1,
    and the number of calls it is computed by.
    """
    # Sets of calls are bits of integers: networks have a thousand of them.
    index = {id(call): i for i, call in enumerate(network.calls)}
    outside = 1 << len(network.calls)
    outputs = {id(tensor) for tensor in network.model.outputs}
    ancestors = []
    readers = []
    for i, call in enumerate(network.calls):
        found = 1 << i
        for tensor in call.inputs:
            found |= ancestors[index[id(network.producer(tensor))]]
        ancestors.append(found)
        readers.append(
            [
                sum(1 << index[id(r)] for r in network.readers(tensor))
                | (outside if id(tensor) in outputs else 0)
                for tensor in call.outputs
            ]
        )
    separators = {}
    for i, call in enumerate(network.calls):
        inside = ancestors[i]
        count = 0
        for j in range(i, -1, -1):
            if inside >> j & 1:
                count += sum(bool(read & ~inside) for read in readers[j])
                if count > 2:
                    break
        if count == 1 or (count == 2 and len(call.inputs) > 1):
            for tensor in call.outputs:
                separators[id(tensor)] = (count == 1, inside.bit_count())
    return separators
