"""Classifiers are found, and their logits recovered, whatever their form."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from support import to_numpy

from keras_warn.classifier import read_classifier

N = 7  # classes
C = 5  # channels


def images():
    return np.random.default_rng(3).normal(size=(4, 8, 8, 3))


def features():
    """A small network: its input and its last feature map."""
    inputs = keras.Input((8, 8, 3))
    return inputs, layers.Conv2D(C, 3, activation="relu")(inputs)


def dense(activation, **options):
    inputs, x = features()
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(N, activation=activation, name="head", **options)(x)
    return keras.Model(inputs, x)


def dense_then(*following):
    inputs, x = features()
    x = layers.Dense(N, name="head")(layers.GlobalMaxPooling2D()(x))
    for layer in following:
        x = layer(x)
    return keras.Model(inputs, x)


def mobilenet(*following, activation=None):
    """A 1x1 convolution of pooled features."""
    inputs, x = features()
    x = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Conv2D(N, 1, activation=activation, name="head")(x)
    for layer in following:
        x = layer(x)
    return keras.Model(inputs, x)


def squeezenet(*following, activation="relu"):
    """A 1x1 convolution of features that are pooled later."""
    inputs, x = features()
    x = layers.Dropout(0.5)(x)
    x = layers.Conv2D(N, 1, activation=activation, name="head")(x)
    for layer in following:
        x = layer(x)
    return keras.Model(inputs, x)


def ops_softmax():
    inputs, x = features()
    x = layers.Dense(N, name="head")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, ops.softmax(x))


SOFTMAX = {
    "fused": lambda: dense("softmax"),
    "fused, no bias": lambda: dense("softmax", use_bias=False),
    "activation": lambda: dense_then(layers.Activation("softmax")),
    "softmax layer": lambda: dense_then(layers.Softmax()),
    "operation": ops_softmax,
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
    "relu layer": lambda: dense_then(layers.ReLU()),
    "norm": lambda: dense_then(layers.BatchNormalization()),
    "pooled": lambda: squeezenet(layers.GlobalAveragePooling2D()),
    "pooled, linear": lambda: squeezenet(
        layers.GlobalAveragePooling2D(), activation=None
    ),
    "flattened": lambda: squeezenet(layers.Flatten(), activation=None),
    "dropout": lambda: dense_then(layers.Dropout(0.5)),
}


def run(model, output, x):
    return to_numpy(keras.Model(model.inputs, output)([x]))


def parametrize(models):
    return pytest.mark.parametrize("make", models.values(), ids=models.keys())


@parametrize(SOFTMAX)
def test_softmax_of_the_logits_is_the_output(make):
    """Bit for bit."""
    model = make()
    classifier = read_classifier(model)
    assert classifier.classes == N
    assert tuple(classifier.logits.shape) == (None, N)
    probabilities = keras.activations.softmax(classifier.logits)
    x = images()
    found = run(model, probabilities, x)
    np.testing.assert_array_equal(found, to_numpy(model(x)))


@parametrize(LINEAR)
def test_linear_outputs_are_the_logits(make):
    model = make()
    assert read_classifier(model).logits is model.output


@parametrize({**SOFTMAX, **LINEAR})
def test_features_are_what_the_kernel_reads(make):
    """Pooled, and before dropout, which here is active."""
    model = make()
    classifier = read_classifier(model)
    assert tuple(classifier.features.shape) == (None, C)
    x = images()
    pooled = keras.Model(model.input, classifier.features)
    np.testing.assert_array_equal(
        to_numpy(pooled(x, training=True)), to_numpy(pooled(x, training=False))
    )


@parametrize(
    {k: v for k, v in {**SOFTMAX, **LINEAR}.items() if "pooled" not in k}
)
def test_logits_are_linear_in_the_features(make):
    model = make()
    classifier = read_classifier(model)
    x = images()
    kernel = to_numpy(model.get_layer("head").kernel).reshape(C, N)
    np.testing.assert_allclose(
        run(model, classifier.features, x) @ kernel,
        run(model, classifier.logits, x),
        atol=1e-5,
    )


@parametrize(NOT_CLASSIFIERS)
def test_models_that_end_in_features_have_no_classifier(make):
    assert read_classifier(make()) is None


def test_unfused_classifiers_keep_their_layers():
    model = dense_then(layers.Softmax())
    assert read_classifier(model).logits is model.get_layer("head").output


@pytest.fixture
def fused():
    """A model with fused softmax, and one of its logits."""
    model = dense("softmax")
    twin = keras.Model(model.input, read_classifier(model).logits)
    return model, twin


def test_the_model_itself_is_left_as_it_is(fused):
    model, _ = fused
    assert model.get_layer("head").activation is keras.activations.softmax
    assert len(model.weights) == 4


def test_the_twin_has_the_same_name_and_variables(fused):
    model, twin = fused
    layer, other = model.get_layer("head"), twin.get_layer("head")
    assert type(other) is layers.Dense
    assert other is not layer
    assert other.activation is keras.activations.linear
    assert [id(v) for v in other.weights] == [id(v) for v in layer.weights]
    assert twin.count_params() == model.count_params()


@pytest.mark.parametrize("trained", [0, 1])
def test_training_either_trains_both(fused, trained):
    before = to_numpy(fused[0].get_layer("head").kernel).copy()
    fused[trained].compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=trained == 1),
    )
    fused[trained].fit(images(), np.arange(4), verbose=0)
    model, twin = fused
    kernels = [to_numpy(m.get_layer("head").kernel) for m in fused]
    assert np.all(kernels[0] == kernels[1])
    assert np.any(kernels[0] != before)
    np.testing.assert_allclose(
        to_numpy(ops.softmax(twin(images()))), to_numpy(model(images()))
    )


def test_weights_loaded_into_the_model_are_in_the_twin(fused):
    model, twin = fused
    model.set_weights([w + 1 for w in model.get_weights()])
    np.testing.assert_array_equal(
        to_numpy(ops.softmax(twin(images()))), to_numpy(model(images()))
    )


def test_the_twin_is_saved_as_a_plain_layer(fused, tmp_path):
    model, twin = fused
    twin.save(tmp_path / "twin.keras")
    twin.save_weights(tmp_path / "twin.weights.h5")
    loaded = keras.saving.load_model(tmp_path / "twin.keras")
    assert loaded.get_layer("head").get_config()["activation"] == "linear"
    expected = to_numpy(twin(images()))
    np.testing.assert_array_equal(to_numpy(loaded(images())), expected)
    model.set_weights([0 * w for w in model.get_weights()])
    twin.load_weights(tmp_path / "twin.weights.h5")
    np.testing.assert_array_equal(to_numpy(twin(images())), expected)


def test_regularizers_of_the_kernel_count_once():
    model = dense("softmax", kernel_regularizer="l2")
    twin = keras.Model(model.input, read_classifier(model).logits)
    (loss,), (expected,) = twin.losses, model.losses
    assert float(loss) == float(expected) > 0


@pytest.mark.parametrize(
    "activation", ["sigmoid", "log_softmax", lambda x: x / 2]
)
@pytest.mark.parametrize("fused", [True, False])
def test_other_predictions_are_refused(activation, fused):
    if fused:
        model = dense(activation)
    else:
        model = dense_then(layers.Activation(activation))
    with pytest.raises(ValueError, match="softmax, once, or linear"):
        read_classifier(model)


@pytest.mark.parametrize(
    "make",
    [
        lambda: dense_then(layers.Softmax(), layers.Softmax()),
        lambda: squeezenet(
            layers.Softmax(), layers.GlobalAveragePooling2D(), layers.Softmax()
        ),
    ],
)
def test_two_softmaxes_are_refused(make):
    with pytest.raises(ValueError, match="softmax, once"):
        read_classifier(make())


def test_quantized_classifiers_are_refused():
    model = dense(None)
    model.quantize("int8")
    with pytest.raises(ValueError, match="quantize the result.*'head'.*int8"):
        read_classifier(model)


def test_lora_is_refused():
    model = dense(None)
    model.get_layer("head").enable_lora(2)
    with pytest.raises(ValueError, match="without LoRA.*'head'.*lora_rank=2"):
        read_classifier(model)
