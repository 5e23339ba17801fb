"""Classifiers are found, and their logits recovered, whatever their form."""

import functools

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from support import to_numpy

from keras_warn import _classifier as classifiers
from keras_warn.graph import Graph
from keras_warn.graph import flatten

N = 7  # classes
C = 5  # channels


def read_classifier(model, classes=None):
    return classifiers.read_classifier(Graph(model), classes)


IMAGES = np.random.default_rng(3).normal(size=(4, 8, 8, 3))


def features():
    """A small network: its input and its last feature map."""
    inputs = keras.Input((8, 8, 3))
    return inputs, layers.Conv2D(C, 3, activation="relu")(inputs)


def dense(activation, **options):
    inputs, x = features()
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(N, activation=activation, name="head", **options)(x)
    return keras.Model(inputs, x)


def then(x, layers_or_functions):
    for one in layers_or_functions:
        x = one(x)
    return x


def dense_then(*following):
    inputs, x = features()
    x = layers.Dense(N, name="head")(layers.GlobalMaxPooling2D()(x))
    return keras.Model(inputs, then(x, following))


def mobilenet(*following, activation=None):
    """A 1x1 convolution of pooled features."""
    inputs, x = features()
    x = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Conv2D(N, 1, activation=activation, name="head")(x)
    return keras.Model(inputs, then(x, following))


def squeezenet(*following, activation="relu"):
    """A 1x1 convolution of features that are pooled later."""
    inputs, x = features()
    x = layers.Conv2D(N, 1, activation=activation, name="head")(
        layers.Dropout(0.5)(x)
    )
    return keras.Model(inputs, then(x, following))


SOFTMAX = {
    "fused": lambda: dense("softmax"),
    "fused, no bias": lambda: dense("softmax", use_bias=False),
    "activation": lambda: dense_then(layers.Activation("softmax")),
    "softmax layer": lambda: dense_then(layers.Softmax()),
    "operation": lambda: dense_then(ops.softmax),
    "float32 at the end": lambda: dense_then(
        layers.Activation("linear"),
        layers.Activation("softmax", dtype="float32"),
    ),
    "convolution": lambda: mobilenet(layers.Flatten(), layers.Softmax()),
    "convolution, fused": lambda: mobilenet(
        layers.Reshape((N,)), activation="softmax"
    ),
    "convolution, softmax, reshape": lambda: mobilenet(
        layers.Softmax(), layers.Reshape((N,))
    ),
    "pooled scores": lambda: squeezenet(
        layers.GlobalAveragePooling2D(), layers.Softmax()
    ),
    "pooled scores, relu": lambda: squeezenet(
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Activation("softmax"),
        activation=None,
    ),
}
# What stands between kernel and softmax belongs to the logits.
BETWEEN = {
    "temperature": lambda: dense_then(layers.Rescaling(0.5), layers.Softmax()),
    "divided": lambda: dense_then(lambda x: x / 2, layers.Softmax()),
    "dropout": lambda: dense_then(layers.Dropout(0.5), layers.Softmax()),
    "norm": lambda: dense_then(
        layers.BatchNormalization(), layers.Activation("softmax")
    ),
    "relu": lambda: dense_then(layers.ReLU(), layers.Softmax()),
    "pooled, norm": lambda: squeezenet(
        layers.BatchNormalization(),
        layers.GlobalAveragePooling2D(),
        layers.Softmax(),
    ),
    "squeezed": lambda: mobilenet(
        lambda x: ops.squeeze(x, (1, 2)), layers.Softmax()
    ),
}
LINEAR = {
    "dense": lambda: dense(None),
    "dense, named": lambda: dense("linear"),
    "activation": lambda: dense_then(layers.Activation("linear")),
    "convolution": lambda: mobilenet(layers.Flatten()),
}
NOT_CLASSIFIERS = {
    "feature map": lambda: keras.Model(*features()),
    "convolution": lambda: squeezenet(activation=None),
    "relu": lambda: dense("relu"),
    "tanh": lambda: dense("tanh"),
    "leaky": lambda: dense(layers.LeakyReLU()),
    "learned": lambda: dense(layers.PReLU()),
    "object": lambda: dense(layers.Activation("gelu")),
    "partial": lambda: dense(functools.partial(keras.ops.gelu)),
    "leaky layer": lambda: dense_then(layers.LeakyReLU()),
    "relu layer": lambda: dense_then(layers.ReLU()),
    "norm": lambda: dense_then(layers.BatchNormalization()),
    "pooled": lambda: squeezenet(layers.GlobalAveragePooling2D()),
    "pooled, linear": lambda: squeezenet(
        layers.GlobalAveragePooling2D(), activation=None
    ),
    "flattened": lambda: squeezenet(layers.Flatten(), activation=None),
    "dropout": lambda: dense_then(layers.Dropout(0.5)),
}


def run(model, output):
    return to_numpy(keras.Model(model.inputs, output)([IMAGES]))


def parametrize(models):
    return pytest.mark.parametrize("make", models.values(), ids=models.keys())


def softmax_of_the_backend():
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.nn.softmax  # whose name is `softmax_v2`
    if backend == "jax":
        import jax

        return jax.nn.softmax
    import torch

    return lambda x: torch.softmax(x, dim=-1)


def assert_softmax_of_logits(model):
    """It is the output, bit for bit."""
    classifier = read_classifier(model)
    assert classifier.classes == N
    assert tuple(classifier.logits.shape) == (None, N)
    found = run(model, keras.activations.softmax(classifier.logits))
    np.testing.assert_array_equal(found, to_numpy(model(IMAGES)))


@pytest.mark.parametrize(
    "function",
    [
        softmax_of_the_backend(),
        lambda x: ops.softmax(x),
        layers.Softmax(),
        layers.Activation("softmax"),
    ],
)
def test_softmax_is_known_by_what_it_computes(function):
    assert_softmax_of_logits(dense(function))
    assert_softmax_of_logits(dense_then(layers.Activation(function)))


def test_the_axis_of_a_softmax_is_that_of_the_classes():
    """Wherever it lies. PyTorch rounds differently along other axes."""
    model = mobilenet(
        layers.Permute((3, 1, 2)), layers.Softmax(axis=1), layers.Flatten()
    )
    found = run(model, ops.softmax(read_classifier(model).logits))
    np.testing.assert_allclose(found, to_numpy(model(IMAGES)), rtol=1e-6)


@pytest.mark.parametrize(
    "models, name",
    [
        (models, name)
        for models in (SOFTMAX, BETWEEN, LINEAR)
        for name in models
    ],
)
def test_classifiers_are_read(models, name):
    model = models[name]()
    if models is LINEAR:
        assert read_classifier(model).logits is model.output
    else:
        assert_softmax_of_logits(model)
    classifier = read_classifier(model)
    # Pooled, and before dropout, which here is active.
    assert tuple(classifier.features.shape) == (None, C)
    pooled = keras.Model(model.input, classifier.features)
    features = to_numpy(pooled(IMAGES, training=False))
    active = to_numpy(pooled(IMAGES, training=True))
    np.testing.assert_array_equal(active, features)
    if models is not BETWEEN and "pooled" not in name:
        kernel = to_numpy(model.get_layer("head").kernel).reshape(C, N)
        logits = run(model, classifier.logits)
        np.testing.assert_allclose(features @ kernel, logits, atol=1e-5)


@parametrize(NOT_CLASSIFIERS)
def test_models_that_end_in_features_have_no_classifier(make):
    assert read_classifier(make()) is None


@pytest.fixture
def fused():
    """A model with fused softmax, and one of its logits."""
    model = dense("softmax")
    twin = keras.Model(model.input, read_classifier(model).logits)
    return model, twin


def test_the_twin_has_the_name_and_variables_of_its_layer(fused):
    model, twin = fused
    layer, other = model.get_layer("head"), twin.get_layer("head")
    assert layer.activation is keras.activations.softmax
    assert len(model.weights) == 4
    assert type(other) is layers.Dense and other is not layer
    assert other.activation is keras.activations.linear
    assert [id(v) for v in other.weights] == [id(v) for v in layer.weights]
    assert twin.count_params() == model.count_params()


def test_the_twin_is_saved_as_a_plain_layer(fused, tmp_path):
    model, twin = fused
    twin.save(tmp_path / "twin.keras")
    twin.save_weights(tmp_path / "twin.weights.h5")
    loaded = keras.saving.load_model(tmp_path / "twin.keras")
    assert loaded.get_layer("head").get_config()["activation"] == "linear"
    expected = to_numpy(twin(IMAGES))
    np.testing.assert_array_equal(to_numpy(loaded(IMAGES)), expected)
    # Weights that are set in the model are those of the twin.
    model.set_weights([0 * w for w in model.get_weights()])
    assert not to_numpy(twin(IMAGES)).any()
    twin.load_weights(tmp_path / "twin.weights.h5")
    np.testing.assert_array_equal(to_numpy(twin(IMAGES)), expected)


def test_regularizers_of_the_kernel_count_once():
    model = dense("softmax", kernel_regularizer="l2")
    twin = keras.Model(model.input, read_classifier(model).logits)
    (loss,), (expected,) = twin.losses, model.losses
    assert float(loss) == float(expected) > 0


@pytest.mark.parametrize(
    "activation",
    ["sigmoid", "log_softmax", lambda x: x / 2, lambda x: ops.softmax(x, 0)],
)
@pytest.mark.parametrize(
    "make", [dense, lambda one: dense_then(layers.Activation(one))]
)
def test_other_predictions_are_refused(activation, make):
    with pytest.raises(ValueError, match="softmax, once, or linear"):
        read_classifier(make(activation))


@parametrize(
    {
        "twice": lambda: dense_then(layers.Softmax(), layers.Softmax()),
        "of maps, too": lambda: squeezenet(
            layers.Softmax(), layers.GlobalAveragePooling2D(), layers.Softmax()
        ),
    }
)
def test_two_softmaxes_are_refused(make):
    with pytest.raises(ValueError, match="softmax, once"):
        read_classifier(make())


def two_heads():
    inputs, x = features()
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Add(name="both")([layers.Dense(N)(x), layers.Dense(N)(x)])
    return keras.Model(inputs, layers.Softmax()(x))


HIDDEN_LOGITS = {
    "batch": (lambda: dense_then(layers.Softmax(axis=0)), "over axis 0"),
    "batch, fused": (lambda: dense(layers.Softmax(axis=0)), "over axis 0"),
    "map": (lambda: squeezenet(layers.Softmax()), "over axis -1 of .*6, 6, 7"),
    "positions": (
        lambda: squeezenet(layers.Flatten(), layers.Softmax()),
        "'head' before the softmax over 252",
    ),
    "mean of softmaxes": (
        lambda: squeezenet(layers.Softmax(), layers.GlobalAveragePooling2D()),
        "'global_average_pooling2d.*' after the softmax",
    ),
    "smoothed": (
        lambda: dense_then(layers.Softmax(), layers.Rescaling(0.9, name="s")),
        "'s' after the softmax",
    ),
    "fused, smoothed": (
        lambda: keras.Sequential(
            [dense("softmax"), layers.Rescaling(0.9, name="s")]
        ),
        "'s' after the softmax",
    ),
    "two heads": (two_heads, "'both' before the softmax"),
    "no kernel": (
        lambda: keras.Sequential(
            [keras.Input((N,), name="given"), layers.Softmax()]
        ),
        "'given' before the softmax",
    ),
}


@pytest.mark.parametrize("name", HIDDEN_LOGITS)
def test_predictions_without_logits_are_never_replaced(name):
    """The layer in the way is named."""
    make, found = HIDDEN_LOGITS[name]
    with pytest.raises(ValueError, match=f"leave this one out.*{found}"):
        read_classifier(flatten(make()))


LIKE_LOGITS = {
    "temperature": lambda: dense_then(layers.Rescaling(0.5, name="after")),
    "dropout": lambda: dense_then(layers.Dropout(0.5, name="after")),
    "norm": lambda: dense_then(layers.BatchNormalization(name="after")),
    "pooled": lambda: squeezenet(layers.GlobalAveragePooling2D(name="after")),
}


@parametrize(LIKE_LOGITS)
def test_features_as_many_as_classes_may_be_logits(make):
    with pytest.raises(ValueError, match="classes=7.*'after' after .*'head'"):
        read_classifier(make(), N)
    assert read_classifier(make(), N + 1) is None


def test_as_many_hidden_units_as_classes_are_features():
    assert read_classifier(dense("relu"), N) is None


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x: x.quantize("int8"), "not quantized.*'head'.*int8"),
        (lambda x: x.enable_lora(2), "no LoRA.*'head'.*lora_rank=2"),
    ],
)
def test_changed_classifiers_are_refused(change, message):
    model = dense(None)
    change(model.get_layer("head"))
    with pytest.raises(ValueError, match=message):
        read_classifier(model)
