"""What several benchmarks train: heads of frozen backbones, and on digits."""

import dataclasses
import pathlib

import cluttered_mnist
import keras
import numpy as np

import keras_warn
from keras_warn import data
from keras_warn import schedules
from keras_warn import training
from keras_warn.data import transforms
from measuring import command
from measuring import recipe_of

BATCH, VIEWS = 64, 4
VALIDATION_SHARE = 0.2
WIDTH = 8


def make_parser(description, out, seeds, epochs):
    """A parser of how much to train, and where to write."""
    parser = command.plain_parser(description)
    add = parser.add_argument
    add("--epochs", type=int, default=epochs)
    add("--seeds", type=int, nargs="+", default=[*range(seeds)])
    add("--out", type=pathlib.Path, default=pathlib.Path(out))
    return parser


def images_parser(description, out, epochs=30):
    """The same, and of what to train on."""
    parser = make_parser(description, out, 5, epochs)
    add = parser.add_argument
    add("name", help="of the data, in the table")
    add("--images", required=True, type=pathlib.Path, metavar="DIR")
    add("--backbone", required=True, help="as of the recipes")
    add("--weights", default="imagenet", help="as of the recipes")
    add("--image-size", type=int, default=224)
    return parser


def frozen_parser(description, out):
    """The same, of one head on a frozen backbone: `on_frozen`."""
    parser = images_parser(description, out)
    add = parser.add_argument
    add("--rate", required=True, type=float)
    add("--decay", required=True, type=float)
    add("--cache", required=True, type=pathlib.Path, help="folder of features")
    return parser


def about(s):
    """What rows of a run say of its data and backbone."""
    backbone = pathlib.Path(s.backbone).name.removesuffix(".keras")
    return {"data": s.name, "backbone": backbone}


def about_digits(s):
    """The same, of `on_digits`."""
    name = f"digits, {s.distractors} distractors"
    return {"data": name, "backbone": "from scratch"}


def load(folder):
    """Images of a folder: `"train"`, `"validation"` and `"test"`."""
    archive = (folder / "images.txt").exists()
    dataset = recipe_of("cub200" if archive else "image_folder").read(folder)
    parts = {name: dataset.split(name) for name in dataset.splits}
    if "validation" not in parts:
        both = parts["train"].hold_out(VALIDATION_SHARE, seed=0)
        parts["train"], parts["validation"] = both
    return parts


def pixels_of(images):
    return [images.read(i) for i in range(len(images))]


def decoded(images):
    """The same images, decoded once instead of whenever they are read."""
    return dataclasses.replace(images, contents=pixels_of(images))


def views(images, transform):
    """All images as a model sees them, uint8 `(b, size, size, 3)`."""
    return np.stack([transform(image) for image in pixels_of(images)])


def crops(size):
    """Random crops to learn from, and the middle of images to test."""
    edges = size, size * 8 // 7
    return transforms.RandomCrop(*edges), transforms.CenterCrop(*edges)


def trunk_of(s, classes):
    """The frozen backbone up to its pooled last map."""
    network = training.build_network(
        s.backbone, classes, s.image_size, s.weights, freeze=True
    )
    return keras.Model(network.inputs, network.get_layer("classifier").input)


def cached(features, batches, folder, views=1):
    features.compile(jit_compile=False)
    return training.FeatureCache(features, batches, folder, views, limit=None)


def side_by_side(heads):
    """One model of several heads, from maps to logits `(b, heads, n)`."""
    inputs = [keras.Input(x.shape[1:]) for x in heads[0].inputs]
    logits = [head(inputs) for head in heads]
    return keras.Model(inputs, keras.ops.stack(logits, axis=1))


def sum_of_losses(labels, logits):
    """Cross-entropy of each head, added up: `(b,)`."""
    labels = keras.ops.broadcast_to(labels[:, None], keras.ops.shape(logits))
    return keras.ops.sum(
        keras.losses.categorical_crossentropy(labels, logits, from_logits=True),
        axis=-1,
    )


def adamw(rate, decay, epochs, steps):
    """AdamW with cosine decay, after an epoch of warm-up to `rate`."""
    cosine = keras.optimizers.schedules.CosineDecay(rate, (epochs - 1) * steps)
    rate = schedules.WarmUp(cosine, steps)
    return keras.optimizers.AdamW(rate, weight_decay=decay)


def train(heads, cache, epochs, seed, rate, decay):
    """Trains heads that have no weight in common, each as it would alone.

    The seed says which orders of images they see.
    """
    model = side_by_side(heads)
    steps = len(cache)
    optimizer = adamw(rate, decay, epochs, steps)
    model.compile(optimizer, sum_of_losses, jit_compile=False)
    batches = cache.dataset(epoch=seed * epochs)
    model.fit(batches, epochs=epochs, steps_per_epoch=steps, verbose=0)


def on_frozen(s, images, seed, **arguments):
    """A trained model with attention on a frozen trunk, and that trunk."""
    classes = len(images.names)
    trunk = trunk_of(s, classes)
    keras.utils.set_random_seed(seed)
    model = keras_warn.augment(
        trunk, classes, width=WIDTH, classifier_activation=None, **arguments
    )
    features, head = keras_warn.split(model)
    crop, _ = crops(s.image_size)
    batches = data.TrainingBatches(images, crop, BATCH)
    cache = cached(features, batches, s.cache, VIEWS)
    train([head], cache, s.epochs, seed, s.rate, s.decay)
    return model, trunk


def on_digits(s, digits, seed, attend_at):
    """The network of `recipes/cluttered_mnist.py` with attention, trained.

    And its data, which make other canvases next. Each module has a loss of its
    own, whose gradients reach the backbone.
    """
    keras.utils.set_random_seed(seed)
    model = keras_warn.augment(
        cluttered_mnist.backbone(s), attend_at=[*attend_at], gradient_scale=1.0
    )
    canvases = cluttered_mnist.training_data(seed, digits, s)
    model = cluttered_mnist.compiled(model, s)
    model.fit(canvases, epochs=s.epochs, verbose=2)
    return model, canvases
