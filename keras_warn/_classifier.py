"""The classifier at the end of a backbone: what it reads, and its logits."""

import dataclasses
import functools
import math

import keras
import numpy as np
from keras import ops

from keras_warn import graph

# What only changes the layout of logits that stand at a single position.
_RESHAPING = (
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Permute,
    keras.layers.Identity,
)
_POOLING = (
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
)
_DROPOUT = (
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
)
# Layers that are an activation of features.
RECTIFIERS = (
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
)
# Activations of features, not of predictions: by the names that all backends
# share, without underscores.
_HIDDEN = frozenset(
    "celu elu gelu glu hardshrink hardsilu hardswish hardtanh leakyrelu mish "
    "relu relu6 selu silu softshrink softplus softsign squareplus swish tanh "
    "tanhshrink threshold".split()
)


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A classifier at the end of a backbone.

    It reads `features`, pooled or flattened, before any dropout.
    """

    logits: keras.KerasTensor  # (b, n)
    features: keras.KerasTensor  # (b, c)
    classes: int


@dataclasses.dataclass(frozen=True, eq=False)
class Ending:
    """The last calls of a backbone that ends in predictions."""

    head: graph.Call  # owns the classifier's kernel, or stands in its place
    tail: list  # of the calls that follow it, up to the output
    softmax: graph.Call | None = None  # which of these has it
    fault: str | None = None  # what hides the logits, in words


def read_classifier(network, classes=None) -> Classifier | None:
    """Finds the classifier of a flat model, and its logits.

    Logits are what the softmax reads. If it is fused into the last layer, they
    come from another layer of the same class and name on the same variables;
    the model's own layer is left as it is.

    Returns:
        A `Classifier`, or `None` if the model ends in features.

    Raises:
        ValueError: if the model ends in predictions whose logits cannot be
            recovered, or in what may be logits of `classes`, as many as a new
            classifier would have; or if its kernel is quantized or has LoRA
            enabled.
    """
    ending = find_ending(network)
    if ending is None:
        _check_features(network, classes)
        return None
    if ending.fault:
        raise ValueError(
            "`backbone` must end in a classifier with softmax, once, or linear "
            "activation (logits), for its predictions to be rectified: in a "
            "Dense or convolution of its classes, and in nothing but reshaping "
            "after the softmax. For a new classifier, leave this one out: "
            "`keras.Model(backbone.input, features)`. Received: the model "
            f"{network.model.name!r} with {ending.fault}."
        )
    layer = ending.head.operation
    _check_plain(layer)
    if ending.softmax is None:
        logits = network.model.outputs[0]
    else:
        if ending.softmax is ending.head:
            logits = graph.linear_twin(layer)(ending.head.inputs[0])
            rest = ending.tail
        else:
            logits = ending.softmax.inputs[0]
            rest = ending.tail[ending.tail.index(ending.softmax) + 1 :]
        for call in rest:
            logits = call.operation(logits)
    return Classifier(logits, _features(network, ending), logits.shape[-1])


def find_ending(network) -> Ending | None:
    """The last calls of a backbone, or `None` if it ends in features."""
    head, tail = _last_calls(network)
    softmaxes = [c for c in (head, *tail) if _activation(c) == "softmax"]
    if softmaxes:
        softmax = softmaxes[-1]
        fault = _fault(network, head, tail, softmaxes)
        return Ending(head, tail, softmax, fault)
    if len(network.model.outputs[0].shape) != 2 or not owns_kernel(
        head.operation
    ):
        return None
    fault = None
    for call in (*reversed(tail), head):
        activation = _activation(call)
        if activation == "hidden" or (
            activation is None and not isinstance(call.operation, _RESHAPING)
        ):
            return None
        if activation not in (None, "linear"):
            fault = fault or f"activation {activation} in {_named(call)}"
    if _positions(head) != 1:
        # Flattened maps are features.
        return None
    return Ending(head, tail, fault=fault)


def _last_calls(network):
    """The call that owns the last kernel, or forks, and those that follow."""
    call = network.producer(network.model.outputs[0])
    tail = []
    while not owns_kernel(call.operation) and len(call.inputs) == 1:
        tail.insert(0, call)
        call = network.producer(call.inputs[0])
    return call, tail


def _fault(network, head, tail, softmaxes):
    """What hides the logits of a backbone with softmax, or `None`."""
    softmax = softmaxes[-1]
    classes = network.model.outputs[0].shape[-1]
    calls = [head, *tail]
    for call in calls[calls.index(softmax) + 1 :]:
        if not (
            isinstance(call.operation, _RESHAPING)
            or _activation(call) == "linear"
        ):
            return f"{_named(call)} after the softmax"
    if len(softmaxes) > 1:
        return f"a second softmax in {_named(softmax)}"
    axis = _softmax_axis(softmax.operation)
    shape = tuple(softmax.outputs[0].shape)
    axes = range(len(shape))
    if not isinstance(axis, int) or any(
        shape[i] != (classes if i == axes[axis] else 1) for i in axes[1:]
    ):
        return f"softmax over axis {axis} of {shape} in {_named(softmax)}"
    if not owns_kernel(head.operation) or _channels(head) != classes:
        return f"{_named(head)} before the softmax over {classes} classes"
    return None


def _check_features(network, classes):
    """Checks that a new classifier takes no other's place without a word."""
    head, tail = _last_calls(network)
    pooled = any(isinstance(call.operation, _POOLING) for call in tail)
    hidden = any(_activation(call) == "hidden" for call in (head, *tail))
    if (
        tuple(network.model.outputs[0].shape[1:]) == (classes,)
        and owns_kernel(head.operation)
        and _channels(head) == classes
        # Who rectifies units makes features of them, but not scores to pool.
        and (pooled or not hidden)
    ):
        between = ", ".join(map(_named, tail))
        raise ValueError(
            "`classes` must not be the number of features that `backbone` ends "
            "in, which may be logits: end it in them "
            "(`keras.Model(backbone.input, logits)`); or add a `Dense` of "
            f"`classes` units yourself if they are features. Received: "
            f"classes={classes}, and the model {network.model.name!r} with "
            f"{between} after {_named(head)}, of as many units."
        )


def _features(network, ending):
    """What the classifier reads, as `(b, c)`, before any dropout."""
    features = ending.head.inputs[0]
    call = network.producer(features)
    while isinstance(call.operation, _DROPOUT):
        features = call.inputs[0]
        call = network.producer(features)
    if len(features.shape) == 2:
        return features
    data_format = getattr(ending.head.operation, "data_format", "channels_last")
    return pooled(features, data_format, "classifier_features")


def pooled(features, data_format, name) -> keras.KerasTensor:
    """The mean of a feature map over its positions, `(b, c)`."""
    if len(features.shape) == 4:
        layer = keras.layers.GlobalAveragePooling2D
    else:
        layer = keras.layers.GlobalAveragePooling1D
        data_format = "channels_last"
    dtype = graph.dtype_policy(features)
    return layer(data_format=data_format, dtype=dtype, name=name)(features)


def owns_kernel(operation) -> bool:
    """Whether an operation may be a classifier's last linear map."""
    kinds = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Dense)
    # Depthwise and separable convolutions are not subclasses of these.
    return isinstance(operation, kinds)


def _positions(call):
    """The number of positions that the outputs of a layer stand at."""
    shape = list(call.outputs[0].shape[1:])
    shape.pop(_channel_axis(call))
    return None if None in shape else math.prod(shape)


def _channels(call):
    return call.outputs[0].shape[1:][_channel_axis(call)]


def _channel_axis(call):
    """The axis of the channels, behind that of the batch."""
    first = getattr(call.operation, "data_format", None) == "channels_first"
    return 0 if first else -1


def _named(call):
    return f"the layer {call.operation.name!r}"


def _activation(call):
    """What kind of function ends a call; `None` for what is no activation.

    `"softmax"`, `"linear"`, `"hidden"` for what makes features, or another
    function as `"name(x)"`.
    """
    operation = call.operation
    if isinstance(operation, keras.layers.Layer):
        return _activation_of_layer(operation, call.outputs[0].shape)
    # An operation of `keras.ops`, such as `Softmax`.
    name = type(operation).__name__.lower()
    if name in _HIDDEN:
        return "hidden"
    if name == "softmax":
        return "softmax"
    known = ("sigmoid", "hardsigmoid", "logsoftmax", "logsigmoid")
    return f"{name}(x)" if name in known else None


def _activation_of_layer(layer, shape):
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    if isinstance(layer, RECTIFIERS):
        return "hidden"
    if not (isinstance(layer, keras.layers.Activation) or owns_kernel(layer)):
        return None
    function = layer.activation
    if function is None or function is keras.activations.linear:
        return "linear"
    if isinstance(function, keras.layers.Layer):
        kind = _activation_of_layer(function, shape)
        return kind or f"{type(function).__name__}(x)"
    while isinstance(function, functools.partial):
        function = function.func
    # A function of the user's may be an object.
    name = getattr(function, "__name__", type(function).__name__)
    if name.lower().replace("_", "") in _HIDDEN:
        return "hidden"
    # Whose softmax it is, and under what name, its values say.
    x = np.random.default_rng(0).normal(size=[n or 2 for n in shape])
    x = x.astype("float32")
    values = ops.convert_to_numpy(layer.activation(ops.convert_to_tensor(x)))
    if np.array_equal(values, x):
        return "linear"
    powers = np.exp(x)
    if np.allclose(values, powers / powers.sum(-1, keepdims=True), atol=1e-6):
        return "softmax"
    return f"{name}(x)"


def _softmax_axis(operation):
    """The axis that a call with softmax is normalised over."""
    while function := getattr(operation, "activation", None):
        operation = function
    return getattr(operation, "axis", -1)


def _check_plain(layer):
    if layer.quantization_mode is not None or layer.lora_enabled:
        raise ValueError(
            "`backbone` must have a classifier that is not quantized and has "
            "no LoRA: add attention first. Received: the layer "
            f"{layer.name!r} with quantization_mode="
            f"{layer.quantization_mode!r} and lora_rank={layer.lora_rank}."
        )
