"""Networks to add attention to: what they take, and where weights are from."""

import functools
import socket
import sys
import warnings

import keras
import numpy as np
import paper_networks
import pytest
from paper_networks import WideResNet
from support import to_numpy
from support import without_weights

import keras_warn
from keras_warn.data import model_inputs
from keras_warn.training import backbones
from keras_warn.training import build_network

pytestmark = pytest.mark.usefixtures("eager")

TINY = "MobileNet(alpha=0.25)"
SMALL = "small_network:Small"
WIDE = "paper_networks:WideResNet(depth=10, width=1)"
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
IMAGES = PIXELS.astype("float32")
CONSTRUCTORS = sorted(
    name
    for name, value in vars(keras.applications).items()
    if name[0].isupper() and callable(value)
)


def assert_prepared(layers, expected):
    """What layers make of `IMAGES`."""
    x = keras.ops.convert_to_tensor(IMAGES)
    for layer in layers:
        x = layer(x)
    np.testing.assert_allclose(to_numpy(x), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_pixels_are_brought_to_what_each_network_of_keras_takes(name):
    constructor = getattr(keras.applications, name)
    prepare = sys.modules[constructor.__module__].preprocess_input
    expected = prepare(IMAGES.copy(), data_format="channels_last")
    layers = backbones._own_preprocessing(constructor)
    assert_prepared(layers, to_numpy(expected))


def test_pixels_are_brought_to_what_torchvision_takes():
    """As docs.pytorch.org/vision/stable/models.html says."""
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    layers = backbones._own_preprocessing(paper_networks.WideResNet50)
    assert_prepared(layers, (PIXELS / 255 - mean) / deviation)


@pytest.mark.parametrize(
    "backbone",
    [
        "paper_networks:WideResNetAtt2(depth=10, width=1)",
        "paper_networks:ResNeXt(depth=11, cardinality=2, base_width=4)",
        "paper_networks:DenseNetBC(depth=10, growth=4)",
        "paper_networks:WideResNet50(width=1)",
    ],
)
def test_networks_of_the_paper(backbone):
    with without_weights():
        network = build_network(backbone, 5, 32, "none")
    assert network.output_shape == (None, 5)


@pytest.mark.parametrize("name", model_inputs.PREPROCESSING)
def test_preprocessing_by_name(name):
    layers = backbones._preprocessing_layers(name)
    assert_prepared(layers, model_inputs.preprocess(PIXELS, name))


def test_constructors_with_preprocessing_inside_are_left_alone():
    constructor, _ = backbones._constructor("EfficientNetV2B0")
    assert backbones._own_preprocessing(constructor) == []


def test_bytes_in_and_probabilities_out():
    network = build_network(SMALL, 5, 32, weights="none")
    assert network.input_shape == (None, 32, 32, 3)
    found = to_numpy(network(IMAGES))
    assert found.shape == (2, 5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert network.get_layer("classifier").units == 5
    assert not any(isinstance(x, keras.Model) for x in network.layers)


@pytest.mark.parametrize(
    "backbone, constructor, arguments",
    [
        (TINY, keras.applications.MobileNet, {"alpha": 0.25, "weights": None}),
        (WIDE, WideResNet, {"depth": 10, "width": 1}),
    ],
)
def test_weights_from_a_file(backbone, constructor, arguments, tmp_path):
    """Of networks that take [-1, 1]."""
    features = constructor(
        **arguments, input_shape=(32, 32, 3), include_top=False
    )
    features.save_weights(tmp_path / "some.weights.h5")
    network = build_network(backbone, 5, 32, tmp_path / "some.weights.h5")
    pooled = to_numpy(features(PIXELS / 127.5 - 1)).mean(axis=(1, 2))
    kernel, bias = network.get_layer("classifier").get_weights()
    expected = to_numpy(keras.ops.softmax(pooled @ kernel + bias))
    np.testing.assert_allclose(to_numpy(network(IMAGES)), expected, atol=1e-5)


@pytest.mark.parametrize(
    "preprocessing, attention",
    # VGG's swaps red and blue.
    [(None, False), ("vgg16", False), ("vgg16", True), ("densenet", False)],
)
def test_saved_and_loaded_safely(preprocessing, attention, tmp_path):
    model = build_network(SMALL, 5, 32, "none", preprocessing)
    if attention:
        model = keras_warn.augment(model, depth=2, width=3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(
        to_numpy(loaded(IMAGES)), to_numpy(model(IMAGES))
    )
    if preprocessing is None:
        # Who loads it need not know how pixels are prepared.
        assert model_inputs.default_preprocessing(loaded) == "none"


def test_mixed_precision_predicts_in_float32():
    keras.config.set_dtype_policy("mixed_float16")
    network = build_network(SMALL, 5, 32, weights="none")
    found = network(IMAGES)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"


def norms(model):
    return [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def trained(model):
    model.compile(
        "sgd",
        "sparse_categorical_crossentropy",
        # TensorFlow would trace for longer than it trains.
        run_eagerly=keras.backend.backend() == "tensorflow",
    )
    model.fit(IMAGES, np.array([0, 1]), epochs=2, verbose=0)


@pytest.mark.parametrize(
    "frozen, attention", [(True, False), (True, True), (False, True)]
)
def test_frozen_normalisation_does_not_change_in_fit(frozen, attention):
    """Neither its weights nor its statistics."""
    model = build_network(SMALL, 5, 32, "none", freeze_batch_norm=frozen)
    own = norms(model)
    assert len(own) == 2
    if attention:
        model = keras_warn.augment(model, depth=2, width=3)
    before = [layer.get_weights() for layer in own]
    kernel = to_numpy(model.get_layer("stem_conv").kernel).copy()
    trained(model)
    for layer, weights in zip(own, before, strict=True):
        for value, old in zip(layer.get_weights(), weights, strict=True):
            assert (value == old).all() == frozen
    assert (to_numpy(model.get_layer("stem_conv").kernel) != kernel).any()


def test_frozen_normalisation_uses_its_statistics_in_training(tmp_path):
    """Of a loaded model, too."""
    model = build_network(SMALL, 5, 32, "none", freeze_batch_norm=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not any(layer.trainable for layer in norms(loaded))
    np.testing.assert_allclose(
        to_numpy(model(IMAGES, training=True)),
        to_numpy(model(IMAGES, training=False)),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "other", [(10, 2), (16, 1), None], ids=["wider", "deeper", "garbage"]
)
def test_weights_of_another_network(other, tmp_path, capfd):
    """One clear error, and nothing before it."""
    path = tmp_path / "other.weights.h5"
    if other is None:
        path.write_bytes(b"no weights")
    else:
        WideResNet(*other, include_top=False).save_weights(path)
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)
        with pytest.raises(
            ValueError,
            match="`weights` must be those of 'wide_resnet_10_1' .*"
            r"other\.weights\.h5, which does not fit \(",
        ) as error:
            build_network(WIDE, 5, 32, path)
    assert caught == []
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_weights_of_imagenet_without_a_network(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    # Away from those that this machine may have.
    utilities = sys.modules[keras.applications.MobileNet.__module__].file_utils
    elsewhere = functools.partial(utilities.get_file, cache_dir=str(tmp_path))
    monkeypatch.setattr(utilities, "get_file", elsewhere)
    with pytest.raises(
        ConnectionError,
        match="weights of MobileNet cannot be downloaded .* or 'none' to",
    ):
        build_network(TINY, 5, 128)


def saved_backbone(path, size=32, classes=None, scaled=True):
    inputs = x = keras.Input((size, size, 3))
    if scaled:
        x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(x)
    if classes:
        x = keras.layers.GlobalAveragePooling2D()(x)
        x = keras.layers.Dense(classes, "softmax", name="species")(x)
    model = keras.Model(inputs, x)
    model.save(path)
    return model


def test_file_with_a_classifier_keeps_it(tmp_path):
    saved = saved_backbone(tmp_path / "mine.keras", classes=5)
    network = build_network(tmp_path / "mine.keras", 5, 32)
    np.testing.assert_allclose(
        to_numpy(network(IMAGES)), to_numpy(saved(IMAGES)), atol=1e-6
    )
    assert network.get_layer("species").units == 5
    with pytest.raises(ValueError, match="for these 7 classes. .*, for 5"):
        build_network(tmp_path / "mine.keras", 7, 32)


@pytest.mark.parametrize("size", [32, None])
def test_file_without_a_classifier_gets_one(tmp_path, size):
    """Of a network for images of any size, too."""
    saved = saved_backbone(tmp_path / "mine.keras", size)
    network = build_network(str(tmp_path / "mine.keras"), 7, 32)
    assert network.input_shape == (None, 32, 32, 3)
    assert network.output_shape == (None, 7)
    (conv,) = [x for x in network.layers if "conv" in x.name]
    np.testing.assert_array_equal(
        to_numpy(conv.kernel), to_numpy(saved.layers[2].kernel)
    )


def test_file_of_a_sequential_network_says_how_it_takes_pixels(tmp_path):
    saved = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, strides=2),
        ]
    )
    saved.save(tmp_path / "mine.keras")
    network = build_network(tmp_path / "mine.keras", 7, 32)
    (rescaling,) = [
        x for x in network.layers if isinstance(x, keras.layers.Rescaling)
    ]
    assert rescaling.scale == 1 / 255 and network.output_shape == (None, 7)


@pytest.mark.parametrize("classes", [None, 5])
def test_frozen_but_for_its_classifier(tmp_path, classes):
    """Dropout inside is gone: it draws even where `training` is False."""
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3, strides=2)(keras.layers.Dropout(0.5)(x))
    if classes:
        x = keras.layers.GlobalAveragePooling2D()(x)
        x = keras.layers.Dense(classes, "softmax")(x)
    keras.Model(inputs, x).save(tmp_path / "mine.keras")
    network = build_network(tmp_path / "mine.keras", 5, 32, freeze=True)
    assert len(network.trainable_variables) == 2
    assert network.trainable_variables[0].shape == (4, 5)
    np.testing.assert_array_equal(
        to_numpy(network(IMAGES, training=True)), to_numpy(network(IMAGES))
    )


def test_file_that_says_how_it_takes_pixels_or_must_be_told(tmp_path):
    path = tmp_path / "mine.keras"
    saved = saved_backbone(path, classes=5, scaled=False)
    with pytest.raises(ValueError, match="Choose the preprocessing"):
        build_network(path, 5, 32)
    network = build_network(path, 5, 32, preprocessing="rescale")
    np.testing.assert_allclose(
        to_numpy(network(IMAGES)), to_numpy(saved(PIXELS / 255)), atol=1e-6
    )


def test_wrong_files(tmp_path):
    path = tmp_path / "mine.keras"
    with pytest.raises(
        FileNotFoundError, match="`backbone` must be a file that exists. .*mine"
    ):
        build_network(path, 5, 32)
    saved_backbone(path, classes=5)
    with pytest.raises(
        ValueError, match=r"\(48, 48, 3\)\. .* Change `image_size`"
    ):
        build_network(path, 5, 48)
    for weights in (path, "none"):
        with pytest.raises(ValueError, match="`weights` must be omitted"):
            build_network(path, 5, 32, weights=weights)
    with pytest.raises(ValueError, match="'none' for a network that scales"):
        build_network(path, 5, 32, preprocessing="rescale")
    path.write_bytes(b"no model")
    with pytest.raises(ValueError, match="mine.keras is not a model"):
        build_network(path, 5, 32)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"backbone": "MobilNetV2"}, ValueError, "There are: .*MobileNetV2, "),
        ({"backbone": "mobilenet_v2"}, ValueError, "`backbone` must be a con"),
        ({"backbone": "os.system('ls')"}, ValueError, "`backbone` must be a"),
        ({"backbone": "MobileNetV2(0.35)"}, ValueError, "given by name"),
        ({"backbone": "MobileNetV2("}, ValueError, "`backbone` must be a con"),
        ({"backbone": "MobileNetV2(beta=1)"}, ValueError, "takes.*{'beta'"),
        ({"backbone": "MobileNetV2(alpha='x')"}, ValueError, "arguments that"),
        ({"backbone": "VGG16(include_top=1)"}, ValueError, "arguments that"),
        ({"backbone": WIDE.replace("0", "1")}, ValueError, "`depth` must be"),
        (
            {"backbone": "MobileNetV3Small(include_preprocessing=False)"},
            ValueError,
            "`preprocessing` must be given",
        ),
        ({"weights": "imagnet"}, FileNotFoundError, "`weights` .*'imagnet'"),
        (
            {"backbone": WIDE, "weights": "imagenet"},
            ValueError,
            "file for WideResNet, which is not of keras.app.*Rec.*imagenet'.$",
        ),
        ({"classes": 1}, ValueError, "`classes` must be an integer of at le"),
        ({"image_size": 0}, ValueError, "`image_size` must be a positive"),
        ({"preprocessing": "vgg"}, ValueError, "`preprocessing` must be one"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    right = {"backbone": TINY, "classes": 5, "image_size": 32}
    with pytest.raises(error, match=message):
        build_network(**{**right, "weights": "none", **arguments})
