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
import tempfile

# First, for what it sets before TensorFlow is imported.
from measuring import rows  # isort: skip
import cluttered_mnist
import numpy as np
import pandas as pd
from measuring import timing
from measuring import trainings

import keras_warn
from keras_warn import metadata
from keras_warn.data import load_digits
from keras_warn.exits import THRESHOLDS
from keras_warn.exits import fit
from keras_warn.reporting.comparison import compare
from keras_warn.staging import operations_so_far

LOSSES = (0.005, 0.01, 0.02)
TIMED = 0.01
# Of each batch size, how many batches are timed.
ROUNDS = {1: 200, 32: 20}
CURVE = THRESHOLDS[::10]
NEVER = 2.0  # a threshold that no probability reaches
# Modules from shallow to deep, by what they are called in the table.
PLACES = {
    "last two maps": cluttered_mnist.ATTEND_AT[-2:],
    "last three maps": cluttered_mnist.ATTEND_AT[-3:],
    "all four maps": cluttered_mnist.ATTEND_AT,
}


def without_a_promise(found):
    """The lowest threshold that costs no accuracy on these images."""
    cascade = found.cascade()
    kept = cascade.accuracies >= found.output.accuracy()
    return THRESHOLDS[np.flatnonzero(kept)[-1]]


def times(model, exits, images, rounds=ROUNDS):
    """What `serve_early` saves of the time of `serve`, in turns."""
    import tensorflow as tf

    known = dataclasses.replace(metadata.of_model(model), early_exits=exits)
    metadata.attach(model, known)
    images = np.random.default_rng(0).permutation(images)
    saved = {}
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
            steps = {x: step(x, size) for x in ("serve_early", "serve")}
            found = timing.take_turns(
                f"{size} at once", steps, count, timing.CLOCK
            )
            early, whole = pd.DataFrame(found)[[*steps]].sum()
            saved[f"time saved, {size} at once (%)"] = 100 * (1 - early / whole)
    return saved


def measured(model, judged, test):
    """Tables of a trained model, as of `rows.add_tables`."""
    operations = operations_so_far(model)
    seen, found = (
        compare(model, images, trainings.BATCH, verbose=0)
        for images in (judged, test)
    )

    def left(threshold):
        at = found.cascade([threshold])
        change = at.accuracies[0] - found.output.accuracy()
        return {
            "operations saved (%)": 100 * (1 - at.shares[0] @ operations),
            "change of accuracy (points)": 100 * change,
            "lost (%)": 100 * at.lost[0] / at.images,
            "a threshold is found (%)": 100.0 * (threshold < NEVER),
        }

    promises = {"no promise": left(without_a_promise(seen))}
    for loss in LOSSES:
        row = f"{100 * loss:g} points"
        exits = None
        with contextlib.suppress(ValueError):  # where nothing can be promised
            exits = fit(seen.cascade(), operations, loss)
        promises[row] = left(exits.threshold if exits else NEVER)
        if exits and loss == TIMED:
            promises[row] |= times(model, exits, test[0])
    names = [f"after module {i}" for i in range(1, len(operations))]
    ends = [*found.exits, found.output]
    whole = {
        "accuracy (%)": [100 * end.accuracy() for end in ends],
        "operations (%)": 100 * operations,
    }
    curve = found.cascade(CURVE)
    points = {
        "operations (%)": 100 * curve.shares @ operations,
        "accuracy (%)": 100 * curve.accuracies,
    }
    thresholds = [f"{threshold:.7f}" for threshold in CURVE]
    return {
        "exits": pd.DataFrame(whole, [*names, "whole model"]).to_dict("index"),
        "left": promises,
        "curve": pd.DataFrame(points, thresholds).to_dict("index"),
    }


def add_rows(s, about, places, train, judged, test):
    """Adds rows of all places and seeds of which there are none.

    `train` is a function from maps and a seed to a model, `judged` and `test`
    are pairs of images and labels.
    """
    for name, maps in places.items():

        def tables(seed, maps=maps):
            return measured(train(maps, seed), judged, test)

        wanted = {"row": f"{name}, whole model"}
        rows.add_tables(s.out, about, s.seeds, wanted, tables, f"{name}, ")


def main(argv=None):
    parser = trainings.make_parser(__doc__, "exits.csv", seeds=3, epochs=8)
    arguments = parser.parse_args(argv)
    s = cluttered_mnist.Settings(epochs=arguments.epochs)
    digits = load_digits()
    judged = cluttered_mnist.validation_data(digits, s)
    test = cluttered_mnist.test_canvases(s.distractors, digits, s)
    add_rows(
        arguments,
        trainings.about_digits(s),
        PLACES,
        lambda maps, seed: trainings.on_digits(s, digits, seed, maps)[0],
        (judged.images, judged.labels),
        (test.images, test.labels),
    )


if __name__ == "__main__":
    main()
