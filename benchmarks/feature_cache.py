"""What cached features of a frozen backbone save, and what they cost.

    python benchmarks/feature_cache.py cub200 --data-dir CUB_200_2011 \\
        --backbone "MobileNetV2(alpha=0.35)" --image-size 128 \\
        --resize-shorter-edge 146 --frozen-views 2

For each seed, the same head is trained on float16 and on float32 features of
the same crops, by the settings of `keras-warn train`, and tested on features of
its own precision. Then trainings of two epochs take turns: of the whole model,
which reads images, and of its head, which reads the cache. What counts is
process CPU time.
"""

import pathlib
import tempfile
import time

import numpy as np
from measuring import command
from measuring import recipe_of
from measuring.environment import machine_and_versions
from measuring.timing import measure_time

import keras_warn
from keras_warn import training
from keras_warn.cli import train
from keras_warn.cli.options import count
from keras_warn.training import settings

TIMED = 3  # trainings of each kind
EPOCHS = 2  # of each of them


def parts(one):
    """The model of an experiment, and its two halves, the head compiled."""
    model = one.build()
    features, head = keras_warn.split(model)
    head.compile(
        model.optimizer, model.loss, metrics=["accuracy"], jit_compile=False
    )
    return model, features, head


def predictions(one, dtype, folder):
    """Of the test images `(b, n)`, by a head trained in this precision."""
    _, features, head = parts(one)

    def cached(batches, views):
        return training.FeatureCache(
            features, batches, folder, views, dtype, limit=None
        )

    s = one.settings
    batches = cached(one.batches(), s.frozen_views)
    state = pathlib.Path(folder, dtype)
    training.fit(head, batches, s.epochs, state, verbose=0)
    return cached(one.test_batches(one.splits.test), 1).predict(head)


def main(argv=None):
    parser = command.plain_parser(__doc__)
    add = parser.add_argument
    add("recipe", help="name of a file in recipes/")
    add("--data-dir", metavar="FOLDER")
    add("--seeds", type=count(0), default=3)
    settings.add_arguments(parser, train.SETTINGS)
    arguments = parser.parse_args(argv)
    recipe = recipe_of(arguments.recipe)
    s = settings.from_arguments(arguments, train.SETTINGS)
    data = recipe.read(arguments.data_dir)
    for seed in range(arguments.seeds):
        one = recipe.experiment(data, s, seed, fold=0)
        found = {}
        for dtype in ("float16", "float32"):
            with tempfile.TemporaryDirectory() as folder:
                found[dtype] = predictions(one, dtype, folder)
            correct = found[dtype].argmax(axis=1) == one.splits.test.labels
            print(f"seed {seed}, {dtype}: {100 * correct.mean():.2f} %")
        apart = np.abs(found["float16"] - found["float32"]).max()
        print(f"largest difference of a probability {apart:.4f}", flush=True)
    one = recipe.experiment(data, s, fold=0)
    model, features, head = parts(one)
    images = one.batches()

    def train_for_epochs(trained, batches):
        trained.fit(
            batches.dataset(),
            epochs=EPOCHS,
            steps_per_epoch=len(batches),
            shuffle=False,
            verbose=0,
        )

    with tempfile.TemporaryDirectory() as folder:
        cache = training.FeatureCache(features, images, folder, limit=None)
        steps = {
            "cache": lambda: train_for_epochs(head, cache),
            "images": lambda: train_for_epochs(model, images),
        }
        found = measure_time("", steps, TIMED, time.process_time)
    for name, ms in found["median"].items():
        seconds = ms / 1e3 / EPOCHS
        print(f"{name}: {seconds:.2f} s of CPU time an epoch")
    print(f"ratio: {found['ratio']['images / cache']:.1f}")
    print(machine_and_versions())


if __name__ == "__main__":
    main()
