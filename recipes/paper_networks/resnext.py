"""ResNeXt for small images, which the paper compares itself with."""

from paper_networks import building

_STEM_CHANNELS = 64
_GROUPS = 3


def ResNeXt(depth=29, cardinality=16, base_width=64, **ends):
    """ResNeXt for small images: residual blocks of many narrow paths.

    Three groups of blocks with 256, 512 and 1,024 channels follow a
    convolution to 64 channels. The second and third group halve the
    resolution. A block is the sum of its input and of `cardinality` paths,
    each of which narrows the map to `base_width` channels (twice and four
    times as many in the later groups), convolves it, and widens it again.
    One grouped convolution computes all paths at once:

    `relu(x + norm(conv1x1(f(grouped_conv3x3(f(conv1x1(x)))))))`,

    where `f` stands for `norm` and `relu`, and a normalised 1x1 convolution
    takes the place of the first `x` if the block changes its shape.
    ResNeXt-29 (16x64d) of the paper's Table 2 is the default, (8x64d) has
    `cardinality=8`.

    Args:
        depth: Integer `9 * blocks + 2`, where `blocks` is the number of blocks
            in each group: 11, 20, 29, 38 and so on.
        cardinality: Positive integer, the number of paths.
        base_width: Positive integer, the channels of a path in the first
            group.
        **ends: `input_shape`, `classes`, `include_top`,
            `classifier_activation` and `name`, as of `WideResNet`.

    Example:

    >>> from paper_networks import ResNeXt
    >>> network = ResNeXt(depth=11, cardinality=2, base_width=4, classes=5)
    >>> model = keras_warn.augment(network, depth=3, width=2)
    >>> model.get_layer("module_1_masks").input.shape
    (None, 32, 32, 256)

    Reference:
        [Xie et al., 2017](https://arxiv.org/abs/1611.05431)
    """
    blocks = building.blocks_in_group(depth, 3, 2)
    ends = building.Ends(**ends)
    images = ends.images()
    x = building.conv(_STEM_CHANNELS, 3, name="stem_conv")(images)
    x = building.activated(x, "stem")
    for group in range(1, _GROUPS + 1):
        doubled = 2 ** (group - 1)
        for block in range(1, blocks + 1):
            x = building.bottleneck(
                x,
                inner=cardinality * base_width * doubled,
                channels=4 * _STEM_CHANNELS * doubled,
                strides=2 if group > 1 and block == 1 else 1,
                groups=cardinality,
                name=f"group{group}_block{block}",
            )
    name = f"resnext_{depth}_{cardinality}x{base_width}d"
    return ends.model(images, x, name)
