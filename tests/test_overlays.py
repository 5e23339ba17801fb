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


@pytest.mark.parametrize(
    "prepare",
    [
        lambda x: x.astype("uint8"),
        lambda x: x / 255 * np.float32(1 + 1e-6),
        lambda x: x / 127.5 - 1,
        lambda x: keras.ops.convert_to_tensor(x, "bfloat16"),
        lambda x: x.astype("float64") * 1.7 - 300,
        lambda x: (x - 120) / 57,
        # Ranges that are near those of ImageNet.
        lambda x: x / 255 * 18.5 - 9,
        lambda x: x / 255 * 280 - 130,
    ],
    ids=["bytes", "0..1", "-1..1", "0..255", "any", "standard", "9", "130"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_preparations_of_networks_are_undone(prepare, channels):
    images = noise(channels=channels)
    shown = displayable(prepare(images.astype("float32")))
    np.testing.assert_array_equal(shown, np.broadcast_to(images, shown.shape))


@pytest.mark.parametrize("module", ["resnet50", "densenet"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_networks_of_imagenet_show_true_colours(module, data_format):
    """Images with little contrast are not stretched from black to white."""
    preprocess = getattr(keras.applications, module).preprocess_input
    for images in (noise(), noise() // 4 + 20):
        given = images.astype("float32")
        if data_format == "channels_first":
            given = given.transpose(0, 3, 1, 2)
        shown = displayable(preprocess(given.copy(), data_format), data_format)
        np.testing.assert_array_equal(shown, images)


def test_the_whole_set_decides_how_it_was_prepared():
    """A dark image among others stays dark."""
    images = noise().astype("float32")
    images[0] /= 255
    assert displayable(images)[0].max() == 1


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


@pytest.mark.parametrize("value", [0.0, 0.3, np.nan])
def test_what_is_the_same_everywhere_leaves_the_image_gray(value):
    gray = np.broadcast_to(noise(channels=1), (2, 11, 7, 3))
    values = np.full((2, 11, 7), value)
    wanted = np.rint(gray * overlays.DIMMED)
    for images in (gray, noise()):
        shown = mask_overlay(images, values).astype("int64")
        assert np.ptp(shown, axis=-1).max() == 0
    np.testing.assert_allclose(mask_overlay(gray, values), wanted, atol=1)
    if value != 0.3:
        np.testing.assert_array_equal(
            attribution_overlay(gray, values), mask_overlay(gray, values)
        )


@pytest.mark.parametrize("brightness", [0, 100, 255])
def test_for_is_orange_and_against_is_blue_on_any_image(brightness):
    images = np.full((2, 11, 7, 3), brightness, "uint8")
    attribution = np.zeros((2, 11, 7))
    attribution[0, 5, 3], attribution[0, 8, 1] = 0.02, -0.02
    attribution[0, 7, 2] = 0.01
    attribution[1, 4, 4] = -3.0
    shown = attribution_overlay(images, attribution).astype("int64")
    red, _, blue = np.moveaxis(shown, -1, 0)
    assert red[0, 5, 3] - blue[0, 5, 3] > 150
    assert blue[0, 8, 1] - red[0, 8, 1] > 150
    assert 0 < red[0, 7, 2] - blue[0, 7, 2] < 100  # weak evidence is pale
    np.testing.assert_array_equal(shown[0, 8, 1], shown[1, 4, 4])
    assert (red == blue)[attribution == 0].all()


@pytest.mark.parametrize("overlay", [mask_overlay, attribution_overlay])
def test_only_bytes_are_drawn_over(overlay):
    with pytest.raises(ValueError, match="bytes.* float64"):
        overlay(noise() / 255, np.zeros((2, 11, 7)))
