"""Wide ResNet-50 with weights of torchvision's, as PyTorch computes it."""

import keras
import numpy as np
import pytest
from paper_networks import WideResNet50
from paper_networks import load_torchvision_weights
from paper_networks import wide_resnet_50
from support import to_numpy

import keras_warn

BLOCKS = (3, 4, 6, 3)
CLASSES = 7
# Channels of the stem of `narrow` networks; the last map has 32 times as many.
STEM = 5
# Odd and even sizes of maps, so that padding at one side alone is seen:
# 43 x 38, 22 x 19, 11 x 10, 6 x 5, 3 x 3, 2 x 2.
SHAPE = (43, 38, 3)
IMAGES = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype("float32")


def state_dict(stem, width=1, classes=CLASSES):
    """Random weights under torchvision's names, in its layout and order.

    Its networks have 64 channels in their stem.
    """
    rng = np.random.default_rng(1)
    weights = {}

    def conv(name, before, channels, size):
        shape = (channels, before, size, size)
        deviation = (2 / (before * size**2)) ** 0.5
        weights[f"{name}.weight"] = rng.normal(0, deviation, shape)

    def norm(name, channels):
        weights[f"{name}.weight"] = rng.uniform(0.2, 0.8, channels)
        weights[f"{name}.bias"] = rng.normal(0, 0.3, channels)
        weights[f"{name}.running_mean"] = rng.normal(0, 0.3, channels)
        # Of some, epsilon is a good part.
        weights[f"{name}.running_var"] = 10 ** rng.uniform(-3, 0.5, channels)
        weights[f"{name}.num_batches_tracked"] = np.array(13)

    conv("conv1", 3, stem, 7)
    norm("bn1", stem)
    before = stem
    for group, blocks in enumerate(BLOCKS, start=1):
        inner = stem * width * 2 ** (group - 1)
        channels = stem * 2 ** (group + 1)
        for block in range(blocks):
            name = f"layer{group}.{block}"
            for i, (a, b, size) in enumerate(
                [(before, inner, 1), (inner, inner, 3), (inner, channels, 1)],
                start=1,
            ):
                conv(f"{name}.conv{i}", a, b, size)
                norm(f"{name}.bn{i}", b)
            if block == 0:
                conv(f"{name}.downsample.0", before, channels, 1)
                norm(f"{name}.downsample.1", channels)
            before = channels
    weights["fc.weight"] = rng.normal(0, before**-0.5, (classes, before))
    weights["fc.bias"] = rng.normal(size=classes)
    return {
        name: array.astype("float32" if array.ndim else "int64")
        for name, array in weights.items()
    }


def windows(x, size, strides, padding, fill):
    """What a window of PyTorch's sees at each place, `(b, c, h, w, i, j)`."""
    borders = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    x = np.pad(x, borders, constant_values=fill)
    seen = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
    return seen[:, :, ::strides, ::strides]


def conv2d(x, kernel, strides, padding):
    seen = windows(x, kernel.shape[-1], strides, padding, 0)
    return np.einsum("bchwij,ocij->bohw", seen, kernel, optimize=True)


def max_pool2d(x, size, strides, padding):
    return windows(x, size, strides, padding, -np.inf).max(axis=(-2, -1))


def batch_norm(x, mean, variance, scale, shift, epsilon=1e-5):
    mean, variance, scale, shift = (
        array[:, None, None] for array in (mean, variance, scale, shift)
    )
    return (x - mean) / np.sqrt(variance + epsilon) * scale + shift


def torchvision(weights, images):
    """Features and logits, in the words of torchvision's modules."""

    def conv(x, name, strides=1, padding=0):
        return conv2d(x, weights[f"{name}.weight"], strides, padding)

    def norm(x, name):
        parts = ("running_mean", "running_var", "weight", "bias")
        return batch_norm(x, *(weights[f"{name}.{part}"] for part in parts))

    def relu(x):
        return np.maximum(x, 0)

    x = images.transpose(0, 3, 1, 2).astype("float64")
    x = relu(norm(conv(x, "conv1", 2, 3), "bn1"))
    x = max_pool2d(x, 3, 2, 1)
    for group, blocks in enumerate(BLOCKS, start=1):
        for block in range(blocks):
            name = f"layer{group}.{block}"
            strides = 2 if group > 1 and block == 0 else 1
            out = relu(norm(conv(x, f"{name}.conv1"), f"{name}.bn1"))
            out = conv(out, f"{name}.conv2", strides, 1)
            out = relu(norm(out, f"{name}.bn2"))
            out = norm(conv(out, f"{name}.conv3"), f"{name}.bn3")
            if block == 0:
                x = conv(x, f"{name}.downsample.0", strides)
                x = norm(x, f"{name}.downsample.1")
            x = relu(out + x)
    logits = x.mean(axis=(2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]
    return x.transpose(0, 2, 3, 1), logits


@pytest.fixture(scope="module")
def weights():
    return state_dict(STEM)


@pytest.fixture(scope="module")
def expected(weights):
    return torchvision(weights, IMAGES)


@pytest.fixture
def narrow(monkeypatch):
    """All networks have a few channels, which no argument decides."""
    monkeypatch.setattr(wide_resnet_50, "_STEM_CHANNELS", STEM)


def build(**arguments):
    arguments = {"include_top": True, "classes": CLASSES} | arguments
    return WideResNet50(
        1, input_shape=SHAPE, classifier_activation=None, **arguments
    )


def check(found, expected):
    error = np.abs(to_numpy(found) - expected).max()
    assert error < 1e-4 * np.abs(expected).max()


@pytest.mark.slow  # the others are of a narrow one
def test_whole_network():
    """Of torchvision's size."""
    weights = state_dict(64)
    model = build()
    for variable in model.variables:
        variable.assign(np.full(variable.shape, np.nan))
    load_torchvision_weights(model, weights)
    check(model(IMAGES), torchvision(weights, IMAGES)[1])


@pytest.mark.usefixtures("narrow")
def test_without_the_classifier(weights, expected):
    """`fc` is passed over, and may be missing."""
    model = build(include_top=False)
    for extra in ({}, {"fc.weight": None, "fc.bias": None}):
        load_torchvision_weights(
            model,
            {
                name: array
                for name, array in weights.items()
                if name not in extra
            },
        )
        check(model(IMAGES), expected[0])


@pytest.mark.usefixtures("narrow")
def test_attention_around_it(weights, expected):
    """The network's own weights are set, those of attention stay."""
    network = build()
    model = keras_warn.augment(network, classes=CLASSES, depth=2)
    names = {layer.name for layer in network.layers}
    theirs = {
        layer.name: layer.get_weights()
        for layer in model.layers
        if layer.name not in names
    }
    load_torchvision_weights(model, weights)
    seen = model.get_layer("group4_block3_relu").output
    check(keras.Model(model.input, seen)(IMAGES), expected[0])
    for name, before in theirs.items():
        after = model.get_layer(name).get_weights()
        for old, new in zip(before, after, strict=True):
            np.testing.assert_array_equal(new, old)


@pytest.mark.usefixtures("narrow")
def test_the_classifier_is_asked_for_where_there_is_one(weights):
    few = {k: v for k, v in weights.items() if not k.startswith("fc.")}
    with pytest.raises(ValueError, match="alone, fc.bias, fc.weight"):
        load_torchvision_weights(build(), few)
