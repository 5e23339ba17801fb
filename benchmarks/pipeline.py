"""How fast images are read, and how fast a recipe's model consumes them.

    python benchmarks/pipeline.py cub200 --data-dir CUB_200_2011
    python benchmarks/pipeline.py cub200 --data-dir CUB_200_2011 \\
        --backbone "MobileNetV2(alpha=0.35)" --weights none \\
        --image-size 128 --resize-shorter-edge 146 --batch-size 32

Three things take turns in one process: reading batches as the recipe does in
training, with nothing to consume them; training on one batch over and over,
with nothing to read; and both, as `fit` does. Where the last is as fast as the
second, the pipeline is no bottleneck.
"""

import argparse
import dataclasses
import os

# Before TensorFlow is imported: its start-up lines are not ours to explain.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from measuring import recipe_of
from measuring.environment import machine_and_versions
from measuring.timing import summary
from measuring.timing import take_turns

from keras_warn.cli.options import count
from keras_warn.training import settings


def turns(model, batches, number):
    """The three things that are timed, by their names."""
    held = batches.batch(0, 0)
    # Each has an iterator of its own, as work ahead of one is not another's.
    flow = iter(batches.dataset())

    def read():
        # Anew each time: what was made ahead meanwhile does not count.
        new = iter(batches.dataset())
        for _ in range(number):
            next(new)

    def train():
        for _ in range(number):
            model.train_on_batch(*held)

    def both():
        for _ in range(number):
            model.train_on_batch(*next(flow))

    return {"reading": read, "training": train, "both": both}


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("recipe", help="name of a file in recipes/")
    parser.add_argument("--data-dir", metavar="FOLDER")
    parser.add_argument(
        "--batches", type=count(1), default=6, help="in each turn"
    )
    parser.add_argument("--rounds", type=count(1), default=7)
    settings.add_arguments(parser, settings.Settings())
    arguments = parser.parse_args(argv)
    recipe = recipe_of(arguments.recipe)
    s = settings.from_arguments(arguments, recipe.settings)
    s = dataclasses.replace(s, validation_share=0.0, patience=None)
    one = recipe.experiment(recipe.read(arguments.data_dir), s, fold=0)
    rounds = take_turns(
        f"{arguments.batches} batches of {s.batch_size}",
        turns(one.build(), one.batches(), arguments.batches),
        arguments.rounds,
    )
    images = arguments.batches * s.batch_size
    found = summary(
        "speed",
        "images/s",
        [
            {name: 1e3 * images / value for name, value in row.items()}
            for row in rounds
        ],
    )
    for name, value in found["median"].items():
        low, high = found["quartiles"][name]
        print(f"{name:9} {value:7.1f} images/s ({low:.1f} to {high:.1f})")
    print(machine_and_versions())


if __name__ == "__main__":
    main()
