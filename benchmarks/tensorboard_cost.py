"""What `keras_warn.callbacks.TensorBoardAttention` adds to an epoch.

    python benchmarks/tensorboard_cost.py

Trains the network of `recipes/cluttered_mnist.py`, on its data and with its
settings, and watches 8 canvases. The callback writes after every second epoch,
so that epochs with and without it alternate; the first two are not counted.
An epoch lasts from its start to that of the next one. The share is the time
inside of the callback by that of an epoch without it: epochs differ by more
than the callback takes.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

# Before TensorFlow is imported: its start-up lines are not ours to explain.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from measuring import command
from measuring import recipe_module

from keras_warn.callbacks import TensorBoardAttention
from keras_warn.cli.options import count
from keras_warn.data import cluttered
from keras_warn.data import load_digits


class Timed(TensorBoardAttention):
    """The callback, with the seconds that it took at each epoch."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seconds, self.starts = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.starts.append(time.perf_counter())
        super().on_epoch_begin(epoch, logs)
        self.seconds.append(time.perf_counter() - self.starts[-1])

    def on_epoch_end(self, epoch, logs=None):
        start = time.perf_counter()
        super().on_epoch_end(epoch, logs)
        self.seconds[-1] += time.perf_counter() - start


def main():
    parser = command.plain_parser(__doc__)
    parser.add_argument("--pairs", type=count(1), default=6, help="of epochs")
    pairs = parser.parse_args().pairs

    recipe = recipe_module("cluttered_mnist")
    s = recipe.Settings()
    digits = load_digits(s.source)
    data = recipe.training_data(0, digits, s)
    shown = cluttered(*digits.validation, 8, distractors=s.distractors, seed=1)
    keras.utils.set_random_seed(0)
    model = recipe.build("attention", s)
    model.compile(
        keras.optimizers.AdamW(s.learning_rate / 10),
        "sparse_categorical_crossentropy",
    )
    with tempfile.TemporaryDirectory() as log_dir:
        watch = Timed(log_dir, shown.images, every=2)
        # One more epoch, whose start is the end of the last one counted.
        model.fit(
            data,
            epochs=2 * pairs + 3,
            shuffle=False,
            callbacks=[watch, data.epoch_callback()],
            verbose=0,
        )
        written = sum(p.stat().st_size for p in Path(log_dir).iterdir())
    ends = watch.starts[1:]
    epochs = [b - a for a, b in zip(watch.starts, ends, strict=False)]
    without = statistics.median(epochs[2::2])
    with_callback = statistics.median(epochs[3::2])
    inside = statistics.median(watch.seconds[3 : len(epochs) : 2])
    print(f"epoch without the callback: {without:.3f} s, median of {pairs}")
    print(f"epoch with it:              {with_callback:.3f} s")
    print(f"inside of the callback:     {inside:.4f} s")
    print(f"share of an epoch:          {100 * inside / without:.2f} %")
    print(f"written at an epoch:        {written / (pairs + 2) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
