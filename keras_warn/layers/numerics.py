"""Arithmetic that the layers share."""

from keras import ops


def wide(dtype):
    """The dtype for softmaxes and sums over positions: float32 or wider.

    A sum over 112 x 112 positions overflows float16, and a softmax mask over
    as many positions underflows it.
    """
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def softmax(scores, axis):
    """`keras.ops.softmax` that takes a single entry without a warning.

    One head and one position are ordinary here: both get weight one.
    """
    if scores.shape[axis] == 1:
        # Not a constant, of which TensorFlow warns that it has no gradient.
        return ops.exp(scores - scores)
    return ops.softmax(scores, axis=axis)


def gate_values(scores, activation, score_activation):
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
