"""What half precision of cached features does to a head trained on them.

    python benchmarks/cache_precision.py cub200 --data-dir CUB_200_2011 \\
        --backbone "MobileNetV2(alpha=0.35)" --image-size 128 \\
        --resize-shorter-edge 146 --frozen-views 2

For each seed, the same head is trained on float16 and on float32 features of
the same crops, by the settings of `keras-warn train`. Both are then tested on
features of their own precision.
"""

import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path

# Before TensorFlow is imported: its start-up lines are not ours to explain.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1] / "recipes"))

import numpy as np
from measuring.environment import machine_and_versions

import keras_warn
from keras_warn import training
from keras_warn.cli import train
from keras_warn.cli.options import count
from keras_warn.data import splits
from keras_warn.training import settings


def predictions(one, dtype, folder):
    """Of the test images `(b, n)`, by a head trained in this precision."""
    model = one.build()
    features, head = keras_warn.split(model)
    head.compile(
        model.optimizer, model.loss, metrics=["accuracy"], jit_compile=False
    )

    def cached(batches, views):
        return training.FeatureCache(
            features, batches, folder, views, dtype, limit=None
        )

    s = one.settings
    batches = cached(one.batches(), s.frozen_views)
    training.fit(head, batches, s.epochs, Path(folder) / dtype, verbose=0)
    return cached(one.test_batches(one.splits.test), 1).predict(head)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("recipe", help="name of a file in recipes/")
    parser.add_argument("--data-dir", metavar="FOLDER")
    parser.add_argument("--seeds", type=count(1), default=3)
    settings.add_arguments(parser, train.SETTINGS)
    arguments = parser.parse_args(argv)
    recipe = importlib.import_module(arguments.recipe).RECIPE
    s = settings.from_arguments(arguments, train.SETTINGS)
    images = splits.split(recipe.read(arguments.data_dir), 0.0, 0)
    for seed in range(arguments.seeds):
        one = training.Experiment(
            recipe.name, s, images, recipe.transforms(s), recipe.cropped, seed
        )
        found = {}
        for dtype in ("float16", "float32"):
            with tempfile.TemporaryDirectory() as folder:
                found[dtype] = predictions(one, dtype, folder)
        correct = {
            dtype: 100 * np.mean(p.argmax(axis=1) == images.test.labels)
            for dtype, p in found.items()
        }
        apart = np.abs(found["float16"] - found["float32"]).max()
        print(
            f"seed {seed}: "
            + ", ".join(f"{d} {a:.2f} %" for d, a in correct.items())
            + f", largest difference of a probability {apart:.4f}",
            flush=True,
        )
    print(machine_and_versions())


if __name__ == "__main__":
    main()
