"""How fast images are read, and how fast a recipe's model consumes them.

    python benchmarks/pipeline.py loaders [--data-dir FOLDER_OF_CLASSES]
        [--csv FILE]
    python benchmarks/pipeline.py cub200 --data-dir CUB_200_2011
    python benchmarks/pipeline.py cub200 --data-dir CUB_200_2011 \\
        --backbone "MobileNetV2(alpha=0.35)" --weights none \\
        --image-size 128 --resize-shorter-edge 146 --batch-size 32

Three things take turns in one process: reading batches as the recipe does in
training, with nothing to consume them; training on one batch over and over,
with nothing to read; and both, as `fit` does. Where the last is as fast as the
second, the pipeline is no bottleneck.

`loaders` compares the processor's time for an image of `TestBatches` and
`TrainingBatches` with that of `keras.utils.image_dataset_from_directory`, which
has no augmentation and does not smooth what it shrinks. Without a folder, of
128 synthetic JPEG files of 375x500 pixels. Beside them, in one thread: the
parts of that time.
"""

import dataclasses
import pathlib
import tempfile
import time

# First, for what it sets before TensorFlow is imported.
from measuring import command  # isort: skip
import keras
import numpy as np
import pandas as pd
import PIL.Image
import tensorflow as tf
from measuring import recipe_of
from measuring import tables
from measuring import timing
from measuring.environment import machine_and_versions

from keras_warn import data
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


def write_images(folder, number=128):
    """JPEG files in two class folders, of blurred noise."""
    random = np.random.default_rng(0)
    for i in range(number):
        path = pathlib.Path(folder, "ab"[i % 2], f"{i}.jpg")
        path.parent.mkdir(exist_ok=True)
        noise = PIL.Image.fromarray(random.integers(0, 256, (24, 32, 3), "u1"))
        image = noise.resize((500, 375), PIL.Image.Resampling.BICUBIC)
        image.save(path, quality=92)


def measure_loaders(folder, rounds, batch_size=32):
    """Milliseconds of the processor for an image, in turns: a summary."""
    of_keras = keras.utils.image_dataset_from_directory(
        folder,
        image_size=(224, 224),
        crop_to_aspect_ratio=True,
        batch_size=batch_size,
        shuffle=False,
        verbose=0,
    )
    images = data.load_image_folder(folder)
    center, crop = data.transforms.CenterCrop(), data.transforms.RandomCrop()
    test = data.TestBatches(images, center, batch_size)
    training = data.TrainingBatches(images, crop, batch_size)
    flow = iter(training.dataset())
    number = len(training)
    paths = [str(path) for path in images.paths[: number * batch_size]]

    def read(batches):
        for _ in range(number):
            next(batches)
        # Until what is made ahead is there again.
        idle = False
        while not idle:
            before = time.process_time()
            time.sleep(0.2)
            idle = time.process_time() - before < 0.01

    def decode(path):
        return tf.io.decode_jpeg(tf.io.read_file(path), channels=3).numpy()

    def each(way):
        def run():
            for path in paths:
                way(path)

        return run

    open_image = data.images.open_image
    steps = {
        "keras": lambda: read(iter(of_keras)),
        "TestBatches": lambda: read(iter(test.dataset)),
        "TrainingBatches": lambda: read(flow),
        "open_image": each(open_image),
        "decode_jpeg of TensorFlow": each(decode),
        "open_image, CenterCrop": each(lambda path: center(open_image(path))),
    }
    rows = timing.take_turns("loaders", steps, rounds, time.process_time)
    made = number * batch_size
    rows = [{name: ms / made for name, ms in row.items()} for row in rows]
    return timing.summary("reading", "ms", rows)


def loaders_table(found):
    """Medians and quartiles of `measure_loaders`, a row a way to read."""
    quartiles = ["lower quartile", "upper quartile"]
    ratio = "times that of Keras"
    columns = ["reader", "ms an image", *quartiles, ratio]
    columns += [f"{ratio}, {name}" for name in quartiles]
    rows = [
        [
            name,
            *timing.quartiles(found, name),
            *timing.quartiles(found, f"{name} / keras"),
        ]
        for name in found["median"]
    ]
    return pd.DataFrame(rows, columns=columns)


def main(argv=None):
    parser = command.plain_parser(__doc__)
    add = parser.add_argument
    add("recipe", help='name of a file in recipes/, or "loaders"')
    add("--data-dir", metavar="FOLDER")
    add("--csv", metavar="FILE", help="where loaders writes its table")
    add("--batches", type=count(1), default=6, help="in each turn")
    add("--rounds", type=count(1), default=7)
    settings.add_arguments(parser, settings.Settings())
    arguments = parser.parse_args(argv)
    if arguments.recipe == "loaders":
        with tempfile.TemporaryDirectory() as folder:
            if arguments.data_dir is None:
                write_images(folder)
            folder = arguments.data_dir or folder
            rows = loaders_table(measure_loaders(folder, arguments.rounds))
        print(rows.to_markdown(index=False, floatfmt=".2f"))
        print(machine_and_versions())
        if arguments.csv:
            rows.to_csv(arguments.csv, index=False, float_format="%.4g")
        return
    recipe = recipe_of(arguments.recipe)
    s = settings.from_arguments(arguments, recipe.settings)
    s = dataclasses.replace(s, validation_share=0.0, patience=None)
    one = recipe.experiment(recipe.read(arguments.data_dir), s, fold=0)
    rounds = timing.take_turns(
        f"{arguments.batches} batches of {s.batch_size}",
        turns(one.build(), one.batches(), arguments.batches),
        arguments.rounds,
    )
    images = arguments.batches * s.batch_size
    speeds = [{k: 1e3 * images / ms for k, ms in row.items()} for row in rounds]
    found = timing.summary("speed", "images/s", speeds)
    for name in found["median"]:
        print(name, tables.median(found, name, "{:.1f}".format), "images/s")
    print(machine_and_versions())


if __name__ == "__main__":
    main()
