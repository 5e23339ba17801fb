"""Image files as people have them: odd, broken, mislabelled."""

import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import odd_images
import pytest
from PIL import Image

from keras_warn.data import images
from keras_warn.data.image_files import class_numbers
from keras_warn.data.image_files import described
from keras_warn.data.image_files import find_images
from keras_warn.data.image_files import list_images
from keras_warn.data.image_files import split_of
from keras_warn.data.images import ImageError
from keras_warn.data.images import check_image
from keras_warn.data.images import fit_image
from keras_warn.data.images import image_size
from keras_warn.data.images import placement
from keras_warn.data.images import read_image
from keras_warn.data.images import with_channels
from keras_warn.data.model_inputs import PREPROCESSING
from keras_warn.data.model_inputs import default_preprocessing
from keras_warn.data.model_inputs import preprocess

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
ORIENTATION = 0x0112


def noise(height=23, width=31, channels=3):
    random = np.random.default_rng(0)
    return random.integers(0, 256, (height, width, channels), "uint8")


def saved(path, image, **arguments):
    image.save(path, **arguments)
    return path


def test_pixels_of_a_plain_image(tmp_path):
    pixels = noise()
    path = saved(tmp_path / "a.png", Image.fromarray(pixels))
    found = read_image(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize(
    "orientation, top_left",
    # Which corner of the stored image is seen at the top left: rows, columns.
    [
        (1, (0, 0)),
        (2, (0, -1)),
        (3, (-1, -1)),
        (4, (-1, 0)),
        (5, (0, 0)),
        (6, (-1, 0)),
        (7, (-1, -1)),
        (8, (0, -1)),
    ],
)
def test_turned_as_exif_says(tmp_path, orientation, top_left):
    pixels = np.zeros((32, 48, 3), "uint8")
    # A block of 16 by 16, which JPEG keeps.
    pixels[top_left[0] * 16 :, top_left[1] * 16 :][:16, :16] = RED
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = saved(
        tmp_path / "a.jpg", Image.fromarray(pixels), exif=exif, quality=95
    )
    found = read_image(path)
    assert found.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    np.testing.assert_allclose(found[5, 5], RED, atol=8)
    assert found[-5:, -5:].max() < 20


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_of_sixteen_bits_the_upper_eight(tmp_path, name):
    values = np.array([[0, 255, 257, 32768, 65535]], "uint16")
    path = saved(tmp_path / name, Image.fromarray(values))
    expected = [0, 0, 1, 128, 255]
    found = read_image(path)
    assert found.shape == (1, 5, 3)
    for channel in range(3):
        assert found[0, :, channel].tolist() == expected
    assert read_image(path, channels=1)[0, :, 0].tolist() == expected


def test_sixteen_bits_big_endian_pgm(tmp_path):
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 3 1 65535\n\x00\x00\x80\x00\xff\xff")
    assert read_image(path)[0, :, 0].tolist() == [0, 128, 255]


def test_lab(tmp_path):
    image = Image.new("LAB", (2, 1), (255, 128, 128))  # white
    path = saved(tmp_path / "a.tif", image)
    for channels in (1, 3):
        assert read_image(path, channels).min() > 250


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_pixels_of_unknown_range_are_not_guessed(tmp_path, dtype):
    image = Image.fromarray(np.array([[0, 1], [2, 3]], dtype))
    path = saved(tmp_path / "a.tif", image)
    with pytest.raises(ImageError, match="a.tif has pixels of 32 bits"):
        read_image(path)


def test_transparency_becomes_white(tmp_path):
    pixels = np.zeros((1, 3, 4), "uint8")
    pixels[0, :, 0] = 255  # red
    pixels[0, :, 3] = [255, 0, 128]
    path = saved(tmp_path / "a.png", Image.fromarray(pixels))
    found = read_image(path)[0]
    assert found[:2].tolist() == [list(RED), [255, 255, 255]]
    np.testing.assert_allclose(found[2], [255, 127, 127], atol=1)


def test_gray_with_transparency(tmp_path):
    pixels = np.array([[[10, 255], [10, 0]]], "uint8")
    path = saved(tmp_path / "a.png", Image.fromarray(pixels, "LA"))
    assert read_image(path)[0].tolist() == [[10] * 3, [255] * 3]
    assert read_image(path, channels=1)[0].tolist() == [[10], [255]]


def test_palette_with_a_transparent_colour(tmp_path):
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, *BLUE])
    image.putdata([0, 1, 2])
    for name in ("a.png", "a.gif"):
        path = saved(tmp_path / name, image, transparency=1)
        found = read_image(path)[0].tolist()
        assert found == [list(RED), [255, 255, 255], list(BLUE)]


def test_brightness_of_a_palette_is_not_its_indices(tmp_path):
    image = Image.new("P", (1, 1))
    image.putpalette([200, 200, 200])
    path = saved(tmp_path / "a.png", image)
    assert read_image(path, channels=1).tolist() == [[[200]]]


def test_cmyk(tmp_path):
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # red
    path = saved(tmp_path / "a.jpg", image, quality=95)
    np.testing.assert_allclose(read_image(path)[8, 8], RED, atol=3)


def test_one_bit(tmp_path):
    image = Image.fromarray(np.array([[0, 255]], "uint8")).convert("1")
    path = saved(tmp_path / "a.png", image)
    assert read_image(path)[0].tolist() == [[0] * 3, [255] * 3]


def test_gray_is_three_times_itself_and_luma_of_colours(tmp_path):
    path = saved(tmp_path / "g.png", Image.new("L", (2, 1), 77))
    assert read_image(path)[0, 0].tolist() == [77, 77, 77]
    path = saved(tmp_path / "c.png", Image.new("RGB", (2, 1), GREEN))
    found = read_image(path, channels=1)
    assert found.shape == (1, 2, 1)
    assert found[0, 0, 0] == round(0.587 * 255)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), color) for color in (RED, GREEN, BLUE)]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert read_image(path)[0, 0].tolist() == list(RED)


def test_one_pixel(tmp_path):
    path = saved(tmp_path / "a.png", Image.new("RGB", (1, 1), BLUE))
    found = fit_image(read_image(path), (5, 7))
    assert (found == BLUE).all()


@pytest.mark.parametrize("name", "a.jpg a.png a.gif a.bmp a.tif a.webp".split())
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_never_half_an_image(tmp_path, name, kept):
    path = saved(tmp_path / name, Image.fromarray(noise(67, 71)))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ImageError, match=name):
        read_image(path)


def test_progressive_jpeg_cut_short(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(67, 71)).save(path, progressive=True)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ImageError, match="a.jpg is broken"):
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


@pytest.mark.parametrize("limit, most", [(23 * 31 - 1, 1), (23 * 31, 4)])
def test_large_images_are_decoded_one_at_a_time(monkeypatch, limit, most):
    """Eight threads would take eight times their memory."""
    content = odd_images.encoded(Image.fromarray(noise()), "PNG")
    inside, seen = [], []

    def decoded(image, name):
        inside.append(name)
        time.sleep(0.05)
        seen.append(len(inside))
        inside.pop()

    monkeypatch.setattr(images, "_LARGE", limit)
    monkeypatch.setattr(images, "_check_range", decoded)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read_image, [content] * 4))
    assert max(seen) == most


def test_an_orientation_that_cannot_be_read(tmp_path):
    """The image might lie on its side."""
    path = tmp_path / "a.webp"
    saved(path, Image.fromarray(noise()), exif=b"Exif\x00\x00garbage")
    with pytest.raises(ImageError, match="a.webp is broken"):
        read_image(path)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("hello"), "is not an image"),
        (lambda path: path.mkdir(), "is a folder"),
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


def test_channels_other_than_1_and_3(tmp_path):
    with pytest.raises(ValueError, match="channels=4"):
        read_image(tmp_path / "a.jpg", channels=4)


def test_bytes_are_read_like_their_file(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(noise()))
    content = path.read_bytes()
    for channels in (1, 3):
        np.testing.assert_array_equal(
            read_image(content, channels), read_image(path, channels)
        )
    for damaged, reason in ((b"", "is empty"), (content[:99], "is broken")):
        with pytest.raises(ImageError, match=f"^The image {reason}"):
            read_image(damaged)
        with pytest.raises(ImageError, match=f"^train/7 {reason}"):
            read_image(damaged, name="train/7")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_as_stored_whatever_the_orientation(tmp_path, orientation):
    pixels = noise(67, 71)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.png", Image.fromarray(pixels), exif=exif)
    stored = read_image(path, apply_exif=False)
    np.testing.assert_array_equal(stored, pixels)
    assert image_size(path) == (67, 71)
    assert image_size(path.read_bytes()) == (67, 71)
    turned = read_image(path)
    assert turned.shape == ((71, 67, 3) if orientation > 4 else (67, 71, 3))
    assert (turned.shape == stored.shape and (turned == stored).all()) == (
        orientation == 1
    )


def test_size_of_what_is_no_image(tmp_path):
    with pytest.raises(ImageError, match="a.jpg does not exist"):
        image_size(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="^The image is not an image"):
        image_size(b"hello")


def test_channels_of_pixels_are_those_of_their_file(tmp_path):
    for pixels in (noise(), noise()[:, :, :1]):
        picture = Image.fromarray(pixels.squeeze())
        path = saved(tmp_path / "a.png", picture)
        for channels in (1, 3):
            np.testing.assert_array_equal(
                with_channels(pixels, channels), read_image(path, channels)
            )
    with pytest.raises(ValueError, match="channels=2"):
        with_channels(noise(), 2)


def test_crop_is_the_largest_part_from_the_middle():
    image = noise(20, 60)
    found = fit_image(image, (10, 10), "crop")
    # The whole image at that scale, and the middle of it.
    whole = fit_image(image, (10, 30), "stretch")
    np.testing.assert_array_equal(found, whole[:, 10:20])
    found = fit_image(image, (40, 24), "crop")
    whole = fit_image(image, (40, 120), "stretch")
    np.testing.assert_array_equal(found, whole[:, 48:72])
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
    "image, size, resize, error, message",
    [
        (noise().astype("float32"), (5, 7), "crop", ValueError, "float32"),
        (noise()[0], (5, 7), "crop", ValueError, r"shape \(31, 3\)"),
        (noise(), 5, "crop", TypeError, "size=5"),
        (noise(), (5, 0), "crop", ValueError, "size=0"),
        (noise(), (5, 7), "squash", ValueError, "resize='squash'"),
    ],
)
def test_errors_of_fitting(image, size, resize, error, message):
    with pytest.raises(error, match=message):
        fit_image(image, size, resize)


def tree(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def test_class_folders(tmp_path):
    tree(
        tmp_path,
        "wren/b.JPG",
        "wren/a.jpeg",
        "wren/nested/c.png",
        "finch/a.webp",
        "finch/notes.txt",
        "finch/.hidden.jpg",
        ".cache/a.jpg",
        "readme.md",
        "loose.jpg",
    )
    found, _ = find_images(tmp_path)
    assert [(one.path.name, one.label) for one in found] == [
        ("a.webp", "finch"),
        ("a.jpeg", "wren"),
        ("b.JPG", "wren"),
        ("c.png", "wren"),
    ]
    numbers, names = class_numbers(found, 2)
    assert numbers.tolist() == [0, 1, 1, 1]
    assert names == ["finch", "wren"]


@pytest.mark.parametrize(
    "names, message",
    [
        ([], "holds no folders"),
        (["a.jpg"], "holds no folders"),
        (["wren/a.jpg", "finch/a.txt"], "class folder .*finch holds no images"),
    ],
)
def test_folders_without_images(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        find_images(tree(tmp_path, *names))


@pytest.mark.parametrize(
    "content",
    [
        b"path,label\nbirds/1.jpg,wren\n2.jpg,finch\n",
        b"\xef\xbb\xbfpath,label\r\nbirds/1.jpg,wren\r\n2.jpg,finch\r\n",
        b'label, path, date\nwren, "birds/1.jpg", 3\n\nfinch, 2.jpg,\n',
    ],
    ids=["plain", "bom_crlf", "columns_quotes_empty_lines"],
)
def test_tables(tmp_path, content):
    path = tmp_path / "folder" / "test.csv"
    path.parent.mkdir()
    path.write_bytes(content)
    found, _ = find_images(path)
    assert [one.path for one in found] == [
        path.parent / "birds/1.jpg",
        path.parent / "2.jpg",
    ]
    assert [one.label for one in found] == ["wren", "finch"]
    assert "test.csv, line 2" in found[0].source


def test_absolute_paths_in_tables(tmp_path):
    path = tmp_path / "test.csv"
    path.write_text("path,label\n/data/1.jpg,0\n")
    assert str(find_images(path)[0][0].path) == "/data/1.jpg"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "lacks path and label"),
        (b"path,class\n1.jpg,wren\n", r"lacks label.*\['path', 'class'\]"),
        (b"path;label\n1.jpg;wren\n", "lacks path and label"),
        (b"path,label\n", "no lines but"),
        (b"path,label\n1.jpg,wren\n2.jpg\n", "line 3, has no label"),
        (b"path,label\n1.jpg,wren\n ,wren\n", "line 3, has no path"),
        (b"path,label\n1.jpg,\xff\xfe\n", "not UTF-8"),
        (b'path,label\n"1.jpg"x,wren\n', "line 2, is not CSV"),
    ],
)
def test_errors_of_tables(tmp_path, content, message):
    path = tmp_path / "test.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        find_images(path)
    assert str(path) in str(caught.value)


def test_an_image_is_no_table(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.fromarray(noise()))
    with pytest.raises(ValueError, match="a.jpg must be a folder of class"):
        find_images(path)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        find_images(tmp_path / "nowhere")


def labelled(tmp_path, *labels):
    path = tmp_path / "test.csv"
    lines = [f"{i}.jpg,{label}" for i, label in enumerate(labels)]
    path.write_text("\n".join(["path,label", *lines]))
    return find_images(path)[0]


def test_labels_are_names_or_numbers(tmp_path):
    found = labelled(tmp_path, "2", "0", "2")
    numbers, names = class_numbers(found, 5)
    assert numbers.tolist() == [2, 0, 2] and names is None
    names = ["wren", "finch", "owl"]
    numbers, same = class_numbers(labelled(tmp_path, "owl", "0"), 3, names)
    assert numbers.tolist() == [2, 0] and same is names
    # A name that is a number, too, is a name.
    numbers, _ = class_numbers(labelled(tmp_path, "1", "2"), 2, ["2", "1"])
    assert numbers.tolist() == [1, 0]


@pytest.mark.parametrize(
    "labels, names, message",
    [
        (["0", "3"], None, r"'3' of .*1.jpg \(.*line 3\) .* 0 to 2"),
        (["-1"], None, r"1 different label \("),
        (["wren", "owl"], None, r"2 different labels \('owl', 'wren'\) for"),
        (["wren", "wrn"], ["wren", "finch", "owl"], "'wrn' of .*1.jpg.*names"),
        (["owl"], ["owl", "owl", "wren"], "name of 2 classes"),
    ],
)
def test_labels_outside_the_classes(tmp_path, labels, names, message):
    with pytest.raises(ValueError, match=message):
        class_numbers(labelled(tmp_path, *labels), 3, names)


def test_folders_are_numbered_as_keras_numbers_them(tmp_path):
    """0, 1, 10, 11, 2: by alphabet, also where all names are numbers."""
    for i in range(12):
        saved(
            tree(tmp_path, f"{i}/a.png") / f"{i}/a.png",
            Image.fromarray(noise()),
        )
    found, _ = find_images(tmp_path)
    numbers, names = class_numbers(found, 12, folders=True)
    expected = keras.utils.image_dataset_from_directory(
        tmp_path, shuffle=False, verbose=0
    )
    assert names == expected.class_names
    assert names[2] == found[2].path.parent.name == "10"
    keras_numbers = np.concatenate([y for _, y in expected])
    assert numbers.tolist() == keras_numbers.tolist()
    # Either order could be meant beside other names; in a table, numbers are.
    birds = [f"bird {i}" for i in range(12)]
    with pytest.raises(ValueError, match="0, 1, 10, .*bird 0, bird 1"):
        class_numbers(found, 12, birds, folders=True)
    assert class_numbers(found, 12, birds)[0][2] == 10
    few = [one for one in found if int(one.label) < 9]
    assert class_numbers(few, 12, birds, folders=True)[0][2] == 2


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_the_same_in_all_forms_of_unicode(tmp_path, forms):
    label, name = (unicodedata.normalize(form, "Kakapō") for form in forms)
    found = labelled(tmp_path, label, "wren", "wren")
    numbers, _ = class_numbers(found, 3, ["owl", name, "wren"])
    assert numbers.tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    "name, split",
    [
        ("Training", "train"),
        ("TRAIN", "train"),
        ("train_images", "train"),
        ("seg_test", "test"),
        ("Test-Set", "test"),
        ("val2017", "validation"),
        ("valid", "validation"),
        ("trainval", None),
        ("terrain", None),
    ],
)
def test_splits_in_any_spelling(tmp_path, name, split):
    assert split_of(name) == split
    found, _ = find_images(tree(tmp_path, f"{name}/wren/1.png"))
    label = name if split is None else "wren"
    assert [(one.label, one.split) for one in found] == [(label, split)]


def test_folders_that_are_no_classes(tmp_path):
    names = [f"{part}/{bird}/1.png" for part in "AB" for bird in ("owl", "tit")]
    with pytest.raises(ValueError, match="folders A, B hold .*: owl, tit"):
        find_images(tree(tmp_path, *names))
    # One folder of the same name in each is how Tiny ImageNet is stored.
    tree(tmp_path / "tiny", "n01/images/1.png", "n02/images/1.png")
    assert len(find_images(tmp_path / "tiny")[0]) == 2
    tree(tmp_path / "twice", "val/a/1.png", "valid/a/1.png")
    with pytest.raises(ValueError, match="several for one: val, valid"):
        find_images(tmp_path / "twice")


def test_what_is_skipped_is_counted_and_named(tmp_path):
    tree(
        tmp_path,
        "readme.md",
        "loose.jpg",
        ".cache/x.png",
        "@eaDir/x.png",
        "__MACOSX/wren/._a.png",
        "wren/a.png",
        "wren/b.heic",
        "wren/c.heic",
        "wren/.DS_Store",
        "wren/@eaDir/a.png",
        "wren/nested/d.png",
        "elsewhere/owl/e.png",
    )
    data = tmp_path / "data"
    data.mkdir()
    for name in ("readme.md", "loose.jpg", ".cache", "@eaDir", "__MACOSX"):
        (tmp_path / name).rename(data / name)
    (tmp_path / "wren").rename(data / "wren")
    # Links are followed, but not in a circle.
    (data / "owl").symlink_to(tmp_path / "elsewhere/owl")
    (data / "wren/back").symlink_to(data)
    (data / "again").symlink_to(".")
    found, skipped = find_images(data)
    assert [one.path.name for one in found] == ["e.png", "a.png", "d.png"]
    assert skipped == {
        "hidden": 2,
        "@eaDir": 2,
        "__MACOSX": 1,
        "*.md": 1,
        "*.heic": 2,
        "image outside of folders": 1,
        "link to a folder that holds it": 2,
    }
    paths, others = list_images(data / "wren")
    assert [path.name for path in paths] == ["a.png", "d.png"]
    assert "2 *.heic" in described(others)


def test_two_links_in_a_circle(tmp_path):
    tree(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a/b").symlink_to(tmp_path / "b")
    (tmp_path / "b/a").symlink_to(tmp_path / "a")
    paths, skipped = list_images(tmp_path)
    assert [path.name for path in paths] == ["1.png", "2.png", "2.png", "1.png"]
    assert skipped == {"link to a folder that holds it": 2}


def test_a_class_of_files_that_cannot_be_read_by_name(tmp_path):
    tree(tmp_path, "owl/1.png", "wren/a.heic", "wren/b.heic")
    with pytest.raises(ValueError, match=r"wren holds no .* holds 2 \*.heic"):
        find_images(tmp_path)


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
    model = keras.applications.EfficientNetB0(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    assert default_preprocessing(model) == "none"


@pytest.mark.parametrize(
    "first",
    [
        [],
        [keras.layers.Conv2D(3, 1), keras.layers.Rescaling(1 / 255)],
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
