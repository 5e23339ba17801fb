"""Parameters and operations of the networks in the paper's Table 2.

Each is counted twice: by hand, and on the model. Where the paper's figure is
quoted, it is the paper's: millions of parameters, and "GFlop", which are
billions of multiplications, each with its addition.
"""

import by_hand
import keras
import pytest
from measuring.products import products
from paper_networks import DenseNetBC
from paper_networks import ResNeXt
from paper_networks import WideResNet
from paper_networks import WideResNet50
from paper_networks import WideResNetAtt2
from support import without_weights

CLASSES = 10
full_size = pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="JAX compiles an initializer for each shape of a kernel: minutes.",
)


def bottleneck(count, before, inner, channels, size, strides=1, groups=1):
    """A block on maps of `size` x `size`. Its middle has the strides."""
    after = size // strides
    count.conv(1, before, inner, size**2)
    count.conv(3, inner, inner, after**2, groups)
    count.conv(1, inner, channels, after**2)
    for normalized in (inner, inner, channels):
        count.norm(normalized)
    if before != channels or strides > 1:
        count.conv(1, before, channels, after**2)
        count.norm(channels)


def resnext(depth, cardinality, base_width):
    count = by_hand.Count()
    count.conv(3, 3, 64, 32**2)
    count.norm(64)
    before, size = 64, 32
    for doubled in (1, 2, 4):
        for block in range((depth - 2) // 9):
            strides = 2 if doubled > 1 and block == 0 else 1
            inner = cardinality * base_width * doubled
            channels = 256 * doubled
            bottleneck(
                count, before, inner, channels, size, strides, cardinality
            )
            before, size = channels, size // strides
    count.dense(before, CLASSES)
    return count


def densenet(depth, growth):
    count = by_hand.Count()
    channels = 2 * growth
    count.conv(3, 3, channels, 32**2)
    for size in (32, 16, 8):
        for _ in range((depth - 4) // 6):
            count.norm(channels)
            count.conv(1, channels, 4 * growth, size**2)
            count.norm(4 * growth)
            count.conv(3, 4 * growth, growth, size**2)
            channels += growth
        count.norm(channels)  # of a transition, or the last one
        if size > 8:
            count.conv(1, channels, channels // 2, size**2)
            channels //= 2
    count.dense(channels, CLASSES)
    return count


def wide_resnet(depth, width, top=True, stem=False):
    count = by_hand.Count()
    count.conv(3, 3, 16, 32**2)
    if stem:
        count.norm(16)
    before, size = 16, 32
    for channels, strides in ((16, 1), (32, 2), (64, 2)):
        channels, size = channels * width, size // strides
        for _ in range((depth - 4) // 6):
            count.norm(before)
            count.conv(3, before, channels, size**2)
            count.norm(channels)
            count.conv(3, channels, channels, size**2)
            if before != channels:
                count.conv(1, before, channels, size**2)
            before = channels
    count.norm(before)
    if top:
        count.dense(before, CLASSES)
    return count


def wide_resnet_att2(depth, width):
    count = wide_resnet(depth, width, top=False)
    shallow, deep = 32 * width, 64 * width
    for _ in range(2):
        count.conv(3, deep, deep, 8**2)
        count.norm(deep)
    count.dense(deep, deep)
    count.dense(deep, shallow)
    for channels, size in ((shallow, 16), (deep, 8)):
        count.conv(1, channels, 1, size**2)  # scores
        count.products += channels * size**2  # the mean under the mask
        count.norm(channels)
    count.dense(shallow + deep, CLASSES)
    return count


def wide_resnet_50(width, classes):
    count = by_hand.Count()
    count.conv(7, 3, 64, 112**2)
    count.norm(64)
    before, size = 64, 56
    for channels, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            strides = 2 if channels > 64 and block == 0 else 1
            bottleneck(
                count, before, width * channels, 4 * channels, size, strides
            )
            before, size = 4 * channels, size // strides
    count.dense(before, classes)
    return count


def check(build, count):
    """Of shapes alone: weights of these networks would fill the memory."""
    with without_weights():
        model = build()
        assert by_hand.trainable(model) == count.parameters
        assert products(model) == count.products


def near(billions, **tolerance):
    return pytest.approx(billions * 1e9, **(tolerance or {"rel": 0.01}))


# As their authors say, and torchvision of the last; in brackets, as the paper.
@full_size
@pytest.mark.parametrize(
    "build, count, parameters, paper",
    [
        (ResNeXt, resnext(29, 16, 64), 68_155_210, (68, near(10.7))),
        (lambda: ResNeXt(cardinality=8), resnext(29, 8, 64), 34_426_698, None),
        (DenseNetBC, densenet(190, 40), 25_624_430, (26, near(9.3))),
        (WideResNet, wide_resnet(28, 10), 36_479_194, None),
        (
            lambda: WideResNet(40),
            wide_resnet(40, 10),
            55_841_754,
            (56, near(8.1)),
        ),
        (WideResNetAtt2, wide_resnet_att2(40, 10), 63_838_554, (64, near(8.6))),
        (
            WideResNet50,
            wide_resnet_50(2, 1000),
            68_883_240,
            (69, near(11.4, abs=0.005e9)),
        ),
    ],
)
def test_full_size(build, count, parameters, paper):
    assert count.parameters == parameters
    if paper is not None:
        assert (round(count.parameters / 1e6), count.products) == paper
    check(build, count)


@pytest.mark.parametrize(
    "model, count",
    [
        (lambda: ResNeXt(11, 3, 5), lambda: resnext(11, 3, 5)),
        (lambda: DenseNetBC(22, 6), lambda: densenet(22, 6)),
        (lambda: WideResNetAtt2(10, 2), lambda: wide_resnet_att2(10, 2)),
        (lambda: WideResNet(22, 3), lambda: wide_resnet(22, 3)),
        (
            lambda: WideResNet(16, 1, activate_stem=True),
            lambda: wide_resnet(16, 1, stem=True),
        ),
    ],
    ids=["resnext", "densenet", "att2", "wide", "with a stem"],
)
def test_other_sizes(model, count):
    check(model, count())
