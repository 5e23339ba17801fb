"""Images made ready inside of a graph, as `keras_warn.data.images` does
outside.

Decoding is equal to the byte; resizing is but for what TensorFlow and Pillow
round differently.
"""

from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    import tensorflow as tf

# Red, green and blue in the brightness of a pixel (Rec. 601), as Pillow has
# them.
LUMA = (19595, 38470, 7471)


def decode(encoded, channels) -> "tf.Tensor":
    """A JPEG or PNG image as `images.read_image` reads it.

    From a scalar string, the bytes of a file, to float32 `(height, width,
    channels)`, whole numbers in [0, 255].
    """
    import tensorflow as tf

    is_jpeg = tf.io.is_jpeg(encoded)
    pixels = tf.cond(
        is_jpeg,
        # The method that Pillow uses, too.
        lambda: tf.io.decode_jpeg(encoded, 3, dct_method="INTEGER_ACCURATE"),
        lambda: _decode_png(encoded),
    )
    if channels == 1:
        pixels = tf.cast(pixels, tf.int32) * tf.constant(LUMA)
        pixels = (tf.reduce_sum(pixels, -1, keepdims=True) + 2**15) // 2**16
    pixels = tf.cast(pixels, tf.float32)
    marker = tf.where(is_jpeg, b"Exif\0\0", b"eXIf")
    return _apply_exif(pixels, _orientation(encoded, marker))


def _decode_png(encoded):
    """A PNG image on white, uint8 `(height, width, 3)`."""
    import tensorflow as tf

    pixels = tf.cast(tf.io.decode_png(encoded, 4), tf.int32)
    # The header has the bits of a number, and 3 where they choose a color
    # from a palette.
    header = tf.io.decode_raw(tf.strings.substr(encoded, 24, 2), tf.uint8)
    bits, kind = header[0], header[1]
    # To images of less than 8 bits without transparency, TensorFlow gives an
    # alpha of 1, 3 or 15 for opaque. Alpha is 0 or 255 in gray ones that have
    # some, and can be anything in a palette: that is then decoded to 4
    # channels of itself, not to 3.
    opaque = tf.cond(
        (bits < 8) & (kind == 3),
        lambda: tf.shape(tf.io.decode_png(encoded, 0))[2] == 3,
        lambda: bits < 8,
    )
    alpha = pixels[:, :, 3:]
    alpha = tf.where(opaque & (alpha > 0), 255, alpha)
    on_white = pixels[:, :, :3] * alpha + 255 * (255 - alpha)
    # Pillow's division by 255, rounded.
    shifted = on_white * 128 + 128 * 128
    on_white = (shifted // 256 + shifted) // 256 // 128
    return tf.cast(on_white, tf.uint8)


def _orientation(encoded, marker):
    """The EXIF orientation of a file, 1 to 8; EXIF begins after `marker`."""
    import tensorflow as tf

    # The tags lie in the first 64 KiB, and slices may be shorter than asked.
    exif = tf.strings.split(encoded, marker, maxsplit=1)[-1]
    exif = tf.strings.substr(exif, 0, 2**16)
    order = tf.strings.substr(exif, 0, 4)
    little = order == b"II*\0"
    data = tf.cast(tf.io.decode_raw(exif, tf.uint8), tf.int64)

    def numbers(digits):
        powers = 256 ** tf.range(tf.shape(digits)[-1], dtype=tf.int64)
        powers = tf.where(little, powers, powers[::-1])
        return tf.reduce_sum(digits * powers, -1)

    start = numbers(data[4:8]) + 2
    count = numbers(data[start - 2 : start])
    # Each tag has 12 bytes: its name, type, length and value. That of the
    # orientation is one number of 16 bits, type 3, or of 32, type 4.
    tags = data[start : start + 12 * count]
    tags = tf.reshape(tags[: tf.size(tags) // 12 * 12], (-1, 12))
    kinds = numbers(tags[:, 2:4])
    values = tf.where(
        kinds == 3, numbers(tags[:, 8:10]), numbers(tags[:, 8:12])
    )
    values = tf.boolean_mask(
        values,
        (little | (order == b"MM\0*"))
        & (numbers(tags[:, :2]) == 0x0112)
        & ((kinds == 3) | (kinds == 4))
        & (numbers(tags[:, 4:8]) == 1),
    )
    value = tf.concat([[1], values], 0)[-1]
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _apply_exif(pixels, orientation):
    """Turns an image as its EXIF orientation says."""
    import tensorflow as tf

    pixels = tf.cond(
        orientation > 4,
        lambda: tf.transpose(pixels, (1, 0, 2)),
        lambda: pixels,
    )
    turn = (orientation - 1) % 4
    backwards = [turn >= 2, (turn == 1) | (turn == 2), False]
    return tf.raw_ops.Reverse(tensor=pixels, dims=tf.stack(backwards))


def fit(pixels, size, resize, resize_shorter_edge=None) -> "tf.Tensor":
    """Brings images `(b, h, w, c)` to a size as `images.fit_image` does.

    Whole numbers in [0, 255], as float32; the options are those of
    `images.fit_image`.
    """
    import tensorflow as tf

    lengths = tf.shape(pixels)[1:3]
    given = tf.cast(lengths, tf.float64)
    wanted = tf.constant(size, tf.float64)
    inner = tf.constant(size, tf.int32)
    start, extent = tf.zeros_like(given), given
    if resize == "crop":
        scale = tf.reduce_min(given / wanted)
        if resize_shorter_edge is not None:
            scale *= min(size) / resize_shorter_edge
        extent = wanted * scale
        start = (given - extent) / 2
    elif resize == "pad":
        scale = tf.reduce_min(wanted / given)
        inner = tf.cast(tf.round(given * scale), tf.int32)
        inner = tf.clip_by_value(inner, 1, tf.constant(size, tf.int32))
    # Rows after columns, each rounded: so does Pillow.
    for axis in (1, 0):
        steps = tf.cast(inner, tf.float64) / extent
        along = tf.one_hot(axis, 2, dtype=tf.float64)
        scale = tf.where(along > 0, steps, 1.0)
        shift = tf.where(along > 0, -start * steps, 0.0)
        target = tf.where(along > 0, inner, tf.shape(pixels)[1:3])
        pixels = tf.raw_ops.ScaleAndTranslate(
            images=pixels,
            size=target,
            scale=tf.cast(scale, tf.float32),
            translation=tf.cast(shift, tf.float32),
            kernel_type="triangle",
            antialias=True,
        )
        pixels = tf.floor(pixels + 0.5)
    if resize == "pad":
        before = (tf.constant(size, tf.int32) - inner) // 2
        pixels = tf.image.pad_to_bounding_box(
            pixels, before[0], before[1], *size
        )
    return tf.ensure_shape(pixels, (None, *size, pixels.shape[-1]))


def preprocess(pixels, name, data_format) -> "tf.Tensor":
    """Brings pixels to the numbers that a model takes, as it lays them out.

    From float32 in [0, 255], `(b, height, width, c)`; `name` is one of
    `model_inputs.PREPROCESSING`.
    """
    if name == "rescale":
        pixels = pixels / 255
    elif name != "none":
        function = getattr(keras.applications, name).preprocess_input
        pixels = function(pixels, data_format="channels_last")
    if data_format == "channels_first":
        pixels = keras.ops.transpose(pixels, (0, 3, 1, 2))
    return pixels
