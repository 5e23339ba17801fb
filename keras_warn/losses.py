"""The reference's loss, and whether a model was trained by it."""

import keras
from keras import ops

from keras_warn import checks
from keras_warn.attention import attention_of


@keras.saving.register_keras_serializable(package="keras_warn")
class GatedLogLikelihood(keras.losses.Loss):
    """Negative gated log-likelihood, as the reference trains.

    `loss = -scores[label]`, where the scores are the gated log-probabilities
    that `augment(..., classifier_activation=None)` returns. They are not
    normalised again, so this is the gate-weighted mean of the *separate*
    cross-entropies of the backbone and its modules, each of which must be
    correct on its own;
    `keras.losses.SparseCategoricalCrossentropy(from_logits=True)` on the same
    scores trains their combination instead. `agreement_weight` of such a model
    must be 0, or disagreement would count twice.

    Args:
        reduction: As in every Keras loss.
        name: Name of the loss.
        dtype: Dtype of the computation.

    Call arguments:
        y_true: Integer labels `(b,)` or `(b, 1)`, from 0 to `n - 1`.
        y_pred: Scores `(b, n)`, of a model with `classifier_activation=None`.

    Raises:
        ValueError: if labels or scores have another rank.

    Example:

    >>> scores = ops.array([[-0.5, -1.5], [-2.0, -0.25]])
    >>> loss = keras_warn.GatedLogLikelihood()
    >>> float(loss(ops.array([0, 1]), scores))
    0.375

    Reference:
        [Rodríguez et al., 2018](https://arxiv.org/abs/1807.07320)
    """

    def __init__(
        self,
        reduction="sum_over_batch_size",
        name="gated_log_likelihood",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred) -> keras.KerasTensor:
        checks.rank("y_pred", y_pred.shape, (2,), "(b, n)")
        rank = len(y_true.shape)
        if rank not in (1, 2) or (rank == 2 and y_true.shape[1] != 1):
            raise ValueError(
                "`y_true` must be integer labels of shape (b,) or (b, 1); of "
                "one-hot labels, take the argmax. "
                f"Received: y_true of shape {tuple(y_true.shape)}."
            )
        labels = ops.reshape(ops.cast(y_true, "int32"), (-1, 1))
        return -ops.squeeze(ops.take_along_axis(y_pred, labels, axis=-1), -1)

    def get_config(self) -> dict:
        return {**super().get_config(), "dtype": self.dtype}


def are_separate(model) -> bool:
    """Whether each prediction of a model has a loss of its own.

    By its `agreement_weight`, or because it was compiled with
    `GatedLogLikelihood`. Else there is one loss, of the gated sum.

    Args:
        model: A model made by `keras_warn.augment`.
    """
    attention = attention_of(model)
    return attention.rectified.agreement_weight > 0 or (
        isinstance(getattr(model, "loss", None), GatedLogLikelihood)
        and attention.rectified.combination == "log_probabilities"
        and attention.gates != "linear"
    )
