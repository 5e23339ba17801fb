"""Flattening: the same computation by the same layers, nothing nested."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from support import to_numpy

from keras_warn import graph

IMAGES = np.random.default_rng(2).uniform(0, 1, (3, 8, 8, 3))


def assert_same_outputs(flat, model, x=IMAGES):
    """To the bit."""
    np.testing.assert_array_equal(to_numpy(flat(x)), to_numpy(model(x)))


def base(name="base"):
    """A small residual network without classifier."""
    inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(5, 3, padding="same", name="conv")(inputs)
    y = layers.BatchNormalization(name="norm")(x)
    y = layers.ReLU(name="act")(y)
    # Operations of `keras.ops` are in the graph without being layers.
    return keras.Model(inputs, ops.add(x, y * 0.5), name=name)


def tutorial(inner):
    """The pattern of Keras's transfer-learning tutorials."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(2.0, offset=-1.0, name="rescale"),
            inner,
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(7, activation="softmax", name="head"),
        ],
        name="tutorial",
    )


def functional(inner, **arguments):
    inputs = keras.Input((8, 8, 3))
    x = inner(inputs, **arguments)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(7, name="head")(x), name="outer")


def twice_nested():
    inputs = keras.Input((8, 8, 3))
    x = base()(inputs)
    middle = keras.Model(inputs, layers.Conv2D(3, 1, name="middle_conv")(x))
    return tutorial(middle)


def is_flat(model):
    return not any(isinstance(o, keras.Model) for o in model.operations)


@pytest.mark.parametrize(
    "make",
    [lambda: tutorial(base()), lambda: functional(base()), twice_nested],
    ids=["sequential", "functional", "twice"],
)
def test_nested_models_are_expanded(make, tmp_path):
    model = make()
    flat = graph.flatten(model)
    assert is_flat(flat)
    assert flat.name == model.name
    assert flat.inputs[0] is model.inputs[0]
    assert_same_outputs(flat, model)
    flat.save(tmp_path / "flat.keras")
    assert_same_outputs(keras.saving.load_model(tmp_path / "flat.keras"), model)


def test_layers_are_the_same_objects_under_their_own_names():
    inner = base()
    model = tutorial(inner)
    flat = graph.flatten(model)
    assert flat.get_layer("norm") is inner.get_layer("norm")
    # Whatever is trained or loaded in one is so in the other.
    assert {id(w) for w in inner.weights} < {id(w) for w in flat.weights}
    names = [layer.name for layer in flat.layers][1:]
    assert names == ["rescale", "conv", "norm", "act", "pool", "head"]
    # What comes before the nested model is not called again.
    assert model.get_layer("rescale").output in graph.Graph(flat)


@pytest.mark.parametrize("training", [True, False])
def test_training_given_to_a_nested_call_is_handed_on(training):
    """By its effect: batch statistics when True, moving ones when False."""
    inner = base()
    model = functional(inner, training=training)
    statistics = inner.get_layer("norm").moving_mean
    expected = to_numpy(model(IMAGES))
    before = to_numpy(statistics)
    found = to_numpy(graph.flatten(model)(IMAGES))
    np.testing.assert_array_equal(found, expected)
    assert np.any(to_numpy(statistics) != before) == training


class Block(layers.Layer):
    """Takes no `training`, but has a layer inside that does."""

    def build(self, shape):
        self.norm = layers.BatchNormalization()
        self.norm.build(shape)

    def call(self, x):
        return self.norm(x)


def test_training_reaches_sublayers_of_layers_that_do_not_take_it():
    inputs = keras.Input((8, 8, 3))
    model = functional(keras.Model(inputs, Block()(inputs)), training=True)
    flat = graph.flatten(model)
    assert_same_outputs(flat, model)
    # And shapes can still be followed through it.
    shapes = graph.Graph(flat).shapes(size=8)
    assert shapes[id(flat.outputs[0])] == (None, 7)


def test_the_outer_argument_wins_as_it_does_in_keras():
    inputs = keras.Input((8, 8, 3))
    middle = keras.Model(inputs, base()(inputs, training=False))
    model = functional(middle, training=True)
    assert_same_outputs(graph.flatten(model), model)


def test_a_nested_model_called_twice_shares_its_layers():
    inner = base()
    left, right = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    model = keras.Model(
        [left, right], layers.Concatenate()([inner(left), inner(right)])
    )
    flat = graph.flatten(model)
    assert is_flat(flat)
    assert len(graph.Graph(flat).calls_of("conv")) == 2
    assert_same_outputs(flat, model, [IMAGES, IMAGES + 1])


def test_nested_models_convert_what_they_are_called_on():
    """Integers would be added without rounding outside of the model."""
    inner_input = keras.Input((8, 8, 3), dtype="int32")
    inner = keras.Model(inner_input, inner_input + 1)
    inputs = keras.Input((8, 8, 3))
    x = layers.Rescaling(10.0)(inputs)
    model = keras.Model(inputs, layers.Rescaling(1.0)(inner(x)))
    flat = graph.flatten(model)
    assert_same_outputs(flat, model)
    found = to_numpy(flat(IMAGES))
    np.testing.assert_array_equal(found, np.round(found))


def test_a_model_with_nothing_nested_is_returned_as_it_is():
    model = base()
    assert graph.flatten(model) is model
    flat = graph.flatten(tutorial(model))
    assert graph.flatten(flat) is flat


def test_a_sequential_model_keeps_its_tensors():
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(5, 3)])
    flat = graph.flatten(model)
    assert not isinstance(flat, keras.Sequential)
    assert flat.output is model.outputs[0]
    assert flat.input is model.inputs[0]


class Halved(keras.Model):
    def call(self, inputs, training=None):
        return super().call(inputs, training=training) / 2


def test_models_that_do_more_than_their_graph_stay_whole():
    inputs = keras.Input((8, 8, 3))
    inner = Halved(inputs, base()(inputs))
    model = functional(inner)
    flat = graph.flatten(model)
    assert inner in flat.layers
    assert_same_outputs(flat, model)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda x: None, TypeError, "`backbone` must be a `keras.Model`"),
        (lambda x: layers.Dense(3), TypeError, "must be a `keras.Model`"),
        (lambda x: keras.Sequential([layers.Dense(3)]), ValueError, "`keras.I"),
        (lambda x: Halved(x, x), ValueError, "graph.*the subclass Halved"),
        (lambda x: keras.Model(x, [x + 1, x]), ValueError, "one output.*2 out"),
        (
            lambda x: keras.Model(x, base("one")(x) + base("two")(x)),
            ValueError,
            "'act', 'conv', 'norm'",
        ),
    ],
)
def test_what_cannot_be_flattened(make, error, message):
    with pytest.raises(error, match=message):
        graph.flatten(make(keras.Input((8, 8, 3))))


def test_one_output_in_a_list():
    inputs = keras.Input((3,))
    flat = graph.flatten(keras.Model(inputs, [inputs + 1]))
    assert tuple(flat.output.shape) == (None, 3)


def test_shapes_of_images_of_any_size():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(5, 3, strides=2, padding="same")(inputs)
    network = graph.Graph(keras.Model(inputs, ops.relu(x)))
    shapes = network.shapes(size=22)
    assert shapes[id(inputs)] == (None, 22, 22, 3)
    assert shapes[id(network.model.outputs[0])] == (None, 11, 11, 5)
    assert x.shape == (None, None, None, 5)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_data_format_is_that_of_the_layers(data_format):
    inputs = keras.Input((8, 8, 8))
    x = layers.ZeroPadding2D(data_format=data_format)(inputs)
    x = layers.Conv2D(5, 3, data_format=data_format)(x)
    assert graph.Graph(keras.Model(inputs, x)).data_format == data_format


def test_dtype_policy_is_that_of_the_nearest_layer_before():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(5, 3, dtype="mixed_bfloat16")(inputs)
    assert graph.dtype_policy(ops.relu(x) * 2).name == "mixed_bfloat16"
    assert graph.dtype_policy(inputs).name == "float32"
