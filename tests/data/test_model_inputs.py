"""What models take: bytes or prepared numbers."""

import keras
import numpy as np
import pytest
from support import without_weights

from keras_warn.data.model_inputs import PREPROCESSING
from keras_warn.data.model_inputs import check_preprocessing
from keras_warn.data.model_inputs import default_preprocessing
from keras_warn.data.model_inputs import preprocess


def noise(height=23, width=31, channels=3):
    random = np.random.default_rng(0)
    return random.integers(0, 256, (height, width, channels), "uint8")


def test_preprocessing():
    images = noise()[None]
    np.testing.assert_array_equal(preprocess(images, "none"), images)
    np.testing.assert_allclose(preprocess(images, "rescale"), images / 255.0)
    np.testing.assert_allclose(
        preprocess(images, "mobilenet_v2"), images / 127.5 - 1.0, atol=1e-6
    )
    # The means of ImageNet, and blue first.
    np.testing.assert_allclose(
        preprocess(images, "resnet")[..., 0],
        images[..., 2] - 103.939,
        atol=1e-4,
    )
    assert images.dtype == np.uint8
    for name in PREPROCESSING:
        found = preprocess(images, name)
        assert found.dtype == np.float32 and found.shape == images.shape


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_preprocessing_whatever_keras_is_set_to(data_format):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(data_format)
    try:
        found = preprocess(noise()[None], "resnet")
    finally:
        keras.config.set_image_data_format(before)
    np.testing.assert_allclose(
        found[0, ..., 0], noise()[..., 2] - 103.939, atol=1e-4
    )


def test_errors_of_preprocessing():
    with pytest.raises(ValueError, match="preprocessing='resnet_v3'"):
        preprocess(noise()[None], "resnet_v3")
    with pytest.raises(ValueError, match="'resnet' is made for 3"):
        preprocess(noise(channels=1)[None], "resnet")


def model_with(*first):
    inputs = x = keras.Input((24, 24, 3))
    for layer in first:
        x = layer(x)
    return keras.Model(inputs, keras.layers.Conv2D(5, 3)(x), name="tiny")


@pytest.mark.parametrize(
    "first",
    [
        [keras.layers.Rescaling(1 / 255)],
        [keras.layers.Rescaling(1 / 127.5, offset=-1)],
        [keras.layers.Normalization(mean=[120.0] * 3, variance=[3000.0] * 3)],
        [keras.layers.RandomFlip(), keras.layers.Rescaling(1 / 255)],
        [keras.layers.Resizing(12, 12), keras.layers.Rescaling(1 / 255)],
    ],
)
def test_models_that_say_that_they_take_bytes(first):
    assert default_preprocessing(model_with(*first)) == "none"


def test_efficientnet_says_that_it_takes_bytes():
    with without_weights():
        model = keras.applications.EfficientNetB0(
            weights=None, include_top=False, input_shape=(32, 32, 3)
        )
        assert default_preprocessing(model) == "none"


def test_images_are_scaled_once():
    model = model_with(keras.layers.Rescaling(1 / 255))
    for name in ("none", "efficientnet"):
        check_preprocessing(name, 3, model)
    for name in ("rescale", "mobilenet_v2"):
        check_preprocessing(name, 3)
        with pytest.raises(ValueError, match=f"must be 'none' .*'{name}'"):
            check_preprocessing(name, 3, model)


@pytest.mark.parametrize(
    "first",
    [
        [],
        [
            keras.layers.Conv2D(3, 1, name="first"),
            keras.layers.Rescaling(1 / 255),
        ],
        # Made for numbers in [0, 1].
        [keras.layers.Rescaling(2.0, offset=-1)],
        [keras.layers.Normalization(mean=[0.45] * 3, variance=[0.05] * 3)],
        # Not adapted to anything.
        [keras.layers.Normalization()],
    ],
)
def test_others_are_not_guessed(first):
    with pytest.raises(ValueError, match="'tiny' does not say how"):
        default_preprocessing(model_with(*first))


def test_two_readers_that_disagree():
    inputs = keras.Input((24, 24, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    model = keras.Model(inputs, keras.layers.Concatenate()([x, inputs]))
    with pytest.raises(ValueError, match="does not say how"):
        default_preprocessing(model)
