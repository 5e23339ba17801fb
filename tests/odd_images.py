"""Image files of every kind that decoders disagree on, made in code."""

import io
import itertools
import struct
import zlib

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 11, 13

# Kinds of PNG, and their channels.
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}


def png(values, bits, kind, chunks=(), after=()):
    """A PNG file of integers `(h, w, c)`: Pillow cannot write all kinds.

    Args:
        values: Integers of less than 2 ** `bits`.
        bits: 1, 2, 4, 8 or 16.
        kind: One of `CHANNELS`.
        chunks: Pairs of a name and bytes, in front of the pixels.
        after: The same, behind them.
    """
    header = struct.pack(">IIBBBBB", *values.shape[1::-1], bits, kind, 0, 0, 0)
    pixels = b"".join(b"\0" + packed(row, bits) for row in values)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data))
        + name
        + data
        + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (
            (b"IHDR", header),
            *chunks,
            (b"IDAT", zlib.compress(pixels)),
            *after,
            (b"IEND", b""),
        )
    )


def packed(row, bits):
    """Integers of so many bits, one after the other."""
    row = row.reshape(-1)
    if bits == 16:
        return row.astype(">u2").tobytes()
    digits = (row[:, None] >> np.arange(bits)[::-1]) & 1
    return np.packbits(digits.astype("uint8").reshape(-1)).tobytes()


def exif(orientation, order="<", kind=3, size=None):
    """EXIF with an orientation among other tags, cut to a size."""
    tags = (
        struct.pack(order + "HHII", 0x0100, 4, 1, 5)
        + struct.pack(order + "HHI", 0x0112, kind, 1)
        + struct.pack(order + {3: "Hxx", 4: "I"}[kind], orientation)
        + struct.pack(order + "HHII", 0x0213, 4, 1, 1)
    )
    start = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}[order]
    return (start + struct.pack(order + "H", 3) + tags + bytes(4))[:size]


def values(bits, channels=1):
    """Integers of so many bits: all kinds, the least and the largest."""
    random = np.random.default_rng(bits)
    found = random.integers(0, 2**bits, (HEIGHT, WIDTH, channels))
    found[0, :2] = [[0], [2**bits - 1]]
    return found


def photo(channels=3):
    """A smooth image with some noise, bytes."""
    y, x = np.mgrid[:53, :71]
    waves = (np.sin(x / 9 + y / 7), np.cos(x / 11), np.sin(y / 5), np.sin(x))
    noise = np.random.default_rng(0).normal(0, 20, (53, 71, channels))
    smooth = 127.5 * (1 + np.stack(waves[:channels], -1))
    return (smooth + noise).clip(0, 255).astype("uint8")


def encoded(image, file_format, **arguments):
    file = io.BytesIO()
    image.save(file, file_format, **arguments)
    return file.getvalue()


def alphas(kind, bits, pixels):
    """What a PNG file may say of transparency, in `tRNS`, by names."""
    most = 2**bits - 1
    if kind == GRAY:
        levels = {0, 1, most // 2, most}
        return {f"without {one}": struct.pack(">H", one) for one in levels}
    if kind == RGB:
        return {"without one": struct.pack(">HHH", *map(int, pixels[3, 4]))}
    if kind == PALETTE:
        return {
            "without the first": b"\0",
            "transparent": bytes(range(256))[:: 256 >> bits],
            # As TensorFlow fills in where nothing is said.
            "nearly transparent": bytes([most]) * (most + 1),
        }
    return {}


def png_files():
    """PNG files of all kinds and bits, by names."""
    found = {}
    colors = np.random.default_rng(0).bytes(3 * 256)
    for kind, bits in (
        *itertools.product([GRAY], (1, 2, 4, 8, 16)),
        *itertools.product([PALETTE], (1, 2, 4, 8)),
        *itertools.product([RGB, GRAY_ALPHA, RGBA], (8, 16)),
    ):
        pixels = values(bits, CHANNELS[kind])
        palette = [(b"PLTE", colors[: 3 << bits])] if kind == PALETTE else []
        found[f"PNG {kind} {bits}"] = png(pixels, bits, kind, palette)
        for name, data in alphas(kind, bits, pixels).items():
            chunks = [*palette, (b"tRNS", data)]
            found[f"PNG {kind} {bits} {name}"] = png(pixels, bits, kind, chunks)
        if kind == GRAY:
            found[f"PNG black {bits}"] = png(0 * pixels, bits, kind)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        image = Image.fromarray(photo(4)).convert(mode)
        found[f"PNG by Pillow {mode}"] = encoded(image, "PNG")
    return found


def jpeg_files():
    """JPEG files of all kinds, by names."""
    found = {}
    rgb = Image.fromarray(photo())
    for image in (rgb, rgb.convert("L"), Image.fromarray(photo(4), "CMYK")):
        for arguments in (
            {},
            {"progressive": True},
            {"subsampling": 0},
            {"subsampling": 1},
            {"keep_rgb": True},
        ):
            found[f"JPEG {image.mode} {arguments}"] = encoded(
                image, "JPEG", **arguments
            )
    cmyk = found["JPEG CMYK {}"]
    adobe = cmyk.index(b"Adobe")
    found["JPEG YCCK"] = cmyk[: adobe + 11] + b"\2" + cmyk[adobe + 12 :]
    found["JPEG CMYK, unmarked"] = cmyk[: adobe - 4] + cmyk[adobe + 12 :]
    found["JPEG of two images"] = encoded(
        rgb, "MPO", save_all=True, append_images=[rgb.rotate(90)]
    )
    return found


def turned_files():
    """JPEG and PNG files that say how they are to be turned, by names."""
    pixels, image = values(8, 3), Image.fromarray(photo())
    said = {
        f"{orientation} {order}": exif(orientation, order)
        for orientation in range(10)
        for order in "<>"
    }
    said |= {
        "of 32 bits <": exif(6, "<", kind=4),
        "of 32 bits >": exif(6, ">", kind=4),
        "far away": exif(6)[:4] + b"\0\1\0\0" + exif(6)[8:],
        "of nothing": b"nothing",
        **{f"cut to {size}": exif(6, size=size) for size in (4, 9, 30, 34)},
    }
    found = {}
    for name, data in said.items():
        found[f"JPEG EXIF {name}"] = encoded(
            image, "JPEG", exif=b"Exif\0\0" + data
        )
        chunk = [(b"eXIf", data)]
        found[f"PNG EXIF {name}"] = png(pixels, 8, RGB, chunk)
        found[f"PNG EXIF behind {name}"] = png(pixels, 8, RGB, after=chunk)
    # Programs that show images do not follow these.
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    found["JPEG XMP"] = encoded(image, "JPEG", xmp=xmp)
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
    found["PNG XMP"] = png(pixels, 8, RGB, [(b"iTXt", text)])
    profile = b"\nexif\n\n" + (b"Exif\0\0" + exif(6)).hex().encode()
    text = b"Raw profile type exif\0\0" + zlib.compress(profile)
    found["PNG profile"] = png(pixels, 8, RGB, [(b"zTXt", text)])
    return found
