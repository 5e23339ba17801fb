"""How much of the modules' gradients the backbone receives."""

import math

import keras
from keras import ops

from keras_warn import checks


@keras.saving.register_keras_serializable(package="keras_warn")
class GradientScale(keras.layers.Layer):
    """Identity whose gradient is multiplied by a factor.

    At the entry of an attention module it decides how far the module's loss
    trains the backbone: in full with 1, and not at all with 0, the paper's
    blocked-gradient ablation (section 4.3). 0.1 is its fine-tuning rate.

    In training with a factor of 1 it saves memory: the gradients of all that
    read its output are added up before they go on, instead of waiting one by
    one for those of the backbone.

    Args:
        factor: Non-negative number.
        **kwargs: `name`, `dtype` and `trainable`.

    Call arguments:
        inputs: Any floating-point tensor of finite values.

    Output shape:
        Same as the input, with the same values and dtype.

    Raises:
        TypeError: if `factor` is not a number.
        ValueError: if `factor` is negative or not finite.

    Example:

    >>> x = ops.array([[1.0, 2.0]])
    >>> bool(ops.all(keras_warn.GradientScale(0.1)(x) == x))
    True
    """

    def __init__(self, factor, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.factor = checks.real("factor", factor)

    def call(self, inputs, training=None) -> keras.KerasTensor:
        if self.factor == 1:
            return _junction(inputs) if training else inputs
        blocked = ops.stop_gradient(inputs)
        if self.factor == 0:
            return blocked
        # The difference is exactly zero, so the values stay as they are.
        return blocked + self.factor * (inputs - blocked)

    def compute_output_shape(self, inputs_shape) -> tuple:
        return tuple(inputs_shape)

    def compute_output_spec(self, inputs, training=None) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def get_config(self) -> dict:
        return {**super().get_config(), "factor": self.factor}


@ops.custom_gradient
def _junction(x):
    """The identity, whose gradients TensorFlow adds up as they arrive.

    They are as large as a feature map, and exist long before the backbone's
    own gradient. TensorFlow merges additions that directly follow each other,
    and would keep all terms until the last one is there; clipping at infinity
    keeps them apart.
    """

    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream
        return ops.clip(upstream, -math.inf, math.inf)

    return x, gradient
