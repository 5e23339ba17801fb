"""Keeping the heads apart."""

import keras
import numpy as np
from keras import ops

from keras_warn import checks
from keras_warn.layers.numerics import wide


@keras.saving.register_keras_serializable(package="keras_warn")
class MaskDiversity(keras.regularizers.Regularizer):
    """Penalty on heads of one module that look at the same place.

    The overlap of two heads is the inner product of their masks. The penalty
    is the mean of the squared overlaps over all `k x k` pairs of heads, a head
    with itself counting as zero:

    `weight * mean_b sum_{i != j} (masks_i . masks_j)^2 / k^2`.

    Disjoint masks cost nothing. Use it as the `activity_regularizer` of
    `AttentionHeads`. Keras divides activity penalties by the batch size, so
    calling the regularizer returns the *sum* over the batch of the above; the
    loss then holds the mean.

    Args:
        weight: Non-negative number.
        pool: Positive integer. Masks are first averaged over `pool x pool`
            squares, so that neighbouring pixels count as the same place. The
            reference uses 2. Masks of tokens take 1 only.
        data_format: `"channels_last"` or `"channels_first"`, the masks'.
            Defaults to `keras.config.image_data_format()`.

    Call arguments:
        masks: Tensor of shape `(b, h, w, k)`, `(b, k, h, w)` with
            `data_format="channels_first"`, or `(b, p, k)`.

    Returns:
        A scalar: the penalty summed over the batch.

    Raises:
        TypeError: if `weight` is not a number, or `pool` not an integer.
        ValueError: if one of them is out of range, or masks of tokens are to
            be pooled.

    Example:

    >>> heads = keras_warn.AttentionHeads(
    ...     num_heads=4, activity_regularizer=keras_warn.MaskDiversity(0.1)
    ... )
    >>> masks = heads(keras.random.normal((2, 7, 7, 32)))
    >>> bool(heads.losses[0] > 0)
    True

    Differences from the reference: it has the penalty in training only. Keras
    adds activity penalties to the reported validation loss too.

    Reference:
        Zhao et al., "Diversified visual attention networks for fine-grained
        object classification", 2017; [Rodríguez et al.,
        2018](https://arxiv.org/abs/1807.07320), section 3.2
    """

    def __init__(self, weight=0.1, pool=1, data_format=None):
        self.weight = checks.real("weight", weight)
        self.pool = checks.integer("pool", pool)
        self.data_format = checks.data_format(data_format)

    def __call__(self, masks):
        checks.rank(
            "masks",
            masks.shape,
            (3, 4),
            "(b, h, w, k), (b, k, h, w) or (b, p, k)",
        )
        masks = ops.cast(
            masks, wide(keras.backend.standardize_dtype(masks.dtype))
        )
        tokens = len(masks.shape) == 3
        if self.pool > 1:
            if tokens:
                raise ValueError(
                    "`pool` must be 1 for masks of tokens, which do not lie "
                    f"in a plane. Received: pool={self.pool}, masks of shape "
                    f"{tuple(masks.shape)}."
                )
            masks = ops.average_pool(
                masks, self.pool, self.pool, "valid", self.data_format
            )
        if not tokens and self.data_format == "channels_first":
            masks = ops.transpose(masks, (0, 2, 3, 1))
        heads = masks.shape[-1]
        masks = ops.reshape(masks, (ops.shape(masks)[0], -1, heads))
        overlap = ops.einsum("bpi,bpj->bij", masks, masks)
        apart = ops.cast(1 - np.eye(heads), overlap.dtype)
        penalty = self.weight * ops.sum(ops.square(overlap * apart)) / heads**2
        # Keras adds it to a loss of this dtype.
        return ops.cast(penalty, keras.config.floatx())

    def get_config(self) -> dict:
        return {
            "weight": self.weight,
            "pool": self.pool,
            "data_format": self.data_format,
        }
