"""Weights of PyTorch's modules for layers of Keras: all of them, or none."""

import collections

import keras
import numpy as np

# PyTorch's names of the variables of a batch normalisation.
_BN = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


# What an array of PyTorch's is for: the variable of the model, the array's
# shape, and a function from the array to the variable's value.
Weight = collections.namedtuple("Weight", "variable shape convert")


def expected(layers, names, refuse):
    """Yields PyTorch's names of arrays, and what these are for.

    `names` are triples: PyTorch's name of a module, ours of the layer, and
    one of `conv`, `dense` and `normalization`; `refuse` raises an error.
    """
    for theirs, ours, part in names:
        if ours not in layers:
            refuse(f"which has no layer {ours!r}")
        yield from part(theirs, layers[ours])


def assign(model, weights, expected, origin, is_weight):
    """Sets all variables, or raises one error that lists all faults.

    `expected` has a `Weight` for each of PyTorch's names of arrays in
    `weights`; `is_weight` tells a name from those to pass over.
    """
    arrays = {
        name: keras.ops.convert_to_numpy(weights[name])
        for name in weights
        if is_weight(str(name))
    }
    _check_arrays(model, expected, arrays, origin)
    # All are converted before the first is set.
    values = [
        (weight.variable, weight.convert(arrays[name]))
        for name, weight in expected.items()
    ]
    for variable, value in values:
        variable.assign(value)


def _check_arrays(model, expected, arrays, origin):
    """Checks names and shapes, and lists all that is wrong with them."""
    faults = {
        "missing": [repr(name) for name in expected if name not in arrays],
        "unknown": [repr(name) for name in arrays if name not in expected],
        "wrong": [
            f"{name!r} of shape {array.shape} and dtype {array.dtype} instead "
            f"of {expected[name].shape} and floats"
            for name, array in arrays.items()
            if name in expected
            and (array.shape, array.dtype.kind) != (expected[name].shape, "f")
        ],
    }
    faults = [
        f"{of}: {', '.join(found)}" for of, found in faults.items() if found
    ]
    if faults:
        raise ValueError(
            f"`weights` must have the names and shapes of {origin} network "
            f"that is like the model {model.name!r}, which was left as it is. "
            f"Received: {'; '.join(faults)}."
        )


def conv(name, layer):
    """Names and `Weight`s of a convolution, without bias."""
    height, width, channels, outputs = layer.kernel.shape
    shape = (outputs, channels, height, width)
    yield f"{name}.weight", Weight(layer.kernel, shape, channels_last)


def dense(name, layer):
    """Names and `Weight`s of a dense layer."""
    shape = tuple(layer.kernel.shape[::-1])
    yield f"{name}.weight", Weight(layer.kernel, shape, np.transpose)
    yield f"{name}.bias", plain(layer.bias)


def normalization(name, layer):
    """Names and `Weight`s of a batch normalisation."""
    for theirs, ours in _BN.items():
        yield f"{name}.{theirs}", plain(getattr(layer, ours))


def plain(variable):
    """The `Weight` of an array that is alike in both."""
    return Weight(variable, tuple(variable.shape), np.asarray)


def channels_last(kernel):
    """PyTorch's kernel `(out, c, h, w)` as Keras's, `(h, w, c, out)`."""
    return kernel.transpose(2, 3, 1, 0)
