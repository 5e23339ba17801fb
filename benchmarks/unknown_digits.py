"""Unknown digits: what is answered, and what tells them, in a small network.

    python benchmarks/unknown_digits.py --out certainty.csv

Trains the network of `recipes/cluttered_mnist.py` on scikit-learn's digits
among 8 distractors, with modules on four maps, each with a loss of its own,
whose gradients reach the backbone. The nines are held out: nobody is taught
them. Tables `answered` and `unknown` are added to `--out`, as by
`benchmarks/certainty.py`; a seed that is there is not trained again.
"""

import pathlib

# First, for what it sets before TensorFlow is imported.
import certainty  # isort: skip
import cluttered_mnist
import frozen
import keras
import numpy as np
from measuring import command
from sklearn import neighbors

import keras_warn
from keras_warn.data import load_digits

HELD_OUT = 9
PROMISED = 0.98  # of answers, the share that is correct at least
TAUGHT = 4000  # canvases among which a nearest one is looked for


def only(digits, chosen):
    """All parts of digits, with the classes for which `chosen` is true."""
    return type(digits)(
        *(
            type(part)(*(values[chosen(part.labels)] for values in part))
            for part in digits
        )
    )


def main(argv=None):
    parser = command.plain_parser(__doc__)
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    add("--epochs", type=int, default=8)
    add("--out", type=pathlib.Path, default=pathlib.Path("certainty.csv"))
    arguments = parser.parse_args(argv)

    s = cluttered_mnist.Settings(epochs=arguments.epochs)
    digits = load_digits()
    known = only(digits, lambda labels: labels != HELD_OUT)
    unknown = only(digits, lambda labels: labels == HELD_OUT)
    held_out = cluttered_mnist.validation_data(known, s)
    test = cluttered_mnist.test_canvases(s.distractors, known, s)
    near = cluttered_mnist.test_canvases(s.distractors, unknown, s).images
    noise = certainty.noise((certainty.NOISE, *near.shape[1:])) / 255
    seen = {"known": test.images, "near": near, "noise": noise}
    name = f"digits, {s.distractors} distractors"
    for seed in arguments.seeds:
        run = {"data": name, "backbone": "from scratch", "seed": seed}
        if len(frozen.rows(arguments.out, {**run, "table": "unknown"})):
            continue
        keras.utils.set_random_seed(seed)
        backbone = cluttered_mnist.backbone(s)
        model = keras_warn.augment(
            backbone,
            attend_at=list(cluttered_mnist.ATTEND_AT),
            gradient_scale=1.0,
        )
        training = cluttered_mnist.training_data(seed, known, s)
        cluttered_mnist.compiled(model, s).fit(
            training, epochs=s.epochs, verbose=2
        )
        features = keras.Model(backbone.inputs, backbone.layers[-1].input)
        taught = np.concatenate(
            [training[i][0] for i in range(TAUGHT // cluttered_mnist.BATCH)]
        )
        nearest = neighbors.NearestNeighbors(n_neighbors=10, metric="cosine")
        nearest.fit(features.predict(taught, verbose=0))

        def far_from(images, features=features, nearest=nearest):
            found = features.predict(images, verbose=0)
            return nearest.kneighbors(found)[0][:, -1]

        look = certainty.looker(model)
        looks = {kind: look(images) for kind, images in seen.items()}
        scores = {
            kind: certainty.scores(looks[kind], -far_from(images))
            for kind, images in seen.items()
        }
        tables = certainty.tables_of_unknown(
            (look(held_out.images), held_out.labels),
            test.labels,
            looks,
            scores,
            PROMISED,
        )
        frozen.add_rows(arguments.out, certainty.rows_of(run, tables))


if __name__ == "__main__":
    main()
