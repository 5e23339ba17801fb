"""Birds of CUB-200-2011, and a network that tells them apart.

MobileNetV2 with attention, fine-tuned from weights of ImageNet, on images
that are small enough for a processor.
"""

import keras
import numpy as np

import keras_warn
from keras_warn.data import images

SIZE = 128  # of what the network sees
SHORTER_EDGE = 146  # of the image that it is cut from
ALPHA = 0.35
BATCH_SIZE = 32
LEARNING_RATE = 1e-3  # at its peak
WARMUP = 0.1  # share of all steps
WEIGHT_DECAY = 1e-2


def read(path):
    """An image, uint8 `(h, w, 3)`, its shorter edge `SHORTER_EDGE` pixels.

    Returns:
        The image, and how much larger its height and width became.
    """
    image = images.read_image(path)
    size = np.array(image.shape[:2])
    # Halves never round to less than the shorter edge.
    shrunk = np.rint(size * SHORTER_EDGE / size.min()).astype(int)
    shrunk = tuple(map(int, shrunk))
    return images.fit_image(image, shrunk, "stretch"), shrunk / size


def centre(path, box):
    """The middle of an image, and where in it the box is.

    Args:
        path: The image.
        box: Top, left, bottom and right, in pixels of the image.

    Returns:
        uint8 `(SIZE, SIZE, 3)`, and the box in its pixels: four integers,
        rounded to the outside and clipped.
    """
    image, scale = read(path)
    corner = (np.array(image.shape[:2]) - SIZE) // 2
    first, last = np.reshape(box, (2, 2)) * scale - corner
    box = np.concatenate([np.floor(first), np.ceil(last)])
    return _cut(image, *corner), np.clip(box, 0, SIZE).astype("int32")


class Crops(keras.utils.PyDataset):
    """Batches for training: random crops, half of them mirrored.

    Which ones is a function of the seed, the epoch and the batch alone.
    """

    def __init__(self, photos, labels, seed):
        super().__init__()
        self.images, self.labels, self.seed = photos, labels, seed
        self.epoch = 0

    def __len__(self):
        return len(self.images) // BATCH_SIZE

    def __getitem__(self, index):
        random = np.random.default_rng((self.seed, self.epoch))
        order = random.permutation(len(self.images))
        chosen = order[index * BATCH_SIZE :][:BATCH_SIZE]
        random = np.random.default_rng((self.seed, self.epoch, index))
        crops = [_random_crop(self.images[i], random) for i in chosen]
        return np.stack(crops), self.labels[chosen]

    def epoch_callback(self):
        def on_epoch_begin(epoch, logs=None):
            self.epoch = epoch

        return keras.callbacks.LambdaCallback(on_epoch_begin=on_epoch_begin)


def build(classes, weights):
    """The network with attention, for bytes from 0 to 255.

    Args:
        classes: Number of classes.
        weights: As of `keras.applications.MobileNetV2`: a file, "imagenet",
            or `None`.
    """
    options = {"alpha": ALPHA, "include_top": False}
    pretrained = keras.applications.MobileNetV2(
        (SIZE, SIZE, 3), weights=weights, **options
    )
    pixels = keras.Input((SIZE, SIZE, 3), name="pixels")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scaled")(pixels)
    backbone = keras.applications.MobileNetV2(
        input_tensor=scaled, weights=None, **options
    )
    backbone.set_weights(pretrained.get_weights())
    for layer in backbone.layers:
        # Its momentum is made for longer training.
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return keras_warn.augment(
        backbone, classes=classes, preset="paper", depth=3, diversity_weight=0
    )


def train(model, photos, labels, seed, epochs):
    """Fine-tunes everything but the batch normalisation."""
    data = Crops(photos, labels, seed)
    steps = epochs * len(data)
    warmup_steps = max(1, round(WARMUP * steps))
    learning_rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        steps - warmup_steps,
        warmup_target=LEARNING_RATE,
        warmup_steps=warmup_steps,
    )
    model.compile(
        keras.optimizers.AdamW(learning_rate, weight_decay=WEIGHT_DECAY),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(
        data,
        epochs=epochs,
        shuffle=False,  # in random order already
        callbacks=[data.epoch_callback()],
        verbose=2,
    )


def _cut(image, top, left):
    return image[top : top + SIZE, left : left + SIZE]


def _random_crop(image, random):
    corner = random.integers(np.array(image.shape[:2]) - SIZE + 1)
    crop = _cut(image, *corner)
    return crop[:, ::-1] if random.random() < 0.5 else crop
