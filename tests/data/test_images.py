"""Image files as people have them: odd, broken, mislabelled."""

import numpy as np
import odd_images
import pytest
from PIL import Image

from keras_warn.data import images
from keras_warn.data.images import ImageError
from keras_warn.data.images import check_image
from keras_warn.data.images import fit_image
from keras_warn.data.images import image_size
from keras_warn.data.images import placement
from keras_warn.data.images import read_image

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
ORIENTATION = 0x0112


def noise(height=23, width=31, channels=3):
    random = np.random.default_rng(0)
    return random.integers(0, 256, (height, width, channels), "uint8")


def saved(path, image, **arguments):
    image.save(path, **arguments)
    return path


def read(image, file_format, channels=3, **arguments):
    """What is read of a file of an image."""
    content = odd_images.encoded(image, file_format, **arguments)
    return read_image(content, channels)


@pytest.mark.parametrize(
    "orientation, row, column",
    # Which corner of the stored image is seen at the top left.
    [
        *((1, 0, 0), (2, 0, -1), (3, -1, -1), (4, -1, 0)),
        *((5, 0, 0), (6, -1, 0), (7, -1, -1), (8, 0, -1)),
    ],
)
def test_turned_as_exif_says(orientation, row, column):
    pixels = np.zeros((32, 48, 3), "uint8")
    # A block of 16 by 16, which JPEG keeps.
    pixels[row * 16 :, column * 16 :][:16, :16] = RED
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    for file_format in ("JPEG", "PNG"):
        image = Image.fromarray(pixels)
        content = odd_images.encoded(image, file_format, exif=exif, quality=95)
        found = read_image(content)
        assert found.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
        np.testing.assert_allclose(found[5, 5], RED, atol=8)
        assert found[-5:, -5:].max() < 20
        # As it is stored.
        stored = read_image(content, apply_exif=False)
        assert np.abs(stored.astype(int) - pixels).mean() < 2
        assert image_size(content) == (32, 48)


def row(*values, dtype="uint8", mode=None):
    """An image of one row."""
    return Image.fromarray(np.array([values], dtype), mode)


def palette(indices, *colors):
    image = Image.new("P", (len(indices), 1))
    image.putpalette(sum(colors, ()))
    image.putdata(indices)
    return image


WHITE = (255, 255, 255)
SIXTEEN = row(0, 255, 257, 32768, 65535, dtype="uint16")
OF_SIXTEEN = [0, 0, 1, 128, 255]
RED_THEN_CLEAR = row((255, 0, 0, 255), (255, 0, 0, 0))
THREE = palette([0, 1, 2], RED, GREEN, BLUE)
ONE_IS_CLEAR = {"transparency": 1}
# What is saved, how, and what is read of its one row: colors or gray.
ROWS = {
    "16 bits, PNG": ("PNG", SIXTEEN, {}, OF_SIXTEEN),
    "16 bits, TIFF": ("TIFF", SIXTEEN, {}, OF_SIXTEEN),
    "transparency": ("PNG", RED_THEN_CLEAR, {}, [RED, WHITE]),
    "gray, clear": ("PNG", row((9, 255), (9, 0), mode="LA"), {}, [9, 255]),
    "a clear color, PNG": ("PNG", THREE, ONE_IS_CLEAR, [RED, WHITE, BLUE]),
    "a clear color, GIF": ("GIF", THREE, ONE_IS_CLEAR, [RED, WHITE, BLUE]),
    "gray in a palette": ("PNG", palette([0], (200, 200, 200)), {}, [200]),
    "one bit": ("PNG", row(0, 255).convert("1"), {}, [0, 255]),
    "gray": ("PNG", Image.new("L", (2, 1), 77), {}, [77, 77]),
    "the first of several frames": (
        "GIF",
        Image.new("RGB", (1, 1), RED),
        {"save_all": True, "append_images": [Image.new("RGB", (1, 1), BLUE)]},
        [RED],
    ),
}


@pytest.mark.parametrize("kind", ROWS)
def test_images_of_every_kind(kind):
    """In color, and their brightness; gray is three times itself."""
    file_format, image, arguments, expected = ROWS[kind]
    colors = [(one,) * 3 if isinstance(one, int) else one for one in expected]
    found = read(image, file_format, **arguments)
    np.testing.assert_array_equal(found, [colors])
    luma = np.rint(np.array([colors]) @ (0.299, 0.587, 0.114))
    found = read(image, file_format, channels=1, **arguments)
    np.testing.assert_array_equal(found[..., 0], luma)


def test_half_transparent():
    found = read(row((255, 0, 0, 128)), "PNG")[0, 0]
    np.testing.assert_allclose(found, [255, 127, 127], atol=1)


def test_sixteen_bits_big_endian_pgm():
    found = read_image(b"P5 3 1 65535\n\x00\x00\x80\x00\xff\xff")
    assert found[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_pixels_of_unknown_range_are_not_guessed(tmp_path, dtype):
    image = Image.fromarray(np.array([[0, 1], [2, 3]], dtype))
    path = saved(tmp_path / "a.tif", image)
    with pytest.raises(ImageError, match="a.tif has pixels of 32 bits"):
        read_image(path)


def test_lab():
    white = Image.new("LAB", (2, 1), (255, 128, 128))
    for channels in (1, 3):
        assert read(white, "TIFF", channels).min() > 250


def test_cmyk():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    found = read(red, "JPEG", quality=95)
    np.testing.assert_allclose(found[8, 8], RED, atol=3)


@pytest.mark.parametrize("name", "a.jpg a.png a.gif a.bmp a.tif a.webp".split())
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_file_cut_short_is_never_half_an_image(
    tmp_path, name, kept, progressive
):
    path = tmp_path / name
    saved(path, Image.fromarray(noise(67, 71)), progressive=progressive)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ImageError, match=name):
        read_image(path)


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize("name", [f.lower() for f in images.FORMATS])
def test_random_damage_is_an_image_error_or_no_error(
    tmp_path, name, monkeypatch
):
    """Never another exception, which would stop a long run."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2**20)
    random = np.random.default_rng(0)
    path = tmp_path / f"a.{name}"
    content = np.frombuffer(
        odd_images.encoded(Image.fromarray(noise()), name), "uint8"
    )
    failed = 0
    for _ in range(50):
        damaged = content.copy()
        places = random.integers(0, min(len(content), 400), 10)
        damaged[places] = random.integers(0, 256, 10)
        path.write_bytes(damaged.tobytes())
        ends = []
        for read in (read_image, check_image):
            try:
                read(path)
                ends.append("an image")
            except ImageError as error:
                assert str(path) in str(error)
                ends.append("an error")
        assert ends[0] == ends[1]
        failed += ends[0] == "an error"
    assert failed


def test_a_damaged_avif(tmp_path):
    """Its decoder raises `RuntimeError`."""
    content = bytearray(odd_images.encoded(Image.fromarray(noise()), "AVIF"))
    at = content.index(b"mdat") + 8
    content[at : at + 8] = b"\xff" * 8
    path = tmp_path / "a.avif"
    path.write_bytes(content)
    with pytest.raises(ImageError, match="a.avif is broken"):
        read_image(path)


def test_formats_that_are_not_read_whatever_the_name(tmp_path, monkeypatch):
    """Pillow would start a program, Ghostscript, for the first of these."""
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: 1 / 0)
    path = tmp_path / "a.jpg"
    for file_format in ("EPS", "DDS", "BLP", "ICO", "TGA"):
        image = Image.fromarray(noise())
        image = image.convert("P") if file_format == "BLP" else image
        path.write_bytes(odd_images.encoded(image, file_format))
        for read in (read_image, check_image, image_size):
            with pytest.raises(ImageError, match="a.jpg is not .* format"):
                read(path)


@pytest.mark.parametrize("bits, level", [(1, 1), (2, 2), (4, 8), (8, 200)])
def test_a_transparent_level_of_gray(bits, level):
    """The level is stored in as few bits as the pixels are."""
    values = odd_images.values(bits)
    chunk = (b"tRNS", level.to_bytes(2))
    found = read_image(odd_images.png(values, bits, odd_images.GRAY, [chunk]))
    expected = np.where(values == level, 255, values * 255 // (2**bits - 1))
    np.testing.assert_array_equal(found, np.repeat(expected, 3, axis=2))


@pytest.mark.parametrize("kind", [odd_images.GRAY, odd_images.RGB])
def test_a_transparent_color_of_sixteen_bits(kind):
    values = odd_images.values(16, odd_images.CHANNELS[kind])
    chunk = (b"tRNS", bytes(2 * values.shape[2]))
    with pytest.raises(ImageError, match="16 bits and a transparent color"):
        read_image(odd_images.png(values, 16, kind, [chunk]))


def test_cmyk_of_unknown_polarity():
    with pytest.raises(ImageError, match="whether 0 is full ink"):
        read_image(odd_images.jpeg_files()["JPEG CMYK, unmarked"])


def test_an_orientation_that_cannot_be_read(tmp_path):
    """The image might lie on its side."""
    path = tmp_path / "a.webp"
    saved(path, Image.fromarray(noise()), exif=b"Exif\x00\x00garbage")
    with pytest.raises(ImageError, match="a.webp is broken"):
        read_image(path)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: path.write_bytes(b""), "is not an image"),
        (lambda path: path.write_text("hello"), "is not an image"),
        (lambda path: path.mkdir(), "is broken: .*Is a directory"),
        (lambda path: None, "does not exist"),
        (lambda path: path.symlink_to(path), "a.jpg is broken"),
    ],
)
def test_no_images(tmp_path, make, message):
    path = tmp_path / "a.jpg"
    make(path)
    with pytest.raises(ImageError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_decompression_bomb(tmp_path):
    """A header alone, of 100,000 by 100,000 pixels."""
    path = tmp_path / "a.bmp"
    saved(path, Image.new("1", (8, 8)))
    content = bytearray(path.read_bytes())
    content[18:26] = np.array([100_000, 100_000], "<i4").tobytes()
    path.write_bytes(content)
    with pytest.raises(ImageError, match="a.bmp is too large to be decoded"):
        read_image(path)


def test_bytes_are_read_like_their_file(tmp_path):
    pixels = noise()
    path = saved(tmp_path / "a.png", Image.fromarray(pixels))
    content = path.read_bytes()
    assert read_image(path).dtype == np.uint8
    np.testing.assert_array_equal(read_image(path), pixels)
    for channels in (1, 3):
        np.testing.assert_array_equal(
            read_image(content, channels), read_image(path, channels)
        )
    for damaged, reason in ((b"", "is not an"), (content[:99], "is broken")):
        with pytest.raises(ImageError, match=f"^The image {reason}"):
            read_image(damaged)
        with pytest.raises(ImageError, match=f"^train/7 {reason}"):
            read_image(damaged, name="train/7")


@pytest.mark.parametrize("pixels", [noise(), noise()[:, :, :1]], ids=np.shape)
def test_channels_of_pixels_are_those_of_their_file(pixels):
    for channels in (1, 3):
        np.testing.assert_array_equal(
            read_image(pixels, channels),
            read(Image.fromarray(pixels.squeeze()), "PNG", channels),
        )


def test_crop_is_the_largest_part_from_the_middle():
    image = noise(20, 60)
    # The middle of the whole image at that scale.
    for size, whole, middle in (
        ((10, 10), (10, 30), slice(10, 20)),
        ((40, 24), (40, 120), slice(48, 72)),
    ):
        np.testing.assert_array_equal(
            fit_image(image, size, "crop"),
            fit_image(image, whole, "stretch")[:, middle],
        )
    assert placement((20, 60), (8, 4))[0] == (0, 25, 20, 35)
    assert placement((60, 20), (4, 8))[0] == (25, 0, 35, 20)


def test_stretch_keeps_the_corners():
    image = np.zeros((20, 60, 1), "uint8")
    image[10:, 30:] = 255
    found = fit_image(image, (8, 6), "stretch")[:, :, 0]
    assert found[0, 0] == found[0, -1] == found[-1, 0] == 0
    assert found[-1, -1] == 255


def test_pad_shows_all_of_the_image_on_black():
    image = np.full((20, 60, 3), 255, "uint8")
    found = fit_image(image, (30, 30), "pad")
    assert (found[10:20] == 255).all()
    assert not found[:10].any() and not found[20:].any()


def test_shrinking_smooths():
    """A fine chequerboard becomes grey, not black or white."""
    rows, columns = np.indices((64, 64))
    image = np.where((rows + columns) % 2, 255, 0).astype("uint8")[..., None]
    for resize in ("crop", "stretch", "pad"):
        found = fit_image(image, (8, 8), resize)
        assert found.dtype == np.uint8
        np.testing.assert_allclose(found, 127.5, atol=2)


@pytest.mark.parametrize("resize", ["crop", "stretch", "pad"])
@pytest.mark.parametrize(
    "image_size", [(1, 1), (1, 997), (997, 1), (3, 7), (96, 96), (333, 500)]
)
@pytest.mark.parametrize("size", [(96, 96), (7, 3), (1, 1)])
def test_any_shape_fits(image_size, size, resize):
    image = np.full((*image_size, 3), 200, "uint8")
    found = fit_image(image, size, resize)
    assert found.shape == (*size, 3)
    (top, left, bottom, right), inner = placement(image_size, size, resize)
    assert 0 <= top < bottom <= image_size[0]
    assert 0 <= left < right <= image_size[1]
    inside = found[inner[0] : inner[2], inner[1] : inner[3]]
    assert inside.size and (inside == 200).all()
    assert found.astype(int).sum() == inside.astype(int).sum()


@pytest.mark.parametrize(
    "size, resize, error, message",
    [
        (5, "crop", TypeError, "size=5"),
        ((5, 0), "crop", ValueError, "size=0"),
        ((5, 7), "squash", ValueError, "resize='squash'"),
    ],
)
def test_bad_arguments(size, resize, error, message):
    with pytest.raises(error, match=message):
        fit_image(noise(), size, resize)
    with pytest.raises(ValueError, match="`channels` must be 1 or 3.* 4"):
        read_image(noise(), channels=4)
