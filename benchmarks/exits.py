"""Early exits in a small network that is trained from scratch, on digits.

    python benchmarks/exits.py

Trains the network of `recipes/cluttered_mnist.py` on scikit-learn's digits
among 8 distractors, with modules that have a loss each and train the backbone,
too: at its last two maps, and at one or two earlier ones as well. How accurate
are exits, how many operations do they save at a loss that is promised by
validation images, or at none of those, and how much time does `serve_early`
save, beside `serve`? Rows are added to `--out`, as by
`benchmarks/exits_frozen.py`; what is there is not trained again.
`benchmarks/evidence.py` draws them.
"""

import contextlib
import dataclasses
import itertools
import pathlib
import tempfile

# First, for what it sets before TensorFlow is imported.
import frozen  # isort: skip
import cluttered_mnist
import keras
import numpy as np
from measuring import command
from measuring import timing

import keras_warn
from keras_warn import metadata
from keras_warn.data import load_digits
from keras_warn.exits import THRESHOLDS
from keras_warn.exits import EarlyExits
from keras_warn.reporting.comparison import compare
from keras_warn.staging import operations_so_far

LOSSES = (0.005, 0.01, 0.02)
TIMED = 0.01
# Of each batch size, how many batches are timed.
ROUNDS = {1: 200, 32: 20}
CURVE = THRESHOLDS[::10]
# Modules from shallow to deep, by what they are called in the table.
PLACES = {
    "last two maps": cluttered_mnist.ATTEND_AT[-2:],
    "last three maps": cluttered_mnist.ATTEND_AT[-3:],
    "all four maps": cluttered_mnist.ATTEND_AT,
}


def without_a_promise(model, judged, operations):
    """The lowest threshold that costs no accuracy on these images."""
    found = compare(model, judged, frozen.BATCH, verbose=0)
    cascade = found.cascade()
    kept = cascade.accuracies >= found.output.accuracy()
    index = np.flatnonzero(kept)[-1]
    *left, _ = cascade.shares[index]
    share = float(cascade.shares[index] @ operations)
    return EarlyExits(THRESHOLDS[index], 0.0, left, share, len(found))


def chosen(model, judged, operations):
    """Early exits by what they are called, `None` where none is promised."""
    found = {"no promise": without_a_promise(model, judged, operations)}
    for loss in LOSSES:
        name = f"{100 * loss:g} points"
        found[name] = None
        with contextlib.suppress(ValueError):
            found[name] = keras_warn.early_exits(
                model, judged, loss, frozen.BATCH, verbose=0
            )
    return found


def times(model, exits, images, rounds=ROUNDS):
    """What `serve_early` saves of the time of `serve`, in turns."""
    import tensorflow as tf

    known = dataclasses.replace(metadata.of_model(model), early_exits=exits)
    metadata.attach(model, known)
    images = np.random.default_rng(0).permutation(images)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        keras_warn.export(model, f"{folder}/m", masks="maps")
        loaded = tf.saved_model.load(f"{folder}/m")

        def step(signature, size):
            starts = itertools.cycle(range(0, len(images) - size + 1, size))

            def predict():
                start = next(starts)
                batch = tf.constant(images[start : start + size])
                getattr(loaded, signature)(batch)["probabilities"].numpy()

            return predict

        for size, count in rounds.items():
            steps = {x: step(x, size) for x in ("serve", "serve_early")}
            found = timing.take_turns(
                f"{size} at once", steps, count, timing.CLOCK
            )
            early, whole = (
                sum(one[name] for one in found)
                for name in ("serve_early", "serve")
            )
            rows[f"time saved, {size} at once (%)"] = 100 * (1 - early / whole)
    return rows


def measured(model, judged, test, rounds=ROUNDS):
    """Tables of a trained model, from pairs of a row and a measure."""
    operations = operations_so_far(model)
    found = compare(model, test, frozen.BATCH, verbose=0)
    whole = found.output.accuracy()
    tables = {"exits": {}, "left": {}, "curve": {}}
    for i, end in enumerate([*found.exits, found.output], start=1):
        row = f"after module {i}" if i < len(operations) else "whole model"
        tables["exits"][row, "accuracy (%)"] = 100 * end.accuracy()
        tables["exits"][row, "operations (%)"] = 100 * operations[i - 1]
    for row, exits in chosen(model, judged, operations).items():
        at = found.cascade([2.0 if exits is None else exits.threshold])
        values = {
            "operations saved (%)": 100 * (1 - at.shares[0] @ operations),
            "change of accuracy (points)": 100 * (at.accuracies[0] - whole),
            "lost (%)": 100 * at.lost[0] / at.images,
            "a threshold is found (%)": 0.0 if exits is None else 100.0,
        }
        if exits is not None and exits.loss == TIMED:
            values |= times(model, exits, test[0], rounds)
        tables["left"] |= {(row, name): x for name, x in values.items()}
    curve = found.cascade(CURVE)
    for threshold, share, right in zip(
        CURVE, curve.shares @ operations, curve.accuracies, strict=True
    ):
        row = f"{threshold:.7f}"
        tables["curve"][row, "operations (%)"] = 100 * share
        tables["curve"][row, "accuracy (%)"] = 100 * right
    return tables


def add_rows(path, about, places, tables):
    """Adds them to a table on disk, with a name of where modules are."""
    rows = [
        {
            **about,
            "table": table,
            "row": f"{places}, {row}",
            "measure": measure,
            "value": value,
        }
        for table, values in tables.items()
        for (row, measure), value in values.items()
    ]
    frozen.add_rows(path, rows)


def is_done(path, about, places):
    """Whether there are rows of this training."""
    found = frozen.rows(path, {**about, "table": "exits"})
    return len(found) > 0 and found["row"].str.startswith(places).any()


def main(argv=None):
    parser = command.plain_parser(__doc__)
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--epochs", type=int, default=8)
    add("--out", type=pathlib.Path, default=pathlib.Path("exits.csv"))
    arguments = parser.parse_args(argv)

    s = cluttered_mnist.Settings(epochs=arguments.epochs)
    digits = load_digits()
    held_out = cluttered_mnist.validation_data(digits, s)
    test = cluttered_mnist.test_canvases(s.distractors, digits, s)
    name = f"digits, {s.distractors} distractors"
    for seed, (places, maps) in itertools.product(
        arguments.seeds, PLACES.items()
    ):
        about = {"data": name, "backbone": "from scratch", "seed": seed}
        if is_done(arguments.out, about, places):
            continue
        keras.utils.set_random_seed(seed)
        model = keras_warn.augment(
            cluttered_mnist.backbone(s),
            attend_at=list(maps),
            gradient_scale=1.0,
        )
        cluttered_mnist.compiled(model, s).fit(
            cluttered_mnist.training_data(seed, digits, s),
            epochs=s.epochs,
            verbose=2,
        )
        tables = measured(
            model,
            (held_out.images, held_out.labels),
            (test.images, test.labels),
        )
        add_rows(arguments.out, about, places, tables)


if __name__ == "__main__":
    main()
