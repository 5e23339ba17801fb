"""Backbones with a classifier, to add attention to.

They are of keras.applications, or yours. They take bytes, 0 to 255, and scale
them by layers of their own: who loads the model later need not know how.
"""

import ast
import importlib
import pathlib
import warnings

import keras
import numpy as np

from keras_warn import _model_files
from keras_warn import checks
from keras_warn import graph
from keras_warn._classifier import find_ending
from keras_warn._classifier import pooled
from keras_warn._classifier import read_classifier
from keras_warn.data import model_inputs
from keras_warn.training import settings

# What constructors raise for arguments that they cannot use.
REFUSALS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def build_network(
    backbone,
    classes,
    image_size,
    weights="imagenet",
    preprocessing=None,
    freeze_batch_norm=True,
    freeze=False,
) -> keras.Model:
    """A network for these classes, without attention.

    Args:
        backbone: String: a constructor of `keras.applications`, with or
            without arguments, such as `"ResNet50V2"` or
            `"MobileNetV2(alpha=0.35)"`; one of your own, after the name of its
            module, such as `"my_networks:Tiny(depth=10)"`, which takes
            `include_top=False` and `input_shape` as they do, and pixels in
            [-1, 1] unless its attribute `preprocessing` names another of
            `PREPROCESSING`; or a file that `model.save` wrote and whose name
            ends in `.keras`.
        classes: Integer of at least 2, the number of classes.
        image_size: Positive integer, height and width of images in pixels.
        weights: `"imagenet"`; a file of weights of this network without its
            classifier, whose name ends in `.weights.h5` or `.h5`; or `"none"`
            for a network that starts anew. A file of a model has its own.
        preprocessing: How the network wants its images: one of
            `keras_warn.data.model_inputs.PREPROCESSING`. Defaults to what
            `keras.applications` says of its own, and to what the file of a
            model says by its first layers.
        freeze_batch_norm: Whether batch normalisation keeps its statistics
            and weights. For networks that are pretrained.
        freeze: Whether all of the backbone keeps its weights, without
            dropout, and only the classifier, its own or a new one, is trained.

    Returns:
        A flat functional `keras.Model` from bytes `(b, image_size, image_size,
        3)` to probabilities `(b, classes)`. A new classifier's layer is called
        `classifier`.

    Raises:
        ConnectionError: if weights of ImageNet are not on this machine and
            cannot be downloaded.
        FileNotFoundError: if a file does not exist.
        ValueError: if an argument is not what it must be, or if weights are
            of another network.

    Example:

    >>> network = build_network(
    ...     "MobileNet(alpha=0.25)", 5, 64, weights="none"
    ... )
    >>> network.input_shape, network.output_shape
    ((None, 64, 64, 3), (None, 5))
    >>> model = keras_warn.augment(network, depth=2)
    """
    classes = checks.integer("classes", classes, 2)
    image_size = checks.integer("image_size", image_size)
    if preprocessing is not None:
        checks.one_of(
            "preprocessing", preprocessing, model_inputs.PREPROCESSING
        )
    if str(backbone).endswith(".keras"):
        if weights != "imagenet":  # the default
            raise ValueError(
                "`weights` must be omitted with a file as `backbone`, which "
                f"has its own. Received: weights={str(weights)!r}."
            )
        network = _from_file(backbone, image_size)
        prepared = _preprocessing_layers(
            preprocessing
            or model_inputs.default_preprocessing(graph.flatten(network))
        )
    else:
        constructor, arguments = _constructor(backbone)
        inside = arguments.get("include_preprocessing", True)
        if not inside and preprocessing is None:
            raise ValueError(
                "`preprocessing` must be given where the network is made "
                f"without its own. Received: backbone={backbone!r} and "
                "preprocessing=None."
            )
        network = _construct(constructor, arguments, image_size, weights)
        if preprocessing:
            prepared = _preprocessing_layers(preprocessing)
        else:
            prepared = _own_preprocessing(constructor)
    if prepared and model_inputs.takes_bytes(graph.flatten(network)):
        raise ValueError(
            "`preprocessing` must be 'none' for a network that scales bytes "
            f"itself. Received: {network.name!r}, which does."
        )
    x = inputs = keras.Input((image_size, image_size, 3), name="pixels")
    for layer in prepared:
        x = layer(x)
    network = graph.flatten(keras.Model(inputs, network(x), name=network.name))
    for layer in network.layers:
        normalizes = isinstance(layer, keras.layers.BatchNormalization)
        if freeze or (freeze_batch_norm and normalizes):
            # Keras 3 then uses the moving statistics in training, too.
            layer.trainable = False
        if freeze and isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    network = _classifying(network, classes)
    if freeze:
        find_ending(graph.Graph(network)).head.operation.trainable = True
    return network


def check_names(backbone, weights) -> None:
    """Raises what `build_network` would of names and of files that are gone.

    Without building anything: to say so before long work.
    """
    if str(backbone).endswith(".keras"):
        _existing("backbone", backbone, "a file")
    else:
        _constructor(backbone)
        _weights_file(weights)


def _weights_file(weights):
    """The file that weights are in, or `None`."""
    if weights in ("imagenet", "none"):
        return None
    return _existing("weights", weights, "'imagenet', 'none', or a file")


def _existing(name, path, rule):
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"`{name}` must be {rule} that exists. Received: "
            f"{name}={str(path)!r}."
        )
    return path


def _constructor(backbone):
    """The function that a string names, and its keyword arguments."""
    before, _, expression = str(backbone).partition(":")
    module, expression = (before, expression) if expression else ("", before)
    try:
        call = ast.parse(expression, mode="eval").body
        arguments = {}
        if isinstance(call, ast.Call):
            if call.args or any(key.arg is None for key in call.keywords):
                raise ValueError("arguments must be given by name")
            arguments = {
                key.arg: ast.literal_eval(key.value) for key in call.keywords
            }
            call = call.func
        if module:
            constructor = getattr(importlib.import_module(module), call.id)
        else:
            constructor = applications()[call.id]
    except (
        AttributeError,
        ImportError,
        KeyError,
        *settings.NOT_LITERAL,
    ) as error:
        raise ValueError(
            "`backbone` must be a constructor of keras.applications, such as "
            "'ResNet50V2' or 'MobileNetV2(alpha=0.35)', one of another module, "
            "such as 'my_networks:Tiny', or a file that ends in .keras. "
            f"Received: {backbone!r:.99} ({error}). There are: "
            f"{', '.join(applications())}."
        ) from error
    return constructor, arguments


def applications() -> dict:
    """The constructors of `keras.applications`, by name."""
    return {
        name: value
        for name, value in sorted(vars(keras.applications).items())
        if name[0].isupper() and callable(value)
    }


def _is_keras(constructor):
    return constructor in applications().values()


def _construct(constructor, arguments, image_size, weights):
    """The network without its classifier, with its weights."""
    path = _weights_file(weights)
    name = constructor.__name__
    given = {"include_top": False, "input_shape": (image_size, image_size, 3)}
    if _is_keras(constructor):
        given["weights"] = "imagenet" if weights == "imagenet" else None
    elif weights == "imagenet":
        raise ValueError(
            f"`weights` must be 'none' or a file for {name}, which is not of "
            "keras.applications. Received: weights='imagenet'."
        )
    try:
        network = constructor(**given, **arguments)
    except REFUSALS as error:
        raise ValueError(
            f"`backbone` must have arguments, and `image_size`, that {name} "
            f"takes. Received: {arguments} and image_size={image_size} "
            f"({error})."
        ) from error
    except Exception as error:
        # Keras raises a plain Exception for what it cannot download.
        if weights != "imagenet" or "URL fetch failure" not in str(error):
            raise
        raise ConnectionError(
            f"The weights of {name} cannot be downloaded ({error}). Give a "
            "file of them as `weights`, or 'none' to start anew."
        ) from error
    if path is not None:
        _load_weights(network, path)
    return network


def _load_weights(network, path):
    try:
        with warnings.catch_warnings():
            # One for each layer of another network; the error says it all.
            warnings.filterwarnings("ignore", "Skipping nested container")
            network.load_weights(path)
    except (KeyError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"`weights` must be those of {network.name!r} without its "
            f"classifier: same arguments, same size. Received: {path}, which "
            f"does not fit ({reason})."
        ) from error


def _from_file(path, image_size):
    """A model of a file, for images of this size."""
    _existing("backbone", path, "a file")
    network = _model_files.load_model(path)
    shape = (image_size, image_size, 3)
    shapes = [x.shape[1:] for x in network.inputs]
    if len(shapes) != 1 or not checks.fits(shape, shapes[0]):
        raise ValueError(
            f"`backbone` must take images of shape {shape}. Received: {path}, "
            f"which takes {' and '.join(map(str, shapes))}. Change "
            "`image_size`."
        )
    return network


def _own_preprocessing(constructor):
    """Layers that bring bytes to what a constructor's network takes."""
    if _is_keras(constructor):
        name = constructor.__module__.split(".")[-1]
    else:
        name = getattr(constructor, "preprocessing", None)
    if name is None:
        return [keras.layers.Rescaling(1 / 127.5, -1.0, name="scaled")]
    return _preprocessing_layers(name)


def _preprocessing_layers(name):
    if name == "none":
        return []
    if name == "rescale":
        return [keras.layers.Rescaling(1 / 255, name="scaled")]
    # Asked for black and the brightest red, green and blue: all that there are
    # in Keras scale channels, shift them, and may swap red and blue.
    colours = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)])
    found = getattr(keras.applications, name).preprocess_input(
        colours.astype("float32").reshape(4, 1, 1, 3),
        data_format="channels_last",
    )
    found = np.reshape(keras.ops.convert_to_numpy(found), (4, 3))
    offset, matrix = found[0], (found[1:] - found[0]) / 255
    swapped = not np.allclose(matrix, np.diag(np.diag(matrix)))
    if swapped:
        matrix, offset = matrix[:, ::-1], offset[::-1]
    scale = np.diag(matrix)
    if np.allclose(scale, 1) and np.allclose(offset, 0) and not swapped:
        return []  # networks that bring bytes to size themselves
    layers = [
        # (x - mean) / sqrt(variance)
        keras.layers.Normalization(
            mean=(-offset / scale).tolist(),
            variance=(1 / scale**2).tolist(),
            name="scaled",
        )
    ]
    if swapped:
        layers.append(lambda x: keras.ops.flip(x, axis=-1))
    return layers


def _classifying(network, classes):
    """The network with a classifier, its own or a new one."""
    own = read_classifier(graph.Graph(network), classes)
    if own is not None:
        if own.classes != classes:
            raise ValueError(
                "`backbone` must end in features, or in a classifier for "
                f"these {classes} classes. Received: {network.name!r}, for "
                f"{own.classes}."
            )
        return network
    x = network.output
    if len(x.shape) > 2:
        x = pooled(x, "channels_last", "pooled")
    # float32, for probabilities as small as they are.
    x = keras.layers.Dense(
        classes, activation="softmax", dtype="float32", name="classifier"
    )(x)
    return keras.Model(network.input, x, name=network.name)
