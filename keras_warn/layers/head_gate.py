"""Which head to believe."""

import keras
from keras import ops

from keras_warn import checks
from keras_warn.layers.numerics import gate_values
from keras_warn.layers.numerics import wide


@keras.saving.register_keras_serializable(package="keras_warn")
class HeadGate(keras.layers.Layer):
    """Weights of the attention heads within one module.

    Each head is scored by what it attends to, and the scores are normalised
    over the heads:

    `gates = softmax(tanh(attended_k . kernel_k))` (equation 5, in the order
    that `AttendedFeatures` explains).

    The paper's tanh keeps every score in (-1, 1), so no head can be switched
    off: of 4 gates each lies in [0.043, 0.711]. `score_activation=None` lifts
    that bound.

    Args:
        activation: `"softmax"`, or `"sigmoid"` for sigmoids divided by their
            sum.
        score_activation: Activation of the scores, a name or a function.
            Defaults to `"tanh"`; `None` for no bound.
        kernel_initializer: Initializer of the kernel. It sees the shape
            `(f, k)`.
        kernel_regularizer: Regularizer of the kernel.
        **kwargs: `name`, `dtype` and `trainable`.

    Call arguments:
        attended: The output of `AttendedFeatures`.

    Input shape:
        `(b, k, f)`: heads, attended features.

    Output shape:
        `(b, k)`, non-negative, summing to 1 over the heads (sigmoids to a
        little less). float32 under mixed precision.

    Raises:
        ValueError: if `activation` or `score_activation` is unknown, or the
            input of another rank.

    Example:

    >>> attended = keras.random.normal((2, 4, 32))
    >>> gates = keras_warn.HeadGate()(attended)
    >>> ops.shape(gates)
    (2, 4)
    >>> bool(ops.all(ops.abs(ops.sum(gates, axis=-1) - 1) < 1e-5))
    True

    Reference:
        [Rodríguez et al., 2018](https://arxiv.org/abs/1807.07320), section 3.4
    """

    def __init__(
        self,
        activation="softmax",
        score_activation="tanh",
        kernel_initializer="he_normal",
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.activation = checks.one_of(
            "activation", activation, ("softmax", "sigmoid")
        )
        self.score_activation = checks.activation(
            "score_activation", score_activation
        )
        self.kernel_initializer = checks.initializer(
            "kernel_initializer", kernel_initializer
        )
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, attended_shape) -> None:
        checks.rank("attended", attended_shape, (3,), "(b, k, f)")
        heads = checks.known_axis("attended", attended_shape, 1, "heads")
        size = checks.known_axis("attended", attended_shape, 2, "features")
        self.input_spec = keras.layers.InputSpec(
            ndim=3, axes={1: heads, 2: size}
        )

        def initializer(shape, dtype=None):
            return ops.transpose(
                self.kernel_initializer(shape[::-1], dtype=dtype)
            )

        self.kernel = self.add_weight(
            shape=(heads, size),
            initializer=initializer,
            regularizer=self.kernel_regularizer,
            name="kernel",
        )

    def call(self, attended) -> keras.KerasTensor:
        attended = ops.cast(attended, wide(self.compute_dtype))
        kernel = ops.cast(self.kernel, wide(self.compute_dtype))
        scores = ops.sum(attended * kernel, axis=-1)
        return gate_values(scores, self.activation, self.score_activation)

    def compute_output_shape(self, attended_shape) -> tuple:
        return tuple(attended_shape[:-1])

    def compute_output_spec(self, attended) -> keras.KerasTensor:
        return keras.KerasTensor(
            self.compute_output_shape(attended.shape),
            dtype=wide(self.compute_dtype),
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "activation": self.activation,
            "score_activation": keras.activations.serialize(
                self.score_activation
            ),
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
        }
