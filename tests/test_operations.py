"""Operations, counted by hand."""

import keras
import pytest
from keras import layers
from keras import ops

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


def test_of_a_size_that_the_model_leaves_open():
    """An unknown size is not counted as nothing."""
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layers.Conv2D(5, 3, use_bias=False)(inputs))
    assert sum(operations(model, (7, 11, 3)).values()) == 2 * 45 * 27 * 5
    with pytest.raises(ValueError, match=r"of shape \(None, None, 3\)"):
        operations(model)


def test_of_several_inputs():
    inputs = {
        "one": keras.Input((7,), name="one"),
        "two": keras.Input((None, 1), name="two"),
    }
    dense, convolution = (
        layers.Dense(5, use_bias=False),
        layers.Conv1D(3, 1, use_bias=False),
    )
    outputs = [dense(inputs["one"]), convolution(inputs["two"])]
    model = keras.Model(inputs, outputs)
    found = operations(model, {"one": (7,), "two": (11, 1)})
    assert sum(found.values()) == 2 * 35 + 2 * 33


def test_nothing_is_left_behind():
    """Neither values nor the state of layers change by counting."""
    inputs = keras.Input((7, 7, 3))
    normalization = layers.BatchNormalization()
    model = keras.Model(inputs, normalization(inputs))
    before = [ops.convert_to_numpy(v) for v in model.variables]
    operations(model)
    after = [ops.convert_to_numpy(v) for v in model.variables]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
