"""A model in stages, each of which ends with what its modules predict."""

import keras
import numpy as np
from keras import ops

from keras_warn import graph
from keras_warn._summary import NOMINAL_SIZE
from keras_warn.attention import attention_of
from keras_warn.layers.numerics import softmax
from keras_warn.layers.numerics import wide
from keras_warn.operations import operations


def stages(model) -> list:
    """Cuts a model behind each attention module.

    Every stage but the last predicts the classes by the modules so far, from
    the mean of their logits, and returns what the next one reads: where such a
    prediction is enough, the rest need not be computed.
    `keras_warn.early_exits` finds where it is. Stages share the layers of
    `model`.

    Args:
        model: A model made by `keras_warn.augment`, fresh or loaded from disk.

    Returns:
        A list of `m + 1` functional models. The first takes what `model`
        takes, the others what the one before hands on. Stage `i` of 1 to `m`
        returns probabilities `(b, n)` by modules 1 to `i`, and a tuple of
        tensors for the next; the last returns what `model` returns.

    Raises:
        TypeError: if `model` is no `keras.Model`.
        ValueError: if it was not made by `keras_warn.augment`.

    Example:

    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=2)
    >>> first, second, last = keras_warn.stages(model)
    >>> probabilities, tensors = first(ops.zeros((1, 96, 96, 3)))
    >>> ops.shape(probabilities)
    (1, 5)
    >>> probabilities, tensors = second(tensors)
    >>> prediction = last(tensors)  # of `model`

    Reference:
        Teerapittayanon et al., "BranchyNet: Fast inference via early exiting
        from deep neural networks", ICPR 2016
    """
    attention = attention_of(model)
    predictions = [module.prediction.output for module in attention.modules]
    dtype = wide(attention.rectified.compute_dtype)
    ends = [
        _MeanPrediction(name=f"mean_prediction_{i}", dtype=dtype)(
            predictions[:i]
        )
        for i in range(1, len(predictions) + 1)
    ]
    ends.append(model.output)
    network = graph.Graph(keras.Model(model.inputs, ends))
    # By ids of calls, the stage that first needs what they return.
    stage_of = {id(network.producer(tensor)): 0 for tensor in model.inputs}
    for stage, tensor in enumerate(ends):
        pending = [network.producer(tensor)]
        while pending:
            call = pending.pop()
            if id(call) not in stage_of:
                stage_of[id(call)] = stage
                pending += map(network.producer, call.inputs)
    found, taken = [], graph.inputs(model)
    for stage, tensor in enumerate(ends):
        there = set(map(id, keras.tree.flatten(taken)))
        read_later = [
            x
            for call in network.calls
            if stage_of[id(call)] <= stage
            for x in call.outputs
            if any(stage_of[id(one)] > stage for one in network.readers(x))
        ]
        handed_on = tuple(
            # No model of Keras returns what it takes.
            keras.layers.Identity(dtype=x.dtype)(x) if id(x) in there else x
            for x in read_later
        )
        found.append(
            keras.Model(
                taken,
                (tensor, handed_on) if handed_on else tensor,
                name=f"{model.name}_stage_{stage + 1}",
            )
        )
        taken = tuple(read_later)
    return found


def operations_so_far(model) -> np.ndarray:
    """The share of a model's operations that each stage ends with.

    Args:
        model: A model made by `keras_warn.augment`. Lengths of images that it
            leaves open are taken to be 224.

    Returns:
        Array `(m + 1,)`, whose last number is 1.

    Raises:
        ValueError: if its layers move images along the first axis, as those
            that put windows of an image there.

    Example:

    >>> inputs = keras.Input((16, 16, 3))
    >>> maps = keras.layers.Conv2D(5, 3, 2)(inputs)
    >>> backbone = keras.Model(inputs, keras.layers.Conv2D(7, 3)(maps))
    >>> model = keras_warn.augment(backbone, classes=3, attend_at=[maps, -1])
    >>> operations_so_far(model).round(1).tolist()
    [0.5, 1.0, 1.0]
    """
    taken = keras.tree.map_structure(
        lambda x: keras.KerasTensor(
            (1, *(n or NOMINAL_SIZE for n in x.shape[1:])), x.dtype
        ),
        graph.inputs(model),
    )
    counts = []
    for stage in stages(model):
        shapes = keras.tree.map_structure(lambda x: x.shape[1:], taken)
        counts.append(sum(operations(stage, shapes).values()))
        _, *taken = keras.tree.flatten(stage.compute_output_spec(taken))
        if any(x.shape[0] != 1 for x in taken):
            raise ValueError(
                "`model` must keep the images of a batch apart, along the "
                "first axis, for some of them to leave it early. Received: "
                f"{model.name!r}, in which a tensor of one image has the shape "
                f"{next(x.shape for x in taken if x.shape[0] != 1)}."
            )
        taken = tuple(taken)
    return np.cumsum(counts) / sum(counts)


@keras.saving.register_keras_serializable(package="keras_warn")
class _MeanPrediction(keras.layers.Layer):
    """Probabilities by the mean of logits."""

    def call(self, inputs):
        mean = sum(ops.cast(x, self.compute_dtype) for x in inputs)
        return softmax(mean / len(inputs), axis=-1)
