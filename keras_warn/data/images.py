"""Image files, read for a model: decoded, and fitted to a size.

Pillow is imported when a file is read.
"""

import contextlib
import io
import struct
import types
import zlib
from typing import TYPE_CHECKING

import numpy as np

from keras_warn import checks

if TYPE_CHECKING:
    import PIL.Image

# The formats of Pillow that are read, whatever a file is called. Of others,
# some start programs, and some raise anything when a file is broken.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

RESIZES = ("crop", "stretch", "pad")


class ImageError(ValueError):
    """A file that holds no image that can be read; it is named."""


def open_image(
    source, channels=3, apply_exif=True, name=None
) -> "PIL.Image.Image":
    """Decodes an image.

    As it is meant to be seen: turned as its EXIF orientation says, on white
    where it is transparent, the first frame of an animation, and of 16 bits
    the upper 8. Color profiles are not applied.

    Args:
        source: The file, in one of `FORMATS`; what is in it, `bytes`; or
            pixels, uint8 `(height, width, c)` with 1 or 3 channels.
        channels: 3 for RGB, or 1 for brightness (luma of Rec. 601).
        apply_exif: Whether to turn it as its EXIF orientation says. `False`
            leaves it as it is stored, which is how boxes are published.
        name: What messages call the image. Defaults to its path.

    Returns:
        A `PIL.Image.Image` of mode "RGB", or "L" for one channel.

    Raises:
        ImageError: if the file is missing, no image of `FORMATS`, broken or
            cut short, or too large to be decoded safely; or if it does not
            say which of its numbers are black, white or transparent.
        ImportError: if Pillow is not installed.

    Example:

    >>> open_image(b"P6 2 1 255 " + b"\\xff" * 6).size
    (2, 1)
    """
    if channels not in (1, 3):
        raise ValueError(f"`channels` must be 1 or 3. Received: {channels}.")
    if isinstance(source, np.ndarray):
        return _converted(as_pillow(source), channels)
    with _opened(source, name) as (image, name):
        _scale_transparency(image, name)
        image.load()
        # Pillow follows these where there is no EXIF. Programs that show
        # images do not.
        for other in ("Raw profile type exif", "XML:com.adobe.xmp", "xmp"):
            image.info.pop(other, None)
        if apply_exif:
            import_pillow().ImageOps.exif_transpose(image, in_place=True)
        _check_range(image, name)
        return _converted(image, channels)


def read_image(source, channels=3, apply_exif=True, name=None) -> np.ndarray:
    """Reads an image, as `open_image` does, into an array.

    Returns:
        A NumPy array of bytes (uint8), `(height, width, channels)`.

    Example:

    >>> read_image(b"P6 2 1 255 " + b"\\xff" * 6).shape
    (1, 2, 3)
    """
    return as_array(open_image(source, channels, apply_exif, name))


def as_array(image) -> np.ndarray:
    """A copy of a `PIL.Image.Image` as bytes `(height, width, c)`."""
    pixels = np.array(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def as_pillow(image) -> "PIL.Image.Image":
    """An image as a `PIL.Image.Image`, which may be bytes `(h, w, c)`."""
    if not isinstance(image, np.ndarray):
        return image
    pixels = image[:, :, 0] if image.shape[2:] == (1,) else image
    return import_pillow().Image.fromarray(pixels)


def image_size(source, name=None) -> tuple:
    """Height and width of an image as it is stored, of a file's header alone.

    Example:

    >>> image_size(b"P6 2 1 255 " + b"\\xff" * 6)
    (1, 2)
    """
    if isinstance(source, np.ndarray):
        return source.shape[:2]
    with _opened(source, name) as (image, _):
        return image.height, image.width


def fit_image(
    image, size, resize="crop", resize_shorter_edge=None
) -> np.ndarray:
    """Brings an image to a size.

    Bilinear, and smoothed where it shrinks.

    Args:
        image: Array of bytes (uint8), `(height, width, c)`, with 1 or 3
            channels.
        size: Height and width to bring it to, a pair of integers.
        resize: `"crop"` for the largest part of the right shape from the
            middle, as the paper tests; `"stretch"` for the whole image in
            another shape; `"pad"` for the whole image in its own shape, on
            black.
        resize_shorter_edge: As of `placement`.

    Returns:
        An array of bytes, `(*size, c)`.

    Example:

    >>> import numpy as np
    >>> image = np.zeros((20, 30, 3), "uint8")
    >>> fit_image(image, (10, 10)).shape
    (10, 10, 3)
    """
    source, target = placement(
        image.shape[:2], size, resize, resize_shorter_edge
    )
    top, left, bottom, right = target
    fitted = resample(image, source, (bottom - top, right - left))
    canvas = np.zeros((*size, image.shape[2]), "uint8")
    canvas[top:bottom, left:right] = fitted
    return canvas


def resample(image, box, size, mirrored=False) -> np.ndarray:
    """A part of an image, brought to a size.

    Bilinear, and smoothed where it shrinks.

    Args:
        image: Array of bytes (uint8), `(height, width, c)`, with 1 or 3
            channels; or a `PIL.Image.Image` of mode "RGB" or "L".
        box: Top, left, bottom and right of the part, in pixels of the image,
            which may be broken.
        size: Height and width of the result, in pixels.
        mirrored: Whether to swap left and right.

    Returns:
        An array of bytes, `(*size, c)`.

    Example:

    >>> import numpy as np
    >>> image = np.zeros((20, 30, 3), "uint8")
    >>> resample(image, (0, 2.5, 20, 22.5), (10, 10)).shape
    (10, 10, 3)
    """
    pillow = import_pillow()
    image = as_pillow(image)
    # Rounding may take its edges a hair beyond the image.
    height, width = image.height, image.width
    top, left, bottom, right = np.clip(box, 0, (height, width) * 2)
    resized = image.resize(
        (size[1], size[0]),
        pillow.Image.Resampling.BILINEAR,
        box=(left, top, right, bottom),
    )
    if mirrored:  # here, as copying a mirrored array takes much longer
        flip = pillow.Image.Transpose.FLIP_LEFT_RIGHT
        resized = resized.transpose(flip)
    return as_array(resized)


def placement(
    image_size, size, resize="crop", resize_shorter_edge=None
) -> tuple:
    """Which part of an image goes where when it is fitted.

    Args:
        image_size: Height and width of the image.
        size: Height and width that it is brought to.
        resize: As of `fit_image`.
        resize_shorter_edge: With `"crop"`, the length that the shorter edge of
            the image is brought to before `size` is cut from its middle; an
            integer of at least the shorter edge of `size`. 256 for 224 by 224
            is how the paper tests. `None` for the largest part, to the edges.

    Returns:
        Two boxes, each top, left, bottom and right: a part of the image, in
        pixels that may be broken, and where it lies in the result.

    Example:

    >>> placement((20, 30), (10, 10), "crop")
    ((0.0, 5.0, 20.0, 25.0), (0, 0, 10, 10))
    >>> placement((20, 30), (10, 10), "pad")
    ((0, 0, 20, 30), (1, 0, 8, 10))
    >>> placement((20, 30), (10, 10), "crop", resize_shorter_edge=20)
    ((5.0, 10.0, 15.0, 20.0), (0, 0, 10, 10))
    """
    check_resize(resize, size, resize_shorter_edge)
    height, width = checks.size("image_size", image_size)
    rows, columns = checks.size("size", size)
    if resize == "stretch":
        return (0, 0, height, width), (0, 0, rows, columns)
    if resize == "crop":
        scale = min(height / rows, width / columns)
        if resize_shorter_edge is not None:
            scale *= min(rows, columns) / resize_shorter_edge
        top = (height - rows * scale) / 2
        left = (width - columns * scale) / 2
        box = top, left, top + rows * scale, left + columns * scale
        return box, (0, 0, rows, columns)
    scale = min(rows / height, columns / width)
    inner = [
        max(1, min(round(length * scale), most))
        for length, most in ((height, rows), (width, columns))
    ]
    top, left = (rows - inner[0]) // 2, (columns - inner[1]) // 2
    target = top, left, top + inner[0], left + inner[1]
    return (0, 0, height, width), target


def check_resize(resize, size, resize_shorter_edge=None) -> None:
    """Raises what `placement` would of arguments that do not fit."""
    checks.one_of("resize", resize, RESIZES)
    size = checks.size("size", size)
    if resize_shorter_edge is None:
        return
    checks.integer("resize_shorter_edge", resize_shorter_edge, min(size))
    if resize != "crop":
        raise ValueError(
            "`resize_shorter_edge` must be None with other than resize='crop'. "
            f"Received: resize_shorter_edge={resize_shorter_edge}, "
            f"resize={resize!r}."
        )


def import_pillow() -> types.ModuleType:
    """The package PIL, with its modules `Image` and `ImageOps`."""
    try:
        import PIL
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise ImportError(
            "Images need the package Pillow: `pip install pillow`."
        ) from error
    return PIL


@contextlib.contextmanager
def _opened(path, name):
    """A Pillow image and its name; what goes wrong is an `ImageError`."""
    pillow = import_pillow()
    content = isinstance(path, bytes)
    if name is None:
        name = "The image" if content else path
    file = io.BytesIO(path) if content else path
    try:
        with pillow.Image.open(file, formats=FORMATS) as image:
            yield image, name
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist.") from error
    except pillow.UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not an image of a format that is read here "
            f"({', '.join(FORMATS)}), or is empty, or broken from its start."
        ) from error
    except pillow.Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} is too large to be decoded safely: {error}"
        ) from error
    # What Pillow's decoders, and its reader of EXIF, raise on broken files.
    except (
        EOFError,
        OSError,
        OverflowError,
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
        struct.error,
        zlib.error,
    ) as error:
        raise ImageError(f"{name} is broken: {error}.") from error


def _scale_transparency(image, name):
    """Brings the transparent color of a PNG to 8 bits, as Pillow its pixels."""
    if image.format == "PNG" and "transparency" in image.info:
        stored = image.tile[0][3]
        if stored.endswith(";16B"):
            raise ImageError(
                f"{name} has 16 bits and a transparent color, which Pillow "
                "does not find. Convert it to 8 bits."
            )
        image.info["transparency"] *= {"L;2": 85, "L;4": 17}.get(stored, 1)


def _check_range(image, name):
    """Raises if it is not known which numbers are black, and which white."""
    # Pillow has 16 bits in 32, in some formats.
    wide = image.mode == "I" and image.format in ("PNG", "PPM")
    if image.mode in ("F", "I") and not wide:
        raise ImageError(
            f"{name} has pixels of 32 bits, of which black and white are not "
            "known. Convert it to 8 or 16 bits."
        )
    inks = image.format == "JPEG" and image.mode == "CMYK"
    if inks and "adobe" not in image.info:
        raise ImageError(
            f"{name} has CMYK without Adobe's mark: whether 0 is full ink or "
            "none is not known. Convert it to RGB."
        )


def _converted(image, channels):
    """A Pillow image in mode "RGB", or "L" for one channel."""
    pillow = import_pillow()
    if image.mode.startswith("I"):  # 16 bits
        pixels = (np.asarray(image) >> 8).astype("uint8")
        image = pillow.Image.fromarray(pixels)
    elif image.mode == "CMYK":
        # As the decoder of exported models does.
        paper = 255 - np.asarray(image)
        pixels = paper[..., :3].astype("uint16") * paper[..., 3:] // 255
        image = pillow.Image.fromarray(pixels.astype("uint8"))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        white = pillow.Image.new("RGBA", image.size, "white")
        image = pillow.Image.alpha_composite(white, image)
    elif image.mode == "LAB":  # which Pillow brings to RGB alone
        image = image.convert("RGB")
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)
