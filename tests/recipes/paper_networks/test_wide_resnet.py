"""The wide residual network, and where attention is attached to it."""

import by_hand
import keras
import numpy as np
import pytest
from keras import ops
from paper_networks import WideResNet
from support import to_numpy
from support import without_weights

import keras_warn
from keras_warn.attention import attention_of

IMAGES = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")


@pytest.fixture(params=["channels_last", "channels_first"])
def data_format(request):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(request.param)
    yield request.param
    keras.config.set_image_data_format(before)


def test_names():
    with without_weights():
        names = [layer.name for layer in WideResNet(10, 2, dropout=0.3).layers]
    block = "bn1 relu1 conv1 bn2 relu2 dropout conv2 shortcut add".split()
    strided = "bn1 relu1 pad conv1 bn2 relu2 dropout conv2 shortcut add".split()
    # In Keras, layers of the same depth come in no certain order.
    assert sorted(names[1:]) == sorted(
        ["stem_conv"]
        + [f"group1_block1_{layer}" for layer in block]
        + [f"group2_block1_{layer}" for layer in strided]
        + [f"group3_block1_{layer}" for layer in strided]
        + ["final_bn", "final_relu", "avg_pool", "predictions"]
    )


@pytest.mark.parametrize("activated", [True, False])
def test_what_shortcuts_read(activated):
    with without_weights():
        model = WideResNet(16, 2, activate_shortcuts=activated)
    for group, before in enumerate(
        ["stem_conv", "group1_block2_add", "group2_block2_add"], start=1
    ):
        name = f"group{group}_block1_relu1" if activated else before
        shortcut = model.get_layer(f"group{group}_block1_shortcut")
        assert shortcut.input is model.get_layer(name).output


def test_strided_convolutions_are_centred():
    """The first output is that of a window around the first pixel."""
    model = WideResNet(10, 1)
    conv = model.get_layer("group2_block1_conv1")
    kernel = np.zeros(conv.kernel.shape)
    kernel[1, 1] = 1.0
    conv.set_weights([kernel])
    part = keras.Model(
        model.input,
        [model.get_layer("group2_block1_relu1").output, conv.output],
    )
    activated, strided = map(to_numpy, part(IMAGES))
    np.testing.assert_allclose(
        strided[..., 0], activated[:, ::2, ::2].sum(-1), rtol=1e-5
    )


def test_initial_kernels():
    """He's normal distribution of the fan-in, not truncated."""
    model = WideResNet(10, 8)
    kernels = [
        layer.kernel for layer in model.layers if hasattr(layer, "kernel")
    ]
    for kernel in kernels:
        kernel = to_numpy(kernel)
        kernel *= (np.prod(kernel.shape[:-1]) / 2) ** 0.5
        assert abs(kernel.std() - 1) < 5 / (2 * kernel.size) ** 0.5
        if kernel.size > 5000:
            assert np.abs(kernel).max() > 3


def test_kernels_of_one_shape_do_not_start_alike():
    model = WideResNet(16, 1)
    first, second = (
        to_numpy(model.get_layer(f"group1_block{block}_conv2").kernel)
        for block in (1, 2)
    )
    assert np.abs(first - second).max() > 0.01


def test_dropout_while_training():
    with without_weights():
        model = WideResNet(10, 1, dropout=0.5)
    for group in (1, 2, 3):
        dropout = model.get_layer(f"group{group}_block1_dropout")
        relu = model.get_layer(f"group{group}_block1_relu2")
        conv = model.get_layer(f"group{group}_block1_conv2")
        assert dropout.input is relu.output
        assert conv.input is dropout.output


def test_classifier_activation():
    logits = WideResNet(10, 1, classes=7, classifier_activation=None)
    by_hand.set_lively(logits)
    softmax = WideResNet(10, 1, classes=7)
    softmax.set_weights(logits.get_weights())
    np.testing.assert_allclose(
        to_numpy(softmax(IMAGES)),
        to_numpy(ops.softmax(logits(IMAGES))),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "depth, activated", [(10, True), (16, True), (10, False)]
)
def test_attached_at_the_activated_end_of_each_group(depth, activated):
    """Where the reference is."""
    with without_weights():
        network = WideResNet(
            depth, 2, activate_stem=activated, activate_shortcuts=activated
        )
        model = keras_warn.augment(network, preset="paper", depth=3)
    names = ["group2_block1_relu1", "group3_block1_relu1", "final_relu"]
    modules = attention_of(model).modules
    for module, name in zip(modules, names, strict=True):
        assert module.source is network.get_layer(name).output
    with without_weights():
        network = WideResNet(depth, 2, include_top=False)
        model = keras_warn.augment(network, classes=7, preset="paper", depth=1)
    (module,) = attention_of(model).modules
    assert module.source is network.output


def test_attached_in_either_data_format(data_format):
    with without_weights():
        model = keras_warn.augment(WideResNet(10, 1), depth=3, width=5)
    shapes = [
        model.get_layer(f"module_{i}_masks").output.shape[1:] for i in (1, 2, 3)
    ]
    if data_format == "channels_first":
        assert shapes == [(5, 32, 32), (5, 16, 16), (5, 8, 8)]
    else:
        assert shapes == [(32, 32, 5), (16, 16, 5), (8, 8, 5)]


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = WideResNet(10, 1)
    assert model.output.dtype == "bfloat16"
    assert {variable.dtype for variable in model.variables} == {"float32"}
    model = keras_warn.augment(model, depth=3)
    assert model.output.dtype == "float32"
    assert np.isfinite(to_numpy(model(IMAGES))).all()
