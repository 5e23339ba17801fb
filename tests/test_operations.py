"""Operations, counted by hand."""

import keras
import pytest
from keras import layers
from keras import ops
from support import needs_tensorflow

import keras_warn
from keras_warn.operations import operations


class Overlap(layers.Layer):
    """An einsum that is one to every backend."""

    def call(self, masks):
        return ops.einsum("bhwi,bhwj->bij", masks, masks)


@pytest.mark.parametrize(
    "layer, shape, expected",
    [
        (layers.Conv2D(5, 3, use_bias=False), (7, 11, 3), 2 * 45 * 27 * 5),
        (layers.DepthwiseConv2D(3, use_bias=False), (7, 11, 3), 2 * 45 * 9 * 3),
        (
            layers.Conv2D(6, 3, groups=3, strides=2, use_bias=False),
            (7, 11, 9),
            2 * 15 * 9 * 3 * 6,
        ),
        (layers.Dense(5, use_bias=False), (7,), 2 * 35),
        (keras_warn.OutputHeads(5), (3, 7), 2 * 3 * 7 * 5),
        (Overlap(), (5, 7, 3), 2 * 35 * 3 * 3),
    ],
)
def test_operations_of_one_layer(layer, shape, expected):
    inputs = keras.Input(shape)
    counts = operations(keras.Model(inputs, layer(inputs)))
    assert sum(counts.values()) == expected


@needs_tensorflow  # which alone counts on graphs that call functions
@pytest.mark.parametrize("groups", [1, 3])
def test_convolutions_in_functions(groups):
    """Two in one, of other shapes; in one that it calls; constant kernels."""
    import tensorflow as tf

    kernel = tf.ones((3, 3, 9 // groups, 6))

    def inner(images, kernel):
        return tf.nn.conv2d(images, kernel, 2, "VALID")

    def outer(images):
        same = tf.nn.conv2d(images, kernel, 1, "SAME")
        constant = tf.constant(1.0, shape=(1, 1, 6, 5))
        first = tf.nn.conv2d(same, constant, 1, "SAME")
        return first, tf.function(inner)(images, kernel)

    class Both(layers.Layer):
        def call(self, images):
            # Anew, for this number of images.
            return tf.function(outer)(images)

    inputs = keras.Input((7, 11, 9))
    counts = operations(keras.Model(inputs, Both()(inputs)))
    products = 77 * 9 * (9 // groups) * 6 + 77 * 6 * 5
    products += 15 * 9 * (9 // groups) * 6
    assert counts == {"Conv2D": 2 * products}


def open_model():
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, layers.Conv2D(5, 3, use_bias=False)(inputs))


def test_of_a_size_that_the_model_leaves_open():
    found = operations(open_model(), (7, 11, 3))
    assert sum(found.values()) == 2 * 45 * 27 * 5


def test_an_unknown_size_is_not_counted_as_nothing():
    with pytest.raises(ValueError, match=r"of shape \(None, None, 3\)"):
        operations(open_model())


@pytest.mark.parametrize("structure", [dict, list])
def test_of_several_inputs(structure):
    inputs = {
        "one": keras.Input((7,), name="one"),
        "two": keras.Input((None, 1), name="two"),
    }
    outputs = layers.Concatenate()(
        [
            layers.Dense(5, use_bias=False)(inputs["one"]),
            layers.GlobalAveragePooling1D()(
                layers.Conv1D(3, 1, use_bias=False)(inputs["two"])
            ),
        ]
    )
    shapes = {"one": (7,), "two": (11, 1)}
    if structure is list:
        inputs, shapes = list(inputs.values()), list(shapes.values())
    found = operations(keras.Model(inputs, outputs), shapes)
    products = 2 * 35 + 2 * 33
    # The mean over 11 positions counts, where it is counted, at most twice.
    assert products <= sum(found.values()) <= products + 2 * 3 * 12


def test_nothing_is_left_behind():
    """Neither values nor the state of layers change by counting."""
    inputs = keras.Input((7, 7, 3))
    normalization = layers.BatchNormalization()
    model = keras.Model(inputs, normalization(inputs))
    before = [ops.convert_to_numpy(v) for v in model.variables]
    operations(model)
    after = [ops.convert_to_numpy(v) for v in model.variables]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
