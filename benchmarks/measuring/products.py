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
        count = _COUNTS.get(type(layer))
        if count is not None:
            total += count(layer)
        elif layer.weights and not isinstance(layer, layers.BatchNormalization):
            raise TypeError(
                f"Products of {type(layer).__name__} {layer.name!r} are not "
                "known."
            )
    return total


def _at_each_position(layer):
    return math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)


def _once(layer):
    return math.prod(layer.kernel.shape)


def _attended(layer):
    features, _ = layer.input
    positions = math.prod(features.shape[1:-1])
    return positions * math.prod(layer.output.shape[1:])


def _dot(layer):
    axis = layer.axes if isinstance(layer.axes, int) else layer.axes[0]
    return layer.input[0].shape[axis] * math.prod(layer.output.shape[1:])


def _gated(layer):
    gates, *_ = layer.input
    return gates.shape[-1] * layer.output.shape[-1]


_COUNTS = {
    layers.Conv2D: _at_each_position,
    layers.Dense: _at_each_position,
    layers.Dot: _dot,
    keras_warn.AttentionHeads: _at_each_position,
    keras_warn.AttendedFeatures: _attended,
    keras_warn.OutputHeads: _once,
    keras_warn.HeadGate: _once,
    keras_warn.GlobalGate: _once,
    keras_warn.GatedSum: _gated,
}
