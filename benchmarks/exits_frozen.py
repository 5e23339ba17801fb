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

# First, for what it sets before TensorFlow is imported.
from measuring import trainings  # isort: skip
import exits

import keras_warn
from keras_warn.attention import attention_of
from keras_warn.graph import producer_name


def main(argv=None):
    parser = trainings.frozen_parser(__doc__, "exits.csv")
    parser.add_argument("--earlier", nargs="+", required=True, metavar="LAYER")
    s = parser.parse_args(argv)

    parts = trainings.load(s.images)
    _, center = trainings.crops(s.image_size)
    judged, test = (
        (trainings.views(part, center).astype("float32"), part.labels)
        for part in (parts["validation"], parts["test"])
    )
    classes = len(parts["train"].names)
    default = keras_warn.augment(trainings.trunk_of(s, classes), classes)
    deep = [producer_name(x.source) for x in attention_of(default).modules]

    def train(maps, seed):
        model, _ = trainings.on_frozen(s, parts["train"], seed, attend_at=maps)
        return model

    places = {"default maps": deep, "earlier maps, too": [*s.earlier, *deep]}
    exits.add_rows(s, trainings.about(s), places, train, judged, test)


if __name__ == "__main__":
    main()
