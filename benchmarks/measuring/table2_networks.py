"""The networks of the paper's Table 2, and what it says of them."""

import functools
import typing

import paper_networks

import keras_warn

# Two networks by name, the second with attention, as pairs to time closely.
PAIRS = (("WRN-28-10", "WARN-28-10"), ("WRN-40-10", "WARN-40-10"))
BASE = "WRN-40-10"
HARDWARE = "one of two NVIDIA GTX 1080 Ti, PyTorch, 2018"
# Its peak, float32: 3,584 cores, a multiplication and an addition in each of
# 1.58 billion cycles a second.
OPERATIONS_PER_SECOND = 11.3e12
IMAGES = 10_000  # of which the paper's seconds are
BATCH_SIZE = 256  # of the paper's


class Published(typing.NamedTuple):
    """What the paper's Table 2 says of a network.

    Parameters in millions; products in billions, the paper's "GFlop"; seconds
    to forward CIFAR's 10,000 test images; errors in % on CIFAR-10 and -100.
    """

    parameters: int
    products: float
    seconds: float
    errors: tuple


# WRN-28-10 is not in it.
PUBLISHED = {
    "ResNeXt-29 (16x64d)": Published(68, 10.7, 5.02, (3.58, 17.31)),
    "DenseNet-190 (k=40)": Published(26, 9.3, 6.41, (3.46, 17.18)),
    "WRN-40-10": Published(56, 8.1, 0.18, (3.80, 18.30)),
    "WRN-att2": Published(64, 8.6, 0.24, (3.90, 19.20)),
    "WARN-28-10": Published(37, 5.3, 0.17, (3.44, 18.26)),
    "WARN-40-10": Published(56, 8.2, 0.18, (3.46, 17.82)),
}


def constructors(smoke):
    """Functions that build the networks, by name; tiny ones for `smoke`."""
    resnext, densenet, shallow, deep = {}, {}, (28, 10), (40, 10)
    if smoke:
        resnext = {"depth": 11, "cardinality": 2, "base_width": 4}
        densenet = {"depth": 10, "growth": 4}
        shallow = deep = (10, 1)
    build = functools.partial
    return {
        "ResNeXt-29 (16x64d)": build(paper_networks.ResNeXt, **resnext),
        "DenseNet-190 (k=40)": build(paper_networks.DenseNetBC, **densenet),
        "WRN-28-10": build(paper_networks.WideResNet, *shallow),
        "WRN-40-10": build(paper_networks.WideResNet, *deep),
        "WRN-att2": build(paper_networks.WideResNetAtt2, *deep),
        "WARN-28-10": build(attended, *shallow),
        "WARN-40-10": build(attended, *deep),
    }


def attended(depth, width):
    """WARN, as the reference builds it: a module behind each of the groups."""
    return keras_warn.augment(
        paper_networks.WideResNet(depth, width),
        preset="paper",
        depth=3,
        kernel_size=3,
        gate_batch_norm=True,
        diversity_weight=0,
    )
