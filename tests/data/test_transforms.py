"""What a network sees of an image: which part, and how."""

import itertools

import numpy as np
import pytest
from PIL import Image

from keras_warn.data import transforms


def slope(height, width):
    """An image that tells where its pixels are: rows red, columns green."""
    pixels = np.zeros((height, width, 3), "uint8")
    pixels[..., 0] = np.arange(height)[:, None]
    pixels[..., 1] = np.arange(width)
    return pixels


@pytest.mark.parametrize("height, width", [(97, 150), (150, 97), (64, 64)])
def test_centre_crop_resizes_then_crops(height, width):
    """As the paper's protocol says it, in one go."""
    pixels = slope(height, width)
    found = transforms.CenterCrop(size=28, resize_shorter_edge=32)(pixels)
    scale = 32 / min(height, width)
    size = round(width * scale), round(height * scale)
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    whole = np.array(image)
    top, left = (whole.shape[0] - 28) // 2, (whole.shape[1] - 28) // 2
    expected = whole[top : top + 28, left : left + 28]
    # Half a pixel of the long side lies between the two.
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_random_crop_is_any_square_of_the_image():
    """Its shorter edge is as it is here: pixels stay, but for broken ones."""
    crop = transforms.RandomCrop(size=24, resize_shorter_edge=32)
    pixels, random = slope(32, 57), np.random.default_rng(0)
    tops, lefts, mirrored = set(), set(), 0
    for _ in range(400):
        seen = crop(pixels, random).astype(int)
        assert seen.shape == (24, 24, 3)
        if seen[0, 0, 1] > seen[0, -1, 1]:
            mirrored += 1
            seen = seen[:, ::-1]
        for axis, starts in enumerate((tops, lefts)):
            line = seen.diagonal()[axis]
            assert np.abs(line - line[0] - np.arange(24)).max() <= 1
            starts.add(line[0])
    assert tops == set(range(0, 32 - 24 + 1))
    assert lefts == set(range(0, 57 - 24 + 1))
    # Half of them, give or take four standard deviations.
    assert abs(mirrored / 400 - 0.5) < 4 * 0.5 / 20


def test_random_crop_of_any_size():
    """Larger than the image, too."""
    for size in [(3, 5), (5, 3), (1, 40), (200, 31)]:
        view = transforms.RandomCrop(size=7, resize_shorter_edge=11)
        seen = view(slope(*size), np.random.default_rng(0))
        assert seen.shape == (7, 7, 3)


def test_shifted_crop_is_each_of_its_possibilities():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), "uint8")
    # Mirrored without its edge, by two.
    wide = pixels[[2, 1, 0, 1, 2, 3, 4, 3, 2]]
    wide = wide[:, [2, 1, 0, 1, 2, 3, 4, 5, 6, 5, 4]]
    possible = set()
    for top, left in itertools.product(range(5), repeat=2):
        moved = wide[top : top + 5, left : left + 7]
        possible |= {moved.tobytes(), moved[:, ::-1].tobytes()}
    assert len(possible) == 5 * 5 * 2
    random, view = np.random.default_rng(0), transforms.PadAndCrop(pad=2)
    found = {view(pixels, random).tobytes() for _ in range(1000)}
    assert found == possible


@pytest.mark.parametrize(
    "make, arguments, message",
    [
        (transforms.RandomCrop, (2.5, 7), "`size` must be a positive integer"),
        (transforms.CenterCrop, (0, 7), "`size` must be a positive integer"),
        (transforms.RandomCrop, (8, 7), "`resize_shorter_edge` .*at least 8"),
        (transforms.CenterCrop, (8, 7), "`resize_shorter_edge` .*at least 8"),
        (transforms.PadAndCrop, (0,), "`pad` must be a positive integer"),
    ],
)
def test_wrong_arguments(make, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make(*arguments)
