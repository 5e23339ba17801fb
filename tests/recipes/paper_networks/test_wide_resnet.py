"""The wide residual network, and where attention is attached to it."""

import by_hand
import keras
import numpy as np
import pytest
from keras import ops
from paper_networks import WideResNet
from support import to_numpy

import keras_warn

IMAGES = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")


@pytest.fixture(params=["channels_last", "channels_first"])
def data_format(request):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(request.param)
    yield request.param
    keras.config.set_image_data_format(before)


@pytest.mark.parametrize("depth", [10, 16, 28])
def test_depth_counts_convolutions(depth):
    """Those of the three shortcuts, too."""
    convolutions = [
        layer
        for layer in WideResNet(depth, 2).layers
        if isinstance(layer, keras.layers.Conv2D)
    ]
    assert len(convolutions) == depth


def test_shapes(data_format):
    first = data_format == "channels_first"
    model = WideResNet(10, 3, classes=7)
    assert model.input_shape[1:] == ((3, 32, 32) if first else (32, 32, 3))
    assert model.output_shape == (None, 7)
    for group, (size, channels) in enumerate(
        [(32, 48), (16, 96), (8, 192)], start=1
    ):
        shape = model.get_layer(f"group{group}_block1_add").output.shape
        plane = (size, size)
        assert shape[1:] == (
            (channels, *plane) if first else (*plane, channels)
        )
    features = WideResNet(10, 3, include_top=False)
    assert features.output.shape == model.get_layer("final_relu").output.shape


def test_names():
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
    assert WideResNet(10, 2).name == "wide_resnet_10_2"
    assert WideResNet(10, 2, name="mine").name == "mine"


def test_shortcuts_are_plain_where_the_shape_stays():
    def shortcuts(model):
        return [
            layer.name
            for layer in model.layers
            if layer.name.endswith("shortcut")
        ]

    later = ["group2_block1_shortcut", "group3_block1_shortcut"]
    assert shortcuts(WideResNet(16, 1)) == later
    assert shortcuts(WideResNet(16, 2)) == ["group1_block1_shortcut", *later]


@pytest.mark.parametrize("activated", [True, False])
def test_what_shortcuts_read(activated):
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
    model = WideResNet(10, 1, dropout=0.5, classifier_activation=None)
    for group in (1, 2, 3):
        dropout = model.get_layer(f"group{group}_block1_dropout")
        relu = model.get_layer(f"group{group}_block1_relu2")
        conv = model.get_layer(f"group{group}_block1_conv2")
        assert dropout.input is relu.output
        assert conv.input is dropout.output
    still = to_numpy(model(IMAGES))
    np.testing.assert_array_equal(to_numpy(model(IMAGES)), still)
    first, second = (to_numpy(model(IMAGES, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 0.1


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


@pytest.mark.parametrize("stem", [True, False])
@pytest.mark.parametrize("shortcuts", [True, False])
@pytest.mark.parametrize("depth, width", [(10, 1), (16, 2)])
def test_attached_at_the_activated_end_of_each_group(
    depth, width, shortcuts, stem
):
    """Where the reference is."""
    network = WideResNet(
        depth, width, activate_stem=stem, activate_shortcuts=shortcuts
    )
    model = keras_warn.augment(network, preset="paper", depth=3)
    names = ["group2_block1_relu1", "group3_block1_relu1", "final_relu"]
    for i, name in enumerate(names, start=1):
        masks = model.get_layer(f"module_{i}_masks")
        assert masks.input is network.get_layer(name).output
    network = WideResNet(depth, width, include_top=False)
    model = keras_warn.augment(network, classes=7, preset="paper", depth=1)
    assert model.get_layer("module_1_masks").input is network.output


def test_attached_in_either_data_format(data_format):
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


@pytest.mark.parametrize("attention", [False, True])
def test_saved_and_loaded(attention, tmp_path):
    model = WideResNet(16, 2, dropout=0.3, activate_stem=True)
    by_hand.set_lively(model)
    if attention:
        model = keras_warn.augment(model, depth=3, width=2, kernel_size=3)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    assert {layer.name for layer in loaded.layers} == {
        layer.name for layer in model.layers
    }
    np.testing.assert_array_equal(
        to_numpy(loaded(IMAGES)), to_numpy(model(IMAGES))
    )


@pytest.mark.parametrize("depth", [1, 4, 5, 27, 29])
def test_depth(depth):
    with pytest.raises(ValueError, match=r"`depth` must be 6 \* blocks \+ 4"):
        WideResNet(depth)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"depth": 16.0}, TypeError, "`depth` must be a positive integer"),
        ({"width": 0}, ValueError, "`width` must be a positive integer"),
        ({"classes": 0}, ValueError, "`classes` must be a positive integer"),
        ({"dropout": 1.5}, ValueError, "`dropout` must be .* at most 1"),
        ({"include_top": 1}, TypeError, "`include_top` must be True or False"),
        (
            {"classifier_activation": "sofmax"},
            ValueError,
            "`classifier_activation` must be None, a function",
        ),
        ({"activate_stem": 1}, TypeError, "`activate_stem` must be True or"),
        (
            {"activate_shortcuts": None},
            TypeError,
            "`activate_shortcuts` must be True or",
        ),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        WideResNet(**{"depth": 10, "width": 1, **arguments})
