"""Images, and files of them that are not what they should be."""

import io
import struct
import zlib

import numpy as np
import PIL.Image


def photo(height=53, width=71, seed=0):
    """A smooth image, other for each seed, bytes."""
    y, x = np.mgrid[:height, :width] + 13 * seed
    waves = np.stack([np.sin(x / 9 + y / 7), np.cos(x / 11), np.sin(y / 5)], -1)
    return (127.5 * (1 + waves)).astype("uint8")


def file_of(pixels, file_format="JPEG", mode=None, orientation=1, **options):
    """A file of an image, by a camera that was held in one of eight ways."""
    image = PIL.Image.fromarray(pixels)
    if mode is not None:
        image = image.convert(mode)
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.Base.Orientation] = orientation
    file = io.BytesIO()
    image.save(file, file_format, exif=exif, **options)
    return file.getvalue()


def several(file_format):
    """An animation, as PNG, or what phones make: two images, as MPO."""
    first, second = (PIL.Image.fromarray(photo(seed=seed)) for seed in (0, 1))
    file = io.BytesIO()
    first.save(file, file_format, save_all=True, append_images=[second])
    return file.getvalue()


def huge(height, width):
    """A small PNG file that claims a size."""
    file = bytearray(file_of(photo(), "PNG"))
    file[16:24] = struct.pack(">II", width, height)
    file[29:33] = struct.pack(">I", zlib.crc32(file[12:29]))
    return bytes(file)
