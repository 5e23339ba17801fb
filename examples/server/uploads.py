"""Uploaded files made ready for a model, and which part of them it sees."""

import io

import numpy as np
import PIL.Image
import PIL.ImageOps
import tensorflow as tf
from starlette.exceptions import HTTPException

# There is a limit on pixels here; Pillow's own is not needed beside it.
PIL.Image.MAX_IMAGE_PIXELS = None


def prepared(file, name, most_pixels, size):
    """A file for the model, and a height and width in its image's proportion.

    It must be JPEG or PNG; errors call it `name`. Images of up to a megapixel,
    or 16 pixels for each of `size`, which the model sees, go to it as they are.
    Larger ones are shrunk to that: it needs many times a file's memory.
    """
    try:
        image = PIL.Image.open(io.BytesIO(file), formats=("JPEG", "PNG"))
        width, height = image.size
        if width * height > most_pixels:
            message = (
                f"{name} must have at most {most_pixels} pixels. It has "
                f"{width} x {height}."
            )
            raise HTTPException(413, message)
        if image.format == "PNG" and image.is_animated:
            message = f"{name} is animated. Send one image of it."
            raise HTTPException(400, message)
        kept = max(2**20, 16 * size[0] * size[1])
        scale = (kept / (width * height)) ** 0.5
        # JPEG is decoded to a half, a quarter or an eighth, but not below this.
        image.draft(None, (int(width * scale), int(height * scale)))
        image.load()
        # Pillow follows these where there is no EXIF. Browsers and exported
        # models do not.
        for other in ("Raw profile type exif", "XML:com.adobe.xmp", "xmp"):
            image.info.pop(other, None)
        PIL.ImageOps.exif_transpose(image, in_place=True)
        if scale < 1:
            file = _shrunk(image, kept)
        else:
            tf.io.decode_image(file)  # or it could spoil a batch of the model
        return file, image.height, image.width
    except HTTPException:
        raise
    # Pillow may raise anything on broken files.
    except Exception as error:
        message = f"{name} is no JPEG or PNG file, or is broken or cut short."
        raise HTTPException(400, message) from error


def _shrunk(image, kept):
    """A file of an image of so many pixels, on white where transparent."""
    if image.mode == "I;16":  # of which the upper 8 bits are taken
        image = PIL.Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    scale = min(1, (kept / (image.width * image.height)) ** 0.5)
    image = PIL.ImageOps.scale(image, scale, PIL.Image.Resampling.BILINEAR)
    if image.mode == "RGBA":
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image).convert("RGB")
    shrunk = io.BytesIO()
    image.save(shrunk, "JPEG", quality=95, subsampling=0)
    return shrunk.getvalue()


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
