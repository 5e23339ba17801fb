"""Wide residual networks, which the paper's experiments on CIFAR start from."""

import keras

from keras_warn import checks
from paper_networks import building

_STEM_CHANNELS = 16
_GROUPS = 3


def WideResNet(
    depth=28,
    width=10,
    input_shape=None,
    classes=10,
    dropout=0.0,
    include_top=True,
    classifier_activation="softmax",
    *,
    activate_stem=False,
    activate_shortcuts=True,
    name=None,
):
    """A wide residual network for small images.

    Three groups of residual blocks on `16 * width`, `32 * width` and
    `64 * width` channels follow a convolution to 16 channels. The second and
    third group halve the resolution. Blocks normalise and activate first:

    `x + conv(dropout(relu(norm(conv(relu(norm(x)))))))`,

    where a 1x1 convolution takes the place of the first `x` if the block
    changes the number of channels. After the last group come a normalisation
    and an activation, the mean over positions, and a linear classifier. The
    papers subtract the mean of each channel over the training set from pixels,
    and divide by its standard deviation.

    Args:
        depth: Integer `6 * blocks + 4`, where `blocks` is the number of blocks
            in each group: 10, 16, 22, 28, 34, 40 and so on.
        width: Positive integer, the factor on the channels.
        input_shape: Shape of the images without the batch, in Keras's data
            format; sizes, but not channels, may be `None`. Defaults to 32 x 32
            pixels of 3 channels.
        classes: Positive integer, the number of classes, with `include_top`.
        dropout: Number from 0 to 1, the share of values that is dropped
            between the convolutions of a block while training.
        include_top: Whether the network ends in its classifier.
        classifier_activation: Activation of the classifier, `None` for
            logits.
        activate_stem: Whether a normalisation and an activation follow the
            first convolution, too, as in the reference.
        activate_shortcuts: Whether the 1x1 convolutions of shortcuts read
            `relu(norm(x))`, which the block reads as well, or `x` itself, as
            in the reference.
        name: Defaults to `"wide_resnet_<depth>_<width>"`.

    Example:

    >>> from paper_networks import WideResNet
    >>> network = WideResNet(depth=16, width=1, classes=5)
    >>> model = keras_warn.augment(network, depth=3, kernel_size=3)
    >>> model.get_layer("module_1_masks").input.shape
    (None, 32, 32, 16)

    Differences from the reference: by default, this is the network of
    Zagoruyko and Komodakis. The reference attends to one with
    `activate_stem=True, activate_shortcuts=False`, and compares it with one
    with `activate_stem=False, activate_shortcuts=False`. Its dropout is that
    of whole channels, and that of its comparison none.

    Reference:
        [Zagoruyko and Komodakis, 2016](https://arxiv.org/abs/1605.07146)
    """
    ends = building.Ends(
        input_shape, classes, include_top, classifier_activation, name
    )
    images = ends.images()
    groups = residual_groups(
        images,
        depth,
        width,
        dropout,
        activate_stem=activate_stem,
        activate_shortcuts=activate_shortcuts,
    )
    x = building.activated(groups[-1], "final")
    return ends.model(images, x, f"wide_resnet_{depth}_{width}")


def residual_groups(
    images,
    depth,
    width,
    dropout=0.0,
    *,
    activate_stem=False,
    activate_shortcuts=True,
):
    """The sums that the three groups of a wide residual network end in."""
    blocks = building.blocks_in_group(depth, 2, 4)
    width = checks.integer("width", width)
    x = building.conv(_STEM_CHANNELS, 3, name="stem_conv")(images)
    if activate_stem:
        x = building.activated(x, "stem")
    groups = []
    for group in range(1, _GROUPS + 1):
        for block in range(1, blocks + 1):
            x = _block(
                x,
                channels=_STEM_CHANNELS * width * 2 ** (group - 1),
                strides=2 if group > 1 and block == 1 else 1,
                dropout=dropout,
                activate_shortcut=activate_shortcuts,
                name=f"group{group}_block{block}",
            )
        groups.append(x)
    return groups


def _block(x, channels, strides, dropout, activate_shortcut, name):
    """A residual block that normalises and activates first."""
    activated = building.activated(x, name, 1)
    shortcut = x
    if x.shape[building.channel_axis()] != channels:
        layer = building.conv(channels, 1, strides, name=f"{name}_shortcut")
        shortcut = layer(activated if activate_shortcut else x)
    residual = building.centred_conv(
        activated, channels, 3, strides, name=f"{name}_conv1"
    )
    residual = building.activated(residual, name, 2)
    if dropout > 0:
        layer = keras.layers.Dropout(dropout, name=f"{name}_dropout")
        residual = layer(residual)
    residual = building.conv(channels, 3, name=f"{name}_conv2")(residual)
    return keras.layers.Add(name=f"{name}_add")([residual, shortcut])
