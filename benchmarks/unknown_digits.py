"""Unknown digits: what is answered, and what tells them, in a small network.

    python benchmarks/unknown_digits.py --out certainty.csv

Trains the network of `recipes/cluttered_mnist.py` on scikit-learn's digits
among 8 distractors, with modules on four maps, each with a loss of its own,
whose gradients reach the backbone. The nines are held out: nobody is taught
them. Tables `answered` and `unknown` are added to `--out`, as by
`benchmarks/certainty.py`; a seed that is there is not trained again.
"""

# First, for what it sets before TensorFlow is imported.
from measuring import rows  # isort: skip
import certainty
import cluttered_mnist
import keras
import numpy as np
from measuring import trainings

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
    parser = trainings.make_parser(__doc__, "certainty.csv", seeds=5, epochs=8)
    arguments = parser.parse_args(argv)

    s = cluttered_mnist.Settings(epochs=arguments.epochs)
    digits = load_digits()
    known = only(digits, lambda labels: labels != HELD_OUT)
    unknown = only(digits, lambda labels: labels == HELD_OUT)
    judged = cluttered_mnist.validation_data(known, s)
    test = cluttered_mnist.test_canvases(s.distractors, known, s)
    near = cluttered_mnist.test_canvases(s.distractors, unknown, s).images
    noise = certainty.noise((certainty.NOISE, *near.shape[1:])) / 255
    seen = {"known": test.images, "near": near, "noise": noise}

    def tables(seed):
        model, canvases = trainings.on_digits(
            s, known, seed, cluttered_mnist.ATTEND_AT
        )
        steps = range(TAUGHT // cluttered_mnist.BATCH)
        return certainty.tables_of_unknown(
            model,
            keras.Model(model.inputs, model.get_layer("dense").output),
            np.concatenate([canvases[i][0] for i in steps]),
            (judged.images, judged.labels),
            seen,
            test.labels,
            PROMISED,
        )

    about, wanted = trainings.about_digits(s), {"table": "unknown"}
    rows.add_tables(arguments.out, about, arguments.seeds, wanted, tables)


if __name__ == "__main__":
    main()
