"""What a network sees of an image: which part, and how."""

import numpy as np
import pytest
from PIL import Image

from keras_warn.data import transforms


def slope(height, width):
    """An image that tells where its pixels are: rows red, columns green."""
    pixels = np.zeros((height, width, 3), "uint8")
    pixels[..., 0] = np.linspace(0, 255, height)[:, None]
    pixels[..., 1] = np.linspace(0, 255, width)
    return pixels


def resized(pixels, size):
    image = Image.fromarray(pixels)
    return np.array(image.resize(size[::-1], Image.Resampling.BILINEAR))


@pytest.mark.parametrize("height, width", [(97, 150), (150, 97), (64, 64)])
def test_centre_crop_resizes_then_crops(height, width):
    """As the paper's protocol says it, in one go."""
    pixels = slope(height, width)
    found = transforms.CenterCrop(size=28, resize_shorter_edge=32)(pixels)
    scale = 32 / min(height, width)
    whole = resized(pixels, (round(height * scale), round(width * scale)))
    top, left = (whole.shape[0] - 28) // 2, (whole.shape[1] - 28) // 2
    expected = whole[top : top + 28, left : left + 28]
    # Half a pixel of the long side lies between the two.
    assert np.abs(found.astype(int) - expected).max() <= 4
    assert np.abs(found.astype(int) - expected).mean() < 1.5


def test_centre_crop_of_pixels_that_stay():
    pixels = slope(32, 32)
    found = transforms.CenterCrop(size=28, resize_shorter_edge=32)(pixels)
    np.testing.assert_array_equal(found, pixels[2:30, 2:30])


def corners(view, height, width, times):
    """Where random crops begin, in rows and columns; and if mirrored."""
    pixels = np.zeros((height, width, 3), "uint8")
    pixels[..., 0] = np.arange(height)[:, None]
    pixels[..., 1] = np.arange(width)
    random = np.random.default_rng(0)
    for _ in range(times):
        seen = view(pixels, random).astype(int)
        assert seen.shape == (view.size, view.size, 3)
        mirrored = seen[0, 0, 1] > seen[0, -1, 1]
        seen = seen[:, ::-1] if mirrored else seen
        yield seen[0, 0, 0], seen[0, 0, 1], mirrored, seen


def test_random_crop_is_any_square_of_the_image():
    """Its shorter edge is as it is here: pixels stay, but for broken ones."""
    view = transforms.RandomCrop(size=24, resize_shorter_edge=32)
    tops, lefts, mirrored, seen = zip(*corners(view, 32, 57, 400), strict=True)
    for top, left, pixels in zip(tops, lefts, seen, strict=True):
        rows, columns = pixels[:, 0, 0], pixels[0, :, 1]
        assert np.abs(rows - top - np.arange(24)).max() <= 1
        assert np.abs(columns - left - np.arange(24)).max() <= 1
    assert set(tops) == set(range(0, 32 - 24 + 1))
    assert set(lefts) == set(range(0, 57 - 24 + 1))
    # Half of them, give or take four standard deviations.
    assert abs(np.mean(mirrored) - 0.5) < 4 * 0.5 / 20


def test_random_crop_of_any_size():
    """Larger than the image, too."""
    for size in [(3, 5), (5, 3), (1, 40), (200, 31)]:
        view = transforms.RandomCrop(size=7, resize_shorter_edge=11)
        seen = view(slope(*size), np.random.default_rng(0))
        assert seen.shape == (7, 7, 3)


def test_random_crop_draws_what_it_is_given():
    view, pixels = transforms.RandomCrop(7, 11), slope(31, 43)
    first, same, other = (
        view(pixels, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def possible_shifts(pixels, pad):
    """All that a shifted crop may be, as bytes."""
    height, width = pixels.shape[:2]
    # Mirrored without its edge: 2 1 | 0 1 2 ... .
    rows = np.r_[pad:0:-1, 0:height, height - 2 : height - 2 - pad : -1]
    columns = np.r_[pad:0:-1, 0:width, width - 2 : width - 2 - pad : -1]
    wide = pixels[rows][:, columns]
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            moved = wide[top : top + height, left : left + width]
            yield moved.tobytes()
            yield moved[:, ::-1].tobytes()


def test_shifted_crop_is_each_of_its_possibilities():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), "uint8")
    possible = set(possible_shifts(pixels, pad=2))
    assert len(possible) == 5 * 5 * 2
    random, view = np.random.default_rng(0), transforms.PadAndCrop(pad=2)
    found = {view(pixels, random).tobytes() for _ in range(1000)}
    assert found == possible


def test_shifted_crop_leaves_the_image_as_it_is():
    pixels = slope(9, 9)
    before = pixels.copy()
    for seed in range(9):
        transforms.PadAndCrop(4)(pixels, np.random.default_rng(seed))
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("crop", [transforms.RandomCrop, transforms.CenterCrop])
@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"size": 0}, ValueError, "`size` must be a positive integer"),
        ({"size": 2.5}, TypeError, "`size` must be a positive integer"),
        (
            {"size": 224, "resize_shorter_edge": 223},
            ValueError,
            "`resize_shorter_edge` must be an integer of at least 224",
        ),
    ],
)
def test_wrong_crops(crop, arguments, error, message):
    with pytest.raises(error, match=message):
        crop(**arguments)


@pytest.mark.parametrize("pad, error", [(0, ValueError), (1.5, TypeError)])
def test_wrong_pad(pad, error):
    with pytest.raises(error, match="`pad` must be a positive integer"):
        transforms.PadAndCrop(pad)
