"""Overlays show the image, and evidence where it is."""

import keras
import numpy as np
import pytest

from keras_warn.explanation import overlays
from keras_warn.explanation.overlays import attribution_overlay
from keras_warn.explanation.overlays import displayable
from keras_warn.explanation.overlays import mask_overlay


def noise(b=2, channels=3):
    """Bytes, with black and white among them in every image."""
    images = np.random.default_rng(0).integers(
        0, 256, (b, 11, 7, channels), "uint8"
    )
    images[:, 0, 0], images[:, 0, 1] = 0, 255
    return images


def test_bytes_stay_as_they_are():
    images = noise()
    np.testing.assert_array_equal(displayable(images), images)


@pytest.mark.parametrize(
    "prepare",
    [
        lambda x: x / 255,
        lambda x: x / 127.5 - 1,
        lambda x: x,
        lambda x: x * 1.7 - 300,
        lambda x: (x - 120) / 57,
        lambda x: (x / 255).astype("float64"),
        lambda x: x / 255 * np.float32(1 + 1e-6),
    ],
    ids=["0..1", "-1..1", "0..255", "any", "standard", "float64", "rounding"],
)
def test_preparations_of_networks_are_undone(prepare):
    images = noise()
    prepared = prepare(images.astype("float32"))
    np.testing.assert_array_equal(displayable(prepared), images)


@pytest.mark.parametrize("module", ["resnet50", "vgg16", "densenet"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_networks_of_imagenet_show_true_colours(module, data_format):
    images = noise()
    given = images.astype("float32")
    if data_format == "channels_first":
        given = given.transpose(0, 3, 1, 2)
    prepared = getattr(keras.applications, module).preprocess_input(
        given.copy(), data_format
    )
    np.testing.assert_array_equal(displayable(prepared, data_format), images)


@pytest.mark.parametrize("module", ["resnet50", "densenet"])
def test_true_colours_of_an_image_with_little_contrast(module):
    """It is not stretched from black to white."""
    images = noise() // 4 + 20
    prepared = getattr(keras.applications, module).preprocess_input(
        images.astype("float32")
    )
    np.testing.assert_array_equal(displayable(prepared), images)


@pytest.mark.parametrize("low, high", [(-9, 9.5), (-130, 150), (-100, 200)])
def test_other_ranges_are_not_taken_for_those_of_imagenet(low, high):
    images = noise()
    prepared = images.astype("float32") / 255 * (high - low) + low
    np.testing.assert_array_equal(displayable(prepared), images)


def test_the_whole_set_decides_how_it_was_prepared():
    """A dark image among others stays dark."""
    images = noise().astype("float32")
    images[0] /= 255
    assert displayable(images)[0].max() == 1


def test_gray_images_have_three_equal_channels():
    images = noise(channels=1)
    np.testing.assert_array_equal(
        displayable(images), np.repeat(images, 3, axis=-1)
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_tensors(dtype):
    image = keras.ops.ones((1, 2, 2, 1), dtype)
    assert (displayable(image) == 255).all()


def test_images_that_are_the_same_everywhere():
    for value, shown in ((0, 0), (1, 255), (-1, 0), (255, 255), (-7, 0)):
        image = np.full((1, 5, 3, 1), value, "float32")
        assert (displayable(image) == shown).all()


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((2, 11, 7)), r"\(2, 11, 7\), channels_last"),
        (np.zeros((2, 11, 7, 2)), r"1 or 3 channels.*\(2, 11, 7, 2\)"),
        (np.zeros((0, 11, 7, 3)), r"\(0, 11, 7, 3\)"),
    ],
)
def test_errors_of_images(images, message):
    with pytest.raises(ValueError, match=f"`images` .*{message}"):
        displayable(images, "channels_last")


def test_masks_light_their_strongest_point():
    """However weak or strong the mask is as a whole."""
    masks = np.zeros((2, 11, 7))
    masks[0, 5, 3] = 1e-6
    masks[1, 2, 6] = 1e6
    gray = np.full((2, 11, 7, 3), 100, "uint8")
    shown = mask_overlay(gray, masks).astype("int64")
    light = np.rint(np.array(overlays.LIGHT) * 255)
    np.testing.assert_allclose(
        shown[0, 5, 3], np.minimum(100 + light, 255), atol=1
    )
    np.testing.assert_array_equal(shown[0, 5, 3], shown[1, 2, 6])
    elsewhere = masks[0] == 0
    assert (shown[0][elsewhere] == round(100 * overlays.DIMMED)).all()


def test_masks_are_drawn_over_gray():
    shown = mask_overlay(noise(), np.zeros((2, 11, 7)))
    assert (shown == shown[..., :1]).all()


@pytest.mark.parametrize("value", [0.0, 0.3, np.nan])
def test_a_flat_mask_points_nowhere(value):
    images = np.full((1, 11, 7, 3), 255, "uint8")
    shown = mask_overlay(images, np.full((1, 11, 7), value))
    assert (shown == round(255 * overlays.DIMMED)).all()


@pytest.mark.parametrize("brightness", [0, 100, 255])
def test_for_is_orange_and_against_is_blue_on_any_image(brightness):
    images = np.full((2, 11, 7, 3), brightness, "uint8")
    attribution = np.zeros((2, 11, 7))
    attribution[0, 5, 3], attribution[0, 8, 1] = 0.02, -0.02
    attribution[1, 4, 4] = -3.0
    shown = attribution_overlay(images, attribution).astype("int64")
    red, _, blue = np.moveaxis(shown, -1, 0)
    assert red[0, 5, 3] - blue[0, 5, 3] > 150
    assert blue[0, 8, 1] - red[0, 8, 1] > 150
    np.testing.assert_array_equal(shown[0, 8, 1], shown[1, 4, 4])
    assert (red == blue)[attribution == 0].all()


def test_weak_evidence_is_pale():
    attribution = np.linspace(0, 1, 7)[None, None, :]
    images = np.full((1, 1, 7, 3), 100, "uint8")
    red, _, blue = np.moveaxis(
        attribution_overlay(images, attribution).astype("int64"), -1, 0
    )
    assert (np.diff((red - blue)[0, 0]) > 0).all()


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_no_evidence_leaves_the_image_gray(value):
    shown = attribution_overlay(noise(), np.full((2, 11, 7), value))
    np.testing.assert_array_equal(
        shown, mask_overlay(noise(), np.zeros((2, 11, 7)))
    )


@pytest.mark.parametrize("overlay", [mask_overlay, attribution_overlay])
def test_only_bytes_are_drawn_over(overlay):
    with pytest.raises(ValueError, match="bytes.* float64"):
        overlay(noise() / 255, np.zeros((2, 11, 7)))
