"""Believing everyone alike: the paper's averaging ablation."""

import keras
from keras import ops

from keras_warn import checks
from keras_warn.layers.earlier import renamed
from keras_warn.layers.numerics import wide


@keras.saving.register_keras_serializable(package="keras_warn")
class UniformGate(keras.layers.Layer):
    """Equal weights, in place of a `HeadGate` or a `GlobalGate`.

    "Setting the output of G to 1/|O| corresponds to averaging all the outputs"
    (section 3.5): the ablation that shows what gates are worth.

    Args:
        num_gates: Positive integer, the number of weights.
        **kwargs: `name`, `dtype` and `trainable`.

    Call arguments:
        inputs: Any tensor; only its batch size is used.

    Output shape:
        `(b, num_gates)`, every entry `1 / num_gates`.

    Example:

    >>> gates = keras_warn.UniformGate(num_gates=4)(ops.zeros((2, 32)))
    >>> float(gates[1, 3])
    0.25

    Reference:
        [Rodríguez et al., 2018](https://arxiv.org/abs/1807.07320), section 4.3
    """

    def __init__(self, num_gates, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.num_gates = checks.integer("num_gates", num_gates)

    def call(self, inputs) -> keras.KerasTensor:
        return ops.full(
            (ops.shape(inputs)[0], self.num_gates),
            1 / self.num_gates,
            dtype=wide(self.compute_dtype),
        )

    def compute_output_shape(self, inputs_shape) -> tuple:
        return (inputs_shape[0], self.num_gates)

    def compute_output_spec(self, inputs) -> keras.KerasTensor:
        return keras.KerasTensor(
            self.compute_output_shape(inputs.shape),
            dtype=wide(self.compute_dtype),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "num_gates": self.num_gates}

    @classmethod
    def from_config(cls, config) -> "UniformGate":
        return super().from_config(renamed(config, gates="num_gates"))
