"""Early exits in a small network that is trained from scratch, on digits.

    python benchmarks/exits.py --out certainty.csv

Trains the network of `recipes/cluttered_mnist.py` on scikit-learn's digits
among 8 distractors, with modules on four maps, each with a loss of its own,
whose gradients reach the backbone. How many operations would be saved, if
images left where the first modules are sure? Rows are added to `--out`, as by
`benchmarks/certainty.py`; a seed that is there is not trained again.
"""

import pathlib

# First, for what it sets before TensorFlow is imported.
import certainty  # isort: skip
import cluttered_mnist
import frozen
import keras
from measuring import command

import keras_warn
from keras_warn.data import load_digits


def main(argv=None):
    parser = command.plain_parser(__doc__)
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--epochs", type=int, default=8)
    add("--out", type=pathlib.Path, default=pathlib.Path("certainty.csv"))
    arguments = parser.parse_args(argv)

    s = cluttered_mnist.Settings(epochs=arguments.epochs)
    digits = load_digits()
    held_out = cluttered_mnist.validation_data(digits, s)
    test = cluttered_mnist.test_canvases(s.distractors, digits, s)
    name = f"digits, {s.distractors} distractors"
    for seed in arguments.seeds:
        run = {"data": name, "backbone": "from scratch", "seed": seed}
        if len(frozen.rows(arguments.out, {**run, "table": "exits"})):
            continue
        keras.utils.set_random_seed(seed)
        model = keras_warn.augment(
            cluttered_mnist.backbone(s),
            attend_at=list(cluttered_mnist.ATTEND_AT),
            gradient_scale=1.0,
        )
        cluttered_mnist.compiled(model, s).fit(
            cluttered_mnist.training_data(seed, digits, s),
            epochs=s.epochs,
            verbose=2,
        )
        look = certainty.looker(model)
        found = certainty.exits(
            (look(held_out.images), held_out.labels),
            (look(test.images), test.labels),
            certainty.costs(model),
        )
        rows = certainty.rows_of(run, {"exits": found})
        frozen.add_rows(arguments.out, rows)


if __name__ == "__main__":
    main()
