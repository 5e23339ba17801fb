"""What holds for each of the paper's networks."""

import re
from unittest import mock

import by_hand
import keras
import numpy as np
import pytest
from keras import ops
from paper_networks import DenseNetBC
from paper_networks import ResNeXt
from paper_networks import WideResNet
from paper_networks import WideResNet50
from paper_networks import WideResNetAtt2
from paper_networks import wide_resnet_50
from support import to_numpy
from support import without_weights

import keras_warn
from keras_warn.attention import attention_of


def tiny_resnext(**arguments):
    return ResNeXt(
        **{"depth": 11, "cardinality": 2, "base_width": 3} | arguments
    )


def tiny_densenet(**arguments):
    return DenseNetBC(**{"depth": 16, "growth": 3} | arguments)


def tiny_att2(**arguments):
    return WideResNetAtt2(**{"depth": 10, "width": 1} | arguments)


def narrow_50(**arguments):
    return WideResNet50(**{"width": 1, "classes": 10} | arguments)


def tiny_50(**arguments):
    """With a sixteenth of the channels, which no argument decides."""
    with mock.patch.object(wide_resnet_50, "_STEM_CHANNELS", 4):
        return narrow_50(**arguments)


def tiny_wide(**arguments):
    return WideResNet(**{"depth": 10, "width": 1} | arguments)


TINY = [tiny_wide, tiny_resnext, tiny_densenet, tiny_att2, tiny_50]
POOLED = [tiny_wide, tiny_resnext, tiny_densenet, tiny_50]
IMAGES = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
# Of which `tiny_50`, too, leaves more than a position.
LARGER = np.random.default_rng(1).normal(size=(2, 43, 37, 3)).astype("float32")


@pytest.fixture(params=["channels_last", "channels_first"])
def data_format(request):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(request.param)
    yield request.param
    keras.config.set_image_data_format(before)


@pytest.mark.parametrize(
    "network, name, layer, size, channels",
    [
        (tiny_wide, "wide_resnet_10_1", "group2_block1_add", 16, 32),
        (tiny_resnext, "resnext_11_2x3d", "group2_block1_conv2", 16, 12),
        (tiny_densenet, "densenet_bc_16_3", "block2_layer2_concat", 16, 12),
        (tiny_att2, "wide_resnet_10_1_att2", "global_relu2", 8, 64),
        (narrow_50, "wide_resnet_50_1", "group2_block1_conv1", 56, 128),
    ],
)
def test_maps(network, name, layer, size, channels, data_format):
    """Those of all layers are counted in `test_counts.py`."""
    with without_weights():
        model = network(classes=7)
    assert model.name == name
    assert model.output_shape == (None, 7)
    shape = (size, size, channels)
    if data_format == "channels_first":
        shape = (channels, size, size)
    assert model.get_layer(layer).output.shape[1:] == shape


@pytest.mark.parametrize("network", POOLED)
def test_endings(network):
    with without_weights():
        model = network(name="mine", classifier_activation=None)
        features = network(include_top=False)
    assert model.name == "mine"
    assert model.get_layer("predictions").activation is keras.activations.linear
    last = model.get_layer("avg_pool").input
    assert features.output.shape == last.shape


@pytest.mark.parametrize("network", TINY)
def test_normalisation_is_that_of_pytorch(network):
    with without_weights():
        model = network()
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.epsilon, layer.momentum) == (1e-5, 0.9)
        if isinstance(layer, keras.layers.Conv2D):
            assert not layer.use_bias


@pytest.mark.parametrize("network", [tiny_wide, tiny_densenet, tiny_att2])
def test_images_of_any_size(network):
    model = network(input_shape=(None, None, 1))
    assert to_numpy(model(np.zeros((2, 29, 37, 1)))).shape == (2, 10)


@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow",
    reason="TensorFlow has no such convolution on CPUs.",
)
@pytest.mark.parametrize("network", TINY)
@pytest.mark.parametrize("data_format", ["channels_first"], indirect=True)
def test_channels_first_computes_the_same(network, data_format):
    first = network(input_shape=(3, 32, 32))
    by_hand.set_lively(first)
    found = to_numpy(first(IMAGES.transpose(0, 3, 1, 2)))
    keras.config.set_image_data_format("channels_last")
    last = network(input_shape=(32, 32, 3))
    last.set_weights(first.get_weights())
    np.testing.assert_allclose(found, to_numpy(last(IMAGES)), atol=1e-4)


@pytest.mark.parametrize(
    "network, places",
    [
        (
            tiny_resnext,
            ["group1_block1_relu", "group2_block1_relu", "group3_block1_relu"],
        ),
        (tiny_densenet, ["transition1_relu", "transition2_relu", "final_relu"]),
        (
            tiny_wide,
            ["group2_block1_relu1", "group3_block1_relu1", "final_relu"],
        ),
        (
            tiny_att2,
            ["group2_block1_relu1", "group3_block1_relu1", "final_relu"],
        ),
        pytest.param(
            tiny_50,
            ["group2_block4_relu", "group3_block6_relu", "group4_block3_relu"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_attention(network, places, tmp_path):
    """It is attached to the last activated map of each size, and saved."""
    backbone = network(classes=7, input_shape=LARGER.shape[1:])
    model = keras_warn.augment(backbone, preset="paper", depth=3, width=2)
    modules = attention_of(model).modules
    for module, place in zip(modules, places, strict=True):
        assert module.source is backbone.get_layer(place).output, place
    by_hand.set_lively(model)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    found = to_numpy(loaded(LARGER))
    np.testing.assert_array_equal(found, to_numpy(model(LARGER)))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_layers_of_a_dense_block_read_all_before_them():
    with without_weights():
        model = tiny_densenet(depth=22)
    first, second, third = (
        model.get_layer(f"block1_layer{i}_concat") for i in (1, 2, 3)
    )
    added = model.get_layer("block1_layer2_conv2").output
    assert first.input[0] is model.get_layer("stem_conv").output
    assert second.input[0] is first.output and second.input[1] is added
    assert model.get_layer("block1_layer3_bn1").input is second.output
    assert model.get_layer("transition1_bn").input is third.output


@pytest.mark.parametrize(
    "network, count", [(tiny_wide, 3), (tiny_densenet, 8), (tiny_att2, 5)]
)
def test_dropout(network, count):
    with without_weights():
        model = network(dropout=0.3, depth=10)
    rates = [
        layer.rate
        for layer in model.layers
        if isinstance(layer, keras.layers.Dropout)
    ]
    assert rates == [0.3] * count


@pytest.mark.parametrize("compatibility", ["parametrised", "dot"])
def test_att2_by_its_equations(compatibility):
    model = tiny_att2(compatibility=compatibility, include_top=False)
    by_hand.set_lively(model)
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
        if compatibility == "dot":
            scores = np.einsum("bpc,bc->bp", locals_, seen)
        else:
            kernel = to_numpy(model.get_layer(f"group{group}_scores").kernel)
            scores = (locals_ + seen[:, None]) @ kernel[:, 0]
        masks = np.exp(scores - scores.max(axis=1, keepdims=True))
        masks /= masks.sum(axis=1, keepdims=True)
        expected = np.einsum("bp,bpc->bc", masks, locals_)
        np.testing.assert_allclose(context, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "compatibility, matters", [("parametrised", False), ("dot", True)]
)
def test_whether_the_global_feature_matters(compatibility, matters):
    """Softmax takes away what the scores of all positions share."""
    model = tiny_att2(compatibility=compatibility, classifier_activation=None)
    by_hand.set_lively(model)
    before = to_numpy(model(IMAGES))
    bias = model.get_layer("global").bias
    bias.assign(ops.flip(bias) * 2)
    change = np.abs(to_numpy(model(IMAGES)) - before).max()
    assert change > 0.1 if matters else change < 1e-3


@pytest.mark.parametrize(
    "network, depths, rule",
    [
        (ResNeXt, (2, 28), r"9 \* blocks \+ 2"),
        (DenseNetBC, (4, 189), r"6 \* blocks \+ 4"),
        (WideResNet, (4, 121), r"6 \* blocks \+ 4"),
    ],
)
def test_depths(network, depths, rule):
    for depth in depths:
        with pytest.raises(ValueError, match=f"`depth` must be {rule}"):
            network(depth)


@pytest.mark.parametrize(
    "network, name, value",
    [
        (tiny_wide, "depth", 16.0),
        (tiny_wide, "width", 0),
        (tiny_att2, "width", 0),
        (tiny_att2, "compatibility", "sum"),
        (tiny_50, "width", 0),
    ],
)
def test_bad_arguments(network, name, value):
    rule = re.compile(rf"`{name}` must .* Received: .*{name}={value!r}")
    with pytest.raises((TypeError, ValueError), match=rule):
        network(**{name: value})
