"""Which module to believe, and how much of the backbone to keep."""

import keras
from keras import ops

from keras_warn import checks
from keras_warn.layers.earlier import renamed
from keras_warn.layers.numerics import gate_values
from keras_warn.layers.numerics import wide


@keras.saving.register_keras_serializable(package="keras_warn")
class GlobalGate(keras.layers.Layer):
    """Weights of the backbone's own prediction and of every module's.

    The backbone's last features, pooled, are scored once for each prediction,
    and the scores are normalised over the predictions:

    `gates = softmax(tanh(features . kernel))` (equations 6 and 7).

    Entry 0 weighs the backbone's own prediction, entry `i` the `i`-th module's.
    The paper's tanh keeps every gate open: of 4 each lies in [0.043, 0.711].
    `score_activation=None` lifts that bound.

    Args:
        num_gates: Positive integer, the number of predictions `m + 1`.
        activation: `"softmax"`, or `"sigmoid"` for sigmoids divided by their
            sum.
        score_activation: Activation of the scores, a name or a function.
            Defaults to `"tanh"`; `None` for no bound.
        batch_norm: Whether scores are batch-normalised before
            `score_activation`, as the reference does.
        use_bias: Whether scores have a bias.
        kernel_initializer: Initializer of the kernel.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the kernel.
        **kwargs: `name`, `dtype` and `trainable`.

    Call arguments:
        features: The backbone's last features, pooled over positions.

    Input shape:
        `(b, c)`.

    Output shape:
        `(b, m + 1)`, non-negative, summing to 1 (sigmoids to a little less).
        float32 under mixed precision.

    Raises:
        TypeError: if `num_gates` is not an integer, or a flag not a boolean.
        ValueError: if an argument is out of its range or unknown, or the
            input of another rank.

    Example:

    >>> features = keras.random.normal((2, 32))
    >>> gates = keras_warn.GlobalGate(num_gates=4)(features)
    >>> ops.shape(gates)
    (2, 4)
    >>> bool(ops.all(ops.abs(ops.sum(gates, axis=-1) - 1) < 1e-5))
    True

    Differences from the reference: `batch_norm=True` gives its gate. Its
    moving statistics are kept as Keras does, with `momentum=0.9` and
    `epsilon=1e-5` as in PyTorch.

    Reference:
        [Rodríguez et al., 2018](https://arxiv.org/abs/1807.07320), section 3.5
    """

    def __init__(
        self,
        num_gates,
        activation="softmax",
        score_activation="tanh",
        batch_norm=False,
        use_bias=False,
        kernel_initializer="he_normal",
        bias_initializer="zeros",
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.num_gates = checks.integer("num_gates", num_gates)
        self.activation = checks.one_of(
            "activation", activation, ("softmax", "sigmoid")
        )
        self.score_activation = checks.activation(
            "score_activation", score_activation
        )
        self.batch_norm = checks.flag("batch_norm", batch_norm)
        self.use_bias = checks.flag("use_bias", use_bias)
        self.kernel_initializer = checks.initializer(
            "kernel_initializer", kernel_initializer
        )
        self.bias_initializer = checks.initializer(
            "bias_initializer", bias_initializer
        )
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.normalization = None
        if self.batch_norm:
            self.normalization = keras.layers.BatchNormalization(
                momentum=0.9,
                epsilon=1e-5,
                # A config holds the flag of the outer layer alone.
                trainable=self.trainable,
                dtype=wide(self.compute_dtype),
                name="normalization",
            )

    def build(self, features_shape) -> None:
        checks.rank("features", features_shape, (2,), "(b, c)")
        size = checks.known_axis("features", features_shape, 1, "channels")
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={1: size})
        self.kernel = self.add_weight(
            shape=(size, self.num_gates),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            name="kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(self.num_gates,),
                initializer=self.bias_initializer,
                name="bias",
            )
        if self.batch_norm:
            self.normalization.build((features_shape[0], self.num_gates))

    def call(self, features, training=None) -> keras.KerasTensor:
        dtype = wide(self.compute_dtype)
        features = ops.cast(features, dtype)
        kernel = ops.cast(self.kernel, dtype)
        scores = ops.einsum("bc,cg->bg", features, kernel)
        if self.use_bias:
            scores = scores + ops.cast(self.bias, dtype)
        if self.batch_norm:
            scores = self.normalization(scores, training=training)
        return gate_values(scores, self.activation, self.score_activation)

    def compute_output_shape(self, features_shape) -> tuple:
        return (features_shape[0], self.num_gates)

    def compute_output_spec(self, features, training=None) -> keras.KerasTensor:
        return keras.KerasTensor(
            self.compute_output_shape(features.shape),
            dtype=wide(self.compute_dtype),
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_gates": self.num_gates,
            "activation": self.activation,
            "score_activation": keras.activations.serialize(
                self.score_activation
            ),
            "batch_norm": self.batch_norm,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
        }

    @classmethod
    def from_config(cls, config) -> "GlobalGate":
        return super().from_config(renamed(config, gates="num_gates"))
