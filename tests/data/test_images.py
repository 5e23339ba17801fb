"""Image files as people have them: odd, broken, mislabelled."""

import numpy as np
import odd_images
import pytest
from odd_images import encoded
from PIL import Image

from keras_warn.data.images import FORMATS
from keras_warn.data.images import RESIZES
from keras_warn.data.images import ImageError
from keras_warn.data.images import fit_image
from keras_warn.data.images import image_size
from keras_warn.data.images import placement
from keras_warn.data.images import read_image

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
WHITE = (255, 255, 255)


NOISE = np.random.default_rng(0).integers(0, 256, (23, 31, 3), "uint8")
PHOTO = Image.fromarray(NOISE)


@pytest.mark.parametrize(
    "orientation, turn",
    [
        (1, lambda x: x),
        (2, np.fliplr),
        (3, lambda x: np.rot90(x, 2)),
        (4, np.flipud),
        (5, lambda x: np.rot90(np.flipud(x), -1)),
        (6, lambda x: np.rot90(x, -1)),
        (7, lambda x: np.rot90(np.flipud(x))),
        (8, np.rot90),
    ],
)
def test_turned_as_exif_says(orientation, turn):
    content = encoded(PHOTO, "PNG", exif=odd_images.exif(orientation))
    np.testing.assert_array_equal(read_image(content), turn(NOISE))
    # As it is stored.
    stored = read_image(content, apply_exif=False)
    np.testing.assert_array_equal(stored, NOISE)
    assert image_size(content) == (23, 31)


def row(*values, dtype="uint8", mode=None):
    """An image of one row."""
    return Image.fromarray(np.array([values], dtype), mode)


def palette(indices, *colors):
    image = Image.new("P", (len(indices), 1))
    image.putpalette(sum(colors, ()))
    image.putdata(indices)
    return image


SIXTEEN = row(0, 255, 257, 32768, 65535, dtype="uint16")
OF_SIXTEEN = [0, 0, 1, 128, 255]
CLEAR = row((255, 0, 0, 255), (255, 0, 0, 0), (255, 0, 0, 128))
OF_CLEAR = [RED, WHITE, (255, 127, 127)]
THREE = palette([0, 1, 2], RED, GREEN, BLUE)
ONE_IS_CLEAR = {"transparency": 1}
# What is saved, how, and what is read of its one row: colors or gray.
ROWS = {
    "16 bits, PNG": ("PNG", SIXTEEN, {}, OF_SIXTEEN),
    "16 bits, TIFF": ("TIFF", SIXTEEN, {}, OF_SIXTEEN),
    "16 bits, big-endian": ("PPM", SIXTEEN, {}, OF_SIXTEEN),
    "transparency": ("PNG", CLEAR, {}, OF_CLEAR),
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
    "CMYK": ("JPEG", Image.new("CMYK", (1, 1), (0, 255, 255, 0)), {}, [RED]),
}


@pytest.mark.parametrize("kind", ROWS)
def test_images_of_every_kind(kind):
    """In color, and their brightness; gray is three times itself."""
    file_format, image, arguments, expected = ROWS[kind]
    content = encoded(image, file_format, **arguments)
    colors = [(one,) * 3 if isinstance(one, int) else one for one in expected]
    np.testing.assert_array_equal(read_image(content), [colors])
    luma = np.rint(np.array([colors]) @ (0.299, 0.587, 0.114))
    np.testing.assert_array_equal(read_image(content, 1)[..., 0], luma)


@pytest.mark.parametrize("channels", [1, 3])
def test_lab(channels):
    white = encoded(Image.new("LAB", (2, 1), (255, 128, 128)), "TIFF")
    assert read_image(white, channels).min() > 250


@pytest.mark.parametrize("pixels", [NOISE, NOISE[:, :, :1]], ids=np.shape)
def test_a_file_its_bytes_and_its_pixels_are_read_alike(tmp_path, pixels):
    path = tmp_path / "a.png"
    content = encoded(Image.fromarray(pixels.squeeze()), "PNG")
    path.write_bytes(content)
    for source in (path, content, pixels):
        found = read_image(source)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(
            found, np.broadcast_to(pixels, (23, 31, 3))
        )
        gray = read_image(source, channels=1)
        np.testing.assert_array_equal(gray, read_image(content, 1))


def changed(content, at, new):
    return content[:at] + new + content[at + len(new) :]


def transparent(kind):
    """A PNG of 16 bits, of which one color is transparent."""
    values = odd_images.values(16, odd_images.CHANNELS[kind])
    chunk = (b"tRNS", bytes(2 * values.shape[2]))
    return odd_images.png(values, 16, kind, [chunk])


BITMAP, AVIF = encoded(PHOTO, "BMP"), encoded(PHOTO, "AVIF")
REFUSED = {
    "empty": (b"", "is not an image"),
    "text": (b"hello", "is not an image"),
    # Pillow would start a program, Ghostscript, for the first of these.
    **{
        name: (encoded(PHOTO, name), "is not .* a format that is")
        for name in ("EPS", "DDS", "ICO", "TGA")
    },
    **{
        f"{name}, cut short": (encoded(PHOTO, name)[:-99], "is broken")
        for name in FORMATS
    },
    "progressive, cut short": (
        encoded(PHOTO, "JPEG", progressive=True)[:-99],
        "is broken",
    ),
    # Its decoder raises `RuntimeError`.
    "AVIF, damaged": (
        changed(AVIF, AVIF.index(b"mdat") + 8, b"\xff" * 8),
        "is broken",
    ),
    # The image might lie on its side.
    "an orientation that cannot be read": (
        encoded(PHOTO, "WEBP", exif=b"Exif\x00\x00garbage"),
        "is broken",
    ),
    "100,000 by 100,000": (
        changed(BITMAP, 18, np.array([100_000] * 2, "<i4").tobytes()),
        "is too large to be decoded",
    ),
    "integers": (encoded(row(0, dtype="int32"), "TIFF"), "has pixels of 32 b"),
    "fractions": (encoded(row(0, dtype="float32"), "TIFF"), "has pixels of 32"),
    "a gray of 16 bits": (transparent(odd_images.GRAY), "has 16 bits and a tr"),
    "a color of 16 bits": (transparent(odd_images.RGB), "has 16 bits and a tr"),
    "CMYK of unknown polarity": (
        odd_images.jpeg_files()["JPEG CMYK, unmarked"],
        "has CMYK without .*: whether 0 is full ink",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(tmp_path, monkeypatch, kind):
    """Whatever the name of its file; never is half an image read."""
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: 1 / 0)
    # Pillow's own, which the example of a server takes away.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2**26)
    content, reason = REFUSED[kind]
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for source, name, called in (
        (path, None, path),
        (content, None, "The image"),
        (content, "train/7", "train/7"),
    ):
        with pytest.raises(ImageError, match=f"^{called} {reason}"):
            read_image(source, name=name)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: path.mkdir(), "is broken: .*Is a directory"),
        (lambda path: None, "does not exist"),
        (lambda path: path.symlink_to(path), "is broken"),
    ],
)
def test_paths_that_are_no_files(tmp_path, make, message):
    path = tmp_path / "a.jpg"
    make(path)
    with pytest.raises(ImageError, match=f"^{path} {message}"):
        read_image(path)


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize("name", FORMATS)
def test_random_damage_is_an_image_error_or_no_error(name, monkeypatch):
    """Never another exception, which would stop a long run."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2**20)
    random = np.random.default_rng(0)
    content = np.frombuffer(encoded(PHOTO, name), "uint8")
    failed = 0
    for _ in range(50):
        damaged = content.copy()
        places = random.integers(0, min(len(content), 400), 10)
        damaged[places] = random.integers(0, 256, 10)
        try:
            read_image(damaged.tobytes(), name=name)
        except ImageError as error:
            assert str(error).startswith(name)
            failed += 1
    assert failed


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 997), (997, 1), (3, 7), (88, 545), (333, 500)]
)
# Of 87 rows from 88, rounding takes the crop beyond the edge.
@pytest.mark.parametrize("size", [(96, 96), (7, 3), (1, 1), (87, 240)])
def test_any_shape_fits(shape, size, resize):
    """All of it is image, but for black beside what is padded."""
    found = fit_image(np.full((*shape, 3), 200, "uint8"), size, resize)
    assert found.shape == (*size, 3)
    _, (top, left, bottom, right) = placement(shape, size, resize)
    inside = found[top:bottom, left:right]
    assert inside.size and (inside == 200).all()
    assert found.sum(dtype=int) == 200 * inside.size


@pytest.mark.parametrize(
    "size, resize, message",
    [
        (5, "crop", "size=5"),
        ((5, 0), "crop", "size=0"),
        ((5, 7), "squash", "resize='squash'"),
    ],
)
def test_bad_arguments(size, resize, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fit_image(NOISE, size, resize)
    with pytest.raises(ValueError, match="`channels` must be 1 or 3.* 4"):
        read_image(NOISE, channels=4)
