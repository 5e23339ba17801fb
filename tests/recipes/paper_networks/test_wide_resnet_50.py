"""Wide ResNet-50 with weights of torchvision's, as PyTorch computes it."""

import keras
import numpy as np
import pytest
from paper_networks import WideResNet50
from paper_networks import load_torchvision_weights
from paper_networks import wide_resnet_50
from support import assert_all_equal
from support import to_numpy

import keras_warn

CLASSES = 7
# Channels of the stem, where torchvision has 64.
STEM = 5
# Odd and even sizes of maps, so that padding at one side alone is seen:
# 43 x 38, 22 x 19, 11 x 10, 6 x 5, 3 x 3, 2 x 2.
SHAPE = (43, 38, 3)
IMAGES = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype("float32")


def windows(x, size, strides, padding, fill):
    """What a window of PyTorch's sees at each place, `(b, c, h, w, i, j)`."""
    borders = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    x = np.pad(x, borders, constant_values=fill)
    seen = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
    return seen[:, :, ::strides, ::strides]


@pytest.fixture(scope="module")
def expected():
    """Random weights, and the features and logits of `IMAGES` with them.

    Under torchvision's names, in its layout.
    """
    rng = np.random.default_rng(1)
    weights = {}

    def weight(name, values):
        return weights.setdefault(name, np.float32(values))

    def conv(x, name, channels, size, strides=1, padding=0):
        shape = (channels, x.shape[1], size, size)
        deviation = (2 / np.prod(shape[1:])) ** 0.5
        kernel = weight(f"{name}.weight", rng.normal(0, deviation, shape))
        seen = windows(x, size, strides, padding, 0)
        return np.einsum("bchwij,ocij->bohw", seen, kernel, optimize=True)

    def norm(x, name):
        shape = x.shape[1], 1, 1
        scale = weight(f"{name}.weight", rng.uniform(0.2, 0.8, shape))
        shift = weight(f"{name}.bias", rng.normal(0, 0.3, shape))
        mean = weight(f"{name}.running_mean", rng.normal(0, 0.3, shape))
        # Of some, epsilon is a good part.
        variance = 10 ** rng.uniform(-3, 0.5, shape)
        variance = weight(f"{name}.running_var", variance)
        weights[f"{name}.num_batches_tracked"] = np.array(13)
        return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift

    def relu(x):
        return np.maximum(x, 0)

    x = IMAGES.transpose(0, 3, 1, 2).astype("float64")
    x = relu(norm(conv(x, "conv1", STEM, 7, 2, 3), "bn1"))
    x = windows(x, 3, 2, 1, -np.inf).max(axis=(-2, -1))
    for group, blocks in enumerate((3, 4, 6, 3), start=1):
        inner, channels = STEM * 2 ** (group - 1), STEM * 2 ** (group + 1)
        for block in range(blocks):
            name = f"layer{group}.{block}"
            strides = 2 if group > 1 and block == 0 else 1
            out = relu(norm(conv(x, f"{name}.conv1", inner, 1), f"{name}.bn1"))
            out = conv(out, f"{name}.conv2", inner, 3, strides, 1)
            out = relu(norm(out, f"{name}.bn2"))
            out = norm(conv(out, f"{name}.conv3", channels, 1), f"{name}.bn3")
            if block == 0:
                x = conv(x, f"{name}.downsample.0", channels, 1, strides)
                x = norm(x, f"{name}.downsample.1")
            x = relu(out + x)
    shape = CLASSES, x.shape[1]
    kernel = weight("fc.weight", rng.normal(0, shape[1] ** -0.5, shape))
    bias = weight("fc.bias", rng.normal(size=CLASSES))
    logits = x.mean(axis=(2, 3)) @ kernel.T + bias
    weights = {
        name: array.reshape(-1) if array.shape[1:] == (1, 1) else array
        for name, array in weights.items()
    }
    return weights, x.transpose(0, 2, 3, 1), logits


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """A few channels, which no argument decides."""
    monkeypatch.setattr(wide_resnet_50, "_STEM_CHANNELS", STEM)


def build(**arguments):
    return WideResNet50(
        1,
        input_shape=SHAPE,
        classes=CLASSES,
        classifier_activation=None,
        **arguments,
    )


def check(found, expected):
    error = np.abs(to_numpy(found) - expected).max()
    assert error < 1e-4 * np.abs(expected).max()


def test_without_the_classifier(expected):
    """`fc` is passed over, and may be missing."""
    weights, features, _ = expected
    model = build(include_top=False)
    few = {k: v for k, v in weights.items() if not k.startswith("fc.")}
    for found in (weights, few):
        load_torchvision_weights(model, found)
        check(model(IMAGES), features)
    with pytest.raises(ValueError, match="alone, fc.bias, fc.weight"):
        load_torchvision_weights(build(), few)


def test_attention_around_it(expected):
    """The network's own weights are set, those of attention stay."""
    weights, features, logits = expected
    network = build()
    model = keras_warn.augment(network, classes=CLASSES, depth=2)
    names = {layer.name for layer in network.layers}
    added = [layer for layer in model.layers if layer.name not in names]
    before = [layer.get_weights() for layer in added]
    load_torchvision_weights(model, weights)
    seen = model.get_layer("group4_block3_relu").output
    check(keras.Model(model.input, seen)(IMAGES), features)
    for layer, values in zip(added, before, strict=True):
        assert_all_equal(layer.get_weights(), values)
    load_torchvision_weights(network, weights)
    check(network(IMAGES), logits)
