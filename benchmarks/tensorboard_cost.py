"""What `keras_warn.callbacks.TensorBoardAttention` adds to an epoch.

    python benchmarks/tensorboard_cost.py

Trains the network of `recipes/cluttered_mnist.py`, on its data and with its
settings, and watches 8 canvases. Epochs without the callback, and what it does
after an epoch, take turns.
"""

import pathlib
import tempfile

# First, for what it sets before TensorFlow is imported.
from measuring import command  # isort: skip
import cluttered_mnist
import keras
from measuring.timing import WARM_UP_STEPS
from measuring.timing import measure_time

from keras_warn.callbacks import TensorBoardAttention
from keras_warn.cli.options import count
from keras_warn.data import cluttered
from keras_warn.data import load_digits


def main():
    parser = command.plain_parser(__doc__)
    parser.add_argument("--rounds", type=count(1), default=6)
    rounds = parser.parse_args().rounds

    s = cluttered_mnist.Settings()
    digits = load_digits(s.source)
    data = cluttered_mnist.training_data(0, digits, s)
    shown = cluttered(*digits.validation, 8, distractors=s.distractors, seed=1)
    keras.utils.set_random_seed(0)
    model = cluttered_mnist.build("attention", s)
    model.compile(
        keras.optimizers.AdamW(s.learning_rate / 10),
        "sparse_categorical_crossentropy",
    )
    with tempfile.TemporaryDirectory() as log_dir:
        watch = TensorBoardAttention(log_dir, shown.images)
        watch.set_model(model)
        watch.set_params({"epochs": 1})
        watch.on_train_begin()
        watch.on_epoch_begin(0)
        steps = {
            "epoch": lambda: model.fit(data, shuffle=False, verbose=0),
            "callback": lambda: watch.on_epoch_end(0),
        }
        found = measure_time("", steps, rounds)
        watch.on_train_end()
        written = sum(p.stat().st_size for p in pathlib.Path(log_dir).iterdir())
    share = found["ratio"]["callback / epoch"]
    each = written / (rounds + WARM_UP_STEPS) / 1e3
    for name, ms in found["median"].items():
        print(f"{name + ':':22} {ms / 1e3:.3f} s, median of {rounds}")
    print(f"share of an epoch:     {100 * share:.2f} %")
    print(f"written at an epoch:   {each:.0f} kB")


if __name__ == "__main__":
    main()
