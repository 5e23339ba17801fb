"""Images made ready inside of a graph, as `keras_warn.images` does outside.

To the byte, but for what TensorFlow and Pillow round differently.
"""

import keras

# Red, green and blue in the brightness of a pixel (Rec. 601), as Pillow has
# them.
LUMA = (19595, 38470, 7471)


def decode(encoded, channels):
    """A JPEG or PNG image as `images.read_image` reads it, but for EXIF.

    On white where it is transparent. It is not turned as its EXIF orientation
    says, which TensorFlow does not read.

    Args:
        encoded: Scalar tensor of strings, the bytes of a file.
        channels: 1 or 3.

    Returns:
        A tensor `(height, width, channels)` of float32, whole numbers in
        [0, 255].
    """
    import tensorflow as tf

    def jpeg():
        # The method that Pillow uses, too.
        return tf.io.decode_jpeg(encoded, 3, dct_method="INTEGER_ACCURATE")

    def png():
        pixels = tf.cast(tf.io.decode_png(encoded, 4), tf.int32)
        alpha = pixels[:, :, 3:]
        on_white = pixels[:, :, :3] * alpha + 255 * (255 - alpha)
        # Pillow's division by 255, rounded.
        shifted = on_white * 128 + 128 * 128
        on_white = (shifted // 256 + shifted) // 256 // 128
        return tf.cast(on_white, tf.uint8)

    pixels = tf.cond(tf.io.is_jpeg(encoded), jpeg, png)
    if channels == 1:
        pixels = tf.cast(pixels, tf.int32) * tf.constant(LUMA)
        pixels = (tf.reduce_sum(pixels, -1, keepdims=True) + 2**15) // 2**16
    return tf.cast(pixels, tf.float32)


def fit(pixels, size, resize, short_side=None):
    """Brings images to a size as `images.fit_image` does.

    Args:
        pixels: Tensor `(b, height, width, c)` of float32, in [0, 255].
        size: Height and width, a pair of integers.
        resize: As of `images.fit_image`.
        short_side: As of `images.placement`.

    Returns:
        A tensor `(b, *size, c)` of float32, whole numbers in [0, 255].
    """
    import tensorflow as tf

    lengths = tf.shape(pixels)[1:3]
    given = tf.cast(lengths, tf.float64)
    wanted = tf.constant(size, tf.float64)
    inner = tf.constant(size, tf.int32)
    start, extent = tf.zeros_like(given), given
    if resize == "crop":
        scale = tf.reduce_min(given / wanted)
        if short_side is not None:
            scale *= min(size) / short_side
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


def preprocess(pixels, name, data_format):
    """Brings pixels to the numbers that a model takes, as it lays them out.

    Args:
        pixels: Tensor `(b, height, width, c)` of float32, in [0, 255].
        name: One of `images.PREPROCESSING`.
        data_format: `"channels_last"` or `"channels_first"`, the model's.

    Returns:
        A tensor of float32, `(b, height, width, c)` or `(b, c, height,
        width)`.
    """
    if name == "unit":
        pixels = pixels / 255
    elif name != "none":
        function = getattr(keras.applications, name).preprocess_input
        pixels = function(pixels, data_format="channels_last")
    if data_format == "channels_first":
        pixels = keras.ops.transpose(pixels, (0, 3, 1, 2))
    return pixels
