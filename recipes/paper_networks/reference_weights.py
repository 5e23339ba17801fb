"""Weights of the authors' PyTorch code, for the same network here."""

import collections
import dataclasses
import re

import keras

from keras_warn import graph
from keras_warn.attention import attention_of
from keras_warn.layers import GlobalGate
from keras_warn.layers import HeadGate
from paper_networks import pytorch

# What PyTorch keeps beside weights: counters, and a constant.
_NOT_WEIGHTS = re.compile(r".*\.(num_batches_tracked|att_head\.diag)")
# What a module reads, and the reference's name of it.
_PLACES = {
    "group2_block1_relu1": "att0",
    "group3_block1_relu1": "att1",
    "final_relu": "att2",
}
_ADVICE = (
    "`model` must be `augment(WideResNet(..., activate_stem=True, "
    "activate_shortcuts=False), preset='reference', ...)`, "
    "as the reference is. Received: the model {name!r}, {fault}."
)


def load_reference_weights(model, weights):
    """Sets a model to weights of the authors' PyTorch code.

    That is `WideResNetAttention` in `models/wide_resnet_cifar_attention.py` of
    https://github.com/prlz77/attend-and-rectify, with `attention_type` at
    `"softmax"`. Either all weights are set, or none.

    Args:
        model: A model as in the example. `depth`, `width` and `classes` of the
            network, `depth` and `width` of attention, and what has no weights,
            such as `classifier_activation`, are free.
        weights: Mapping from the reference's names, such as
            `"group_0.block_0.conv0.weight"`, to arrays in its layout:
            `{name: tensor.cpu().numpy() for name, tensor in
            module.state_dict().items()}`. PyTorch's counters of batches are
            passed over, as is the constant `diag`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `model` computes something else than the reference; or
            if names in `weights` are unknown or missing, or shapes are wrong:
            the message lists them all.

    Example:

    >>> from paper_networks import WideResNet, load_reference_weights
    >>> network = WideResNet(
    ...     16, 1, activate_stem=True, activate_shortcuts=False
    ... )
    >>> model = keras_warn.augment(network, preset="reference", width=2)
    >>> weights = numpy.load("weights.npz")  # doctest: +SKIP
    >>> load_reference_weights(model, weights)  # doctest: +SKIP

    Reference:
        [Rodríguez et al., 2018](https://arxiv.org/abs/1807.07320)
    """
    pytorch.check_arguments(model, weights)
    pytorch.assign(
        model,
        weights,
        _Reading(model).weights(),
        origin="the reference's",
        is_weight=lambda name: not _NOT_WEIGHTS.fullmatch(name),
    )


class _Reading:
    """Reads a model as the reference's, or says why it is not."""

    def __init__(self, model):
        self.model = model
        self.layers = {layer.name: layer for layer in model.layers}

    def weights(self):
        """A dictionary from the reference's names to `Weight`s."""
        self.blocks = self.count_blocks()
        self.check_shortcuts()
        self.check_settings()
        found = {}
        found.update(pytorch.conv("conv0", self.layer("stem_conv")))
        found.update(pytorch.normalization("bn0", self.layer("stem_bn")))
        for group, blocks in self.blocks.items():
            for block in range(1, blocks + 1):
                found.update(self.block(group, block))
        found.update(pytorch.normalization("bn_g2", self.layer("final_bn")))
        # The second, if `augment` made the classifier.
        found.update(
            pytorch.dense(
                "classifier",
                self.layers.get("predictions") or self.layer("network_logits"),
            )
        )
        attention = attention_of(self.model)
        places = self.places(attention)
        for place, module in zip(places, attention.modules, strict=True):
            found.update(_module(place, module))
        found.update(_global_gate(attention.global_gates, places))
        return found

    def refuse(self, fault):
        raise ValueError(_ADVICE.format(name=self.model.name, fault=fault))

    def layer(self, name):
        if name not in self.layers:
            self.refuse(f"which has no layer {name!r}")
        return self.layers[name]

    def count_blocks(self):
        """The number of blocks in each of the groups."""
        found = [
            re.fullmatch(r"group(\d+)_block\d+_add", name)
            for name in self.layers
        ]
        blocks = collections.Counter(int(m[1]) for m in found if m)
        if sorted(blocks) != [1, 2, 3]:
            self.refuse("which has not the groups of blocks of `WideResNet`")
        return dict(sorted(blocks.items()))

    def block(self, group, block):
        """The weights of a residual block."""
        ours = f"group{group}_block{block}"
        theirs = f"group_{group - 1}.block_{block - 1}"
        found = {}
        for i in (1, 2):
            conv = self.layer(f"{ours}_conv{i}")
            found.update(pytorch.conv(f"{theirs}.conv{i - 1}", conv))
            normalization = self.layer(f"{ours}_bn{i}")
            found.update(
                pytorch.normalization(f"{theirs}.bn{i - 1}", normalization)
            )
        if f"{ours}_shortcut" in self.layers:
            shortcut = self.layer(f"{ours}_shortcut")
            found.update(pytorch.conv(f"{theirs}.conv_reduce", shortcut))
        return found

    def check_shortcuts(self):
        """Checks that they read what the block reads, before it is activated.

        Shapes cannot tell.
        """
        network = graph.Graph(self.model)
        for group in self.blocks:
            calls = network.calls_of(f"group{group}_block1_shortcut")
            (normalization,) = network.calls_of(f"group{group}_block1_bn1")
            for call in calls:
                if call.inputs[0] is not normalization.inputs[0]:
                    self.refuse("whose shortcuts read activated maps")

    def check_settings(self):
        """Checks what changes the function of weights, but no shape."""
        try:
            attention = attention_of(self.model)
        except ValueError:
            self.refuse("which has no attention")
        if not isinstance(attention.global_gates, GlobalGate):
            self.refuse("which has no global gates to learn")
        if not attention.global_gates.batch_norm:
            self.refuse("whose global gates are not batch-normalised")

        def gate_settings(gate):
            return [
                (gate, "activation", "softmax"),
                (gate, "score_activation", keras.activations.tanh),
            ]

        wanted = [
            *gate_settings(attention.global_gates),
            (attention.rectified, "combination", "log_probabilities"),
        ]
        for module in attention.modules:
            if not isinstance(module.head_gates, HeadGate):
                self.refuse("which has no head gates to learn")
            if module.projection is not None:
                self.refuse("whose modules read projections")
            wanted.append((module.masks, "activation", "softmax"))
            wanted += gate_settings(module.head_gates)
        for layer, attribute, value in wanted:
            found = getattr(layer, attribute)
            if found != value:
                self.refuse(
                    f"whose layer {layer.name!r} has {attribute}="
                    f"{getattr(found, '__name__', found)!r} instead of "
                    f"{getattr(value, '__name__', value)!r}"
                )

    def places(self, attention):
        """The reference's names of the modules, in the order of ours."""
        found = []
        for i, module in enumerate(attention.modules, start=1):
            name = graph.producer_name(module.source)
            if name not in _PLACES:
                self.refuse(
                    f"whose module {i} reads {name!r} instead of "
                    f"{', '.join(map(repr, _PLACES))}"
                )
            found.append(_PLACES[name])
        return found


def _module(name, module):
    """The weights of an attention module, which are three convolutions."""
    masks = module.masks.kernel
    height, width, channels, heads = masks.shape
    hypotheses = module.hypotheses.kernel
    classes = hypotheses.shape[-1]

    def by_head(kernel):
        kernel = pytorch.channels_last(kernel).reshape(-1, heads, classes)
        return kernel.transpose(1, 0, 2)

    def gates(kernel):
        return pytorch.channels_last(kernel).reshape(-1, heads).T

    for part, variable, outputs, convert in (
        ("att_head", masks, heads, pytorch.channels_last),
        ("out_head", hypotheses, heads * classes, by_head),
        ("score", module.head_gates.kernel, heads, gates),
    ):
        shape = (outputs, channels, height, width)
        yield (
            f"{name}.{part}.conv.weight",
            pytorch.Weight(variable, shape, convert),
        )


def _global_gate(layer, places):
    """The weights of the global gates, which come in another order.

    The reference lists the deepest module first, and the network last.
    """
    theirs = [*sorted(places, reverse=True), "network"]
    order = [theirs.index(place) for place in ["network", *places]]
    yield (
        "output_gate.gates.weight",
        pytorch.Weight(
            layer.kernel,
            tuple(layer.kernel.shape[::-1]),
            lambda kernel: kernel[order].T,
        ),
    )
    for name, weight in pytorch.normalization(
        "output_gate.bn", layer.normalization
    ):
        yield (
            name,
            dataclasses.replace(weight, convert=lambda array: array[order]),
        )
