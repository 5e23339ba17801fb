"""Files on their way to the model: which, how they change, which are not."""

import numpy as np
import PIL.Image
import pytest
import uploads
from drawn import file_of
from drawn import huge
from drawn import photo
from drawn import several
from starlette.exceptions import HTTPException

from keras_warn.data import images

SIZE = (29, 31)
MOST = 9_000_000
LARGE = np.asarray(PIL.Image.fromarray(photo()).resize((1510, 1130)))
# Pillow decodes JPEG to half of that.
LARGER = np.asarray(PIL.Image.fromarray(photo()).resize((3470, 2590)))


def prepared(data):
    return uploads.prepared(data, "instances[3]", MOST, SIZE)


@pytest.mark.parametrize(
    "data",
    [
        file_of(photo(), mode="CMYK"),
        file_of(photo(), "PNG", mode="P"),
        several("MPO"),
        *(file_of(photo(), orientation=n) for n in range(1, 9)),
        file_of(photo(), "PNG", orientation=6),
    ],
)
def test_small_images_go_as_they_are(data):
    """Exported models read them as the library does."""
    shape = images.read_image(data).shape
    assert prepared(data) == (data, *shape[:2])


@pytest.mark.parametrize(
    "data",
    [
        file_of(LARGE),
        file_of(LARGE, orientation=6),
        file_of(LARGE, mode="CMYK"),
        file_of(LARGER, orientation=6),
        file_of(LARGE, "PNG", orientation=6),
        file_of(LARGE, "PNG", mode="1"),
        file_of(LARGE, "PNG", mode="P"),
        file_of(LARGE[:, :, :2], "PNG"),  # gray and alpha
        file_of(257 * LARGE[:, :, 0].astype("uint16"), "PNG", orientation=3),
        file_of(LARGE, "PNG", transparency=tuple(map(int, LARGE[500, 700]))),
    ],
)
def test_large_images_are_shrunk_and_look_the_same(data):
    file, height, width = prepared(data)
    shown = images.read_image(data)
    assert height / width == pytest.approx(shown.shape[0] / shown.shape[1])
    passed = images.read_image(file)
    assert 0.98 * 2**20 < passed.shape[0] * passed.shape[1] < 1.02 * 2**20
    seen, wanted = (images.fit_image(p, SIZE) for p in (passed, shown))
    assert np.abs(seen.astype(int) - wanted).max() <= 3


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 400, "is no JPEG or PNG file"),
        (b"no image", 400, "is no JPEG or PNG file"),
        (file_of(photo(), "GIF"), 400, "is no JPEG or PNG file"),
        (file_of(photo())[:900], 400, "broken or cut short"),
        (file_of(photo(), "PNG")[:900], 400, "broken or cut short"),
        (file_of(LARGE, "PNG")[:9000], 400, "broken or cut short"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, 400, "broken or cut short"),
        (huge(500, 500), 400, "broken or cut short"),
        (several("PNG"), 400, "is animated"),
        (huge(4501, 2000), 413, "at most 9000000 pixels. It has 2000 x 4501"),
        (huge(60_000, 60_000), 413, "at most 9000000 pixels"),
    ],
    ids=(
        "empty text gif jpeg png large head hollow animated pixels bomb"
    ).split(),
)
def test_what_is_refused(data, status, words):
    with pytest.raises(HTTPException) as refused:
        prepared(data)
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
