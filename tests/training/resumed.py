"""A small training, for tests that kill it.

With all that remembers something: dropout and random layers, moving averages
of weights, MixUp, batch normalisation, learning rates by layer and a schedule.
"""

import hashlib
import os
import signal

import keras
import numpy as np

import keras_warn
from keras_warn import schedules
from keras_warn import training
from keras_warn.data import ImageDataset
from keras_warn.data import Mix
from keras_warn.data import TestBatches
from keras_warn.data import TrainingBatches
from keras_warn.data import transforms

SIDE, CLASSES, EPOCHS = 16, 3, 3
# TensorFlow would trace for longer than it trains.
EAGER = keras.backend.backend() == "tensorflow"


def images(count=77, seed=0):
    """Bright squares at a place of their class, in noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    pixels = random.integers(0, 150, (count, SIDE, SIDE, 3)).astype("uint8")
    for i, label in enumerate(labels):
        pixels[i, 5 * label : 5 * label + 5, 4:10] += 60
    return ImageDataset(
        "squares",
        [f"{i}" for i in range(count)],
        labels,
        ("top", "middle", "bottom"),
        splits={},
        contents=pixels,
    )


def build():
    """A compiled model, the same for the same seed."""
    x = inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(x)
    x = keras.layers.RandomTranslation(0.1, 0.1)(x)
    x = keras.layers.Conv2D(5, 3, 2, padding="same")(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.2)(x)
    x = keras.layers.Dense(CLASSES, activation="softmax")(x)
    model = keras_warn.augment(
        keras.Model(inputs, x), depth=1, diversity_weight=0.1
    )
    rate = schedules.WarmUp(schedules.step_decay(0.01, 5, 12), 4)
    model.compile(
        keras_warn.optimizers.MultiRateOptimizer(
            keras.optimizers.AdamW(rate, use_ema=True, ema_momentum=0.9),
            keras_warn.optimizers.attention_factors(model, 2),
        ),
        keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=["accuracy"],
        run_eagerly=EAGER,
    )
    return model


def small(remembers=True):
    """One that is quick to train, with moving averages of its weights.

    And of statistics, with dropout, if it remembers something.
    """
    x = inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(x)
    x = keras.layers.Dense(5)(keras.layers.Flatten()(x))
    if remembers:
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.Dropout(0.2)(x)
    x = keras.layers.Dense(CLASSES, "softmax")(x)
    model = keras.Model(inputs, x)
    model.compile(
        keras.optimizers.SGD(0.05, 0.9, use_ema=True, ema_momentum=0.9),
        "categorical_crossentropy",
        metrics=["accuracy"],
        run_eagerly=EAGER,
    )
    return model


class Signals(keras.callbacks.Callback):
    """Sends this process a signal after a step, counted from its start."""

    def __init__(self, number, step):
        super().__init__()
        self.number, self.step = number, step

    def on_train_batch_end(self, batch, logs=None):
        self.step -= 1
        if self.step == 0:
            os.kill(os.getpid(), self.number)


def kill_while_saving(number):
    """Ends this process in the middle of writing its `number`-th state."""
    write, left = np.savez, number

    def write_half(file, **arrays):
        nonlocal left
        left -= 1
        write(file, **arrays)
        if left == 0:
            file.truncate(file.tell() // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    np.savez = write_half


def train(folder, kill_after_step=0, save_minutes=10.0):
    """The history, and the weights in short."""
    keras.utils.set_random_seed(0)
    model = build()
    train, validation = images().hold_out(0.2, seed=0)
    trained = training.fit(
        model,
        TrainingBatches(
            train, transforms.PadAndCrop(2), 14, seed=1, mix=Mix(mixup=0.2)
        ),
        EPOCHS,
        folder,
        TestBatches(validation, transforms.Identity(), 4),
        save_minutes=save_minutes,
        callbacks=[Signals(signal.SIGKILL, kill_after_step)],
        verbose=0,
    )
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return {"weights": digest.hexdigest(), "history": trained.history}
