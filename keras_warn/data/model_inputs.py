"""How a model takes its images: what size, and which numbers."""

import typing

import keras
import numpy as np

from keras_warn import checks
from keras_warn import graph
from keras_warn.attention import attention_of

# Modules of `keras.applications` that tell how their networks take images.
_MODULES = {
    name: module
    for name, module in sorted(vars(keras.applications).items())
    if hasattr(module, "preprocess_input") and name != "imagenet_utils"
}

PREPROCESSING = ("rescale", "none", *_MODULES)

# A first layer that brings bytes to at most this is made for bytes.
_SCALED_BYTES = 10

# What only moves or drops pixels may come before the layers that scale them.
_MOVING = (
    keras.layers.CenterCrop,
    keras.layers.Identity,
    keras.layers.Resizing,
    keras.layers.ZeroPadding2D,
)


class ModelInput(typing.NamedTuple):
    """The one image that a model takes.

    Attributes:
        data_format: `"channels_last"` or `"channels_first"`.
        size: Height and width, `None` where the model takes any.
        channels: 1 or 3.
    """

    data_format: str
    size: tuple
    channels: int

    def with_size(self, size, name="`size`") -> "ModelInput":
        """The input with a size, which must be the model's unless it is open.

        Messages call it `name`.
        """
        if not checks.fits(size, self.size):
            raise ValueError(
                f"{name} must be that of the model, "
                f"{'x'.join(map(str, self.size))}, or be omitted. Received: "
                f"{'x'.join(map(str, size))}."
            )
        return self._replace(size=tuple(size))


def model_input(model) -> ModelInput:
    """The `ModelInput` of a model that takes one image of 1 or 3 channels."""
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if len(shapes) == 1 and len(shapes[0]) == 3:
        data_format = attention_of(model).data_format
        *size, channels = shapes[0]
        if data_format == "channels_first":
            channels, *size = shapes[0]
        if channels in (1, 3):
            return ModelInput(data_format, tuple(size), channels)
    raise ValueError(
        "the model must take one image of 1 or 3 channels. It takes "
        f"{' and '.join(map(str, shapes))}."
    )


def check_preprocessing(name, channels, model=None) -> None:
    """Raises what `preprocess` would for images of so many channels.

    And if it would scale images that `model` scales itself.
    """
    checks.one_of("preprocessing", name, PREPROCESSING)
    if name in _MODULES and channels != 3:
        raise ValueError(
            f"`preprocessing` must be 'rescale' or 'none' for images of "
            f"{channels} channel: {name!r} is made for 3."
        )
    if model is not None and takes_bytes(model):
        white = np.full((1, 1, 1, channels), 255, "uint8")
        if not np.array_equal(preprocess(white, name), white):
            raise ValueError(
                f"`preprocessing` must be 'none' for {model.name!r}, which "
                f"starts with layers that scale bytes. Received: {name!r}."
            )


def preprocess(images, name) -> np.ndarray:
    """Brings images to the numbers that a model takes.

    Args:
        images: Array of bytes (uint8), `(b, height, width, c)`.
        name: `"none"` for [0, 255], `"rescale"` for [0, 1], or the name of a
            module of `keras.applications`, such as `"mobilenet_v2"`, for what
            its `preprocess_input` does.

    Returns:
        A NumPy array of the same shape, float32.

    Example:

    >>> import numpy as np
    >>> float(preprocess(np.full((1, 1, 1, 3), 255, "uint8"), "rescale").max())
    1.0
    """
    images = np.asarray(images).astype("float32")
    check_preprocessing(name, images.shape[-1])
    if name == "rescale":
        images = images / 255
    elif name != "none":
        images = keras.ops.convert_to_numpy(
            _MODULES[name].preprocess_input(images, data_format="channels_last")
        )
    return images


def default_preprocessing(model) -> str:
    """How a model wants its images, if it says so itself.

    A model that starts with `Rescaling` or `Normalization` layers made for
    bytes takes them as they are: `"none"`. Others do not say.

    Args:
        model: A functional `keras.Model` with one input, without nested
            models.

    Returns:
        `"none"`.

    Raises:
        ValueError: if the model does not say. A wrong guess would make wrong
            predictions, silently.

    Example:

    >>> inputs = keras.Input((8, 8, 3))
    >>> outputs = keras.layers.Rescaling(1 / 255)(inputs)
    >>> default_preprocessing(keras.Model(inputs, outputs))
    'none'
    """
    if takes_bytes(model):
        return "none"
    raise ValueError(
        f"The model {model.name!r} does not say how it wants its images: it "
        "does not start with a Rescaling or Normalization layer made for "
        "bytes. Choose the preprocessing that it was trained with: 'rescale' "
        "for [0, 1], 'none' for [0, 255], or a module of keras.applications, "
        "such as 'mobilenet_v2', whose preprocess_input was used."
    )


def takes_bytes(model) -> bool:
    """Whether a model starts with layers that bring bytes to size."""
    network = graph.Graph(model)
    readers = [
        reader
        for tensor in model.inputs
        for reader in _scaling_readers(network, tensor)
    ]
    return bool(readers) and all(_scales(call.operation) for call in readers)


def _scaling_readers(network, tensor):
    """The calls that read the pixels of `tensor`, moved about or not."""
    for call in network.readers(tensor):
        layer = call.operation
        # Augmentation, which does nothing outside of training.
        random = type(layer).__name__.startswith("Random")
        if random or isinstance(layer, _MOVING):
            for output in call.outputs:
                yield from _scaling_readers(network, output)
        else:
            yield call


def _scales(layer):
    """Whether a layer brings bytes, and not numbers in [0, 1], to size."""
    if isinstance(layer, keras.layers.Rescaling):
        scale = np.max(np.abs(np.asarray(layer.scale, "float64")))
        return bool(scale * 255 <= _SCALED_BYTES)
    if isinstance(layer, keras.layers.Normalization):
        mean = keras.ops.convert_to_numpy(layer.mean)
        # The mean of images in [0, 1] is at most 1.
        return bool(np.max(mean) > 1)
    return False
