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

N = 7  # classes
C = 5  # channels
Pool = layers.GlobalAveragePooling2D


def read_classifier(model, classes=None):
    return classifiers.read_classifier(Graph(model), classes)


IMAGES = np.random.default_rng(3).normal(size=(4, 8, 8, 3))


def features():
    """A small network: its input and its last feature map."""
    inputs = keras.Input((8, 8, 3))
    return inputs, layers.Conv2D(C, 3, activation="relu")(inputs)


def dense(activation, **options):
    inputs, x = features()
    x = Pool(name="pool")(x)
    x = layers.Dense(N, activation=activation, name="head", **options)(x)
    return keras.Model(inputs, x)


def then(inputs, x, layers_or_functions):
    for one in layers_or_functions:
        x = one(x)
    return keras.Model(inputs, x)


def dense_then(*following):
    inputs, x = features()
    x = layers.Dense(N, name="head")(layers.GlobalMaxPooling2D()(x))
    return then(inputs, x, following)


def mobilenet(*following, activation=None):
    """A 1x1 convolution of pooled features."""
    inputs, x = features()
    x = Pool(keepdims=True, name="pool")(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Conv2D(N, 1, activation=activation, name="head")(x)
    return then(inputs, x, following)


def squeezenet(*following, activation="relu"):
    """A 1x1 convolution of features that are pooled later."""
    inputs, x = features()
    x = layers.Dropout(0.5)(x)
    x = layers.Conv2D(N, 1, activation=activation, name="head")(x)
    return then(inputs, x, following)


SOFTMAX = {
    "fused": lambda: dense("softmax"),
    "fused, no bias": lambda: dense("softmax", use_bias=False),
    # Known by what they compute.
    "fused, function": lambda: dense(lambda x: ops.softmax(x)),
    "fused, layer": lambda: dense(layers.Softmax()),
    "fused, layer of a name": lambda: dense(layers.Activation("softmax")),
    "function": lambda: dense_then(layers.Activation(lambda x: ops.softmax(x))),
    "activation": lambda: dense_then(layers.Activation("softmax")),
    "softmax layer": lambda: dense_then(layers.Softmax()),
    "operation": lambda: dense_then(ops.softmax),
    "linear, softmax": lambda: dense_then(
        layers.Activation("linear"), layers.Activation("softmax")
    ),
    "convolution": lambda: mobilenet(layers.Flatten(), layers.Softmax()),
    "convolution, fused": lambda: mobilenet(
        layers.Reshape((N,)), activation="softmax"
    ),
    "convolution, softmax, reshape": lambda: mobilenet(
        layers.Softmax(), layers.Reshape((N,))
    ),
    "pooled scores": lambda: squeezenet(Pool(), layers.Softmax()),
    "pooled scores, relu": lambda: squeezenet(
        layers.ReLU(), Pool(), layers.Softmax(), activation=None
    ),
}
# What stands between kernel and softmax belongs to the logits.
BETWEEN = {
    "temperature": lambda: dense_then(layers.Rescaling(0.5), layers.Softmax()),
    "divided": lambda: dense_then(lambda x: x / 2, layers.Softmax()),
    "pooled, norm": lambda: squeezenet(
        layers.BatchNormalization(), Pool(), layers.Softmax()
    ),
    "squeezed": lambda: mobilenet(
        lambda x: ops.squeeze(x, (1, 2)), layers.Softmax()
    ),
}
LINEAR = {
    "dense": lambda: dense(None),
    "activation": lambda: dense_then(layers.Activation("linear")),
    "convolution": lambda: mobilenet(layers.Flatten()),
}
NOT_CLASSIFIERS = {
    "feature map": lambda: keras.Model(*features()),
    "convolution": lambda: squeezenet(activation=None),
    "relu": lambda: dense("relu"),
    "leaky": lambda: dense(layers.LeakyReLU()),
    "object": lambda: dense(layers.Activation("gelu")),
    "partial": lambda: dense(functools.partial(keras.ops.gelu)),
    "relu layer": lambda: dense_then(layers.ReLU()),
    "norm": lambda: dense_then(layers.BatchNormalization()),
    "pooled": lambda: squeezenet(Pool()),
    "pooled, linear": lambda: squeezenet(Pool(), activation=None),
    "flattened": lambda: squeezenet(layers.Flatten(), activation=None),
    "dropout": lambda: dense_then(layers.Dropout(0.5)),
}


def run(model, output):
    return to_numpy(keras.Model(model.inputs, output)([IMAGES]))


def parametrize(models):
    return pytest.mark.parametrize("make", models.values(), ids=models.keys())


def test_the_axis_of_a_softmax_is_that_of_the_classes():
    """Wherever it lies. PyTorch rounds differently along other axes."""
    model = mobilenet(
        layers.Permute((3, 1, 2)), layers.Softmax(axis=1), layers.Flatten()
    )
    found = run(model, ops.softmax(read_classifier(model).logits))
    np.testing.assert_allclose(found, to_numpy(model(IMAGES)), rtol=1e-6)


@pytest.mark.parametrize(
    "models, name",
    [(kind, name) for kind in (SOFTMAX, BETWEEN, LINEAR) for name in kind],
)
def test_classifiers_are_read(models, name):
    model = models[name]()
    classifier = read_classifier(model)
    if models is LINEAR:
        assert classifier.logits is model.output
    else:  # to the bit
        found = run(model, keras.activations.softmax(classifier.logits))
        np.testing.assert_array_equal(found, to_numpy(model(IMAGES)))
    assert classifier.classes == N
    assert tuple(classifier.logits.shape) == (None, N)
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


def test_the_twin_is_a_plain_layer_on_the_variables_of_the_other(tmp_path):
    model = dense("softmax", kernel_regularizer="l2")
    twin = keras.Model(model.input, read_classifier(model).logits)
    layer, other = model.get_layer("head"), twin.get_layer("head")
    assert layer.activation is keras.activations.softmax
    assert type(other) is layers.Dense and other is not layer
    assert [id(v) for v in twin.weights] == [id(v) for v in model.weights]
    (loss,), (expected,) = twin.losses, model.losses
    assert float(loss) == float(expected) > 0
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


def two_heads():
    inputs, x = features()
    x = Pool()(x)
    x = layers.Add(name="both")([layers.Dense(N)(x), layers.Dense(N)(x)])
    return keras.Model(inputs, layers.Softmax()(x))


def no_kernel():
    inputs = keras.Input((N,), name="given")
    return keras.Model(inputs, layers.Softmax()(inputs))


HIDDEN_LOGITS = {
    "sigmoid": (lambda: dense("sigmoid"), "activation sigmoid"),
    "log": (
        lambda: dense_then(layers.Activation("log_softmax")),
        "log_softmax",
    ),
    "halved": (lambda: dense(lambda x: x / 2), "activation <lambda>"),
    "over the batch": (lambda: dense(lambda x: ops.softmax(x, 0)), "<lambda>"),
    "operation": (lambda: dense_then(ops.sigmoid), r"sigmoid\(x\)"),
    "twice": (
        lambda: dense_then(layers.Softmax(), layers.Softmax()),
        "a second softmax",
    ),
    "of maps, too": (
        lambda: squeezenet(layers.Softmax(), Pool(), layers.Softmax()),
        "a second softmax",
    ),
    "batch": (lambda: dense_then(layers.Softmax(axis=0)), "over axis 0"),
    "batch, fused": (lambda: dense(layers.Softmax(axis=0)), "over axis 0"),
    "map": (lambda: squeezenet(layers.Softmax()), "over axis -1 of .*6, 6, 7"),
    "positions": (
        lambda: squeezenet(layers.Flatten(), layers.Softmax()),
        "'head' before the softmax over 252",
    ),
    "mean of softmaxes": (
        lambda: squeezenet(layers.Softmax(), Pool()),
        "'global_average_pooling2d.*' after the softmax",
    ),
    "smoothed": (
        lambda: dense_then(layers.Softmax(), layers.Rescaling(0.9, name="s")),
        "'s' after the softmax",
    ),
    "two heads": (two_heads, "'both' before the softmax"),
    "no kernel": (no_kernel, "'given' before the softmax"),
}


@pytest.mark.parametrize("name", HIDDEN_LOGITS)
def test_predictions_without_logits_are_never_replaced(name):
    """The layer in the way is named."""
    make, found = HIDDEN_LOGITS[name]
    with pytest.raises(ValueError, match=f"leave this one out.*{found}"):
        read_classifier(make())


LIKE_LOGITS = {
    "temperature": lambda: dense_then(layers.Rescaling(0.5, name="after")),
    "dropout": lambda: dense_then(layers.Dropout(0.5, name="after")),
    "norm": lambda: dense_then(layers.BatchNormalization(name="after")),
    "pooled": lambda: squeezenet(Pool(name="after")),
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
