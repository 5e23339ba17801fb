"""Where to look: one mask a head."""

import math

import keras
from keras import ops

from keras_warn import checks
from keras_warn.layers import feature_maps
from keras_warn.layers.earlier import renamed
from keras_warn.layers.numerics import softmax
from keras_warn.layers.numerics import wide


def _convolution_is_faster(kernel_size, heads, dtype):
    """Whether a convolution is faster than products that are then shifted.

    With few heads it leaves most of a vector unit idle, and on JAX its gradient
    takes long. In half precision, only the scores of single kernel offsets are
    known to fit.
    """
    return (
        kernel_size > 1
        and heads >= 16
        and wide(dtype) == dtype
        and keras.backend.backend() == "tensorflow"
    )


@keras.saving.register_keras_serializable(package="keras_warn")
class AttentionHeads(keras.layers.Layer):
    """Attention masks over the positions of a feature map.

    Every head scores every position with a convolution and normalises its
    scores over all positions:

    `masks = spatial_softmax(kernel * features)` (equation 1),

    where `*` is a convolution with zero padding and without bias. With
    `activation="sigmoid"` each position is squashed by itself, "at the risk of
    degeneration to all-zeros or all-ones" (section 3.2); such masks do not
    sum to one, and hypotheses grow with the number of positions.

    Args:
        num_heads: Positive integer, the number of masks `k` (the paper's
            *attention width*).
        kernel_size: Positive odd integer. Tokens take 1 only.
        activation: `"softmax"` over all positions, or `"sigmoid"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `keras.config.image_data_format()`. Tokens have channels last.
        kernel_initializer: Initializer of the convolution kernel.
        kernel_regularizer: Regularizer of the convolution kernel.
        activity_regularizer: Regularizer of the masks, such as
            `keras_warn.MaskDiversity`.
        **kwargs: `name`, `dtype` and `trainable`.

    Call arguments:
        features: The feature map.

    Input shape:
        `(b, h, w, c)`, `(b, c, h, w)` with `data_format="channels_first"`, or
        tokens `(b, p, c)`. `b`, `h`, `w` and `p` may be unknown.

    Output shape:
        The input's with `k` in place of `c`. float32 under mixed precision,
        since masks over many positions underflow float16; the scores of
        single kernel offsets must fit the compute dtype.

    Raises:
        TypeError: if `num_heads` or `kernel_size` is not an integer.
        ValueError: if an argument is out of its range, if the features are of
            another rank, or if a kernel larger than 1 meets tokens.

    Example:

    >>> features = keras.random.normal((2, 7, 7, 32))
    >>> masks = keras_warn.AttentionHeads(num_heads=4)(features)
    >>> ops.shape(masks)
    (2, 7, 7, 4)
    >>> bool(ops.all(ops.abs(ops.sum(masks, axis=(1, 2)) - 1) < 1e-5))
    True

    Differences from the reference: its masks are 3x3 softmax masks with an
    untruncated He normal kernel, `AttentionHeads(num_heads, kernel_size=3,
    kernel_initializer=keras.initializers.VarianceScaling(2, "fan_in",
    "untruncated_normal"))`.

    Reference:
        [Rodríguez et al., 2018](https://arxiv.org/abs/1807.07320), section 3.2
    """

    def __init__(
        self,
        num_heads,
        kernel_size=1,
        activation="softmax",
        data_format=None,
        kernel_initializer="he_normal",
        kernel_regularizer=None,
        activity_regularizer=None,
        **kwargs,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.num_heads = checks.integer("num_heads", num_heads)
        self.kernel_size = checks.odd("kernel_size", kernel_size)
        self.activation = checks.one_of(
            "activation", activation, ("softmax", "sigmoid")
        )
        self.data_format = checks.data_format(data_format)
        self.kernel_initializer = checks.initializer(
            "kernel_initializer", kernel_initializer
        )
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, features_shape) -> None:
        feature_maps.check("features", features_shape, self.kernel_size)
        axis = feature_maps.channel_axis(features_shape, self.data_format)
        channels = checks.known_axis(
            "features", features_shape, axis, "channels"
        )
        # Without it, another number of channels would be taken for another
        # number of images.
        self.input_spec = keras.layers.InputSpec(
            ndim=len(features_shape), axes={axis: channels}
        )
        size = self.kernel_size
        self.kernel = self.add_weight(
            shape=(size, size, channels, self.num_heads),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            name="kernel",
        )

    def call(self, features) -> keras.KerasTensor:
        scores = self._scores(features)
        if self.activation == "sigmoid":
            masks = ops.sigmoid(scores)
        else:
            shape = ops.shape(scores)
            flat = ops.reshape(
                scores, (-1, self.num_heads, math.prod(shape[2:]))
            )
            masks = ops.reshape(softmax(flat, axis=-1), (-1, *shape[1:]))
        return feature_maps.from_heads_first(masks, self.data_format)

    def _scores(self, features):
        """Scores `(b, k, h, w)`, or `(b, k, p)` of tokens, wide.

        Mostly, the product with all kernel offsets at once comes first, and
        the outputs, which are small, are then shifted and added.
        """
        size, dtype = self.kernel_size, self.compute_dtype
        shape = ops.shape(features)
        channels_last = feature_maps.channel_axis(shape, self.data_format) != 1
        if channels_last and _convolution_is_faster(
            size, self.num_heads, dtype
        ):
            scores = ops.conv(
                features,
                self.kernel,
                padding="same",
                data_format="channels_last",
            )
            return feature_maps.heads_first(scores, "channels_last")
        offsets = feature_maps.offsets(size)
        outputs = len(offsets) * self.num_heads
        kernel = ops.transpose(self.kernel, (2, 0, 1, 3))
        kernel = ops.reshape(kernel, (-1, outputs))
        spatial = feature_maps.spatial_shape(shape, self.data_format)
        if not channels_last:
            flat = feature_maps.flatten_positions(features, self.data_format)
            products = ops.einsum("bcp,cj->bjp", flat, kernel)
        else:
            # A batch of one: on TensorFlow, its product and gradient take three
            # quarters of the time of a plain product's.
            rows = ops.reshape(features, (1, -1, kernel.shape[0]))
            products = ops.einsum("arc,acj->arj", rows, kernel[None])
            products = ops.reshape(products, (-1, math.prod(spatial), outputs))
            products = ops.transpose(products, (0, 2, 1))
        products = ops.cast(products, wide(dtype))
        products = ops.reshape(products, (-1, outputs, *spatial))
        if len(offsets) == 1:
            return products
        products = feature_maps.with_border(products, size)
        parts = ops.split(products, len(offsets), axis=1)
        return sum(
            feature_maps.shift(part, *offset, size)
            for part, offset in zip(parts, offsets, strict=True)
        )

    def compute_output_shape(self, features_shape) -> tuple:
        axis = feature_maps.channel_axis(features_shape, self.data_format)
        shape = list(features_shape)
        shape[axis] = self.num_heads
        return tuple(shape)

    def compute_output_spec(self, features) -> keras.KerasTensor:
        return keras.KerasTensor(
            self.compute_output_shape(features.shape),
            dtype=wide(self.compute_dtype),
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "kernel_size": self.kernel_size,
            "activation": self.activation,
            "data_format": self.data_format,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
        }

    @classmethod
    def from_config(cls, config) -> "AttentionHeads":
        return super().from_config(renamed(config, heads="num_heads"))
