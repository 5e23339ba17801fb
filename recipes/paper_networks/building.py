"""What networks are built from, and the arguments that they share.

Convolutions have no bias. As in PyTorch, strided ones pad both sides alike,
and batch normalisation has `momentum=0.9` and `epsilon=1e-5`. All kernels start
from He's normal distribution, not truncated, of the fan-in: so they do in the
reference, and in the PyTorch code of the authors of wide residual networks.
Authors' code in Lua, and torchvision, take the fan-out.

Layers are named by what they are in: `stem_conv`, `group1_block2_conv1`,
`final_relu`, `predictions`. Pixels are not normalised inside.
"""

import dataclasses

import keras

from keras_warn import checks

# Defaults of Torch and PyTorch, in which these networks were trained. Keras's
# own, 0.001 and 0.99, would compute something else from the same weights.
_EPSILON = 1e-5
_MOMENTUM = 0.9  # PyTorch counts the other way, and calls it 0.1.


def conv(channels, size, strides=1, padding="same", *, groups=1, name):
    """A convolution without bias, as a layer."""
    return keras.layers.Conv2D(
        channels,
        size,
        strides,
        padding,
        groups=groups,
        use_bias=False,
        kernel_initializer=initializer(),
        name=name,
    )


def centred_conv(x, channels, size, strides, *, groups=1, name):
    """The map, convolved by windows around every `strides`-th position."""
    if strides == 1:
        return conv(channels, size, groups=groups, name=name)(x)
    # `padding="same"` would pad even sizes at the end alone.
    pad = f"{name.rpartition('_')[0]}_pad"
    x = keras.layers.ZeroPadding2D(size // 2, name=pad)(x)
    layer = conv(channels, size, strides, "valid", groups=groups, name=name)
    return layer(x)


def normalized(x, name):
    """The map, batch-normalised."""
    return keras.layers.BatchNormalization(
        axis=channel_axis(), momentum=_MOMENTUM, epsilon=_EPSILON, name=name
    )(x)


def activated(x, name, number=""):
    """The map, normalised and activated."""
    x = normalized(x, f"{name}_bn{number}")
    return keras.layers.ReLU(name=f"{name}_relu{number}")(x)


def bottleneck(x, inner, channels, strides=1, *, groups=1, name):
    """A block of three convolutions, activated after its sum with the shortcut.

    The middle one has `inner` channels, `strides` and `groups`.
    """
    shortcut = x
    if strides > 1 or x.shape[channel_axis()] != channels:
        shortcut = conv(channels, 1, strides, name=f"{name}_shortcut")(x)
        shortcut = normalized(shortcut, f"{name}_shortcut_bn")
    x = conv(inner, 1, name=f"{name}_conv1")(x)
    x = activated(x, name, 1)
    x = centred_conv(x, inner, 3, strides, groups=groups, name=f"{name}_conv2")
    x = activated(x, name, 2)
    x = conv(channels, 1, name=f"{name}_conv3")(x)
    x = normalized(x, f"{name}_bn3")
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def initializer():
    """He's normal distribution of the fan-in, not truncated."""
    # One for each kernel: it repeats the values that it drew once.
    return keras.initializers.VarianceScaling(
        2.0, "fan_in", "untruncated_normal"
    )


def channel_axis():
    """Where Keras's data format has channels."""
    first = keras.config.image_data_format() == "channels_first"
    return 1 if first else -1


def blocks_in_group(depth, convolutions, others):
    """How many blocks each of three groups has.

    A block has so many `convolutions`; `others` are layers outside of blocks.
    """
    depth = checks.integer("depth", depth)
    blocks, rest = divmod(depth - others, 3 * convolutions)
    if blocks < 1 or rest:
        raise ValueError(
            f"`depth` must be {3 * convolutions} * blocks + {others}, for each "
            f"of 3 groups to have as many. Received: depth={depth}."
        )
    return blocks


@dataclasses.dataclass
class Ends:
    """Where a network begins and ends: arguments of all of them."""

    input_shape: tuple | None = None
    classes: int = 10
    include_top: bool = True
    classifier_activation: object = "softmax"
    name: str | None = None

    def images(self, size=32):
        """The images that the network starts from, as a `KerasTensor`."""
        first = channel_axis() == 1
        plane = (3, size, size) if first else (size, size, 3)
        return keras.Input(self.input_shape or plane)

    def model(self, images, x, name):
        """The model that ends in `x`, a map or pooled, or in its classes."""
        if self.include_top:
            if len(x.shape) == 4:
                x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
            x = keras.layers.Dense(
                self.classes,
                activation=self.classifier_activation,
                kernel_initializer=initializer(),
                name="predictions",
            )(x)
        return keras.Model(images, x, name=self.name or name)
