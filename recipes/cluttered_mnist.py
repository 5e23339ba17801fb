"""Cluttered Translated MNIST: attention against clutter.

    python recipes/cluttered_mnist.py
    python recipes/cluttered_mnist.py --source mnist --seeds 5 \\
        --ablate average linear sigmoid_masks no_diversity
    python recipes/cluttered_mnist.py --source mnist --ablate figure_4
    KERAS_BACKEND=jax python recipes/cluttered_mnist.py --out runs/on_jax

Stands for section 4.2 and Figure 4 of "Attend and Rectify". A digit lies
somewhere on a canvas of 40x40 pixels, among pieces of other digits. A network
of five 3x3 convolutions and two dense layers (*baseline*) and the same one
with attention from its fifth convolution backwards to its poolings
(*attention*) are trained by the same settings with 8 distractors, and tested
with 4 to 64 (Figure 4e). `--ablate` takes parts of the attention away, or
replaces them (Figure 4d), attends with fewer or more modules and heads (4b and
4c), or lets the baseline look through a spatial transformer instead (4e);
`--ablate figure_4` is all that the figure shows.

Differences from the paper: scikit-learn's 1,797 digits in MNIST's geometry
unless `--source` says otherwise; minutes of training instead of 200 epochs of
200,000 images, with warm-up and cosine decay; narrow layers. The paper does
not state its layers' widths.

Results without flags, mean ± standard deviation over 3 seeds, in 5 min 31 s
on 2 shared cores of an AMD EPYC (TensorFlow 2.21, Keras 3.15.1, 2026-11-23):

    accuracy (%) at
    distractors         4           8          16          32          64
    baseline   95.7 ± 0.7  92.5 ± 1.7  82.4 ± 2.7  53.9 ± 4.0  19.9 ± 1.5
    attention  97.4 ± 0.1  95.3 ± 0.3  87.5 ± 0.8  62.8 ± 0.9  24.0 ± 1.2

    pointing (%) at
    distractors       masks  middle  next image  chance
    8            97.7 ± 2.8    97.2        66.1    17.8
    32           95.4 ± 2.4    97.2        65.3    17.8

On MNIST (`--source mnist.npz --epochs 16`), in 6 min 9 s on the same machine:

    accuracy (%) at
    distractors         4           8          16          32          64
    baseline   95.7 ± 0.4  93.2 ± 0.1  84.9 ± 0.8  58.7 ± 1.6  19.7 ± 0.9
    attention  96.1 ± 0.1  94.0 ± 0.2  86.2 ± 0.7  60.1 ± 1.2  20.0 ± 0.2

    pointing (%) at
    distractors        masks  middle  next image
    8            88.9 ± 12.8    94.0        58.2
    32           73.3 ± 27.4    94.0        51.7

There the gain is much smaller, with settings that were chosen for
scikit-learn's digits. Learning rates of 2e-3, 5e-3, 1e-2 and 2e-2 were tried
for both arms on the latter's validation digits; 1e-2 was the baseline's best,
and attention's within noise.

The spatial transformer's localisation learns at a tenth of the learning rate.
At all of it, it leaves the image in the first steps and never comes back; a
hundredth was behind on MNIST's validation digits (81.9 to 85.5 % after 4
epochs, seed 0).

With these settings the global gates settle at values that do not depend on
the image: their tanh is saturated.

Nothing is selected in a run: accuracies are those after the last epoch, of a
test split whose digits are in no training image, not even as distractors.
Validation accuracy is shown for whoever changes the settings.

*Pointing* is the share of test images in which the strongest point of all
masks, weighted by their gates, lies in the box around the digit's ink. Chance
is the box's share of the canvas. As digits are half as large as the canvas,
its middle lies in most boxes, so two more numbers stand beside it: pointing
always to the middle, and to where the masks of the *next* image are strongest.

Writes to `--out`: `results.json`, `results.csv`, `clutter.png`, each model as
`<arm>_<seed>.keras`; of the first seed with attention `explanation.png`, some
digits and what attention made of them, `report.html`, the same for a whole
test set, and `attention_saved_model`, which runs where neither Keras nor this
package is installed; and `tensorboard/`, to look on with `tensorboard --logdir`
while it trains. A run that was stopped goes on where it was: start it again.
"""

import argparse
import csv
import io
import math
import os
import shutil

# Before TensorFlow is imported: its start-up lines are not ours to explain.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers

import keras_warn
from keras_warn import checks
from keras_warn import figures
from keras_warn import masks
from keras_warn import metadata
from keras_warn import runs
from keras_warn import training
from keras_warn.datasets import ArrayBatches
from keras_warn.datasets import ClutteredDigits
from keras_warn.datasets import cluttered
from keras_warn.datasets import load_digits
from keras_warn.models import SpatialTransformer
from keras_warn.training import settings

SETTINGS = {
    # Images. Validation and test canvases are the same for all.
    "source": "sklearn",
    "distractors": 8,
    "train_size": 8192,  # in each epoch, with fresh clutter
    "validation_size": 2000,
    "test_size": 4000,  # at each of
    "test_distractors": (4, 8, 16, 32, 64),
    "pointing_distractors": (8, 32),
    # The network: 3x3 convolutions, the first three with batch normalisation
    # and 2x2 max pooling, then two dense layers.
    "filters": (16, 32, 32, 32, 32),
    "dense": 128,
    # Attention: arguments of `keras_warn.augment`. It starts at the last of
    # `ATTEND_AT`, and goes back from there.
    "attention": {"depth": 4, "width": 4, "diversity": 0.1},
    # Training, of all arms alike but for `TRANSFORMER_RATE`.
    "seeds": 3,
    "epochs": 8,
    "batch_size": 128,
    "learning_rate": 1e-2,  # at its peak
    "warmup": 0.05,  # share of all steps
    "weight_decay": 1e-2,
}

# What `--smoke` changes: a whole run, in seconds.
SMOKE = {
    "seeds": 1,
    "epochs": 1,
    "train_size": 256,
    "validation_size": 50,
    "test_size": 50,
}

CLASSES = 10

# From shallow to deep.
ATTEND_AT = ("pool1", "pool2", "pool3", "relu5")

# What each arm of `--ablate` changes in the attention.
ABLATIONS = {
    "average": {"gates": "average"},
    "linear": {"gates": "linear"},
    "sigmoid_gates": {"gates": "sigmoid"},
    "gate_batch_norm": {"gate_batch_norm": True},
    "unbounded_gates": {"gate_score_activation": None},
    "sigmoid_masks": {"mask_activation": "sigmoid"},
    "probabilities": {"combination": "probabilities"},
    "no_diversity": {"diversity": 0.0},
    "agreement": {"agreement": 1.0},
    "blocked_gradient": {"gradient_scale": 0.0},
    "kernel_3": {"kernel_size": 3},
    "depth_1_width_1": {"depth": 1, "width": 1},
    "depth_2_width_1": {"depth": 2, "width": 1},
    "depth_3_width_1": {"depth": 3, "width": 1},
    "depth_4_width_1": {"depth": 4, "width": 1},
    "depth_4_width_2": {"depth": 4, "width": 2},
    "depth_4_width_8": {"depth": 4, "width": 8},
}

# Arms without attention.
UNATTENDED = ("baseline", "spatial_transformer")

# All that `--ablate` takes, and what `--ablate figure_4` stands for.
MORE_ARMS = [*ABLATIONS, "spatial_transformer"]
FIGURE_4 = [
    *(f"depth_{depth}_width_1" for depth in (1, 2, 3, 4)),
    *(f"depth_4_width_{width}" for width in (2, 8)),
    *("average", "linear", "sigmoid_gates", "sigmoid_masks", "no_diversity"),
    *("blocked_gradient", "spatial_transformer"),
]

# Of the spatial transformer's localisation, as a share of the learning rate.
TRANSFORMER_RATE = 0.1

# Streams of clutter that no training seed reaches.
VALIDATION_SEED, TEST_SEED = 1_000_001, 1_000_002


def transformed(images):
    """Images as a spatial transformer sees them; at first, as they are."""
    he = keras.initializers.HeNormal
    x = images
    for i in (1, 2):
        x = layers.MaxPooling2D(name=f"locate_pool{i}")(x)
        x = layers.Conv2D(
            20,
            5,
            activation="relu",
            kernel_initializer=he(),
            name=f"locate_conv{i}",
        )(x)
    x = layers.Flatten(name="locate_flat")(x)
    x = layers.Dense(50, "relu", kernel_initializer=he(), name="locate_dense")(
        x
    )
    return SpatialTransformer(name="transformer")(images, x)


def network(s, name="baseline"):
    """The paper's network, He-initialised."""
    he = keras.initializers.HeNormal
    x = inputs = keras.Input((40, 40, 1))
    if name == "spatial_transformer":
        x = transformed(x)
    for i, filters in enumerate(s.filters, start=1):
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=i > 3,  # batch normalisation has its own
            kernel_initializer=he(),
            name=f"conv{i}",
        )(x)
        if i <= 3:
            # The moving averages of a short run must be quick to follow.
            x = layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        if i <= 3:
            x = layers.MaxPooling2D(name=f"pool{i}")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(s.dense, "relu", kernel_initializer=he(), name="dense")(x)
    x = layers.Dense(CLASSES, "softmax", name="digit")(x)
    return keras.Model(inputs, x, name=name)


def check_attention(attention):
    """Raises if `augment` would not take these arguments here."""
    settings.check_attention("attention", attention)
    depth = checks.integer("depth", attention["depth"])
    if "attend_at" not in attention and depth > len(ATTEND_AT):
        raise ValueError(
            f"`depth` must be at most {len(ATTEND_AT)}, for which there are "
            f"{', '.join(ATTEND_AT)}. Received: depth={depth}."
        )


def build(arm, s):
    """The network, with the attention of this arm."""
    if arm in UNATTENDED:
        return network(s, arm)
    attention = {**s.attention, **ABLATIONS.get(arm, {})}
    check_attention(attention)
    if "attend_at" not in attention:
        attention["attend_at"] = list(ATTEND_AT[-attention["depth"] :])
    return keras_warn.augment(network(s), name=arm, **attention)


def compiled(model, s):
    """The model, ready for a training of `s.epochs`."""
    steps = s.epochs * (s.train_size // s.batch_size)
    warmup_steps = max(1, round(s.warmup * steps))
    learning_rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        steps - warmup_steps,
        warmup_target=s.learning_rate,
        warmup_steps=warmup_steps,
    )
    optimizer = keras.optimizers.AdamW(
        learning_rate, weight_decay=s.weight_decay
    )
    if model.name == "spatial_transformer":
        optimizer = keras_warn.optimizers.MultiRateOptimizer(
            optimizer, {"(locate|transformer).*": TRANSFORMER_RATE}
        )
    model.compile(
        optimizer,
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def training_data(seed, digits, s):
    """Canvases for a training, with fresh clutter in each epoch."""
    return ClutteredDigits(
        *digits.train,
        s.batch_size,
        s.train_size,
        drop_remainder=True,
        distractors=s.distractors,
        seed=seed,
    )


def validation_data(digits, s):
    """Canvases of other digits, the same for all trainings."""
    canvases = cluttered(
        *digits.validation,
        s.validation_size,
        distractors=s.distractors,
        seed=VALIDATION_SEED,
    )
    return ArrayBatches(canvases.images, canvases.labels, CLASSES)


def test_canvases(distractors, digits, s):
    """Canvases of digits that are in no other."""
    return cluttered(
        *digits.test, s.test_size, distractors=distractors, seed=TEST_SEED
    )


def train(model, seed, digits, s, run):
    """Trains a model for `s.epochs`, or for what is left of them."""
    validation = validation_data(digits, s)
    name = f"{model.name}_{seed}"
    callbacks = []
    if model.name not in UNATTENDED:
        callbacks.append(
            keras_warn.TensorBoardAttention(
                run / f"tensorboard/{name}", validation.images
            )
        )
    return training.fit(
        compiled(model, s),
        training_data(seed, digits, s),
        s.epochs,
        run / f"{runs.PARTS}/{name}",
        validation=validation,
        callbacks=callbacks,
    )


def correct(model, canvases):
    """The share of images that are classified correctly."""
    predictions = model.predict(canvases.images, 500, verbose=0)
    return float(np.mean(predictions.argmax(axis=-1) == canvases.labels))


def pointing(model, canvases):
    """Whether the masks point to the digit, and what to compare it with."""
    size = canvases.images.shape[1:3]
    seen = keras_warn.inspect(model).predict(canvases.images, 500, verbose=0)
    found = masks.combined_mask(seen, size)
    middle = np.zeros((len(found), *size))
    middle[:, size[0] // 2, size[1] // 2] = 1
    return {
        "masks": masks.pointing_accuracy(found, canvases.boxes),
        "chance": masks.chance(canvases.boxes, size),
        "middle": masks.pointing_accuracy(middle, canvases.boxes),
        "next_image": masks.pointing_accuracy(
            np.roll(found, -1, axis=0), canvases.boxes
        ),
    }


def described(arm, seed, trained, accuracy, s):
    """What the model's file says of its use."""
    return metadata.Metadata(
        class_names=[str(digit) for digit in range(CLASSES)],
        size=(40, 40),
        preprocessing="unit",
        training={
            "recipe": "cluttered_mnist",
            "arm": arm,
            "seed": seed,
            "epoch": len(trained.history),
            "validation_accuracy": trained.history[-1]["val_accuracy"],
            "test_accuracy": accuracy.get(s.distractors),
            "test_accuracy_at_distractors": accuracy,
            "date": runs.now(),
            "settings": vars(s),
        },
    )


def arm_and_seed(arm, seed, digits, test, s, run):
    """Trains and tests one model; what is known of it afterwards."""
    keras.utils.set_random_seed(seed)
    model = build(arm, s)
    trained = train(model, seed, digits, s, run)
    accuracy = {d: correct(model, test[d]) for d in s.test_distractors}
    pointed = {}
    if arm not in UNATTENDED:
        pointed = {d: pointing(model, test[d]) for d in s.pointing_distractors}
    if arm not in UNATTENDED:
        metadata.attach(model, described(arm, seed, trained, accuracy, s))
    with run.replacing(f"{arm}_{seed}.keras") as path:
        model.save(path)
    return {
        "arm": arm,
        "seed": seed,
        "parameters": model.count_params(),
        "training_seconds": trained.seconds,
        "validation_accuracy": [row["val_accuracy"] for row in trained.history],
        "accuracy": accuracy,
        "pointing": pointed,
    }


def summary(results):
    """Means and deviations over seeds, and differences seed by seed."""
    arms = {}
    for result in results:
        arms.setdefault(result["arm"], []).append(result)
    summary = {}
    for arm, of_seeds in arms.items():
        summary[arm] = {
            "parameters": of_seeds[0]["parameters"],
            "training_seconds": runs.spread(
                [result["training_seconds"] for result in of_seeds]
            ),
            "accuracy": {
                d: runs.spread([result["accuracy"][d] for result in of_seeds])
                for d in of_seeds[0]["accuracy"]
            },
            "accuracy_minus_baseline": {
                d: runs.spread(
                    [
                        result["accuracy"][d] - baseline["accuracy"][d]
                        for result, baseline in zip(
                            of_seeds, arms["baseline"], strict=True
                        )
                    ]
                )
                for d in of_seeds[0]["accuracy"]
            },
            "pointing": {
                d: {
                    of: runs.spread(
                        [result["pointing"][d][of] for result in of_seeds]
                    )
                    for of in points
                }
                for d, points in of_seeds[0]["pointing"].items()
            },
        }
    return summary


def table(summary):
    """The summary as text, in percent."""

    def line(head, spreads, sign=""):
        cells = []
        for value in spreads:
            mean, std = 100 * value["mean"], value["std"]
            std = "" if std is None else f"± {100 * std:.1f}"
            cells.append(f"{mean:{sign}6.1f} {std:6}")
        return f"{head:31}" + " ".join(cells)

    clutter = summary["baseline"]["accuracy"]
    lines = [f"{'accuracy (%), distractors:':31}"]
    lines[0] += " ".join(f"{d:>6}       " for d in clutter)
    for arm, found in summary.items():
        lines.append(line(arm, found["accuracy"].values()))
    for arm, found in summary.items():
        if arm != "baseline":
            differences = found["accuracy_minus_baseline"].values()
            lines.append(line(f"{arm} - baseline", differences, sign="+"))
    for arm, found in summary.items():
        for d, points in found["pointing"].items():
            lines += ["", f"pointing (%), {arm}, {d} distractors"]
            lines += [line(f"  {of}", [points[of]]) for of in points]
    lines.append("")
    for arm, found in summary.items():
        seconds = found["training_seconds"]["mean"]
        lines.append(
            f"{arm}: {found['parameters']:,} parameters, trained in "
            f"{seconds:.0f} s"
        )
    return "\n".join(line.rstrip() for line in lines)


def to_csv(results):
    """One row an arm and seed."""
    rows = []
    for result in results:
        row = {
            key: result[key]
            for key in ("arm", "seed", "parameters", "training_seconds")
        }
        for d, accuracy in result["accuracy"].items():
            row[f"accuracy_{d}"] = accuracy
        for d, points in result["pointing"].items():
            for of, share in points.items():
                row[f"pointing_{d}_{of}"] = share
        rows.append(row)
    # Arms with attention have the most columns.
    text = io.StringIO()
    writer = csv.DictWriter(
        text, max(rows, key=len), restval="", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def look(test, s, run):
    """Writes what attention did: of a few digits, and of a whole test set."""
    model = keras.saving.load_model(run / "attention_0.keras")
    # The first digits of the test stream, whatever becomes of them. A digit
    # is at the same place under more clutter.
    shown = [(d, i) for i in range(3) for d in s.pointing_distractors]
    images = np.stack([test[d].images[i] for d, i in shown])
    figure = figures.explanation_figure(
        images,
        keras_warn.explain(model, images),
        [f"digit {test[d].labels[i]}\n{d} distractors" for d, i in shown],
    )
    with run.replacing("explanation.png") as path:
        figure.savefig(path)
    clutter = s.pointing_distractors[0]
    keras_warn.report(
        model,
        (test[clutter].images, test[clutter].labels),
        run / "report.html",
        title=f"Digits among {clutter} distractors",
        baseline=keras.saving.load_model(run / "baseline_0.keras"),
        overwrite=True,
    )


def draw(results, s, run):
    """Writes the accuracies as a figure."""
    curves = {}
    for result in results:
        accuracies = [100 * value for value in result["accuracy"].values()]
        curves.setdefault(result["arm"], []).append(accuracies)
    if len(curves) > len(figures.COLORS):  # only what Figure 4e shows
        shown = ("attention", *UNATTENDED)
        curves = {arm: curves[arm] for arm in curves if arm in shown}
    figure = figures.curves_figure(
        s.test_distractors,
        curves,
        f"distractors (trained with {s.distractors})",
        "test accuracy (%)",
        log2=True,
    )
    with run.replacing("clutter.png") as path:
        figure.savefig(path)


def export(run):
    """Writes the augmented model for where there is no Keras."""
    if keras.backend.backend() != "tensorflow":
        print(
            "No attention_saved_model: a SavedModel needs the TensorFlow "
            f"backend, and this run was on {keras.backend.backend()}. To make "
            "one, load attention_0.keras with KERAS_BACKEND=tensorflow."
        )
        return
    model = keras.saving.load_model(run / "attention_0.keras")
    keras_warn.export(model, run / "attention_saved_model", overwrite=True)


def experiment(digits, s, run):
    """Everything, but for what an earlier start of this run has done."""
    test = {
        d: test_canvases(d, digits, s)
        for d in {*s.test_distractors, *s.pointing_distractors}
    }
    results = []
    # Arms take turns, so that a machine that slows down slows all of them.
    turns = [
        (arm, seed)
        for seed in range(s.seeds)
        for arm in ("baseline", "attention", *s.ablate)
    ]
    for i, (arm, seed) in enumerate(turns, start=1):
        name = f"{arm}_{seed}"
        done = " is done already" if run.has(name) else ""
        print(f"\n[{i}/{len(turns)}] {arm}, seed {seed}{done}", flush=True)
        results.append(
            run.part(name, arm_and_seed, arm, seed, digits, test, s, run)
        )
        # All that was only needed to go on.
        shutil.rmtree(run / f"{runs.PARTS}/{name}", ignore_errors=True)
    summarized = summary(results)
    look(test, s, run)
    draw(results, s, run)
    export(run)
    run.write("results.csv", to_csv(results))
    run.finish(
        {
            "settings": vars(s),
            "environment": runs.environment(),
            "runs": results,
            "summary": summarized,
        }
    )
    print(f"\n{table(summarized)}\n\nEverything is in {run.path}.")


def integer(minimum):
    """A type of arguments: integers of at least `minimum`."""

    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < minimum:
            raise argparse.ArgumentTypeError(
                f"must be an integer of at least {minimum}. Received: {text}."
            )
        return value

    return parse


def positive(text):
    """A type of arguments: positive numbers."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(
            f"must be a positive number. Received: {text}."
        )
    return value


def add_settings(parser):
    """Adds the options that decide what a training results in."""
    add = parser.add_argument
    add("--source", help="sklearn, mnist, or the path of an .npz file")
    add(
        "--attention",
        nargs="+",
        type=settings.named_value,
        metavar="NAME=VALUE",
        help="arguments of keras_warn.augment, such as depth=2 width=8; "
        "the others stay at: "
        + " ".join(f"{k}={v}" for k, v in SETTINGS["attention"].items()),
    )
    add("--epochs", type=integer(1))
    add("--learning-rate", type=positive, help="at its peak")
    add("--train-size", type=integer(1), help="images in an epoch")
    add("--test-size", type=integer(1), help="images at each clutter")
    add("--distractors", type=integer(0), help="clutter in training")
    add("--smoke", action="store_true", help="try everything, in a minute")
    parser.set_defaults(**SETTINGS)


def parse(parser, argv=None):
    """What a parser with `add_settings` makes of arguments."""
    s = parser.parse_args(argv)
    if s.smoke:
        parser.set_defaults(**SMOKE)
        s = parser.parse_args(argv)
    s.attention = {**SETTINGS["attention"], **dict(s.attention)}
    if s.train_size < s.batch_size:
        parser.error(
            f"argument --train-size: must be at least {s.batch_size}, one "
            f"batch. Received: {s.train_size}."
        )
    return s


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_settings(parser)
    add = parser.add_argument
    add("--out", help="folder for all results (default: runs/cluttered_mnist)")
    add("--seeds", type=integer(1), help="trainings of each arm")
    add(
        "--ablate",
        nargs="+",
        choices=[*MORE_ARMS, "figure_4"],
        default=[],
        metavar="NAME",
        help=f"more arms, of: {', '.join(MORE_ARMS)}; figure_4 is all of the "
        "figure",
    )
    add("--overwrite", action="store_true", help="throw away the run in --out")
    s = parse(parser, argv)
    out = s.out or f"runs/cluttered_mnist{'_smoke' * s.smoke}"
    overwrite = s.overwrite
    del s.out, s.overwrite  # what is left in `s` decides about results
    groups = [FIGURE_4 if a == "figure_4" else [a] for a in s.ablate]
    s.ablate = list(dict.fromkeys(arm for group in groups for arm in group))
    try:
        build("attention", s)  # or says what is wrong with the settings
        figures.new_figure(1, 1)  # needs matplotlib: now, not after training
        digits = load_digits(s.source)
        code = {
            "backend": keras.backend.backend(),
            "keras_warn": keras_warn.__version__,
        }
        run = runs.RunFolder(out, {**vars(s), **code}, overwrite)
    except (ImportError, OSError, TypeError, ValueError) as error:
        parser.error(str(error))
    try:
        experiment(digits, s, run)
    except KeyboardInterrupt:
        parser.exit(
            130,
            "\nStopped. The same command, without --overwrite, "
            "goes on with what is missing.\n",
        )


if __name__ == "__main__":
    main()
