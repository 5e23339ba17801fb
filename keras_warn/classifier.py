"""The classifier at the end of a network: what it reads, and its logits."""

import dataclasses

import keras

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
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
)
# Layers with these activations make features, not predictions.
_HIDDEN = frozenset(
    "celu elu gelu glu hard_shrink hard_silu hard_swish hard_tanh leaky_relu "
    "mish relu relu6 selu silu soft_shrink softplus softsign squareplus "
    "swish tanh tanh_shrink threshold".split()
)


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A classifier at the end of a network.

    Attributes:
        logits: `KerasTensor` `(b, n)`, the scores before the softmax.
        features: `KerasTensor` `(b, c)`, what the classifier reads, pooled or
            flattened, before any dropout.
        classes: Integer, the number of classes `n`.
    """

    logits: keras.KerasTensor
    features: keras.KerasTensor
    classes: int


@dataclasses.dataclass(frozen=True, eq=False)
class Ending:
    """The last calls of a network that ends in a classifier.

    Attributes:
        head: The call of the layer that owns the classifier's kernel.
        tail: List of the calls that follow it, up to the output.
        faults: List of those among them, from the last, whose activation
            hides the logits.
    """

    head: graph.Call
    tail: list
    faults: list


def read_classifier(model):
    """Finds the classifier of a flat model, and its logits.

    If softmax is fused into the last layer, its logits come from another layer
    of the same class and name on the same variables; the model's own layer is
    left as it is.

    Args:
        model: A functional `keras.Model`, as `graph.flatten` returns it.

    Returns:
        A `Classifier`, or `None` if the model ends in features.

    Raises:
        ValueError: if the model ends in a classifier whose predictions are
            neither softmax nor linear, or whose kernel is quantized or has
            LoRA enabled.
    """
    network = graph.Graph(model)
    ending = find_ending(network)
    if ending is None:
        return None
    if ending.faults:
        raise ValueError(
            "`backbone` must end in a classifier with softmax, once, or linear "
            "activation (logits), for its predictions to be rectified. "
            f"Received: activation={_activation(ending.faults[0])!r} in the "
            f"layer {ending.faults[0].operation.name!r}."
        )
    layer = ending.head.operation
    _check_plain(layer)
    logits = ending.head.outputs[0]
    changed = _activation(ending.head) == "softmax"
    if changed:
        logits = graph.linear_twin(layer)(ending.head.inputs[0])
    for call in ending.tail:
        if _activation(call) == "softmax":
            changed = True
        elif changed:
            logits = call.operation(logits)
        else:
            logits = call.outputs[0]
    return Classifier(logits, _features(network, ending), logits.shape[-1])


def find_ending(network):
    """Finds the last calls of a network, from its classifier's kernel on.

    Args:
        network: A `graph.Graph`.

    Returns:
        An `Ending`, or `None` if the network ends in features.
    """
    output = network.model.outputs[0]
    if len(output.shape) != 2:
        return None
    call = network.producer(output)
    tail = []
    faults = []
    softmax = False
    pooling = False
    while not _owns_kernel(call.operation):
        activation = _activation(call)
        if isinstance(call.operation, _POOLING):
            # Without a softmax after it, it is features that are pooled.
            if not softmax:
                return None
            pooling = True
        elif activation == "softmax":
            # A mean of softmaxes or a second one has no logits to recover.
            if softmax:
                faults.append(call)
            softmax = True
        elif activation in _HIDDEN:
            if not pooling:
                return None
        elif activation is None:
            if not isinstance(call.operation, _RESHAPING):
                return None
        elif activation != "linear":
            faults.append(call)
        if len(call.inputs) != 1:
            return None
        tail.insert(0, call)
        call = network.producer(call.inputs[0])
    activation = _activation(call)
    if activation in _HIDDEN:
        if not pooling:
            return None
    elif activation != "linear" and (activation != "softmax" or softmax):
        faults.append(call)
    if not pooling and _positions(call) != 1:
        # Flattened maps are features.
        return None
    return Ending(call, tail, faults)


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


def pooled(features, data_format, name):
    """The mean of a feature map over its positions, `(b, c)`."""
    if len(features.shape) == 4:
        layer = keras.layers.GlobalAveragePooling2D
    else:
        layer = keras.layers.GlobalAveragePooling1D
        data_format = "channels_last"
    dtype = graph.dtype_policy(features)
    return layer(data_format=data_format, dtype=dtype, name=name)(features)


def _owns_kernel(operation):
    kinds = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Dense)
    # Depthwise and separable convolutions are not subclasses of these.
    return isinstance(operation, kinds)


def _positions(call):
    """The number of positions that the outputs of a layer stand at."""
    layer = call.operation
    shape = list(call.outputs[0].shape[1:])
    first = getattr(layer, "data_format", None) == "channels_first"
    shape.pop(0 if first else -1)
    if None in shape:
        return None
    positions = 1
    for length in shape:
        positions *= length
    return positions


def _activation(call):
    """The name of the activation of a call, or `None` if it has none."""
    operation = call.operation
    if isinstance(operation, keras.layers.Softmax):
        return "softmax"
    if isinstance(operation, keras.layers.ReLU):
        return "relu"
    if isinstance(operation, keras.layers.Activation) or _owns_kernel(
        operation
    ):
        function = operation.activation
        if function is None:
            return "linear"
        # An activation may be an object of the user's.
        return getattr(function, "__name__", type(function).__name__).lower()
    if isinstance(operation, keras.layers.Layer):
        return None
    # An operation of `keras.ops`, such as `Softmax`.
    name = type(operation).__name__.lower()
    known = _HIDDEN | {"softmax", "sigmoid", "hardsigmoid", "logsoftmax"}
    return name if name in known else None


def _check_plain(layer):
    if layer.quantization_mode is not None:
        raise ValueError(
            "`backbone` must have a classifier that is not quantized: add "
            "attention first, and quantize the result. Received: the layer "
            f"{layer.name!r} with quantization_mode="
            f"{layer.quantization_mode!r}."
        )
    if layer.lora_enabled:
        raise ValueError(
            "`backbone` must have a classifier without LoRA: save and reload "
            "the model, which merges LoRA into the kernel, or add it after "
            f"attention. Received: the layer {layer.name!r} with "
            f"lora_rank={layer.lora_rank}."
        )
