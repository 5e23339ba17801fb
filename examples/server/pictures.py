"""Uploaded files, checked and made ready for the model."""

import io
import struct
import typing
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps
from limits import Refused

# What the model's graph decodes.
FORMATS = ("JPEG", "PNG")

# Modes of Pillow that the graph reads as Pillow does.
AS_THEY_ARE = {
    "JPEG": {"L", "RGB"},
    "PNG": {"1", "L", "LA", "P", "RGB", "RGBA"},
}

# Larger pictures are made smaller before the graph decodes them to numbers of
# 32 bits: 4 x 4 pixels remain for each that the model sees, or a megapixel.
PIXELS_EACH, PIXELS_KEPT = 16, 2**20

# The tag of EXIF that says how a camera was held; 1 is upright.
ORIENTATION = 0x0112

# What Pillow's decoders raise on broken files.
BROKEN = (
    EOFError,
    OSError,
    OverflowError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


class Ready(typing.NamedTuple):
    """A picture for the model.

    Attributes:
        data: `bytes`, a file of JPEG or PNG.
        height: Of the picture as it is seen, upright, in pixels.
        width: The same.
    """

    data: bytes
    height: int
    width: int


def make_ready(data, name, most_pixels, size):
    """Checks a file, and turns and shrinks its picture where that is needed.

    The file itself is passed on if its picture is upright, not too large, and
    of a kind that the model's graph reads as Pillow does. If not, its pixels
    are, in a file of PNG: turned as EXIF says, on white where they are
    transparent, CMYK as RGB, 16 bits as 8.

    Args:
        data: `bytes`, the file.
        name: What errors call it.
        most_pixels: The largest number of pixels.
        size: Height and width that the model takes.

    Returns:
        A `Ready`.

    Raises:
        Refused: with 400 if it is no picture, broken, or animated, with 413 if
            it has too many pixels.
    """
    if not data:
        raise Refused(400, f"{name} must be a JPEG or PNG file. It is empty.")
    try:
        with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _made_ready(image, data, name, most_pixels, size)
    except PIL.UnidentifiedImageError as error:
        raise Refused(
            400,
            f"{name} must be a JPEG or PNG file. It is neither, or broken "
            "from its start.",
        ) from error
    except PIL.Image.DecompressionBombError as error:
        raise _too_many_pixels(name, most_pixels) from error
    except BROKEN as error:
        raise Refused(
            400, f"{name} is broken or cut short: {error}."
        ) from error


def _made_ready(image, data, name, most_pixels, size):
    if image.width * image.height > most_pixels:
        raise _too_many_pixels(
            name, most_pixels, f" It has {image.width} x {image.height}."
        )
    # Pillow's name for JPEG files of phones that hold a second picture, such as
    # one of depth. The first is the photo.
    kind = "JPEG" if image.format == "MPO" else image.format
    if kind == "PNG" and getattr(image, "is_animated", False):
        raise Refused(400, f"{name} is animated. Send one picture of it.")
    turned = image.getexif().get(ORIENTATION, 1) not in (0, 1)
    plain = image.mode in AS_THEY_ARE[kind] and not turned
    height, width = image.height, image.width
    if image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8):
        height, width = width, height
    kept = max(PIXELS_KEPT, PIXELS_EACH * size[0] * size[1])
    shrink = (height * width / kept) ** 0.5
    if shrink > 1 and kind == "JPEG":
        # Decodes to a half, a quarter or an eighth, but not below these.
        image.draft(
            None, (int(image.width / shrink), int(image.height / shrink))
        )
    image.load()  # Only now is it known to be whole.
    if plain and shrink <= 1:
        return Ready(data, height, width)
    image = _pixels(PIL.ImageOps.exif_transpose(image))
    if shrink > 1:
        smaller = [max(1, round(side / shrink)) for side in (width, height)]
        image = image.resize(smaller, PIL.Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return Ready(file.getvalue(), height, width)


def _pixels(image):
    """As gray or RGB with 8 bits."""
    if image.mode.startswith("I"):  # 16 bits of gray
        gray = (np.asarray(image).astype("int64") + 128) // 257
        return PIL.Image.fromarray(gray.astype("uint8"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image)
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _too_many_pixels(name, most, found=""):
    return Refused(413, f"{name} must have at most {most} pixels.{found}")


def placement(picture, size, resize, short_side):
    """Which part of a picture the model sees, and where.

    As `keras_warn.images.placement` has it, in shares of picture and masks.

    Args:
        picture: Height and width of the picture.
        size: Height and width that the model takes.
        resize: `"crop"`, `"stretch"` or `"pad"`.
        short_side: With `"crop"`, what the short side of the picture is brought
            to before `size` is cut out; or `None`.

    Returns:
        Two boxes, each top, left, bottom and right: a part of the picture, and
        where it lies in the masks.
    """
    picture, size = np.array(picture), np.array(size)
    whole = [0.0, 0.0, 1.0, 1.0]
    shares = picture / size
    if resize == "crop":
        lengths = shares.min() / shares
        if short_side is not None:
            lengths = lengths * size.min() / short_side
        return [*(1 - lengths) / 2, *(1 + lengths) / 2], whole
    if resize == "pad":
        inner = np.clip(np.rint(picture / shares.max()), 1, size)
        start = (size - inner) // 2
        return whole, [*start / size, *(start + inner) / size]
    return whole, whole
