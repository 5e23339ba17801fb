"""Files on their way to the model: which, how they change, which are not."""

import limits
import numpy as np
import PIL.Image
import pytest
import uploads
from drawn import animated
from drawn import file_of
from drawn import held
from drawn import huge
from drawn import of_a_phone
from drawn import photo

from keras_warn.data import images

SIZE = (29, 31)
MOST = 1_200_000


def ready(data, most=MOST, size=SIZE):
    return uploads.Upload(data, "instances[3]", most, size).ready()


@pytest.mark.parametrize(
    "data",
    [
        file_of(photo()),
        file_of(photo(), mode="L"),
        file_of(photo(), mode="CMYK"),
        file_of(photo(), progressive=True),
        file_of(photo(), "PNG"),
        file_of(photo(), "PNG", mode="1"),
        file_of(photo(), "PNG", mode="P"),
        file_of(257 * photo()[:, :, 0].astype("uint16") + 100, "PNG"),
        file_of(np.dstack([photo(), photo()[:, :, 0]]), "PNG"),
        held(1),
        of_a_phone(),
        *(held(orientation) for orientation in range(2, 9)),
        held(6, "PNG"),
    ],
)
def test_the_model_reads_what_the_library_reads(data):
    """So all that is not large is passed on, and turned as EXIF says."""
    import tensorflow as tf

    from keras_warn.exporting import preprocessing

    found = ready(data)
    assert found.data is data
    shown = images.read_image(data)
    assert (found.height, found.width) == shown.shape[:2]
    assert np.array_equal(preprocessing.decode(tf.constant(data), 3), shown)


LARGE = PIL.Image.fromarray(photo()).resize((1510, 1130))


def large(file_format="PNG", mode="RGB", orientation=1, **options):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    pixels = np.asarray(LARGE)
    if mode == "I;16":
        pixels, mode = 257 * pixels[:, :, 0].astype("uint16"), None
    if mode == "LA":
        pixels = np.dstack([pixels, pixels[:, :, 1]])
    return file_of(pixels, file_format, mode, exif=exif, **options)


@pytest.mark.parametrize(
    "data",
    [
        large("JPEG"),
        large("JPEG", orientation=6),
        large("JPEG", "CMYK"),
        large(),
        large(orientation=6),
        large(mode="1"),
        large(mode="P"),
        large(mode="LA"),
        large(mode="I;16", orientation=3),
        large(transparency=LARGE.getpixel((700, 500))),
    ],
)
def test_large_images_are_shrunk_and_look_the_same(data):
    found = ready(data, most=2 * MOST)
    shown = images.read_image(data)
    assert (found.height, found.width) == shown.shape[:2]
    passed = images.read_image(found.data)
    assert 0.98 * 2**20 < passed.shape[0] * passed.shape[1] < 1.02 * 2**20
    seen, wanted = (images.fit_image(p, SIZE) for p in (passed, shown))
    assert np.abs(seen.astype(int) - wanted).max() <= 3


def test_pixels_are_those_that_are_decoded():
    """Of JPEG, an eighth may do."""
    black = np.zeros((3000, 4000, 3), "uint8")
    for file_format, pixels in ("JPEG", 1500 * 2000), ("PNG", 3000 * 4000):
        data = file_of(black, file_format)
        found = uploads.Upload(data, "it", 12 * MOST, SIZE)
        assert found.pixels == pixels


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 400, "It is empty"),
        (b"no image", 400, "neither, or broken from its start"),
        (file_of(photo(), "GIF"), 400, "must be a JPEG or PNG file"),
        (file_of(photo())[:900], 400, "broken or cut short"),
        (file_of(photo(), "PNG")[:900], 400, "broken or cut short"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, 400, "broken"),
        (huge(500, 500), 400, "broken or cut short"),
        (animated(), 400, "is animated"),
        (
            file_of(np.zeros((1100, 1000), "uint16"), "PNG", transparency=7),
            400,
            "transparent colour in other than 8 bits",
        ),
        (huge(1001, 1200), 413, "at most 1200000 pixels. It has 1200 x 1001"),
        (huge(60_000, 60_000), 413, "at most 1200000 pixels"),
    ],
    ids=(
        "empty text gif cut-jpeg cut-png head hollow animated colour large bomb"
    ).split(),
)
def test_what_is_refused(data, status, words):
    with pytest.raises(limits.UsageError) as refused:
        ready(data)
    assert refused.value.status_code == status
    assert words in refused.value.detail
    assert refused.value.detail.startswith("instances[3] ")


@pytest.mark.parametrize(
    ("resize", "resize_shorter_edge"),
    [("crop", None), ("crop", 37), ("stretch", None), ("pad", None)],
)
@pytest.mark.parametrize("image", [(53, 71), (71, 53), (997, 13)])
def test_placement_is_the_librarys(image, resize, resize_shorter_edge):
    found = uploads.placement(image, SIZE, resize, resize_shorter_edge)
    wanted = images.placement(image, SIZE, resize, resize_shorter_edge)
    for box, whole, shares in zip(wanted, (image, SIZE), found, strict=True):
        np.testing.assert_allclose(
            np.reshape(shares, (2, 2)) * whole,
            np.reshape(box, (2, 2)),
            atol=1e-9,
        )
