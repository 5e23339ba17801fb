"""The rectified prediction."""

import keras
from keras import ops

from keras_warn import checks
from keras_warn.layers.annotated import Annotated
from keras_warn.layers.earlier import renamed
from keras_warn.layers.numerics import softmax
from keras_warn.layers.numerics import wide


def _log_of_gated_sum(gates, log_probabilities):
    """`log(sum_i gates_i exp(log_probabilities_i))`, over axis 1.

    Not a logsumexp: the logarithm of a gate that has underflown to zero would
    make the gradient NaN.
    """
    highest = ops.max(log_probabilities, axis=1, keepdims=True)
    highest = ops.stop_gradient(highest)
    total = ops.sum(gates * ops.exp(log_probabilities - highest), axis=1)
    return highest[:, 0] + ops.log(ops.maximum(total, 1e-37))


def _disagreement(gates, logits):
    """How far predictions `(b, n)` are from the rectified one, in nats."""
    scores = gates * ops.log_softmax(ops.stack(logits, axis=1), axis=-1)
    return -ops.mean(ops.logsumexp(ops.sum(scores, axis=1), axis=-1))


@keras.saving.register_keras_serializable(package="keras_warn")
class GatedSum(Annotated):
    """The backbone's prediction, rectified by the modules' (equation 8).

    `scores = sum_i gates_i log_softmax(predictions_i)`, or with
    `combination="probabilities"`,
    `scores = log(sum_i gates_i softmax(predictions_i))`.

    The first is what the reference does. The normaliser of each log-softmax
    is one number an image, the same for all classes, so the probabilities
    `softmax(scores)` are those of the gated *logits*, and are computed from
    them: with gate 0 at one and the others at zero, this is the backbone's own
    softmax, bit for bit (in float32; a backbone that ends in half precision has
    rounded its own).

    `agreement_weight` adds a penalty on predictions that contradict each
    other, its weight times the mean over images of

    `-logsumexp(sum_i gates_i log_softmax(predictions_i))
        = sum_i gates_i KL(rectified || softmax(predictions_i))`

    (with gates that sum to 1). Cross-entropy alone trains the rectified
    prediction, whatever becomes of the single ones. With this penalty at
    weight 1, the loss is the gate-weighted mean of the *separate*
    cross-entropies, each of which must become small: the reference's loss. No
    label is needed for it, so that it goes with every cross-entropy, also of
    smoothed and mixed labels; but weights of samples and classes do not reach
    it. `keras_warn.GatedLogLikelihood` has it already.

    Args:
        combination: `"log_probabilities"` (a weighted geometric mean, the
            reference's choice) or `"probabilities"` (an arithmetic mean, the
            paper's words).
        activation: `"softmax"`, or `None` to return the scores.
        agreement_weight: Non-negative number, the weight of the penalty. Only
            with `"log_probabilities"`: of an arithmetic mean, no penalty
            without labels is what is said above.
        **kwargs: `name`, `dtype` and `trainable`; `metadata`, as of
            `Annotated`.

    Call arguments:
        gates: The output of `GlobalGate`.
        predictions: List of `m + 1` logits, the backbone's own first.

    Input shape:
        gates: `(b, m + 1)`. predictions: `m + 1` times `(b, n)`.

    Output shape:
        `(b, n)`. Probabilities sum to 1. Scores of `"log_probabilities"` are
        *not* normalised: see `keras_warn.GatedLogLikelihood`. float32 under
        mixed precision.

    Raises:
        TypeError: if `agreement_weight` is not a number.
        ValueError: if `combination` or `activation` is unknown;
            `agreement_weight` is negative, or positive with
            `"probabilities"`; the gates are not as many as the predictions,
            or the predictions differ in shape.

    Example:

    >>> gates = ops.array([[1.0, 0.0]])
    >>> backbone, module = ops.array([[2.0, 0.0]]), ops.array([[-3.0, 5.0]])
    >>> rectified = keras_warn.GatedSum()(gates, [backbone, module])
    >>> bool(ops.all(rectified == ops.softmax(backbone)))
    True

    Reference:
        [Rodríguez et al., 2018](https://arxiv.org/abs/1807.07320), section 3.5
    """

    def __init__(
        self,
        combination="log_probabilities",
        activation="softmax",
        agreement_weight=0.0,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.combination = checks.one_of(
            "combination", combination, ("log_probabilities", "probabilities")
        )
        self.activation = checks.one_of(
            "activation", activation, ("softmax", None)
        )
        self.agreement_weight = checks.real(
            "agreement_weight", agreement_weight
        )
        if self.agreement_weight and combination == "probabilities":
            raise ValueError(
                "`agreement_weight` must be 0 with "
                "combination='probabilities'. Received: "
                f"agreement_weight={agreement_weight}."
            )

    def build(self, gates_shape, predictions_shape) -> None:
        checks.rank("gates", gates_shape, (2,), "(b, m + 1)")
        if not predictions_shape or not isinstance(
            predictions_shape[0], (tuple, list)
        ):
            raise ValueError(
                "`predictions` must be a list of tensors of shape (b, n). "
                f"Received: one of shape {tuple(predictions_shape)}."
            )
        shapes = [tuple(shape) for shape in predictions_shape]
        for shape in shapes:
            checks.rank("predictions", shape, (2,), "(b, n)")
        if len({shape[1] for shape in shapes}) != 1:
            raise ValueError(
                "`predictions` must all have the same classes. "
                f"Received: predictions of shapes {shapes}."
            )
        if gates_shape[1] != len(shapes):
            raise ValueError(
                "`gates` must have one entry for each of the `predictions`. "
                f"Received: gates of shape {tuple(gates_shape)} for "
                f"{len(shapes)} predictions."
            )

    def call(self, gates, predictions) -> keras.KerasTensor:
        dtype = wide(self.compute_dtype)
        gates = ops.cast(gates, dtype)[:, :, None]
        logits = [ops.cast(prediction, dtype) for prediction in predictions]
        if self.agreement_weight:
            penalty = self.agreement_weight * _disagreement(gates, logits)
            # Keras adds it to a loss of this dtype.
            self.add_loss(ops.cast(penalty, keras.config.floatx()))
        if self.combination == "probabilities" and self.activation:
            # One by one: where a row lies in memory decides how TensorFlow
            # rounds on some processors.
            probabilities = [softmax(one, axis=-1) for one in logits]
            return ops.sum(gates * ops.stack(probabilities, axis=1), axis=1)
        logits = ops.stack(logits, axis=1)
        if self.combination == "probabilities":
            return _log_of_gated_sum(gates, ops.log_softmax(logits, -1))
        if self.activation is None:
            return ops.sum(gates * ops.log_softmax(logits, axis=-1), axis=1)
        return softmax(ops.sum(gates * logits, axis=1), axis=-1)

    def compute_output_shape(self, gates_shape, predictions_shape) -> tuple:
        return tuple(predictions_shape[0])

    def compute_output_spec(self, gates, predictions) -> keras.KerasTensor:
        return keras.KerasTensor(
            predictions[0].shape, dtype=wide(self.compute_dtype)
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "combination": self.combination,
            "activation": self.activation,
            "agreement_weight": self.agreement_weight,
        }

    @classmethod
    def from_config(cls, config) -> "GatedSum":
        config = renamed(config, agreement="agreement_weight")
        if "from_logits" in config:  # what earlier versions had
            scores = config.pop("from_logits")
            config["activation"] = None if scores else "softmax"
        return super().from_config(config)
