"""Weights of PyTorch's modules for layers of Keras.

What has weights yields PyTorch's names of arrays, and what these are for: a
variable of the model, and a function from the array to the variable's value.
"""

import keras
import numpy as np

# PyTorch's names of the variables of a batch normalisation.
_BN = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def assign(expected, weights):
    """Sets variables to arrays of PyTorch's names, if all of them are there.

    Args:
        expected: Dictionary from names to pairs of a variable and a function.
        weights: Dictionary from names to arrays.
    """
    if wrong := expected.keys() ^ weights.keys():
        raise ValueError(
            "`weights` must be of a network that is like the model. Received: "
            f"names that one of both has alone, {', '.join(sorted(wrong)[:6])}."
        )
    # All are converted before the first is set.
    values = [
        (variable, convert(keras.ops.convert_to_numpy(weights[name])))
        for name, (variable, convert) in expected.items()
    ]
    for variable, value in values:
        variable.assign(value)


def conv(name, layer):
    """Of a convolution, without bias."""
    yield f"{name}.weight", (layer.kernel, channels_last)


def dense(name, layer):
    """Of a dense layer."""
    yield f"{name}.weight", (layer.kernel, np.transpose)
    yield f"{name}.bias", (layer.bias, np.asarray)


def normalization(name, layer):
    """Of a batch normalisation."""
    for theirs, ours in _BN.items():
        yield f"{name}.{theirs}", (getattr(layer, ours), np.asarray)


def channels_last(kernel):
    """PyTorch's kernel `(out, c, h, w)` as Keras's, `(h, w, c, out)`."""
    return kernel.transpose(2, 3, 1, 0)
