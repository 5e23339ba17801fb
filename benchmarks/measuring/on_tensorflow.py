"""TensorFlow: `tf.function`, as `fit` and `predict` compile."""

import functools

import numpy as np
import tensorflow as tf

from measuring.device_memory import Memory
from measuring.device_memory import host_memory
from measuring.models import for_inputs
from measuring.models import mean_loss

COUNTER = "tf.compat.v1.profiler, float_operation; Einsum added"
# Products of matrices: what nearly all operations are.
PRODUCTS = (
    "BatchMatMul",
    "BatchMatMulV2",
    "BatchMatMulV3",
    "Conv2D",
    "DepthwiseConv2dNative",
    "Einsum",
    "MatMul",
)
GPUS = tf.config.list_physical_devices("GPU")

# The profiler warns of its own use of a deprecated function.
tf.get_logger().setLevel("ERROR")


def gpus():
    details = tf.config.experimental.get_device_details
    return [details(gpu).get("device_name", gpu.name) for gpu in GPUS]


def predict(model, inputs):
    step = _compiled(model, model.predict_step)
    return functools.partial(_finish, step, (inputs,))


def train(model, inputs, labels):
    step = _compiled(model, model.train_step)
    step.get_concrete_function((inputs, labels))
    return functools.partial(_finish, step, (inputs, labels))


def gradient(model, inputs, labels):
    def function(inputs, labels):
        weights = [v.value for v in model.trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = mean_loss(labels, model(inputs, training=True))
        return tape.gradient(loss, [weights, inputs])

    step = _compiled(model, function)
    return functools.partial(_finish, step, inputs, labels)


def _compiled(model, function):
    return tf.function(
        function, jit_compile=model.jit_compile or None, autograph=False
    )


def _finish(step, *args):
    result = step(*args)
    if GPUS:
        tf.test.experimental.sync_devices()
    return result


def operations(model):
    """Operations by type, of the graph for one image.

    The profiler counts convolutions, matrix products, poolings, sums and
    simple arithmetic, but no `Einsum` (which is added here), and neither
    batch normalisation nor activations but softmax. It silently counts zero
    for shapes it does not know: that is checked.
    """
    function = tf.function(
        lambda inputs: model(inputs, training=False), autograph=False
    )
    one_image = for_inputs(
        model, lambda t: tf.TensorSpec((1, *t.shape[1:]), t.dtype)
    )
    graph = function.get_concrete_function(one_image).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    with tf.Graph().as_default():
        profile = tf.compat.v1.profiler.profile(
            graph, cmd="op", options=options
        )
    counts = dict(_profiled(profile))
    for operation in graph.get_operations():
        if operation.type in PRODUCTS:
            _check_shapes(operation)
        if operation.type == "Einsum":
            count = _einsum_operations(operation)
            counts["Einsum"] = counts.get("Einsum", 0) + count
    return {name: count for name, count in counts.items() if count}


def _profiled(node):
    """Operation types and their counts, in the profiler's nested answer."""
    for child in node.children:
        yield child.name, child.float_ops
        yield from _profiled(child)


def _check_shapes(operation):
    tensors = [*operation.inputs, *operation.outputs]
    if not all(tensor.shape.is_fully_defined() for tensor in tensors):
        raise RuntimeError(
            "Operations cannot be counted: unknown shapes of "
            f"{operation.type} {operation.name!r}."
        )


def _einsum_operations(operation):
    """Two for each combination of the indices of an einsum."""
    equation = operation.get_attr("equation").decode()
    if "." in equation:
        raise RuntimeError(
            f"Operations of the einsum {equation!r} cannot be counted."
        )
    sizes = {}
    terms = equation.split("->")[0].split(",")
    for term, tensor in zip(terms, operation.inputs, strict=True):
        sizes.update(zip(term, tensor.shape, strict=True))
    return 2 * int(np.prod(list(sizes.values()), dtype="int64"))


def memory():
    if not GPUS:
        return host_memory()
    on_gpu = tf.config.experimental
    return Memory(
        in_use=lambda: on_gpu.get_memory_info("GPU:0")["current"],
        peak=lambda: on_gpu.get_memory_info("GPU:0")["peak"],
        reset_peak=lambda: on_gpu.reset_memory_stats("GPU:0"),
    )
