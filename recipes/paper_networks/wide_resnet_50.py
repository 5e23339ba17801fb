"""Wide ResNet-50 for photographs, and torchvision's weights for it."""

import re

import keras

from keras_warn import checks
from paper_networks import building
from paper_networks import pytorch

_BLOCKS = (3, 4, 6, 3)
_STEM_CHANNELS = 64


def WideResNet50(width=2, **ends):
    """ResNet-50 with wider bottlenecks, for photographs.

    A convolution of 7x7 to 64 channels and a pooling, both with strides of 2,
    are followed by four groups of 3, 4, 6 and 3 residual blocks with 256, 512,
    1,024 and 2,048 channels. All groups but the first halve the resolution. A
    block is activated after its sum:

    `relu(x + norm(conv1x1(f(conv3x3(f(conv1x1(x)))))))`,

    where `f` stands for `norm` and `relu`, and a normalised 1x1 convolution
    takes the place of the first `x` if the block changes its shape. The 3x3
    convolution, which has the strides, has `width` times 64, 128, 256 and 512
    channels.

    With `width=2` it is WRN-50-2, torchvision's `wide_resnet50_2`, and with
    `width=4` WRN-50-4, which the paper fine-tunes. torchvision's weights take
    pixels as `keras.applications.imagenet_utils.preprocess_input(images,
    mode="torch")` makes them.

    Args:
        width: Positive integer, the factor on the inner channels of blocks.
        **ends: `input_shape` (of 224 x 224 pixels by default), `classes`
            (1,000 by default), `include_top`, `classifier_activation` and
            `name`, as of `WideResNet`.

    Example, with attention where the reference has it in its WRN-50:

    >>> from paper_networks import WideResNet50
    >>> network = WideResNet50(width=1, include_top=False)
    >>> ends = ["group1_block3", "group2_block4", "group3_block6"]
    >>> model = keras_warn.augment(
    ...     network, classes=5, attend_at=[f"{end}_relu" for end in ends]
    ... )
    >>> [model.get_layer(f"module_{i}_masks").input.shape for i in (1, 2, 3)]
    [(None, 56, 56, 256), (None, 28, 28, 512), (None, 14, 14, 1024)]

    Reference:
        - [Zagoruyko and Komodakis, 2016](https://arxiv.org/abs/1605.07146)
        - [He et al., 2016](https://arxiv.org/abs/1512.03385)
    """
    width = checks.integer("width", width)
    ends = building.Ends(**{"classes": 1000, **ends})
    images = ends.images(size=224)
    x = building.centred_conv(images, _STEM_CHANNELS, 7, 2, name="stem_conv")
    x = building.activated(x, "stem")
    # Nothing is below the zeros that are padded: it has been activated.
    x = keras.layers.ZeroPadding2D(name="stem_pool_pad")(x)
    x = keras.layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    for group, blocks in enumerate(_BLOCKS, start=1):
        channels = _STEM_CHANNELS * 2 ** (group - 1)
        for block in range(1, blocks + 1):
            x = building.bottleneck(
                x,
                inner=width * channels,
                channels=4 * channels,
                strides=2 if group > 1 and block == 1 else 1,
                name=f"group{group}_block{block}",
            )
    return ends.model(images, x, f"wide_resnet_50_{width}")


def load_torchvision_weights(model, weights):
    """Sets a `WideResNet50` to weights of torchvision's, such as ImageNet's.

    Those of `torchvision.models.wide_resnet50_2`; with `width=1`, those of
    `resnet50`, which is built alike.

    Args:
        model: A `WideResNet50`, or what `keras_warn.augment` made of one,
            whose attention keeps its weights.
        weights: Mapping from torchvision's names, such as
            `"layer1.0.conv1.weight"`, to arrays in its layout:
            `{name: tensor.cpu().numpy() for name, tensor in
            module.state_dict().items()}`. The classifier `fc` is passed over
            where the network was made with `include_top=False`.

    Example:

    >>> from paper_networks import WideResNet50, load_torchvision_weights
    >>> network = WideResNet50(include_top=False)  # doctest: +SKIP
    >>> weights = numpy.load("wide_resnet50_2.npz")  # doctest: +SKIP
    >>> load_torchvision_weights(network, weights)  # doctest: +SKIP
    """
    layers = {layer.name: layer for layer in model.layers}
    top = "predictions" in layers
    passed_over = r".*\.num_batches_tracked" + (r"|fc\..*" * (not top))
    expected = {}
    for theirs, ours, of in _names(top):
        expected.update(of(theirs, layers[ours]))
    pytorch.assign(
        expected,
        {k: v for k, v in weights.items() if not re.fullmatch(passed_over, k)},
    )


def _names(top):
    """torchvision's names of layers, ours, and what has their weights."""
    yield "conv1", "stem_conv", pytorch.conv
    yield "bn1", "stem_bn", pytorch.normalization
    for group, blocks in enumerate(_BLOCKS, start=1):
        for block in range(blocks):
            theirs = f"layer{group}.{block}"
            ours = f"group{group}_block{block + 1}"
            for i in (1, 2, 3):
                yield f"{theirs}.conv{i}", f"{ours}_conv{i}", pytorch.conv
                yield f"{theirs}.bn{i}", f"{ours}_bn{i}", pytorch.normalization
            if block == 0:
                theirs, ours = f"{theirs}.downsample", f"{ours}_shortcut"
                yield f"{theirs}.0", ours, pytorch.conv
                yield f"{theirs}.1", f"{ours}_bn", pytorch.normalization
    if top:
        yield "fc", "predictions", pytorch.dense


# What torchvision's weights were trained with.
WideResNet50.preprocessing = "densenet"
