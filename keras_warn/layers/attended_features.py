"""What is there: the features that each mask selects."""

import math

import keras
from keras import ops

from keras_warn import checks
from keras_warn.layers import feature_maps
from keras_warn.layers.numerics import batched_product
from keras_warn.layers.numerics import wide


@keras.saving.register_keras_serializable(package="keras_warn")
class AttendedFeatures(keras.layers.Layer):
    """Features summed over positions under each attention mask.

    The paper convolves the features to label space and sums the result under
    each mask (equations 2, 3 and 5). Convolution and masking are linear, so
    the sum over positions can come first:

    `sum_xy mask(xy) (W * Z)(xy) = sum_d W_d . attended_d`, where
    `attended_d = sum_uv mask(uv - d) Z(uv)`

    and `d` runs over the offsets of the kernel `W`. This layer computes
    `attended`, from which `OutputHeads` and `HeadGate` are small linear maps.
    The result is exact; the label-space map, as large as the feature map times
    the number of classes, is never built.

    Args:
        kernel_size: Positive odd integer, the kernel size of the output heads
            and head gates. Tokens take 1 only.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `keras.config.image_data_format()`. Tokens have channels last.
        **kwargs: `name`, `dtype` and `trainable`.

    Call arguments:
        features: The feature map.
        masks: The masks of `AttentionHeads` on the same map.

    Input shape:
        features: `(b, h, w, c)`, `(b, c, h, w)` with
            `data_format="channels_first"`, or tokens `(b, p, c)`.
        masks: the same with `k` heads in place of `c` channels.

    Output shape:
        `(b, k, d * c)` with `d = kernel_size ** 2` offsets, in the order of a
        convolution kernel `(kernel_size, kernel_size, c)`. float32 under mixed
        precision, as sums over positions overflow float16.

    Raises:
        ValueError: if features and masks differ in their spatial shape, or
            are of another rank.

    Example:

    >>> features = keras.random.normal((2, 7, 7, 32))
    >>> masks = keras_warn.AttentionHeads(num_heads=4)(features)
    >>> ops.shape(keras_warn.AttendedFeatures()(features, masks))
    (2, 4, 32)
    >>> ops.shape(keras_warn.AttendedFeatures(3)(features, masks))
    (2, 4, 288)

    Reference:
        [Rodríguez et al., 2018](https://arxiv.org/abs/1807.07320), section 3.3
    """

    def __init__(self, kernel_size=1, data_format=None, **kwargs):
        # The sums are wide whatever the compute dtype: casting the masks down
        # before them would lose what `AttentionHeads` kept.
        super().__init__(autocast=False, **kwargs)
        self.kernel_size = checks.odd("kernel_size", kernel_size)
        self.data_format = checks.data_format(data_format)

    def build(self, features_shape, masks_shape) -> None:
        feature_maps.check("features", features_shape, self.kernel_size)
        feature_maps.check("masks", masks_shape, self.kernel_size)
        self._check_positions(features_shape, masks_shape)

    def _check_positions(self, features_shape, masks_shape):
        one, other = (
            (shape[0], *feature_maps.spatial_shape(shape, self.data_format))
            for shape in (features_shape, masks_shape)
        )
        # Traced sizes are equal without being the same: they have no hash.
        differ = len(one) != len(other) or any(
            a is not None and b is not None and a != b
            for a, b in zip(one, other, strict=True)
        )
        if differ:
            raise ValueError(
                "`features` and `masks` must have the same batch and "
                "positions. Received: features of shape "
                f"{tuple(features_shape)} and masks of shape "
                f"{tuple(masks_shape)}, with "
                f"data_format={self.data_format!r}."
            )

    def call(self, features, masks) -> keras.KerasTensor:
        # Sizes that were unknown when the layer was built may be known now.
        self._check_positions(features.shape, masks.shape)
        dtype = wide(self.compute_dtype)
        features = ops.cast(features, dtype)
        flat = feature_maps.flatten_positions(features, self.data_format)
        masks = ops.cast(masks, dtype)
        masks = feature_maps.heads_first(masks, self.data_format)
        heads = masks.shape[1]
        offsets = feature_maps.offsets(self.kernel_size)
        if len(offsets) > 1:
            masks = feature_maps.with_border(masks, self.kernel_size)
            masks = ops.concatenate(
                [
                    feature_maps.shift(masks, -y, -x, self.kernel_size)
                    for y, x in offsets
                ],
                axis=1,
            )
        positions = math.prod(ops.shape(masks)[2:])
        masks = ops.reshape(masks, (-1, len(offsets) * heads, positions))
        if feature_maps.channel_axis(features.shape, self.data_format) == 1:
            attended = ops.einsum("bjp,bcp->bjc", masks, flat)
        else:
            attended = batched_product(masks, flat)
        if len(offsets) == 1:
            return attended
        channels = attended.shape[-1]
        attended = ops.reshape(attended, (-1, len(offsets), heads, channels))
        attended = ops.transpose(attended, (0, 2, 1, 3))
        return ops.reshape(attended, (-1, heads, len(offsets) * channels))

    def compute_output_shape(self, features_shape, masks_shape) -> tuple:
        axis = feature_maps.channel_axis(features_shape, self.data_format)
        channels = features_shape[axis]
        if channels is not None:
            channels *= self.kernel_size**2
        return (features_shape[0], masks_shape[axis], channels)

    def compute_output_spec(self, features, masks) -> keras.KerasTensor:
        return keras.KerasTensor(
            self.compute_output_shape(features.shape, masks.shape),
            dtype=wide(self.compute_dtype),
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "data_format": self.data_format,
        }
