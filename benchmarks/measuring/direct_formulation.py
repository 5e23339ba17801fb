"""The paper's formulation as it is written, in layers of Keras.

A convolution makes the label-space map, which is masked and summed. `augment`
computes the same without that map.
"""

import keras
import numpy as np
from keras import ops

import keras_warn
from keras_warn.attention import attention_of


def masked_sum(label_map, masks):
    """Sum over positions of a map under each mask (equations 2, 3 and 5).

    From a map `(b, h, w, k * n)` and masks `(b, h, w, k)` to `(b, k, n)`.
    """
    outputs = label_map.shape[-1] // masks.shape[-1]
    label_map = ops.reshape(label_map, (-1, *masks.shape[1:], outputs))
    return ops.sum(label_map * masks[..., None], axis=(1, 2))


def convolution(features, kernel, name):
    """A convolution with zero padding, without bias, and with this kernel."""
    layer = keras.layers.Conv2D(
        kernel.shape[-1],
        kernel.shape[:2],
        padding="same",
        use_bias=False,
        data_format="channels_last",
        name=name,
    )
    outputs = layer(features)
    # A copy: JAX's steps give arrays away.
    layer.kernel.assign(ops.convert_to_numpy(kernel))
    return outputs


def convolution_kernel(kernel, kernel_size):
    """The kernel of a head-wise linear map, as that of one convolution.

    From `(k, d * c, n)` to `(kernel_size, kernel_size, c, k * n)`.
    """
    kernel = ops.convert_to_numpy(kernel)
    heads, _, outputs = kernel.shape
    kernel = kernel.reshape(heads, kernel_size, kernel_size, -1, outputs)
    kernel = np.moveaxis(kernel, 0, 3)
    return kernel.reshape(*kernel.shape[:3], heads * outputs)


def direct_module(module):
    """The prediction `(b, n)` of a module of ours, in the direct way."""
    heads = module.masks
    features, name = heads.input, f"direct_{module.name}"

    scores = convolution(features, heads.kernel, f"{name}_scores")
    masks = keras.layers.Softmax(axis=(1, 2))(scores)  # equation 1

    def seen(kernel, of):
        kernel = convolution_kernel(kernel, heads.kernel_size)
        found = convolution(features, kernel, f"{name}_{of}_map")
        return masked_sum(found, masks)

    label = module.hypotheses.kernel
    if module.hypotheses.rank:
        label = module.hypotheses.shared_kernel @ label
    hypotheses = seen(label, "label")
    if isinstance(module.head_gates, keras_warn.UniformGate):
        gates = keras_warn.UniformGate(heads.num_heads)(hypotheses)
    else:  # equation 5
        scores = seen(module.head_gates.kernel[:, :, None], "gate")
        gates = ops.softmax(ops.tanh(scores[..., 0]), axis=-1)
    return keras.layers.Dot(axes=1, name=f"{name}_prediction")(
        [gates, hypotheses]
    )


def direct_formulation(ours):
    """The paper's formulation, with the weights and backbone of `ours`."""
    attention = attention_of(ours)
    predictions = [
        attention.backbone_logits,
        *map(direct_module, attention.modules),
    ]
    # A layer of its own: one called twice has no single input to read.
    combine = keras_warn.GatedSum.from_config(
        {**attention.rectified.get_config(), "name": "direct_rectified"}
    )
    gates = attention.global_gates.output
    return keras.Model(ours.inputs, combine(gates, predictions), name="direct")


def difference(ours, direct, images):
    """The largest difference of ours and direct, relative to the largest entry.

    Of the predictions of every module, too: probabilities over hundreds of
    classes would all be near zero.
    """
    outputs = [ours.output, direct.output]
    for module in attention_of(ours).modules:
        outputs.append(module.prediction.output)
        name = f"direct_{module.prediction.name}"
        outputs.append(direct.get_layer(name).output)
    values = keras.Model(ours.inputs, outputs)(images, training=False)
    values = [ops.convert_to_numpy(value) for value in values]
    return max(
        float(np.max(np.abs(a - b)) / np.max(np.abs(a)))
        for a, b in zip(values[::2], values[1::2], strict=True)
    )
