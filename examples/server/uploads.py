"""Uploaded files, checked and made ready for the model."""

import collections
import contextlib
import io
import struct
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps
from limits import UsageError

# What the model's graph decodes.
FORMATS = ("JPEG", "PNG")

# Pixels in PNG files whose transparent colour Pillow does not find.
NOT_8_BITS = ("1", "L;2", "L;4", "I;16B", "RGB;16B")

# Larger images are made smaller before the graph decodes them to numbers of
# 32 bits: 4 x 4 pixels remain for each that the model sees, or a megapixel.
PIXELS_EACH, PIXELS_KEPT = 16, 2**20

# The tag of EXIF that says how a camera was held; 1 is as stored.
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


# An image for the model: a file of JPEG or PNG, and the height and width of the
# image as it was sent, turned as EXIF says.
Ready = collections.namedtuple("Ready", "data height width")


class Upload:
    """An uploaded file, checked as far as its header tells.

    `name` is what errors call it, `size` the height and width that the model
    takes. `pixels` are as many as are decoded, which costs memory and time.
    """

    def __init__(self, data, name, most_pixels, size):
        self._data, self._name = data, name
        with self._errors(most_pixels):
            image = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
            animated = getattr(image, "is_animated", False)
        width, height = image.size
        if width * height > most_pixels:
            found = f" It has {width} x {height}."
            raise _too_many_pixels(name, most_pixels, found)
        if image.format == "PNG" and animated:
            raise UsageError(f"{name} is animated. Send one image of it.")
        self._image, self._size = image, image.size
        # Pillow's name of pixels in the file, gone when they are decoded.
        self._stored = image.tile[0][3] if image.tile else ""
        kept = max(PIXELS_KEPT, PIXELS_EACH * size[0] * size[1])
        self._shrink = (width * height / kept) ** 0.5
        if self._shrink > 1:
            # JPEG is decoded to a half, a quarter or an eighth, but not below
            # these.
            image.draft(None, self._smaller())
        self.pixels = image.width * image.height

    def ready(self):
        """The image as `Ready`.

        The file itself is passed on if its image is not too large: the model
        reads all that a file says. If it is, fewer pixels are, in a file of
        PNG: turned as EXIF says, on white where they are transparent, as
        gray or RGB.
        """
        with self._errors():
            return self._made_ready()

    def _smaller(self):
        return tuple(max(1, int(side / self._shrink)) for side in self._size)

    def _made_ready(self):
        image = self._image
        image.load()  # Only now is it known to be whole.
        # Pillow follows these where there is no EXIF, the model does not.
        for other in ("Raw profile type exif", "XML:com.adobe.xmp", "xmp"):
            image.info.pop(other, None)
        width, height = self._size
        if image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8):
            height, width = width, height
        if self._shrink <= 1:
            return Ready(self._data, height, width)
        image = self._mixable(image).resize(
            self._smaller(), PIL.Image.Resampling.BILINEAR
        )
        if image.mode == "RGBA":
            white = PIL.Image.new("RGBA", image.size, "white")
            image = PIL.Image.alpha_composite(white, image)
        if image.mode not in ("L", "RGB"):
            image = image.convert("RGB")
        file = io.BytesIO()
        image = PIL.ImageOps.exif_transpose(image)
        image.save(file, "PNG", compress_level=1)
        return Ready(file.getvalue(), height, width)

    def _mixable(self, image):
        """With pixels whose means make sense, of 8 bits."""
        if image.has_transparency_data:
            if self._stored in NOT_8_BITS and "transparency" in image.info:
                raise UsageError(
                    f"{self._name} is large, and has a transparent colour in "
                    "other than 8 bits. Send it without.",
                )
            return image.convert("RGBA")
        if image.mode.startswith("I"):  # 16 bits of gray
            pixels = (np.asarray(image) >> 8).astype("uint8")
            gray = PIL.Image.fromarray(pixels)
            gray.info = image.info  # with its EXIF
            return gray
        if image.mode in ("1", "P"):
            return image.convert("L" if image.mode == "1" else "RGB")
        return image

    @contextlib.contextmanager
    def _errors(self, most_pixels=None):
        name = self._name
        try:
            yield
        except PIL.UnidentifiedImageError as error:
            found = "neither, or broken from its start"
            raise UsageError(
                f"{name} must be a JPEG or PNG file. It is "
                f"{found if self._data else 'empty'}."
            ) from error
        except PIL.Image.DecompressionBombError as error:
            raise _too_many_pixels(name, most_pixels) from error
        except BROKEN as error:
            message = f"{name} is broken or cut short: {error}."
            raise UsageError(message) from error


def _too_many_pixels(name, most, found=""):
    return UsageError(f"{name} must have at most {most} pixels.{found}", 413)


def placement(image, size, resize, resize_shorter_edge):
    """Which part of an image the model sees, and where.

    As `keras_warn.data.images.placement` has it, in shares of image and masks:
    two boxes, each top, left, bottom and right.
    """
    image, size = np.array(image), np.array(size)
    whole = [0.0, 0.0, 1.0, 1.0]
    shares = image / size
    if resize == "crop":
        lengths = shares.min() / shares
        if resize_shorter_edge is not None:
            lengths = lengths * size.min() / resize_shorter_edge
        return [*(1 - lengths) / 2, *(1 + lengths) / 2], whole
    if resize == "pad":
        inner = np.clip(np.rint(image / shares.max()), 1, size)
        start = (size - inner) // 2
        return whole, [*start / size, *(start + inner) / size]
    return whole, whole
