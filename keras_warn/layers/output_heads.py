"""What it could be: one hypothesis a head."""

import keras
from keras import ops

from keras_warn import checks
from keras_warn.layers.numerics import batched_product
from keras_warn.layers.numerics import wide


def _head_by_head(kernel_shape) -> bool:
    """Whether a product for each head is faster than a batch of products.

    TensorFlow's batch of large products (of more than 128 * 128 numbers) runs
    them one after the other, too, and reads their matrices more slowly than
    plain products do. On JAX, plain products copy each head's matrix first.
    """
    _, size, classes = kernel_shape
    large = size * classes > 128 * 128
    return large and keras.backend.backend() == "tensorflow"


@keras.saving.register_keras_serializable(package="keras_warn")
class OutputHeads(keras.layers.Layer):
    """Class predictions of every attention head.

    Each head has a linear map of its own from what it attends to, to the
    classes:

    `hypotheses_k = attended_k . kernel_k` (equations 2 and 3, in the order
    that `AttendedFeatures` explains).

    With a `rank`, kernels are products of two factors, of which all heads
    share the first: `kernel_k = shared_kernel . kernel_k'`. Of `k * f * n`
    parameters, `rank * (f + k * n)` are left. The paper has no such factor.

    Args:
        classes: Positive integer, the number of classes `n`.
        kernel_initializer: Initializer of the kernels. It sees the shape
            `(f, k * n)`, so that the fan-in is that of one convolution; with a
            `rank`, the shapes `(f, r)` and `(r, k * n)`.
        kernel_regularizer: Regularizer of the kernels, of both factors.
        rank: Positive integer `r`, or `None` for kernels of full rank.
        **kwargs: `name`, `dtype` and `trainable`.

    Call arguments:
        attended: The output of `AttendedFeatures`.

    Input shape:
        `(b, k, f)`: heads, attended features.

    Output shape:
        `(b, k, n)`, unnormalised scores (logits). float32 under mixed
        precision.

    Raises:
        TypeError: if `classes` or `rank` is not an integer.
        ValueError: if one of them is not positive, or the input no such
            tensor.

    Example:

    >>> attended = keras.random.normal((2, 4, 32))
    >>> ops.shape(keras_warn.OutputHeads(classes=10)(attended))
    (2, 4, 10)

    Reference:
        [Rodríguez et al., 2018](https://arxiv.org/abs/1807.07320), section 3.3
    """

    def __init__(
        self,
        classes,
        kernel_initializer="he_normal",
        kernel_regularizer=None,
        rank=None,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.classes = checks.integer("classes", classes)
        self.rank = rank if rank is None else checks.integer("rank", rank)
        self.kernel_initializer = checks.initializer(
            "kernel_initializer", kernel_initializer
        )
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, attended_shape) -> None:
        checks.rank("attended", attended_shape, (3,), "(b, k, f)")
        heads = checks.known_axis("attended", attended_shape, 1, "heads")
        size = checks.known_axis("attended", attended_shape, 2, "features")
        self.input_spec = keras.layers.InputSpec(
            ndim=3, axes={1: heads, 2: size}
        )

        def initializer(shape, dtype=None):
            heads, size, classes = shape
            kernel = self.kernel_initializer(
                (size, heads * classes), dtype=dtype
            )
            kernel = ops.reshape(kernel, (size, heads, classes))
            return ops.transpose(kernel, (1, 0, 2))

        self.shared_kernel = None
        if self.rank is not None:
            self.shared_kernel = self.add_weight(
                shape=(size, self.rank),
                # A copy: one without a seed repeats what it drew.
                initializer=checks.initializer(
                    "kernel_initializer", self.kernel_initializer
                ),
                regularizer=self.kernel_regularizer,
                name="shared_kernel",
            )
            size = self.rank
        self.kernel = self.add_weight(
            shape=(heads, size, self.classes),
            initializer=initializer,
            regularizer=self.kernel_regularizer,
            name="kernel",
        )

    def call(self, attended) -> keras.KerasTensor:
        attended = ops.cast(attended, wide(self.compute_dtype))
        if self.shared_kernel is not None:
            shared = ops.cast(self.shared_kernel, attended.dtype)
            # All heads in one product.
            rows = ops.reshape(attended, (1, -1, shared.shape[0]))
            attended = ops.reshape(
                batched_product(rows, shared[None]),
                (-1, attended.shape[1], self.rank),
            )
        kernel = ops.cast(self.kernel, attended.dtype)
        if _head_by_head(kernel.shape):
            pairs = zip(
                ops.unstack(attended, axis=1), ops.unstack(kernel), strict=True
            )
            return ops.stack([ops.matmul(*pair) for pair in pairs], axis=1)
        hypotheses = batched_product(ops.transpose(attended, (1, 0, 2)), kernel)
        return ops.transpose(hypotheses, (1, 0, 2))

    def compute_output_shape(self, attended_shape) -> tuple:
        return (*attended_shape[:-1], self.classes)

    def compute_output_spec(self, attended) -> keras.KerasTensor:
        return keras.KerasTensor(
            self.compute_output_shape(attended.shape),
            dtype=wide(self.compute_dtype),
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "classes": self.classes,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
            "rank": self.rank,
        }
