"""DenseNet-BC for small images, which the paper compares itself with."""

import keras

from paper_networks import building

_BLOCKS = 3


def DenseNetBC(depth=190, growth=40, **ends):
    """DenseNet-BC for small images: layers that read all layers before them.

    Each layer of a dense block appends `growth` channels to what it reads:

    `concat(x, conv3x3(f(conv1x1(f(x)))))`,

    where `f` stands for `norm` and `relu`, and the 1x1 convolution, the
    bottleneck (B), keeps `4 * growth` channels. Three such blocks follow a
    convolution to `2 * growth` channels. Between blocks, a transition halves
    the resolution, and compresses (C) the channels to half of them, rounded
    down: `average_pool(conv1x1(f(x)))`. DenseNet-190 of the paper's Table 2 is
    the default.

    Args:
        depth: Integer `6 * layers + 4`, where `layers` is the number of layers
            in each block: 10, 16, 40, 100, 190, 250 and so on.
        growth: Positive integer, the channels that a layer adds.
        **ends: `input_shape` (of 4 x 4 pixels or more), `classes`,
            `include_top`, `classifier_activation` and `name`, as of
            `WideResNet`.

    Example:

    >>> from paper_networks import DenseNetBC
    >>> network = DenseNetBC(depth=10, growth=3, classes=5)
    >>> model = keras_warn.augment(network, preset="paper", depth=3)
    >>> model.get_layer("module_3_gradient").input is network.get_layer(
    ...     "final_relu"
    ... ).output
    True

    Reference:
        [Huang et al., 2017](https://arxiv.org/abs/1608.06993)
    """
    layers = building.blocks_in_group(depth, 2, 4)
    ends = building.Ends(**ends)
    images = ends.images()
    x = building.conv(2 * growth, 3, name="stem_conv")(images)
    for block in range(1, _BLOCKS + 1):
        for layer in range(1, layers + 1):
            x = _layer(x, growth, f"block{block}_layer{layer}")
        if block < _BLOCKS:
            x = _transition(x, f"transition{block}")
    x = building.activated(x, "final")
    return ends.model(images, x, f"densenet_bc_{depth}_{growth}")


def _layer(x, growth, name):
    """The map, with the channels that a layer adds to it."""
    added = building.activated(x, name, 1)
    added = building.conv(4 * growth, 1, name=f"{name}_conv1")(added)
    added = building.activated(added, name, 2)
    added = building.conv(growth, 3, name=f"{name}_conv2")(added)
    return keras.layers.Concatenate(
        axis=building.channel_axis(), name=f"{name}_concat"
    )([x, added])


def _transition(x, name):
    """The map with half of the channels, at half the resolution."""
    channels = x.shape[building.channel_axis()] // 2
    x = building.activated(x, name)
    x = building.conv(channels, 1, name=f"{name}_conv")(x)
    return keras.layers.AveragePooling2D(2, name=f"{name}_pool")(x)
