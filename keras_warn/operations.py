"""Operations that a model takes for one image, counted on its graph.

Each backend counts in its own way, and counts another part of what is not a
product of matrices. Compare only what one backend counted.
"""

import collections.abc
import contextlib

import keras
import numpy as np

# What counts, by backend.
COUNTERS = {
    "tensorflow": "tf.compat.v1.profiler, float_operation; Einsum added",
    "jax": "jax.jit(...).lower(...).cost_analysis()",
    "torch": "torch.utils.flop_counter.FlopCounterMode",
}

# Products of matrices, as TensorFlow calls them: what nearly all operations
# are.
PRODUCTS = (
    "BatchMatMul",
    "BatchMatMulV2",
    "BatchMatMulV3",
    "Conv2D",
    "DepthwiseConv2dNative",
    "Einsum",
    "MatMul",
)


def operations(model, shapes=None) -> dict:
    """Counts the operations of a model for one image.

    A multiplication and an addition are two operations. Nothing is computed,
    but with PyTorch, which counts while it runs.

    - TensorFlow counts convolutions, matrix products, poolings, sums and
      simple arithmetic, but neither batch normalisation nor activations but
      softmax.
    - JAX counts all arithmetic but transcendental functions, before any
      optimisation; of convolutions only the products inside the borders, so
      fewer than the others where there is padding.
    - PyTorch counts convolutions and matrix products, nothing else.

    Args:
        model: A functional `keras.Model`.
        shapes: Shapes of the inputs, without the batch, in the structure of
            `model.input`. Needed where the model leaves them open.

    Returns:
        A dictionary from types of operations, as the backend calls them, to
        integers.

    Example:

    >>> inputs = keras.Input((7,))
    >>> outputs = keras.layers.Dense(5, use_bias=False)(inputs)
    >>> sum(operations(keras.Model(inputs, outputs)).values())
    70
    """
    if shapes is None:
        shapes = keras.tree.map_structure(lambda t: t.shape[1:], model.input)
    specs = keras.tree.map_structure_up_to(
        model.input,
        lambda tensor, shape: keras.KerasTensor((1, *shape), tensor.dtype),
        model.input,
        shapes,
    )
    for spec in keras.tree.flatten(specs):
        if None in spec.shape:
            raise ValueError(
                "`shapes` must be known to count operations. Received: an "
                f"input of shape {spec.shape[1:]}."
            )
    return _COUNTING[counting_backend()](model, specs)


def counting_backend() -> str:
    """The backend in use, if it can count: a key of `COUNTERS`."""
    backend = keras.backend.backend()
    if backend not in COUNTERS:
        raise ImportError(
            f"Operations are counted by {', '.join(COUNTERS)}. Received: the "
            f"backend {backend}."
        )
    return backend


def _on_tensorflow(model, specs):
    """By the profiler, without `Einsum`, which it does not know.

    It silently counts zero for shapes that it does not know: that is checked.
    """
    import tensorflow as tf

    function = tf.function(
        lambda inputs: model(inputs, training=False), autograph=False
    )
    one_image = keras.tree.map_structure(
        lambda spec: tf.TensorSpec(spec.shape, spec.dtype), specs
    )
    with functions_inlined():  # into which the profiler does not look
        graph = function.get_concrete_function(one_image).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    logger = tf.get_logger()
    level = logger.level
    # The profiler warns of its own use of a deprecated function.
    logger.setLevel("ERROR")
    try:
        with tf.Graph().as_default():
            profile = tf.compat.v1.profiler.profile(
                graph, cmd="op", options=options
            )
    finally:
        logger.setLevel(level)
    counts = dict(_profiled(profile))
    for operation in graph.get_operations():
        if operation.type in PRODUCTS:
            _check_shapes(operation)
        if operation.type == "Einsum":
            count = _einsum_operations(operation)
            counts["Einsum"] = counts.get("Einsum", 0) + count
    return {name: count for name, count in counts.items() if count}


@contextlib.contextmanager
def functions_inlined() -> collections.abc.Iterator:
    """Makes functions of TensorFlow a part of the graph that calls them.

    Keras 3.15 lets XLA compile convolutions in groups, in functions of their
    own.
    """
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


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


def _on_jax(model, specs):
    import jax

    def function(weights, inputs):
        outputs, _ = model.stateless_call(*weights, inputs, training=False)
        return outputs

    weights = [
        [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
        )
    ]
    one_image = keras.tree.map_structure(
        lambda spec: jax.ShapeDtypeStruct(spec.shape, spec.dtype), specs
    )
    lowered = jax.jit(function).lower(weights, one_image)
    return {"all": int(lowered.cost_analysis()["flops"])}


def _on_torch(model, specs):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    one_image = keras.tree.map_structure(
        lambda spec: keras.ops.zeros(spec.shape, spec.dtype), specs
    )
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(one_image, training=False)
    # Without anything that it counts, it has no sum.
    counts = counter.get_flop_counts().get("Global", {})
    return {str(name): int(count) for name, count in counts.items()}


_COUNTING = {
    "tensorflow": _on_tensorflow,
    "jax": _on_jax,
    "torch": _on_torch,
}
