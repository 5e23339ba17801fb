"""How much cheaper an epoch is on cached features of a frozen backbone.

    python benchmarks/frozen_epoch.py --images CUB_200_2011_first50/images \\
        --backbone efficientnet_lite0_224_notop.keras --weights none

Epochs of the whole model, which reads images, and of its head, which reads the
cache, take turns in one process. What counts is process CPU time.
"""

import argparse
import os
import tempfile
import time

# Before TensorFlow is imported: its start-up lines are not ours to explain.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import keras_warn
from keras_warn import data
from keras_warn import training
from keras_warn.data import transforms

BATCH = 64


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--images", required=True, metavar="DIR", help="a folder a class")
    add("--backbone", required=True, help="as of the recipes")
    add("--weights", default="imagenet", help="as of the recipes")
    add("--image-size", type=int, default=224)
    add("--count", type=int, default=1024, help="images of an epoch")
    add("--epochs", type=int, default=3, help="of each kind")
    s = parser.parse_args(argv)

    images = data.load_image_folder(s.images).split("train")
    order = np.random.default_rng(0).permutation(len(images))
    images = images.select(order[: s.count])
    model = keras_warn.augment(
        training.build_network(
            s.backbone, len(images.names), s.image_size, s.weights, freeze=True
        )
    )
    features, head = keras_warn.split(model)
    for one in (model, head):
        one.compile("adamw", "categorical_crossentropy", jit_compile=False)
    crop = transforms.RandomCrop(s.image_size, s.image_size * 8 // 7)
    batches = data.TrainingBatches(images, crop, BATCH)
    with tempfile.TemporaryDirectory() as folder:
        cache = training.FeatureCache(features, batches, folder)
        turns = {"images": (model, batches), "cache": (head, cache)}
        found = {name: [] for name in turns}
        for epoch in range(1 + s.epochs):  # the first is for tracing
            for name, (one, source) in turns.items():
                start = time.process_time()
                one.fit(
                    source.dataset(epoch),
                    steps_per_epoch=len(source),
                    verbose=0,
                )
                if epoch:
                    found[name].append(time.process_time() - start)
    for name, seconds in found.items():
        print(f"{name}: {np.median(seconds):.2f} s of CPU time an epoch")
    ratios = np.divide(found["images"], found["cache"])
    print(f"ratio: {np.median(ratios):.1f}, of {np.round(ratios, 1).tolist()}")


if __name__ == "__main__":
    main()
