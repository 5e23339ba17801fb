"""Weights of the authors' PyTorch code, for the same network here."""

import collections
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
    `"softmax"`. Either all weights are set, or none: an error says what else
    `model` computes, or lists all names that are unknown or missing, and all
    wrong shapes.

    Args:
        model: A model as in the example. `depth`, `width` and `classes` of the
            network, `depth` and `width` of attention, and what has no weights,
            such as `classifier_activation`, are free.
        weights: Mapping from the reference's names, such as
            `"group_0.block_0.conv0.weight"`, to arrays in its layout:
            `{name: tensor.cpu().numpy() for name, tensor in
            module.state_dict().items()}`.

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

    def refuse(fault):
        raise ValueError(_ADVICE.format(name=model.name, fault=fault))

    layers = {layer.name: layer for layer in model.layers}
    found = [re.fullmatch(r"group(\d+)_block\d+_add", name) for name in layers]
    blocks = collections.Counter(int(match[1]) for match in found if match)
    if sorted(blocks) != [1, 2, 3]:
        refuse("which has not the groups of blocks of `WideResNet`")
    _check_shortcuts(model, blocks, refuse)
    try:
        attention = attention_of(model)
    except ValueError:
        refuse("which has no attention")
    _check_settings(attention, refuse)
    expected = dict(pytorch.expected(layers, _names(layers, blocks), refuse))
    places = []
    for i, module in enumerate(attention.modules, start=1):
        name = graph.producer_name(module.source)
        if name not in _PLACES:
            refuse(
                f"whose module {i} reads {name!r} instead of "
                f"{', '.join(map(repr, _PLACES))}"
            )
        places.append(_PLACES[name])
        expected.update(_module(places[-1], module))
    expected.update(_global_gate(attention.global_gates, places))
    pytorch.assign(
        model,
        weights,
        expected,
        origin="the reference's",
        is_weight=lambda name: not _NOT_WEIGHTS.fullmatch(name),
    )


def _names(layers, blocks):
    """The reference's names of layers, ours, and what has their weights."""
    yield "conv0", "stem_conv", pytorch.conv
    yield "bn0", "stem_bn", pytorch.normalization
    for group in sorted(blocks):
        for block in range(blocks[group]):
            ours = f"group{group}_block{block + 1}"
            theirs = f"group_{group - 1}.block_{block}"
            for i in (0, 1):
                yield f"{theirs}.conv{i}", f"{ours}_conv{i + 1}", pytorch.conv
                bn = f"{ours}_bn{i + 1}"
                yield f"{theirs}.bn{i}", bn, pytorch.normalization
            if f"{ours}_shortcut" in layers:
                yield f"{theirs}.conv_reduce", f"{ours}_shortcut", pytorch.conv
    yield "bn_g2", "final_bn", pytorch.normalization
    # The second, if `augment` made the classifier.
    own = "predictions" if "predictions" in layers else "network_logits"
    yield "classifier", own, pytorch.dense


def _check_shortcuts(model, groups, refuse):
    """Checks that they read what is not activated: shapes cannot tell."""
    network = graph.Graph(model)
    for group in groups:
        (normalization,) = network.calls_of(f"group{group}_block1_bn1")
        for call in network.calls_of(f"group{group}_block1_shortcut"):
            if call.inputs[0] is not normalization.inputs[0]:
                refuse("whose shortcuts read activated maps")


def _check_settings(attention, refuse):
    """Checks what changes the function of weights, but no shape."""
    if not isinstance(attention.global_gates, GlobalGate):
        refuse("which has no global gates to learn")
    if not attention.global_gates.batch_norm:
        refuse("whose global gates are not batch-normalised")
    gates = [attention.global_gates]
    wanted = [(attention.rectified, "combination", "log_probabilities")]
    for module in attention.modules:
        if not isinstance(module.head_gates, HeadGate):
            refuse("which has no head gates to learn")
        if module.projection is not None:
            refuse("whose modules read projections")
        gates.append(module.head_gates)
        wanted.append((module.masks, "activation", "softmax"))
    for gate in gates:
        wanted.append((gate, "activation", "softmax"))
        wanted.append((gate, "score_activation", keras.activations.tanh))
    for layer, attribute, value in wanted:
        found = getattr(layer, attribute)
        if found != value:
            refuse(
                f"whose layer {layer.name!r} has {attribute}="
                f"{getattr(found, '__name__', found)!r} instead of "
                f"{getattr(value, '__name__', value)!r}"
            )


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
        weight = pytorch.Weight(variable, shape, convert)
        yield f"{name}.{part}.conv.weight", weight


def _global_gate(layer, places):
    """The weights of the global gates, which come in another order."""
    # The reference lists the deepest module first, and the network last.
    theirs = [*sorted(places, reverse=True), "network"]
    order = [theirs.index(place) for place in ["network", *places]]
    shape = tuple(layer.kernel.shape[::-1])
    kernel = pytorch.Weight(layer.kernel, shape, lambda of: of[order].T)
    yield "output_gate.gates.weight", kernel
    theirs = pytorch.normalization("output_gate.bn", layer.normalization)
    for name, weight in theirs:
        yield name, weight._replace(convert=lambda array: array[order])
