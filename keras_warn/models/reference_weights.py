"""Weights of the authors' PyTorch code, for the same network here."""

import collections
import dataclasses
import re
from collections.abc import Callable
from collections.abc import Mapping

import keras
import numpy as np

from keras_warn import graph
from keras_warn import inspection
from keras_warn.layers import GlobalGate
from keras_warn.layers import HeadGate

# What PyTorch keeps beside weights: counters, and a constant.
_NOT_WEIGHTS = re.compile(r".*\.(num_batches_tracked|att_head\.diag)")
# The reference's names of the variables of a batch normalisation.
_BN = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
# What a module reads, and the reference's name of it.
_PLACES = {
    "group2_block1_relu1": "att0",
    "group3_block1_relu1": "att1",
    "final_relu": "att2",
}
_ADVICE = (
    "`model` must be `augment(WideResNet(..., activate_stem=True, "
    "activate_shortcuts=False), kernel_size=3, gate_batch_norm=True, ...)`, "
    "as the reference is. Received: the model {name!r}, {fault}."
)


@dataclasses.dataclass(frozen=True, eq=False)
class _Weight:
    """What an array of the reference is for.

    Attributes:
        variable: The variable of the model.
        shape: The shape of the reference's array.
        convert: A function from that array to the variable's value.
    """

    variable: keras.Variable
    shape: tuple
    convert: Callable


def load_reference_weights(model, weights):
    """Sets a model to weights of the authors' PyTorch code.

    That is `WideResNetAttention` in `models/wide_resnet_cifar_attention.py` of
    https://github.com/prlz77/attend-and-rectify, with `attention_type` at
    `"softmax"`. Either all weights are set, or none.

    Args:
        model: A model as in the example. `depth`, `width` and `classes` of the
            network, `depth` and `width` of attention, and what has no weights,
            such as `from_logits`, are free.
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

    >>> from keras_warn.models import WideResNet, load_reference_weights
    >>> network = WideResNet(
    ...     16, 1, activate_stem=True, activate_shortcuts=False
    ... )
    >>> model = keras_warn.augment(
    ...     network, depth=3, width=2, kernel_size=3, gate_batch_norm=True
    ... )
    >>> weights = numpy.load("weights.npz")  # doctest: +SKIP
    >>> load_reference_weights(model, weights)  # doctest: +SKIP

    Reference:
        [Rodríguez et al., 2018](https://arxiv.org/abs/1807.07320)
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a `keras.Model`. "
            f"Received: model={model!r} (of type {type(model).__name__})."
        )
    if not isinstance(weights, Mapping):
        raise TypeError(
            "`weights` must be a mapping from names to arrays. "
            f"Received: one of type {type(weights).__name__}."
        )
    expected = _Reading(model).weights()
    arrays = {
        name: keras.ops.convert_to_numpy(weights[name])
        for name in weights
        if not _NOT_WEIGHTS.fullmatch(str(name))
    }
    _check_arrays(model, expected, arrays)
    # All are converted before the first is set.
    values = [
        (weight.variable, weight.convert(arrays[name]))
        for name, weight in expected.items()
    ]
    for variable, value in values:
        variable.assign(value)


def _check_arrays(model, expected, arrays):
    """Checks names and shapes, and lists all that is wrong with them."""
    faults = []
    missing = [name for name in expected if name not in arrays]
    if missing:
        faults.append(f"missing: {', '.join(map(repr, missing))}")
    unknown = [name for name in arrays if name not in expected]
    if unknown:
        faults.append(f"unknown: {', '.join(map(repr, unknown))}")
    wrong = [
        f"{name!r} of shape {arrays[name].shape} and dtype "
        f"{arrays[name].dtype} instead of {weight.shape} and floats"
        for name, weight in expected.items()
        if name in arrays
        and (
            arrays[name].shape != weight.shape or arrays[name].dtype.kind != "f"
        )
    ]
    if wrong:
        faults.append(f"wrong: {', '.join(wrong)}")
    if faults:
        raise ValueError(
            "`weights` must have the names and shapes of the reference's "
            f"network that is like the model {model.name!r}, which was left "
            f"as it is. Received: {'; '.join(faults)}."
        )


class _Reading:
    """Reads a model as the reference's, or says why it is not."""

    def __init__(self, model):
        self.model = model
        self.layers = {layer.name: layer for layer in model.layers}

    def weights(self):
        """A dictionary from the reference's names to `_Weight`s."""
        self.blocks = self.count_blocks()
        self.check_shortcuts()
        self.check_settings()
        found = {}
        found.update(_conv("conv0", self.layer("stem_conv")))
        found.update(_normalization("bn0", self.layer("stem_bn")))
        for group, blocks in self.blocks.items():
            for block in range(1, blocks + 1):
                found.update(self.block(group, block))
        found.update(_normalization("bn_g2", self.layer("final_bn")))
        # The second, if `augment` made the classifier.
        found.update(
            _dense(
                "classifier",
                self.layers.get("predictions") or self.layer("network_logits"),
            )
        )
        places = self.places()
        for place, module in zip(
            places, inspection.modules(self.model), strict=True
        ):
            found.update(_module(place, module))
        found.update(_global_gate(self.layer("global_gates"), places))
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
            found.update(_conv(f"{theirs}.conv{i - 1}", conv))
            normalization = self.layer(f"{ours}_bn{i}")
            found.update(_normalization(f"{theirs}.bn{i - 1}", normalization))
        if f"{ours}_shortcut" in self.layers:
            shortcut = self.layer(f"{ours}_shortcut")
            found.update(_conv(f"{theirs}.conv_reduce", shortcut))
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
        wanted = [
            ("global_gates", "activation", "softmax"),
            ("global_gates", "score_activation", keras.activations.tanh),
            ("rectified", "combination", "log_probabilities"),
        ]
        modules = inspection.modules(self.model)
        if not modules:
            self.refuse("which has no attention")
        if not isinstance(self.layer("global_gates"), GlobalGate):
            self.refuse("which has no global gates to learn")
        if not self.layer("global_gates").batch_norm:
            self.refuse("whose global gates are not batch-normalised")
        for i, module in enumerate(modules, start=1):
            if not isinstance(module.get("head_gates"), HeadGate):
                self.refuse("which has no head gates to learn")
            if "projection" in module:
                self.refuse("whose modules read projections")
            gates = f"module_{i}_head_gates"
            wanted.append((f"module_{i}_masks", "activation", "softmax"))
            wanted.append((gates, "activation", "softmax"))
            wanted.append((gates, "score_activation", keras.activations.tanh))
        for name, attribute, value in wanted:
            found = getattr(self.layer(name), attribute)
            if found != value:
                self.refuse(
                    f"whose layer {name!r} has {attribute}="
                    f"{getattr(found, '__name__', found)!r} instead of "
                    f"{getattr(value, '__name__', value)!r}"
                )

    def places(self):
        """The reference's names of the modules, in the order of ours."""
        network = graph.Graph(self.model)
        found = []
        for i, module in enumerate(inspection.modules(self.model), start=1):
            first = module.get("gradient") or module["masks"]
            (call,) = network.calls_of(first.name)
            name = network.producer(call.inputs[0]).operation.name
            if name not in _PLACES:
                self.refuse(
                    f"whose module {i} reads {name!r} instead of "
                    f"{', '.join(map(repr, _PLACES))}"
                )
            found.append(_PLACES[name])
        return found


def _conv(name, layer):
    height, width, channels, outputs = layer.kernel.shape
    yield (
        f"{name}.weight",
        _Weight(
            layer.kernel,
            (outputs, channels, height, width),
            _channels_last,
        ),
    )


def _dense(name, layer):
    yield (
        f"{name}.weight",
        _Weight(layer.kernel, tuple(layer.kernel.shape[::-1]), np.transpose),
    )
    yield f"{name}.bias", _plain(layer.bias)


def _normalization(name, layer):
    for theirs, ours in _BN.items():
        yield f"{name}.{theirs}", _plain(getattr(layer, ours))


def _module(name, layers):
    """The weights of an attention module, which are three convolutions."""
    masks = layers["masks"].kernel
    height, width, channels, heads = masks.shape
    hypotheses = layers["hypotheses"].kernel
    classes = hypotheses.shape[-1]

    def by_head(kernel):
        kernel = _channels_last(kernel).reshape(-1, heads, classes)
        return kernel.transpose(1, 0, 2)

    def gates(kernel):
        return _channels_last(kernel).reshape(-1, heads).T

    for part, variable, outputs, convert in (
        ("att_head", masks, heads, _channels_last),
        ("out_head", hypotheses, heads * classes, by_head),
        ("score", layers["head_gates"].kernel, heads, gates),
    ):
        shape = (outputs, channels, height, width)
        yield f"{name}.{part}.conv.weight", _Weight(variable, shape, convert)


def _global_gate(layer, places):
    """The weights of the global gates, which come in another order.

    The reference lists the deepest module first, and the network last.
    """
    theirs = [*sorted(places, reverse=True), "network"]
    order = [theirs.index(place) for place in ["network", *places]]
    yield (
        "output_gate.gates.weight",
        _Weight(
            layer.kernel,
            tuple(layer.kernel.shape[::-1]),
            lambda kernel: kernel[order].T,
        ),
    )
    for name, weight in _normalization("output_gate.bn", layer.normalization):
        yield (
            name,
            dataclasses.replace(weight, convert=lambda array: array[order]),
        )


def _plain(variable):
    return _Weight(variable, tuple(variable.shape), np.asarray)


def _channels_last(kernel):
    return kernel.transpose(2, 3, 1, 0)
