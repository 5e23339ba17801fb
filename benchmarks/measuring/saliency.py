"""Maps of where a prediction comes from, and how far they can be trusted.

A map has shape `(b, h, w)` and the resolution of the images; what is larger
matters more. Gradients need TensorFlow.
"""

import functools

import keras
import numpy as np
from scipy import integrate
from scipy import ndimage

import keras_warn
from keras_warn.attention import attention_of
from keras_warn.explanation import masks

# Shares of the pixels at which curves are taken.
FRACTIONS = np.linspace(0, 1, 21)
BATCH_SIZE = 100
# What probabilities count as at least in logarithms.
LEAST = 1e-12
# Of a blur that leaves no details, relative to the images' height.
BLUR = 0.1
# Of the centre prior, relative to height and width.
CENTRE = 0.25


def maps(model, images, boxes, seed):
    """Maps of all methods by name, and what `keras_warn.explain` returns.

    `boxes` are integers `(b, 4)`: top, left, bottom, right of the objects.
    """
    count, *size, _ = images.shape
    explained = keras_warn.explain(model, images)
    found = explained.masks.sum(axis=1)
    backbone, whole, pointwise = grad_cams(model, images, explained.targets)
    random = np.random.default_rng(seed)
    *_, h, w, _ = deepest_features(model).shape
    return {
        "masks": found,
        "evidence": explained.attribution,
        "evidence, strength": np.abs(explained.attribution),
        "Grad-CAM, backbone": backbone,
        "Grad-CAM, output": whole,
        "HiResCAM, output": pointwise,
        "masks, next image": np.roll(found, -1, axis=0),
        "centre": np.repeat(centre(size)[None], count, axis=0),
        "random blobs": resized(random.random((count, h, w)), size),
        "random pixels": random.random((count, *size)),
        "box": inside(boxes, size),
    }, explained


def deepest_features(model):
    """The last map that attention reads; most networks predict from it."""
    return attention_of(model).modules[-1].source


def grad_cams(model, images, classes):
    """Grad-CAM of the backbone and of the output, and HiResCAM of the latter.

    Three arrays `(b, h, w)`, for the logits of `classes` `(b,)` at the last
    map. The output's logits are the sum that the gates weigh, before its
    softmax (of the default combination). What modules read of shallower maps
    has no gradient at the last one.
    """
    attention = attention_of(model)
    logits = [module.prediction.output for module in attention.modules]
    logits.insert(0, attention.backbone_logits)
    gates = attention.global_gates.output[..., None]
    output = keras.ops.sum(gates * keras.ops.stack(logits, axis=1), axis=1)
    reader = keras.Model(
        model.input, [deepest_features(model), logits[0], output]
    )
    found = []
    for i in range(0, len(images), BATCH_SIZE):
        batch = images[i : i + BATCH_SIZE], classes[i : i + BATCH_SIZE]
        (pooled, _), of_output = class_activations(reader, *batch)
        found.append((pooled, *of_output))
    found = map(np.concatenate, zip(*found, strict=True))
    return [resized(of_method, images.shape[1:3]) for of_method in found]


def class_activations(reader, images, classes):
    """Grad-CAM and HiResCAM `(b, h, w)`, a pair for each of several logits.

    `relu(sum_c mean_xy(d logit / d map_c) map_c)`, which is made for networks
    that pool their last map, and `relu(sum_c (d logit / d map_c) map_c)`.
    `reader` is a model from images to that map and to logits.

    Reference:
        - Selvaraju et al., "Grad-CAM", ICCV 2017
        - Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful
          explanations of convolutional neural networks", 2020
    """
    import tensorflow as tf

    images = tf.convert_to_tensor(images, "float32")
    with tf.GradientTape(persistent=True) as tape:
        # Without it, a network with frozen weights would not be recorded.
        tape.watch(images)
        features, *logits = reader(images, training=False)
        scores = [tf.gather(x, classes, axis=1, batch_dims=1) for x in logits]
    found = []
    for score in scores:
        slopes = tape.gradient(score, features)
        means = tf.reduce_mean(slopes, axis=(1, 2), keepdims=True)
        sums = [tf.reduce_sum(x * features, axis=-1) for x in (means, slopes)]
        found.append([tf.nn.relu(x).numpy() for x in sums])
    return found


def centre(size):
    """A Gaussian around the middle, `(h, w)`."""
    rows, columns = ((np.arange(n) + 0.5) / n - 0.5 for n in size)
    distances = rows[:, None] ** 2 + columns**2
    return np.exp(-distances / (2 * CENTRE**2))


def inside(boxes, size):
    """1 in the boxes, 0 elsewhere: what knows the object, and no more."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    top, left, bottom, right = np.transpose(boxes)[:, :, None, None]
    down = (top <= rows) & (rows < bottom)
    return (down & (left <= columns) & (columns < right)).astype("float64")


def resized(coarse, size):
    """Maps `(b, h, w)` at another resolution, bilinearly."""
    large = keras.ops.image.resize(
        coarse[..., None].astype("float32"),
        tuple(size),
        "bilinear",
        data_format="channels_last",
    )
    return keras.ops.convert_to_numpy(large)[..., 0]


def pointing(found, boxes):
    """Whether the strongest point of each map lies in its box, `(b,)`."""
    pairs = zip(found[:, None], np.asarray(boxes)[:, None], strict=True)
    return np.array([masks.pointing_accuracy(*pair) for pair in pairs])


def energy(found, boxes):
    """The share of each map's positive part that lies in its box, `(b,)`."""
    positive = np.maximum(found, 0).astype("float64")
    # A map without a positive part says nothing, as one that is uniform.
    positive[~positive.any(axis=(1, 2))] = 1
    within = positive * inside(boxes, found.shape[1:])
    return within.sum(axis=(1, 2)) / positive.sum(axis=(1, 2))


def order(found, seed):
    """Places of each map, `(b, h * w)`, the strongest first."""
    flat = found.reshape(len(found), -1)
    # Of equally strong ones, any other order would be a map of its own.
    draws = np.random.default_rng(seed).random(flat.shape)
    return np.lexsort((draws, -flat), axis=-1)


def curves(model, start, end, places, targets, contrast):
    """What `model` says while pixels of `end` replace those of `start`.

    The probability of the target class, and the logarithm of how many times
    that of the other class it is: two arrays `(b, len(FRACTIONS))`. `places`
    `(b, h * w)` say which pixel comes when.
    """
    turns = np.argsort(places, axis=1).reshape(start.shape[:3])[..., None]
    images = np.arange(len(start))
    probabilities, margins = [], []
    for fraction in FRACTIONS:
        mixed = np.where(turns < round(fraction * places.shape[1]), end, start)
        # Not `predict`, which makes a data set at each call.
        said = [
            model.predict_on_batch(mixed[i : i + BATCH_SIZE])
            for i in range(0, len(mixed), BATCH_SIZE)
        ]
        said = np.concatenate(said).astype("float64")
        probabilities.append(said[images, targets])
        logs = np.log(np.maximum(said, LEAST))
        margins.append(logs[images, targets] - logs[images, contrast])
    return np.stack(probabilities, axis=1), np.stack(margins, axis=1)


def area(found):
    """The area below each of the curves, `(b,)`."""
    return integrate.trapezoid(found, FRACTIONS)


def blurred(images):
    """Images without their details: what insertion starts from."""
    sigma = BLUR * images.shape[1]
    blur = functools.partial(
        ndimage.gaussian_filter, sigma=sigma, axes=(1, 2), mode="constant"
    )
    images = images.astype("float32")
    # What would lie beyond the borders has no weight.
    return blur(images) / blur(np.ones_like(images[:1]))


def mean_colour(images):
    """Images of one colour, their own mean: what deletion ends at."""
    means = images.mean(axis=(1, 2), keepdims=True)
    return np.broadcast_to(means, images.shape).astype("float32")
