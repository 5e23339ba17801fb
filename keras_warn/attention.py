"""What `augment` adds to a model: layers by what they do, and their names."""

import dataclasses
import itertools

import keras

from keras_warn.layers import AttendedFeatures
from keras_warn.layers import AttentionHeads
from keras_warn.layers import GatedSum
from keras_warn.layers import GlobalGate
from keras_warn.layers import GradientScale
from keras_warn.layers import HeadGate
from keras_warn.layers import OutputHeads
from keras_warn.layers import UniformGate

NETWORK_LOGITS = "network_logits"  # the Dense of a new classifier
POOLED_FEATURES = "pooled_features"
GLOBAL_GRADIENT = "global_gradient"
GLOBAL_GATES = "global_gates"
PREDICTIONS_STACKED = "predictions_stacked"
PREDICTIONS_COMBINED = "predictions_combined"
RECTIFIED = "rectified"

# What a backbone must leave to the layers of attention.
RESERVED_NAMES = (
    GLOBAL_GATES,
    GLOBAL_GRADIENT,
    NETWORK_LOGITS,
    POOLED_FEATURES,
    PREDICTIONS_COMBINED,
    PREDICTIONS_STACKED,
    RECTIFIED,
)
RESERVED_PREFIX = "module_"


def module_name(i) -> str:
    """The name of attention module `i`, from 1."""
    return f"module_{i}"


def part_name(i, part) -> str:
    """The name of a layer of module `i`, and of what `inspect` returns of it.

    Args:
        i: Integer from 1.
        part: An attribute of `Module`, such as `"masks"`.
    """
    return f"module_{i}_{part}"


@dataclasses.dataclass(frozen=True, eq=False)
class Module:
    """The layers of an attention module (Figure 2a).

    Attributes:
        name: Such as `"module_1"`.
        masks: `AttentionHeads`, where each head looks.
        attended: `AttendedFeatures`, what is there.
        hypotheses: `OutputHeads`, the logits of each head.
        prediction: The layer whose output `(b, n)` are the module's logits.
        head_gates: `HeadGate` or `UniformGate`, the weights of the heads.
            `None` with `gates="linear"`.
        projection: The layer that projects the map to fewer channels, or
            `None`.
        gradient: `GradientScale` of what the module sends into the backbone,
            or `None`.
        stacked: With `gates="linear"`, the layer that stacks hypotheses.
    """

    name: str
    masks: AttentionHeads
    attended: AttendedFeatures
    hypotheses: OutputHeads
    prediction: keras.layers.Layer
    head_gates: HeadGate | UniformGate | None = None
    projection: keras.layers.Layer | None = None
    gradient: GradientScale | None = None
    stacked: keras.layers.Layer | None = None

    @property
    def layers(self) -> list:
        """All layers of the module."""
        found = [getattr(self, part) for part in PARTS]
        return [layer for layer in found if layer is not None]

    @property
    def features(self) -> keras.KerasTensor:
        """The map that masks are made of, and that they attend to."""
        return self.masks.input

    @property
    def source(self) -> keras.KerasTensor:
        """The tensor of the backbone that the module reads."""
        return (self.gradient or self.projection or self.masks).input


PARTS = tuple(field.name for field in dataclasses.fields(Module)[1:])


@dataclasses.dataclass(frozen=True, eq=False)
class Attention:
    """The attention of a model that `keras_warn.augment` made.

    Attributes:
        modules: Tuple of a `Module` for each of the `m` modules.
        backbone_logits: `KerasTensor` `(b, n)`, the backbone's own logits.
        global_gates: `GlobalGate` or `UniformGate`, the weights of backbone
            and modules.
        rectified: `GatedSum`, which makes the output.
        combined: With `gates="linear"`, the `Dense` that stands for gates, or
            `None`.
    """

    modules: tuple
    backbone_logits: keras.KerasTensor
    global_gates: GlobalGate | UniformGate
    rectified: GatedSum
    combined: keras.layers.Dense | None = None

    @property
    def data_format(self) -> str:
        """`"channels_last"` or `"channels_first"`, of maps and masks."""
        return self.modules[0].masks.data_format

    @property
    def gates(self) -> str:
        """The argument `gates` that the model was made with."""
        if self.combined is not None:
            return "linear"
        if isinstance(self.global_gates, UniformGate):
            return "average"
        return self.global_gates.activation

    @property
    def side_by_side(self) -> bool:
        """Whether the backbone is trained as without modules.

        Its prediction has a loss of its own, whose weight is fixed, and
        modules send no gradients into it. Only the scale of its loss is
        another, on which steps of Adam do not depend.
        """
        return (
            self.gates == "average"
            and self.rectified.agreement_weight == 1
            and all(
                module.gradient is not None and module.gradient.factor == 0
                for module in self.modules
            )
        )


def attention_of(model) -> Attention:
    """The layers that `keras_warn.augment` added to a model.

    Args:
        model: A model made by `keras_warn.augment`, fresh or loaded from disk.

    Returns:
        An `Attention`, whose layers are those of `model`.

    Example:

    >>> from keras_warn.attention import attention_of
    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=2, width=3)
    >>> [module.masks.num_heads for module in attention_of(model).modules]
    [3, 3]
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a `keras.Model`. "
            f"Received: model={model!r} (of type {type(model).__name__})."
        )
    layers = {layer.name: layer for layer in model.layers}
    first = part_name(1, "masks")
    if not isinstance(layers.get(first), AttentionHeads):
        raise ValueError(
            "`model` must be made by `keras_warn.augment`. Received: the model "
            f"{model.name!r}, which has no layer {first!r}."
        )
    modules = []
    for i in itertools.count(1):
        parts = {part: layers.get(part_name(i, part)) for part in PARTS}
        if parts["masks"] is None:
            break
        modules.append(Module(module_name(i), **parts))
    rectified = layers[RECTIFIED]
    combined = layers.get(PREDICTIONS_COMBINED)
    if combined is None:
        _, backbone_logits, *_ = keras.tree.flatten(rectified.input)
    else:
        backbone_logits = layers[PREDICTIONS_STACKED].input[0]
    return Attention(
        tuple(modules),
        backbone_logits,
        layers[GLOBAL_GATES],
        rectified,
        combined,
    )
