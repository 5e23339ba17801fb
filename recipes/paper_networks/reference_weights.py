"""Weights of the authors' PyTorch code, for the same network here."""

import re

import numpy as np

from keras_warn import graph
from keras_warn.attention import attention_of
from paper_networks import pytorch

# What PyTorch keeps beside weights: counters, and a constant.
_NOT_WEIGHTS = re.compile(r".*\.(num_batches_tracked|att_head\.diag)")
# What its modules read, by our names.
_PLACES = ["group2_block1_relu1", "group3_block1_relu1", "final_relu"]


def load_reference_weights(model, weights):
    """Sets a model to weights of the authors' PyTorch code.

    That is `WideResNetAttention` in `models/wide_resnet_cifar_attention.py` of
    https://github.com/prlz77/attend-and-rectify, with `attention_type` at
    `"softmax"`.

    Args:
        model: A model as in the example, or it computes something else from
            the same weights. `depth`, `width` and `classes` of the network,
            `depth` and `width` of attention, and `classifier_activation` are
            free.
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
    layers = {layer.name: layer for layer in model.layers}
    attention = attention_of(model)
    expected = {}
    for theirs, ours, of in _names(layers):
        expected.update(of(theirs, layers[ours]))
    places = [graph.producer_name(x.source) for x in attention.modules]
    # The reference counts groups, and attends to the last ones.
    first = len(_PLACES) - len(places)
    if places != _PLACES[first:]:
        raise ValueError(
            f"`model` must attend to the last of {', '.join(_PLACES)}, in "
            f"this order. Received: {', '.join(places)}."
        )
    for i, module in enumerate(attention.modules, start=first):
        expected.update(_module(f"att{i}", module))
    expected.update(_global_gate(attention.global_gates))
    pytorch.assign(
        expected,
        {k: v for k, v in weights.items() if not _NOT_WEIGHTS.fullmatch(k)},
    )


def _names(layers):
    """The reference's names of layers, ours, and what has their weights."""
    yield "conv0", "stem_conv", pytorch.conv
    yield "bn0", "stem_bn", pytorch.normalization
    for name in layers:
        match = re.fullmatch(r"(group(\d+)_block(\d+))_add", name)
        if match is None:
            continue
        ours, group, block = match.groups()
        theirs = f"group_{int(group) - 1}.block_{int(block) - 1}"
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


def _module(name, module):
    """The weights of an attention module, which are three convolutions."""
    heads = module.masks.num_heads
    hypotheses = module.hypotheses.kernel

    def by_head(kernel):
        kernel = pytorch.channels_last(kernel)
        kernel = kernel.reshape(-1, heads, hypotheses.shape[-1])
        return kernel.transpose(1, 0, 2)

    def gates(kernel):
        return pytorch.channels_last(kernel).reshape(-1, heads).T

    masks = module.masks.kernel, pytorch.channels_last
    yield f"{name}.att_head.conv.weight", masks
    yield f"{name}.out_head.conv.weight", (hypotheses, by_head)
    yield f"{name}.score.conv.weight", (module.head_gates.kernel, gates)


def _global_gate(layer):
    """The weights of the global gates."""

    def in_our_order(array):
        # The reference lists the deepest module first, and the network last.
        return np.flip(array, axis=0).copy()

    kernel = layer.kernel, lambda of: in_our_order(of).T
    yield "output_gate.gates.weight", kernel
    theirs = pytorch.normalization("output_gate.bn", layer.normalization)
    for name, (variable, _) in theirs:
        yield name, (variable, in_our_order)
