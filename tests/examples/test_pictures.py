"""Files on their way to the model: which, how they change, which are not."""

import io

import limits
import numpy as np
import pictures
import PIL.Image
import pytest
from drawn import animated
from drawn import file_of
from drawn import held
from drawn import huge
from drawn import of_a_phone
from drawn import photo

from keras_warn import images

SIZE = (29, 31)
MOST = 10**6


def ready(data, most=MOST, size=SIZE):
    return pictures.make_ready(data, "instances[3]", most, size)


@pytest.mark.parametrize(
    "data",
    [
        file_of(photo()),
        file_of(photo(), mode="L"),
        file_of(photo(), progressive=True),
        file_of(photo(), "PNG"),
        file_of(photo(), "PNG", mode="P"),
        file_of(np.dstack([photo(), photo()[:, :, 0]]), "PNG"),
        held(1),
    ],
    ids="jpeg gray progressive png palette transparent upright".split(),
)
def test_what_the_graph_reads_is_passed_on(data):
    found = ready(data)
    assert found.data is data
    assert (found.height, found.width) == (53, 71)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_pictures_are_turned_without_loss(orientation):
    data = held(orientation)
    found = ready(data)
    turned = np.asarray(PIL.Image.open(io.BytesIO(found.data)))
    assert np.array_equal(turned, images.read_image(data))
    assert turned.shape[:2] == (found.height, found.width)
    assert PIL.Image.open(io.BytesIO(found.data)).format == "PNG"


@pytest.mark.parametrize(
    "data",
    [
        file_of(photo(), mode="CMYK"),
        file_of(257 * photo()[:, :, 0].astype("uint16") + 100, "PNG"),
        of_a_phone(),
        held(6, "PNG"),
    ],
    ids="cmyk 16-bit phone turned-png".split(),
)
def test_others_are_read_as_the_library_reads_them(data):
    import tensorflow as tf

    from keras_warn.exporting import preprocessing

    found = preprocessing.decode(tf.constant(ready(data).data), 3)
    assert np.array_equal(found, images.read_image(data))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_large_pictures_are_shrunk_and_look_the_same(file_format, orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    smooth = PIL.Image.fromarray(photo()).resize((1510, 1130))
    data = file_of(np.asarray(smooth), file_format, exif=exif)
    found = ready(data, most=2 * MOST)
    shown = images.read_image(data)
    assert (found.height, found.width) == shown.shape[:2]
    passed = images.read_image(found.data)
    assert 0.98 * 2**20 < passed.shape[0] * passed.shape[1] < 1.02 * 2**20
    seen, wanted = (images.fit_image(p, SIZE) for p in (passed, shown))
    assert np.abs(seen.astype(int) - wanted).max() <= 2


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 400, "It is empty"),
        (b"no picture", 400, "neither, or broken from its start"),
        (file_of(photo(), "GIF"), 400, "must be a JPEG or PNG file"),
        (file_of(photo(), "TIFF"), 400, "must be a JPEG or PNG file"),
        (file_of(photo())[:900], 400, "broken or cut short"),
        (file_of(photo(), "PNG")[:900], 400, "broken or cut short"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, 400, "broken"),
        (huge(500, 500), 400, "broken or cut short"),
        (animated(), 400, "is animated"),
        (huge(1001, 1000), 413, "at most 1000000 pixels. It has 1000 x 1001"),
        (huge(60_000, 60_000), 413, "at most 1000000 pixels"),
    ],
    ids=(
        "empty text gif tiff cut-jpeg cut-png head hollow animated large bomb"
    ).split(),
)
def test_what_is_refused(data, status, words):
    with pytest.raises(limits.Refused) as refused:
        ready(data)
    assert refused.value.status_code == status
    assert words in refused.value.detail
    assert refused.value.detail.startswith("instances[3] ")


@pytest.mark.parametrize(
    ("resize", "short_side"),
    [("crop", None), ("crop", 37), ("stretch", None), ("pad", None)],
)
@pytest.mark.parametrize("picture", [(53, 71), (71, 53), (997, 13)])
def test_placement_is_the_librarys(picture, resize, short_side):
    found = pictures.placement(picture, SIZE, resize, short_side)
    wanted = images.placement(picture, SIZE, resize, short_side)
    for box, whole, shares in zip(wanted, (picture, SIZE), found, strict=True):
        np.testing.assert_allclose(
            np.reshape(shares, (2, 2)) * whole,
            np.reshape(box, (2, 2)),
            atol=1e-9,
        )
