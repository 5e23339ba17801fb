"""What models take: bytes or prepared numbers."""

import keras
import numpy as np
import pytest

from keras_warn.data.model_inputs import PREPROCESSING
from keras_warn.data.model_inputs import check_preprocessing
from keras_warn.data.model_inputs import default_preprocessing
from keras_warn.data.model_inputs import preprocess


def test_preprocessing():
    """Whatever data format Keras is set to."""
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), "uint8")
    expected = {
        "none": images,
        "rescale": images / 255.0,
        "mobilenet_v2": images / 127.5 - 1.0,
        # The means of ImageNet, and blue first.
        "resnet": images[..., ::-1] - [103.939, 116.779, 123.68],
    }
    keras.config.set_image_data_format("channels_first")
    try:
        found = {name: preprocess(images, name) for name in PREPROCESSING}
    finally:
        keras.config.set_image_data_format("channels_last")
    for name, array in found.items():
        assert array.dtype == np.float32 and array.shape == images.shape
        if name in expected:
            np.testing.assert_allclose(array, expected[name], atol=1e-4)
    assert images.dtype == np.uint8


def model_with(*first):
    inputs = x = keras.Input((24, 24, 3))
    for layer in first:
        x = layer(x)
    return keras.Model(inputs, keras.layers.Conv2D(5, 3)(x), name="tiny")


def normalizing(mean):
    return keras.layers.Normalization(mean=[mean] * 3, variance=[1.0] * 3)


@pytest.mark.parametrize(
    "first, bytes_taken",
    [
        ([keras.layers.Rescaling(1 / 127.5, offset=-1)], True),
        ([normalizing(120.0)], True),
        ([keras.layers.RandomFlip(), keras.layers.Rescaling(1 / 255)], True),
        ([keras.layers.Resizing(9, 9), keras.layers.Rescaling(1 / 255)], True),
        ([], False),
        ([keras.layers.Conv2D(3, 1), keras.layers.Rescaling(1 / 255)], False),
        # Made for numbers in [0, 1].
        ([keras.layers.Rescaling(2.0, offset=-1)], False),
        ([normalizing(0.45)], False),
        # Not adapted to anything.
        ([keras.layers.Normalization()], False),
    ],
)
def test_models_that_say_how_they_take_images(first, bytes_taken):
    model = model_with(*first)
    if bytes_taken:
        assert default_preprocessing(model) == "none"
    else:
        with pytest.raises(ValueError, match="'tiny' does not say how"):
            default_preprocessing(model)


def test_two_readers_that_disagree():
    inputs = keras.Input((24, 24, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    model = keras.Model(inputs, keras.layers.Concatenate()([x, inputs]))
    with pytest.raises(ValueError, match="does not say how"):
        default_preprocessing(model)


@pytest.mark.parametrize(
    "name, channels, message",
    [
        ("none", 3, None),
        ("efficientnet", 3, None),
        # Images are scaled once.
        ("rescale", 3, "must be 'none' .*'rescale'"),
        ("mobilenet_v2", 3, "must be 'none' .*'mobilenet_v2'"),
        ("resnet", 1, "'resnet' is made for 3"),
        ("resnet_v3", 3, "preprocessing='resnet_v3'"),
    ],
)
def test_what_does_not_fit_a_model(name, channels, message):
    model = model_with(keras.layers.Rescaling(1 / 255))
    if message is None:
        check_preprocessing(name, channels, model)
    else:
        with pytest.raises(ValueError, match=message):
            check_preprocessing(name, channels, model)
