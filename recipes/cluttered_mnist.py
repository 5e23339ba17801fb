"""Cluttered Translated MNIST: attention against clutter.

    python recipes/cluttered_mnist.py
    python recipes/cluttered_mnist.py --source mnist --seeds 5 \\
        --ablate average linear sigmoid_masks no_diversity
    python recipes/cluttered_mnist.py --source mnist --ablate figure_4
    KERAS_BACKEND=jax python recipes/cluttered_mnist.py --out runs/on_jax

Section 4.2 and Figure 4 of "Attend and Rectify". A digit lies somewhere on a
canvas of 40x40 pixels, among pieces of other digits. A backbone of five 3x3
convolutions and two dense layers (*baseline*) and the same one with attention
(*attention*) are trained alike with 8 distractors, and tested with 4 to 64
(Figure 4e). `--ablate` takes parts of the attention away or replaces them (4d),
attends with other numbers of modules and heads (4b, 4c), or lets the baseline
look through a spatial transformer (4e); `figure_4` is all of these.

Differences from the paper: scikit-learn's 1,797 digits in MNIST's geometry
unless `--source` says otherwise; minutes of training instead of 200 epochs of
200,000 images, with warm-up and cosine decay; narrow layers, whose widths the
paper does not state.

Results: README.md and docs/evidence.md, of the last epoch, on test digits that
are in no training image. Learning rates of 2e-3 to 2e-2 were tried for both
arms on validation digits. The spatial transformer's localisation learns at a
tenth of the rate: at all of it, it leaves the image and never comes back.

*Pointing* is the share of test images in which the masks are strongest in the
box of the digit. Beside it stand the box's share of the canvas (`chance`), and
the pointing of the canvas's middle and of the *next* image's masks.

Writes to `--out`: `results.json`, `results.csv`, `clutter.png`, each model as
`<arm>_<seed>.keras`, `tensorboard/`; and of the first seed with attention,
`explanation.png` and `report.html`. A run that was stopped resumes: start it
again. `keras-warn export` writes a model for where there is no Keras.
"""

import argparse
import itertools
import os
import shlex
import shutil
import sys
import time

# Before TensorFlow is imported: its start-up lines are not ours to explain.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pandas as pd
from keras import layers
from paper_networks import SpatialTransformer
from recipe import check_size

import keras_warn
from keras_warn import checks
from keras_warn import metadata
from keras_warn import training
from keras_warn.data import ArrayBatches
from keras_warn.data import ClutteredDigits
from keras_warn.data import cluttered
from keras_warn.data import load_digits
from keras_warn.explanation import masks
from keras_warn.reporting import figures
from keras_warn.training import runs
from keras_warn.training import settings
from keras_warn.training.tensorboard import TensorBoardHistory

SETTINGS = {
    # Images. Validation and test canvases are the same for all.
    "source": "sklearn",
    "distractors": 8,
    "train_size": 8192,  # in each epoch, with fresh clutter
    "validation_size": 2000,
    "test_size": 4000,  # at each of
    "test_distractors": (4, 8, 16, 32, 64),
    "pointing_distractors": (8, 32),
    # Widths of the convolutions, and of the dense layer before the last.
    "filters": (16, 32, 32, 32, 32),
    "dense": 128,
    # Arguments of `keras_warn.augment`.
    "attention": {"depth": 4, "width": 4, "diversity_weight": 0.1},
    # Training, of all arms alike but for `TRANSFORMER_RATE`.
    "seeds": 3,
    "epochs": 8,
    "batch_size": 128,
    "learning_rate": 1e-2,  # at its peak
    "warmup": 0.05,  # share of all steps
    "weight_decay": 1e-2,
}
# What `--smoke` changes: a whole run, in seconds.
SMOKE = {"seeds": 1, "epochs": 1, "train_size": 256}
SMOKE |= {"validation_size": 50, "test_size": 50}
# The options that are numbers, from and to, and what they are.
OPTIONS = {
    "seeds": (1, 1000, "trainings of each arm"),
    "epochs": (1, 100_000, "of each training"),
    "train_size": (SETTINGS["batch_size"], 10**8, "images in an epoch"),
    "test_size": (1, 10**5, "images at each clutter"),
    "distractors": (0, 1000, "clutter in training"),
    "learning_rate": (1e-12, 1e3, "at its peak"),
}

CLASSES = 10
# From shallow to deep. Attention goes back from the last.
ATTEND_AT = ("pool1", "pool2", "pool3", "relu5")
# What the arms of `--ablate` change in the attention: those of the figure, and
# others.
FIGURE_4 = {
    **{
        f"depth_{depth}_width_{width}": {"depth": depth, "width": width}
        for depth, width in ((1, 1), (2, 1), (3, 1), (4, 1), (4, 2), (4, 8))
    },
    "average": {"gates": "average"},
    "linear": {"gates": "linear"},
    "sigmoid_gates": {"gates": "sigmoid"},
    "sigmoid_masks": {"mask_activation": "sigmoid"},
    "no_diversity": {"diversity_weight": 0.0},
    "blocked_gradient": {"gradient_scale": 0.0},
    "spatial_transformer": {},
}
ABLATIONS = {
    **FIGURE_4,
    "gate_batch_norm": {"gate_batch_norm": True},
    "unbounded_gates": {"gate_score_activation": None},
    "probabilities": {"combination": "probabilities"},
    "agreement": {"agreement_weight": 1.0},
    "kernel_3": {"kernel_size": 3},
}
# Arms without attention.
UNATTENDED = ("baseline", "spatial_transformer")
# Of the spatial transformer's localisation, as a share of the learning rate.
TRANSFORMER_RATE = 0.1
# Streams of clutter that no training seed reaches.
VALIDATION_SEED, TEST_SEED = 1_000_001, 1_000_002


def network(s, name="baseline"):
    """The paper's backbone, He-initialised."""

    def conv(*args, **options):
        return layers.Conv2D(*args, kernel_initializer="he_normal", **options)

    def dense(*args, **options):
        return layers.Dense(*args, kernel_initializer="he_normal", **options)

    x = inputs = keras.Input((40, 40, 1))
    if name == "spatial_transformer":
        for i in (1, 2):
            x = layers.MaxPooling2D(name=f"locate_pool{i}")(x)
            x = conv(20, 5, activation="relu", name=f"locate_conv{i}")(x)
        x = layers.Flatten(name="locate_flat")(x)
        x = dense(50, "relu", name="locate_dense")(x)
        # At first, images are seen as they are.
        x = SpatialTransformer(name="transformer")(inputs, x)
    for i, filters in enumerate(s.filters, start=1):
        # Batch normalisation has a bias of its own.
        options = {"use_bias": i > 3, "padding": "same"}
        x = conv(filters, 3, name=f"conv{i}", **options)(x)
        if i <= 3:
            # The moving averages of a short run must be quick to follow.
            x = layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        if i <= 3:
            x = layers.MaxPooling2D(name=f"pool{i}")(x)
    x = layers.Flatten(name="flat")(x)
    x = dense(s.dense, "relu", name="dense")(x)
    x = layers.Dense(CLASSES, "softmax", name="digit")(x)
    return keras.Model(inputs, x, name=name)


def build(arm, s):
    """The backbone, with the attention of this arm."""
    if arm in UNATTENDED:
        return network(s, arm)
    attention = {**s.attention, **ABLATIONS.get(arm, {})}
    depth = checks.integer("depth", attention["depth"])
    attention.setdefault("attend_at", list(ATTEND_AT[-depth:]))
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
        optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"]
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
    count, d, seed = s.validation_size, s.distractors, VALIDATION_SEED
    found = cluttered(*digits.validation, count, distractors=d, seed=seed)
    return ArrayBatches(found.images, found.labels, CLASSES)


def test_canvases(distractors, digits, s):
    """Canvases of digits that are in no other."""
    return cluttered(
        *digits.test, s.test_size, distractors=distractors, seed=TEST_SEED
    )


def pointing(model, canvases):
    """Whether the masks point to the digit, and what to compare it with."""
    size = canvases.images.shape[1:3]
    intermediates = keras_warn.inspect(model).predict(
        canvases.images, 500, verbose=0
    )
    found = masks.combined_mask(model, intermediates, size)
    middle = np.zeros((len(found), *size))
    middle[:, size[0] // 2, size[1] // 2] = 1
    pointed = {"masks": found, "middle": middle}
    pointed["next_image"] = np.roll(found, -1, axis=0)
    shares = {
        of: masks.pointing_accuracy(maps, canvases.boxes)
        for of, maps in pointed.items()
    }
    return {**shares, "chance": masks.random_baseline(canvases.boxes, size)}


def arm_and_seed(arm, seed, digits, test, s, run, callbacks=()):
    """Trains and tests one model; what is known of it afterwards."""
    name = f"{arm}_{seed}"
    keras.utils.set_random_seed(seed)
    model = compiled(build(arm, s), s)
    validation = validation_data(digits, s)
    log_dir = run / f"tensorboard/{name}"
    callbacks = [*callbacks, TensorBoardHistory(log_dir)]
    if arm not in UNATTENDED:
        callbacks.append(
            keras_warn.TensorBoardAttention(
                log_dir / "attention", validation.images
            )
        )
    trained = training.fit(
        model,
        training_data(seed, digits, s),
        s.epochs,
        run / f"{runs.PARTS}/{name}",
        validation=validation,
        callbacks=callbacks,
        # A progress bar only on a terminal.
        verbose=1 if sys.stdout.isatty() else 2,
    )
    accuracy, pointed = {}, {}
    for d in s.test_distractors:
        say(f"Testing among {d} distractors.")
        batches = ArrayBatches(test[d].images, test[d].labels, CLASSES)
        accuracy[d] = training.evaluate(model, batches)["accuracy"]
    if arm not in UNATTENDED:
        for d in s.pointing_distractors:
            say(f"Where masks point among {d} distractors.")
            pointed[d] = pointing(model, test[d])
        described = metadata.Metadata(
            class_names=[str(digit) for digit in range(CLASSES)],
            size=(40, 40),
            preprocessing="rescale",
            training={
                **{"recipe": "cluttered_mnist", "arm": arm, "seed": seed},
                "epoch": len(trained.history),
                "validation_accuracy": trained.history[-1]["val_accuracy"],
                "test_accuracy": accuracy.get(s.distractors),
                "test_accuracy_at_distractors": accuracy,
                **{"date": runs.now(), "settings": vars(s)},
            },
        )
        metadata.attach(model, described)
    with run.replacing(f"{name}.keras") as path:
        model.save(path)
    return {
        **{"arm": arm, "seed": seed, "parameters": model.count_params()},
        "training_seconds": trained.seconds,
        "validation_accuracy": [row["val_accuracy"] for row in trained.history],
        "accuracy": accuracy,
        "pointing": pointed,
    }


def rows(results):
    """One row an arm and seed; accuracies less the baseline's, too."""
    found = []
    for result in results:
        row = {
            key: result[key]
            for key in ("arm", "seed", "parameters", "training_seconds")
        }
        row |= {f"accuracy_{d}": x for d, x in result["accuracy"].items()}
        for d, points in result["pointing"].items():
            row |= {f"pointing_{d}_{of}": x for of, x in points.items()}
        found.append(row)
    found = pd.DataFrame(found).set_index(["arm", "seed"])
    accuracy = found.filter(like="accuracy_")
    less = accuracy.sub(accuracy.loc["baseline"], level="seed")
    return found.join(less.add_suffix("_minus_baseline"))


def table(found):
    """Means and standard deviations over seeds as text, in percent."""
    shares = 100 * found.filter(regex="^(accuracy|pointing)_")
    seeds = shares.groupby("arm", sort=False)
    mean, std = (of.map("{:.1f}".format) for of in (seeds.mean(), seeds.std()))
    return (mean + " ± " + std).replace(r"( ± )?nan", "", regex=True).T


def look(test, s, run):
    """Writes what attention did: of a few digits, and of a whole test set."""
    model, baseline = (
        keras.saving.load_model(run / f"{arm}_0.keras")
        for arm in ("attention", "baseline")
    )
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
    say("report.html: attention and baseline on test images.")
    keras_warn.report(
        model,
        (test[clutter].images, test[clutter].labels),
        run / "report.html",
        title=f"Digits among {clutter} distractors",
        baseline=baseline,
        overwrite=True,
    )


def draw(found, s, run):
    """Writes the accuracies as a figure."""
    accuracy = 100 * found[[f"accuracy_{d}" for d in s.test_distractors]]
    arms = list(dict.fromkeys(found.index.get_level_values("arm")))
    if len(arms) > len(figures.COLORS):  # only what Figure 4e shows
        arms = [arm for arm in arms if arm in ("attention", *UNATTENDED)]
    figure = figures.curves_figure(
        s.test_distractors,
        {arm: accuracy.loc[arm].values.tolist() for arm in arms},
        f"distractors (trained with {s.distractors})",
        "test accuracy (%)",
        log2=True,
    )
    with run.replacing("clutter.png") as path:
        figure.savefig(path)


def say(text):
    print(text, flush=True)


def experiment(digits, s, run):
    """Everything, but for what an earlier start of this run has done."""
    say("Making the test images.")
    test = {
        d: test_canvases(d, digits, s)
        for d in {*s.test_distractors, *s.pointing_distractors}
    }
    # Arms take turns, so that a machine that slows down slows all of them.
    turns = [
        (arm, seed)
        for seed in range(s.seeds)
        for arm in ("baseline", "attention", *s.ablate)
    ]
    start, trained, results = time.monotonic(), 0, []

    def estimate(epoch, logs=None):
        nonlocal trained
        left = later * s.epochs + s.epochs - epoch
        if trained:
            seconds = left * (time.monotonic() - start) / trained
            say(f"All will have been trained in {seconds / 60:.1f} minutes.")
        trained += 1

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=estimate)
    for i, (arm, seed) in enumerate(turns, start=1):
        name = f"{arm}_{seed}"
        later = sum(not run.has(f"{a}_{n}") for a, n in turns[i:])
        done = " is done already" if run.has(name) else ""
        say(f"\n[{i}/{len(turns)}] {arm}, seed {seed}{done}")
        given = arm, seed, digits, test, s, run, [callback]
        results.append(run.part(name, arm_and_seed, *given))
        # All that was only needed to resume.
        shutil.rmtree(run / f"{runs.PARTS}/{name}", ignore_errors=True)
    found = rows(results)
    say(f"\n{table(found).to_string()}\n")
    look(test, s, run)
    draw(found, s, run)
    run.write("results.csv", found.to_csv())
    about = {"settings": vars(s), "environment": runs.environment()}
    run.finish({**about, "runs": results})
    out = shlex.quote(str(run.path))
    say(f"\nAll results: {out}. Curves: tensorboard --logdir {out}")


def add_settings(parser):
    """Adds the options that decide what a training results in."""
    add = parser.add_argument
    add("--source", help="sklearn, mnist, or the path of an .npz file")
    own = " ".join(f"{k}={v}" for k, v in SETTINGS["attention"].items())
    add(
        "--attention",
        nargs="+",
        type=settings.named_value,
        metavar="NAME=VALUE",
        help=f"of keras_warn.augment; the others stay at: {own}",
    )
    for name, (_, _, text) in OPTIONS.items():
        option = "--" + name.replace("_", "-")
        add(option, type=type(SETTINGS[name]), help=text)
    add("--smoke", action="store_true", help="try everything, in a minute")
    parser.set_defaults(**SETTINGS)


def parse(parser, argv=None):
    """What a parser with `add_settings` makes of arguments."""
    s = parser.parse_args(argv)
    if s.smoke:
        parser.set_defaults(**SMOKE)
        s = parser.parse_args(argv)
    s.attention = {**SETTINGS["attention"], **dict(s.attention)}
    try:
        settings.check_attention("attention", s.attention)
    except ValueError as error:
        parser.error(str(error))
    for name, (least, most, _) in OPTIONS.items():
        value = getattr(s, name)
        if not least <= value <= most:  # as NaN is not
            parser.error(
                f"argument --{name.replace('_', '-')}: must be from {least} "
                f"to {most}. Received: {value}."
            )
    return s


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_settings(parser)
    add = parser.add_argument
    add("--out", help="folder for all results (default: runs/cluttered_mnist)")
    add(
        "--ablate",
        nargs="+",
        choices=[*ABLATIONS, "figure_4"],
        default=[],
        metavar="NAME",
        help=f"more arms, of: {', '.join(ABLATIONS)}, figure_4",
    )
    add("--overwrite", action="store_true", help="throw away the run in --out")
    s = parse(parser, argv)
    out = s.out or f"runs/cluttered_mnist{'_smoke' * s.smoke}"
    overwrite = s.overwrite
    del s.out, s.overwrite  # what is left in `s` decides about results
    arms = [FIGURE_4 if arm == "figure_4" else [arm] for arm in s.ablate]
    s.ablate = list(dict.fromkeys(itertools.chain(*arms)))
    try:
        # Or these say what is wrong: now, not after training.
        check_size(lambda: build("attention", s))
        figures.new_figure(1, 1)
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
        parser.exit(130, "\nStopped. The same command resumes.\n")


if __name__ == "__main__":
    main()
