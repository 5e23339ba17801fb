"""Images, and files of them that are not what they should be."""

import io
import struct
import zlib

import numpy as np
import PIL.Image

ORIENTATION = 0x0112


def photo(height=53, width=71, seed=0):
    """A smooth image, other for each seed, bytes."""
    y, x = np.mgrid[:height, :width] + 13 * seed
    waves = np.stack([np.sin(x / 9 + y / 7), np.cos(x / 11), np.sin(y / 5)], -1)
    return (127.5 * (1 + waves)).astype("uint8")


def file_of(pixels, file_format="JPEG", mode=None, **options):
    image = PIL.Image.fromarray(pixels)
    if mode is not None:
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def held(orientation, file_format="JPEG"):
    """An image by a camera that was held in one of eight ways."""
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    return file_of(photo(), file_format, exif=exif)


def animated():
    frames = [PIL.Image.fromarray(photo(seed=seed)) for seed in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    return file.getvalue()


def of_a_phone():
    """JPEG with a second image behind it."""
    first, second = (PIL.Image.fromarray(photo(seed=seed)) for seed in (0, 1))
    file = io.BytesIO()
    first.save(file, "MPO", save_all=True, append_images=[second])
    return file.getvalue()


def huge(height, width):
    """A PNG file of a few bytes that claims a size."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )
