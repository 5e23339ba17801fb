"""Arithmetic that the layers share."""

import keras
from keras import ops


def wide(dtype) -> str:
    """The dtype for softmaxes and sums over positions: float32 or wider.

    A sum over 112 x 112 positions overflows float16, and a softmax mask over
    as many positions underflows it.
    """
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def softmax(scores, axis) -> keras.KerasTensor:
    """`keras.ops.softmax` that takes a single entry without a warning.

    One head and one position are ordinary here: both get weight one.
    """
    if scores.shape[axis] == 1:
        # Not a constant, of which TensorFlow warns that it has no gradient.
        return ops.exp(scores - scores)
    return ops.softmax(scores, axis=axis)


def gate_values(scores, activation, score_activation) -> keras.KerasTensor:
    """Gates from scores, over the last axis.

    Args:
        scores: Tensor of shape `(..., gates)`.
        activation: `"softmax"`, or `"sigmoid"` for sigmoids divided by their
            sum.
        score_activation: Function applied to the scores first.
    """
    scores = score_activation(scores)
    if activation == "softmax":
        return softmax(scores, axis=-1)
    values = ops.sigmoid(scores)
    # The reference's guard against a sum of zero.
    return values / (1e-6 + ops.sum(values, axis=-1, keepdims=True))


def batched_product(x, y) -> keras.KerasTensor:
    """Matrix products `(b, i, j) x (b, j, l) -> (b, i, l)`.

    As an einsum of four axes, because of two facts about Keras 3.15: on
    TensorFlow it turns that one into a plain matrix product, where the
    gradient of a general einsum takes three times as long, and on PyTorch
    `ops.matmul` rounds float64 to float32.
    """
    x, y = ops.expand_dims(x, 0), ops.expand_dims(y, 0)
    return ops.squeeze(ops.einsum("abij,abjl->abil", x, y), 0)
