"""Wide residual networks, which the paper's experiments on CIFAR start from."""

import numbers
import os

import keras

from keras_warn import checks

_STEM_CHANNELS = 16
_GROUPS = 3
# Defaults of Torch and PyTorch, in which these networks were trained. Keras's
# own, 0.001 and 0.99, would compute something else from the same weights.
_EPSILON = 1e-5
_MOMENTUM = 0.9  # PyTorch counts the other way, and calls it 0.1.


def WideResNet(
    depth=28,
    width=10,
    input_shape=None,
    classes=10,
    dropout=0.0,
    include_top=True,
    classifier_activation="softmax",
    weights=None,
    input_tensor=None,
    pooling=None,
    *,
    activate_stem=False,
    activate_shortcuts=True,
    name=None,
):
    """A wide residual network for small images.

    Three groups of residual blocks on `16 * width`, `32 * width` and
    `64 * width` channels follow a convolution to 16 channels. The second and
    third group halve the resolution. Blocks normalise and activate first:

    `x + conv(dropout(relu(norm(conv(relu(norm(x)))))))`,

    where a 1x1 convolution takes the place of the first `x` if the block
    changes the number of channels. After the last group come a normalisation
    and an activation, the mean over positions, and a linear classifier.

    Pixels are not normalised inside. The papers subtract the mean of each
    channel over the training set and divide by its standard deviation.

    Args:
        depth: Integer `6 * blocks + 4`, where `blocks` is the number of blocks
            in each group: 10, 16, 22, 28, 34, 40 and so on.
        width: Positive integer, the factor on the channels.
        input_shape: Shape of the images without the batch, in Keras's data
            format; sizes, but not channels, may be `None`. Defaults to 32 x 32
            pixels of 3 channels.
        classes: Positive integer, the number of classes, with `include_top`.
        dropout: Number from 0 to 1, the share of values that is dropped
            between the convolutions of a block while training.
        include_top: Whether the network ends in its classifier.
        classifier_activation: Activation of the classifier, `None` for
            logits.
        weights: Path of a file of weights, or `None` for random ones.
        input_tensor: `KerasTensor` of images to start from instead, such as
            the output of preprocessing layers. The model then takes what the
            tensor is computed from.
        pooling: What the network ends in without its classifier: `None` for
            the last feature map, `"avg"` or `"max"` for its mean or maximum
            over positions.
        activate_stem: Whether a normalisation and an activation follow the
            first convolution, too, as in the reference.
        activate_shortcuts: Whether the 1x1 convolutions of shortcuts read
            `relu(norm(x))`, which the block reads as well, or `x` itself, as
            in the reference.
        name: Name of the model. Defaults to `"wide_resnet_<depth>_<width>"`.

    Returns:
        A flat functional `keras.Model`. Its layers are named `stem_conv`,
        `group<g>_block<b>_<layer>` for `g` and `b` from 1 with the layers
        `bn1`, `relu1`, `conv1`, `bn2`, `relu2`, `dropout`, `conv2`,
        `shortcut` and `add`, and `final_bn`, `final_relu`, `avg_pool` and
        `predictions`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of its range or contradicts another.

    Example:

    >>> from keras_warn.models import WideResNet
    >>> network = WideResNet(depth=16, width=1, classes=5)
    >>> model = keras_warn.augment(network, depth=3, kernel_size=3)
    >>> model.get_layer("module_1_masks").input.shape
    (None, 32, 32, 16)
    >>> model.output_shape
    (None, 5)

    Convolutions have no bias. As in PyTorch, batch normalisation has
    `momentum=0.9` and `epsilon=1e-5`, and strided convolutions pad both sides.
    Kernels start from He's normal distribution, not truncated, of the fan-in.
    So they do in the reference, and in the PyTorch code of the authors of
    wide residual networks; their first code, in Lua, takes the fan-out, which
    differs where the number of channels does.

    Differences from the reference: by default, this is the network of
    Zagoruyko and Komodakis. The reference attends to one with
    `activate_stem=True, activate_shortcuts=False`, and compares it with one
    with `activate_stem=False, activate_shortcuts=False`. Its dropout is that
    of whole channels, and that of its comparison none.

    Reference:
        [Zagoruyko and Komodakis, 2016](https://arxiv.org/abs/1605.07146)
    """
    blocks = _blocks(depth)
    width = checks.integer("width", width)
    classes = checks.integer("classes", classes)
    dropout = checks.real("dropout", dropout, maximum=1.0)
    checks.flag("include_top", include_top)
    checks.activation("classifier_activation", classifier_activation)
    checks.flag("activate_stem", activate_stem)
    checks.flag("activate_shortcuts", activate_shortcuts)
    _check_pooling(pooling, include_top)
    _check_weights(weights)
    images = _images(input_shape, input_tensor)

    x = _conv(_STEM_CHANNELS, 3, name="stem_conv")(images)
    if activate_stem:
        x = _activated(x, "stem_bn", "stem_relu")
    for group in range(1, _GROUPS + 1):
        for block in range(1, blocks + 1):
            x = _block(
                x,
                channels=_STEM_CHANNELS * width * 2 ** (group - 1),
                strides=2 if group > 1 and block == 1 else 1,
                dropout=dropout,
                activate_shortcut=activate_shortcuts,
                name=f"group{group}_block{block}",
            )
    x = _activated(x, "final_bn", "final_relu")
    if include_top or pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D(name="max_pool")(x)
    if include_top:
        x = keras.layers.Dense(
            classes,
            activation=classifier_activation,
            kernel_initializer=_initializer(),
            name="predictions",
        )(x)

    inputs = keras.utils.get_source_inputs(images)
    model = keras.Model(
        # A list of one would have to be called on lists.
        inputs[0] if len(inputs) == 1 else inputs,
        x,
        name=f"wide_resnet_{depth}_{width}" if name is None else name,
    )
    if weights is not None:
        model.load_weights(weights)
    return model


def _block(x, channels, strides, dropout, activate_shortcut, name):
    """A residual block that normalises and activates first."""
    activated = _activated(x, f"{name}_bn1", f"{name}_relu1")
    shortcut = x
    if x.shape[_channel_axis()] != channels:
        shortcut = _conv(channels, 1, strides, name=f"{name}_shortcut")(
            activated if activate_shortcut else x
        )
    residual = activated
    if strides > 1:
        # `padding="same"` would pad even sizes at the end alone.
        residual = keras.layers.ZeroPadding2D(name=f"{name}_pad")(residual)
    residual = _conv(
        channels,
        3,
        strides,
        padding="valid" if strides > 1 else "same",
        name=f"{name}_conv1",
    )(residual)
    residual = _activated(residual, f"{name}_bn2", f"{name}_relu2")
    if dropout > 0:
        residual = keras.layers.Dropout(dropout, name=f"{name}_dropout")(
            residual
        )
    residual = _conv(channels, 3, name=f"{name}_conv2")(residual)
    return keras.layers.Add(name=f"{name}_add")([residual, shortcut])


def _activated(x, bn_name, relu_name):
    """The map, normalised and activated."""
    x = keras.layers.BatchNormalization(
        axis=_channel_axis(),
        momentum=_MOMENTUM,
        epsilon=_EPSILON,
        name=bn_name,
    )(x)
    return keras.layers.ReLU(name=relu_name)(x)


def _conv(channels, size, strides=1, padding="same", *, name):
    return keras.layers.Conv2D(
        channels,
        size,
        strides,
        padding,
        use_bias=False,
        kernel_initializer=_initializer(),
        name=name,
    )


def _initializer():
    # One for each kernel: it repeats the values that it drew once.
    return keras.initializers.VarianceScaling(
        2.0, "fan_in", "untruncated_normal"
    )


def _channel_axis():
    first = keras.config.image_data_format() == "channels_first"
    return 1 if first else -1


def _images(input_shape, input_tensor):
    """The images that the network starts from, as a `KerasTensor`."""
    first = keras.config.image_data_format() == "channels_first"
    layout = "(c, h, w)" if first else "(h, w, c)"
    if input_tensor is None:
        if input_shape is None:
            input_shape = (3, 32, 32) if first else (32, 32, 3)
        return keras.Input(_checked_shape(input_shape, layout))
    if not isinstance(input_tensor, keras.KerasTensor):
        raise TypeError(
            "`input_tensor` must be a KerasTensor, such as `keras.Input` "
            f"returns. Received: input_tensor={input_tensor!r} (of type "
            f"{type(input_tensor).__name__})."
        )
    shape = tuple(input_tensor.shape)
    checks.rank("input_tensor", shape, (4,), f"(b, {layout[1:]}")
    checks.known_axis("input_tensor", shape, _channel_axis(), "channels")
    if input_shape is not None and (
        _checked_shape(input_shape, layout) != shape[1:]
    ):
        raise ValueError(
            "`input_shape` must be left out with `input_tensor`, or be its "
            f"shape, {shape[1:]}. Received: input_shape={input_shape}."
        )
    return input_tensor


def _checked_shape(input_shape, layout):
    """The shape as a tuple of three integers, or `None` for sizes."""
    rule = (
        f"`input_shape` must be {layout}, positive integers, or None for h "
        f"and w. Received: input_shape={input_shape!r}"
    )
    if not isinstance(input_shape, (tuple, list)):
        raise TypeError(f"{rule} (of type {type(input_shape).__name__}).")
    if len(input_shape) != 3:
        raise ValueError(f"{rule}.")
    for length in input_shape:
        if length is not None and (
            isinstance(length, bool)
            or not isinstance(length, numbers.Integral)
            or length < 1
        ):
            raise ValueError(f"{rule}.")
    if input_shape[0 if layout == "(c, h, w)" else 2] is None:
        raise ValueError(f"{rule}.")
    return tuple(length and int(length) for length in input_shape)


def _blocks(depth):
    """The number of blocks in each group."""
    depth = checks.integer("depth", depth)
    blocks, rest = divmod(depth - 4, 2 * _GROUPS)
    if blocks < 1 or rest:
        raise ValueError(
            "`depth` must be 6 * blocks + 4, such as 10, 16, 22, 28 or 40: "
            "two convolutions in each block of the 3 groups. "
            f"Received: depth={depth}."
        )
    return blocks


def _check_pooling(pooling, include_top):
    if pooling is None:
        return
    checks.one_of("pooling", pooling, ("avg", "max"))
    if include_top:
        raise ValueError(
            "`pooling` must be None with the classifier (`include_top=True`), "
            f"which reads the mean. Received: pooling={pooling!r}."
        )


def _check_weights(weights):
    if weights is None:
        return
    if not isinstance(weights, (str, os.PathLike)):
        raise TypeError(
            "`weights` must be None or a path. Received: "
            f"weights={weights!r} (of type {type(weights).__name__})."
        )
    if not os.path.isfile(weights):
        raise ValueError(
            "`weights` must be None or the path of a file of weights, of "
            f"which none come with the library. Received: weights={weights!r}."
        )
