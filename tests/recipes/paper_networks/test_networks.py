"""The paper's networks: what they count, share, and compute."""

from unittest import mock

import keras
import numpy as np
import pytest
from measuring.products import products
from paper_networks import DenseNetBC
from paper_networks import ResNeXt
from paper_networks import WideResNet
from paper_networks import WideResNet50
from paper_networks import WideResNetAtt2
from paper_networks import wide_resnet_50
from support import convolves_channels_first
from support import to_numpy
from support import without_weights

import keras_warn


def tiny_resnext(**arguments):
    return ResNeXt(11, 2, 3, **arguments)


def tiny_densenet(**arguments):
    return DenseNetBC(16, 3, **arguments)


def tiny_att2(**arguments):
    return WideResNetAtt2(10, 1, **arguments)


def tiny_50(**arguments):
    """With a sixteenth of the channels, which no argument decides."""
    with mock.patch.object(wide_resnet_50, "_STEM_CHANNELS", 4):
        return WideResNet50(1, **arguments)


def tiny_wide(**arguments):
    return WideResNet(10, 1, **arguments)


TINY = [tiny_wide, tiny_resnext, tiny_densenet, tiny_att2, tiny_50]
IMAGES = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")


def set_lively(model):
    """Gives all weights, also those that start constant, random values."""
    rng = np.random.default_rng(1)
    model.set_weights(
        [
            rng.uniform(0.5, 1.5, w.shape)
            if w.ndim == 1
            else rng.normal(0, (2 / np.prod(w.shape[:-1])) ** 0.5, w.shape)
            for w in model.get_weights()
        ]
    )


@pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="JAX compiles an initializer for each shape of a kernel: minutes.",
)
@pytest.mark.parametrize(
    "network, arguments, parameters, billions",
    [
        (ResNeXt, {}, 68_155_210, 10.689),  # the paper: 68 million, 10.7
        (ResNeXt, {"cardinality": 8}, 34_426_698, 5.387),
        (DenseNetBC, {}, 25_624_430, 9.302),  # 26 million, 9.3
        (DenseNetBC, {"depth": 100, "growth": 12}, 769_162, 0.288),
        (WideResNet, {}, 36_479_194, 5.243),
        (WideResNet, {"depth": 40}, 55_841_754, 8.074),  # 56 million, 8.1
        (WideResNetAtt2, {}, 63_838_554, 8.547),  # 64 million, 8.6
        (WideResNet50, {}, 68_883_240, 11.398),
    ],
)
def test_parameters_and_products(network, arguments, parameters, billions):
    """Parameters as authors and torchvision say, to train, for ten classes."""
    with without_weights():
        model = network(**arguments)
        trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
        assert trained == parameters
        assert products(model) / 1e9 == pytest.approx(billions, abs=0.0005)


@pytest.mark.parametrize("network", TINY)
def test_what_they_share(network):
    """PyTorch's normalisation, and their ends."""
    with without_weights():
        model = network(name="mine", classifier_activation=None)
        features = network(include_top=False)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.epsilon, layer.momentum) == (1e-5, 0.9)
        if isinstance(layer, keras.layers.Conv2D):
            assert not layer.use_bias
    assert model.name == "mine"
    classifier = model.get_layer("predictions")
    assert classifier.activation is keras.activations.linear
    last = classifier.input
    if network is not tiny_att2:
        last = model.get_layer("avg_pool").input
    assert features.output.shape == last.shape


@pytest.mark.parametrize("network", [tiny_wide, tiny_densenet, tiny_att2])
def test_images_of_any_size(network):
    model = network(input_shape=(None, None, 1))
    assert to_numpy(model(np.zeros((2, 29, 37, 1)))).shape == (2, 10)


@pytest.mark.parametrize("network", TINY)
def test_channels_first_computes_the_same(network):
    last = network(input_shape=(32, 32, 3))
    set_lively(last)
    keras.config.set_image_data_format("channels_first")
    try:
        first = network(input_shape=(3, 32, 32))
    finally:
        keras.config.set_image_data_format("channels_last")
    first.set_weights(last.get_weights())
    if convolves_channels_first():
        found = to_numpy(first(IMAGES.transpose(0, 3, 1, 2)))
        np.testing.assert_allclose(found, to_numpy(last(IMAGES)), atol=1e-4)


LAST_OF_WIDE = "group2_block1_relu1 group3_block1_relu1 final_relu"


@pytest.mark.parametrize(
    "network, name, places",
    [
        (
            tiny_resnext,
            "resnext_11_2x3d",
            "group1_block1_relu group2_block1_relu group3_block1_relu",
        ),
        (
            tiny_densenet,
            "densenet_bc_16_3",
            "transition1_relu transition2_relu final_relu",
        ),
        (tiny_wide, "wide_resnet_10_1", LAST_OF_WIDE),
        (tiny_att2, "wide_resnet_10_1_att2", LAST_OF_WIDE),
        (
            tiny_50,
            "wide_resnet_50_1",
            "group2_block4_relu group3_block6_relu group4_block3_relu",
        ),
    ],
)
def test_attention_reads_the_last_activated_map_of_each_size(
    network, name, places
):
    with without_weights():
        backbone = network()
        model = keras_warn.augment(backbone, depth=3)
    assert backbone.name == name
    assert [
        m.reads for m in keras_warn.summary(model).modules
    ] == places.split()


def test_dropout_is_between_the_convolutions_of_a_block():
    with without_weights():
        model = tiny_wide(dropout=0.3)
    for group in (1, 2, 3):
        dropout = model.get_layer(f"group{group}_block1_dropout")
        relu = model.get_layer(f"group{group}_block1_relu2")
        conv = model.get_layer(f"group{group}_block1_conv2")
        assert dropout.rate == 0.3
        assert dropout.input is relu.output
        assert conv.input is dropout.output


def test_shortcuts_read_what_the_block_reads():
    """And with `activate_shortcuts=False` what the reference's do."""
    with without_weights():
        model = tiny_wide()
    for group in (2, 3):
        shortcut = model.get_layer(f"group{group}_block1_shortcut")
        relu = model.get_layer(f"group{group}_block1_relu1")
        assert shortcut.input is relu.output


def test_initial_kernels():
    """He's normal distribution of the fan-in, not truncated, none twice."""
    model = WideResNet(16, 4)
    seen = {}
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            kernel = to_numpy(layer.kernel)
            kernel = kernel * (np.prod(kernel.shape[:-1]) / 2) ** 0.5
            assert abs(kernel.std() - 1) < 5 / (2 * kernel.size) ** 0.5
            if kernel.size > 5000:
                assert np.abs(kernel).max() > 3
            for other in seen.setdefault(kernel.shape, []):
                assert np.abs(kernel - other).max() > 0.01
            seen[kernel.shape].append(kernel)


def test_att2_by_its_equations():
    model = tiny_att2(include_top=False)
    set_lively(model)
    wanted = ["global", "group2_block1_add", "group3_block1_add"]
    wanted += ["group2_context", "group3_context", "global_relu2"]
    outputs = [model.get_layer(name).output for name in wanted]
    found = keras.Model(model.input, outputs)(IMAGES)
    summary, *maps, shallow, deep, last = map(to_numpy, found)
    seen = model.get_layer("global")(last.max(axis=(1, 2)))
    np.testing.assert_allclose(summary, to_numpy(seen), rtol=1e-4, atol=1e-4)
    lowered = to_numpy(model.get_layer("group2_global")(summary))
    for features, seen, context, group in (
        (maps[0], lowered, shallow, 2),
        (maps[1], summary, deep, 3),
    ):
        locals_ = features.reshape(2, -1, features.shape[-1])
        kernel = to_numpy(model.get_layer(f"group{group}_scores").kernel)
        scores = (locals_ + seen[:, None]) @ kernel[:, 0]
        masks = np.exp(scores - scores.max(axis=1, keepdims=True))
        masks /= masks.sum(axis=1, keepdims=True)
        expected = np.einsum("bp,bpc->bc", masks, locals_)
        np.testing.assert_allclose(context, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "network, arguments, rule",
    [
        (ResNeXt, {"depth": 2}, r"9 \* blocks \+ 2"),
        (DenseNetBC, {"depth": 189}, r"6 \* blocks \+ 4"),
        (WideResNet, {"depth": 16.0}, "a positive integer"),
        (WideResNetAtt2, {"width": 0}, "a positive integer"),
        (WideResNet50, {"width": 0}, "a positive integer"),
    ],
)
def test_bad_arguments(network, arguments, rule):
    ((name, value),) = arguments.items()
    message = f"`{name}` must be {rule}.* Received: {name}={value}"
    with pytest.raises((TypeError, ValueError), match=message):
        network(**arguments)
