"""Networks to add attention to: what they take, and where weights are from."""

import functools
import socket
import sys

import keras
import numpy as np
import paper_networks
import pytest
from paper_networks import WideResNet
from support import to_numpy

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


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_bytes_in_and_probabilities_out(policy):
    keras.config.set_dtype_policy(policy)
    network = build_network(SMALL, 5, 32, weights="none")
    assert network.input_shape == (None, 32, 32, 3)
    found = network(IMAGES)
    assert found.shape == (2, 5)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(to_numpy(found).sum(axis=1), 1, atol=1e-5)
    assert network.get_layer("classifier").units == 5
    assert not any(isinstance(x, keras.Model) for x in network.layers)


def test_weights_from_a_file(tmp_path):
    """Of a network that takes [-1, 1]."""
    features = WideResNet(10, 1, input_shape=(32, 32, 3), include_top=False)
    features.save_weights(tmp_path / "some.weights.h5")
    network = build_network(WIDE, 5, 32, tmp_path / "some.weights.h5")
    pooled = to_numpy(features(PIXELS / 127.5 - 1)).mean(axis=(1, 2))
    kernel, bias = network.get_layer("classifier").get_weights()
    expected = to_numpy(keras.ops.softmax(pooled @ kernel + bias))
    np.testing.assert_allclose(to_numpy(network(IMAGES)), expected, atol=1e-5)


@pytest.mark.parametrize("preprocessing", [None, "vgg16"])
def test_saved_and_loaded_safely(preprocessing, tmp_path):
    """VGG's preprocessing swaps red and blue."""
    network = build_network(SMALL, 5, 32, "none", preprocessing)
    model = keras_warn.augment(network, depth=2, width=3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(
        to_numpy(loaded(IMAGES)), to_numpy(model(IMAGES))
    )
    if preprocessing is None:
        # Who loads it need not know how pixels are prepared.
        assert model_inputs.default_preprocessing(loaded) == "none"


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_normalisation_does_not_change_in_fit(frozen, tmp_path):
    """It uses its statistics in training; of a loaded model, too."""
    path = tmp_path / "model.keras"
    build_network(SMALL, 5, 32, "none", freeze_batch_norm=frozen).save(path)
    model = keras.saving.load_model(path)
    norms = [model.get_layer(f"{name}_norm") for name in ("stem", "block")]
    training, inference = (
        to_numpy(model(IMAGES, training=one)) for one in (True, False)
    )
    assert np.allclose(training, inference, atol=1e-6) == frozen
    model = keras_warn.augment(model, depth=2, width=3)
    before = [value for norm in norms for value in norm.get_weights()]
    kernel = to_numpy(model.get_layer("stem_conv").kernel).copy()
    model.compile(
        "sgd",
        "sparse_categorical_crossentropy",
        # TensorFlow would trace for longer than it trains.
        run_eagerly=keras.backend.backend() == "tensorflow",
    )
    model.fit(IMAGES, np.array([0, 1]), epochs=2, verbose=0)
    after = [value for norm in norms for value in norm.get_weights()]
    for value, old in zip(after, before, strict=True):
        assert (value == old).all() == frozen
    assert (to_numpy(model.get_layer("stem_conv").kernel) != kernel).any()


@pytest.mark.filterwarnings("error", "ignore::DeprecationWarning")
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
    with pytest.raises(
        ValueError,
        match="`weights` must be those of 'wide_resnet_10_1' .*"
        r"other\.weights\.h5, which does not fit \(.*$",
    ):
        build_network(WIDE, 5, 32, path)
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
    layers = [
        keras.Input((size, size, 3)),
        keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
        # Which draws even where `training` is False.
        keras.layers.Dropout(0.5),
    ]
    if scaled:
        layers.insert(1, keras.layers.Rescaling(1 / 255))
    if classes:
        layers.append(keras.layers.GlobalAveragePooling2D())
        layers.append(keras.layers.Dense(classes, "softmax", name="species"))
    model = keras.Sequential(layers)
    if classes:
        model = keras.Model(model.inputs[0], model.outputs[0])
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
    """Of a sequential network; for images of any size, too."""
    saved = saved_backbone(tmp_path / "mine.keras", size)
    network = build_network(str(tmp_path / "mine.keras"), 7, 32)
    assert network.input_shape == (None, 32, 32, 3)
    kernel, bias = network.get_layer("classifier").get_weights()
    pooled = to_numpy(saved(IMAGES)).mean(axis=(1, 2))
    expected = to_numpy(keras.ops.softmax(pooled @ kernel + bias))
    np.testing.assert_allclose(to_numpy(network(IMAGES)), expected, atol=1e-5)


@pytest.mark.parametrize("classes", [None, 5])
def test_frozen_but_for_its_classifier(tmp_path, classes):
    """Dropout inside is gone."""
    saved_backbone(tmp_path / "mine.keras", classes=classes)
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
    "arguments, message",
    [
        ({"backbone": "MobilNetV2"}, "There are: .*MobileNetV2, "),
        ({"backbone": "os.system('ls')"}, "`backbone` must be a con"),
        ({"backbone": "MobileNetV2(0.35)"}, "given by name"),
        ({"backbone": "MobileNetV2("}, "`backbone` must be a con"),
        ({"backbone": "MobileNetV2(beta=1)"}, "takes.*{'beta'"),
        ({"backbone": "MobileNetV2(alpha='x')"}, "must have arguments"),
        ({"backbone": "MobileNetV2", "image_size": 16}, "size=16 .* 32x32"),
        (
            {"backbone": "MobileNetV3Small(include_preprocessing=False)"},
            "`preprocessing` must be given",
        ),
        ({"weights": "imagnet"}, "`weights` .*'imagnet'"),
        (
            {"backbone": WIDE, "weights": "imagenet"},
            "file for WideResNet, which is not of keras.app.*Rec.*imagenet'.$",
        ),
        ({"classes": 1}, "`classes` must be an integer of at le"),
        ({"image_size": 0}, "`image_size` must be a positive"),
        ({"preprocessing": "vgg"}, "`preprocessing` must be one"),
    ],
)
def test_wrong_arguments(arguments, message):
    right = {"backbone": TINY, "classes": 5, "image_size": 32}
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        build_network(**{**right, "weights": "none", **arguments})
