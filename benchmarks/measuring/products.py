"""Multiplications of a network for one image, each with its addition.

What papers call FLOPs of a network. Read off the shapes of layers, so that all
backends count alike. `keras_warn.operations` asks each backend's own counter:
TensorFlow's and PyTorch's would say nearly twice as many, a multiplication and
an addition being two; JAX's leaves out products with what is padded.
"""

import math

from keras import layers

import keras_warn


def products(model):
    """The sum over all layers of a flat model, without elementwise ones.

    Images have a known size, channels last. A layer with weights that is not
    known here is a `TypeError`.
    """
    total = 0
    for layer in model.layers:
        if type(layer) in _ADDED:
            outputs = math.prod(layer.output.shape[1:])
            total += outputs * _ADDED[type(layer)](layer)
        elif layer.weights and not isinstance(layer, layers.BatchNormalization):
            raise TypeError(
                f"Products of {type(layer).__name__} {layer.name!r} are not "
                "known."
            )
    return total


# How many products are added up in each entry of a layer's output.
_ADDED = {
    layers.Conv2D: lambda x: math.prod(x.kernel.shape[:-1]),
    layers.Dense: lambda x: x.kernel.shape[0],
    layers.Dot: lambda x: x.input[0].shape[x.axes],
    keras_warn.AttentionHeads: lambda x: math.prod(x.kernel.shape[:-1]),
    keras_warn.AttendedFeatures: lambda x: math.prod(x.input[0].shape[1:-1]),
    keras_warn.OutputHeads: lambda x: x.kernel.shape[1],
    keras_warn.HeadGate: lambda x: x.kernel.shape[1],
    keras_warn.GlobalGate: lambda x: x.kernel.shape[0],
    keras_warn.GatedSum: lambda x: x.input[0].shape[1],
}
