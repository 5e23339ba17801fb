"""Early exits on a frozen backbone.

    python benchmarks/exits_frozen.py "CUB, 50 birds" \\
        --images CUB_200_2011_first50 --backbone "MobileNetV2(alpha=0.35)" \\
        --image-size 128 --weights mobilenet_v2_0.35_128_notop.weights.h5 \\
        --earlier block_6_expand_relu block_10_expand_relu \\
        --rate 0.01 --decay 0.3 --cache features

Trains attention as `benchmarks/certainty.py` does: with modules where
`keras_warn.augment` has them by default, and at earlier maps as well. Measures
and writes what `benchmarks/exits.py` does.
"""

import itertools
import pathlib

# First, for what it sets before TensorFlow is imported.
import frozen  # isort: skip
import exits
import keras
import numpy as np

import keras_warn
from keras_warn import data
from keras_warn import training
from keras_warn.attention import attention_of
from keras_warn.graph import producer_name

WIDTH = 8


def main(argv=None):
    parser = frozen.make_parser(__doc__, epochs=30, out="exits.csv")
    add = parser.add_argument
    add("--earlier", nargs="+", required=True, metavar="LAYER")
    add("--rate", required=True, type=float)
    add("--decay", required=True, type=float)
    add("--cache", required=True, type=pathlib.Path, help="folder of features")
    s = parser.parse_args(argv)

    parts = frozen.load(s.images)
    classes = len(parts[0].names)
    crop, center = frozen.crops(s.image_size)

    def middles(part):
        views = [center(image) for image in frozen.pixels_of(part)]
        return np.stack(views).astype("float32"), part.labels

    judged, test = map(middles, parts[1:])
    trunk = frozen.trunk_of(s, classes)
    default = attention_of(keras_warn.augment(trunk, classes)).modules
    deep = [producer_name(module.source) for module in default]
    places = {"default maps": deep, "earlier maps, too": [*s.earlier, *deep]}
    for seed, (name, maps) in itertools.product(s.seeds, places.items()):
        about = {
            "data": s.name,
            "backbone": frozen.name_of(s.backbone),
            "seed": seed,
        }
        if exits.is_done(s.out, about, name):
            continue
        trunk = frozen.trunk_of(s, classes)
        keras.utils.set_random_seed(seed)
        model = keras_warn.augment(
            trunk,
            classes,
            width=WIDTH,
            attend_at=maps,
            classifier_activation=None,
        )
        features, head = keras_warn.split(model)
        features.compile(jit_compile=False)
        batches = data.TrainingBatches(parts[0], crop, frozen.BATCH)
        cache = training.FeatureCache(
            features, batches, s.cache, frozen.VIEWS, limit=None
        )
        frozen.train([head], cache, s.epochs, seed, s.rate, s.decay)
        tables = exits.measured(model, judged, test)
        exits.add_rows(s.out, about, name, tables)
        print(f"Seed {seed}, {name}: done.", flush=True)


if __name__ == "__main__":
    main()
