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

Results: docs/digits.md and docs/evidence.md, of the last epoch, on test digits
that are in no training image. Learning rates of 2e-3 to 2e-2 were tried for
both variants on validation digits. The spatial transformer's localisation
learns at a tenth of the rate: at all of it, it leaves the image and never comes
back.

*Pointing* is the share of test images in which the masks are strongest in the
box of the digit. Beside it stand the box's share of the canvas
(`random_baseline`), and the pointing of the canvas's middle and of the *next*
image's masks.

Writes to `--out`: `results.json`, `results.csv`, `clutter.png`, each model as
`<variant>_<seed>.keras`, `tensorboard/`; and of the first seed with attention,
`explanation.png` and `report.html`. A run that was stopped resumes: start it
again. `keras-warn export` writes a model for where there is no Keras.
"""

import argparse
import dataclasses
import functools
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

import keras_warn
from keras_warn import checks
from keras_warn import metadata
from keras_warn import training
from keras_warn.data import ArrayBatches
from keras_warn.data import ClutteredDigits
from keras_warn.data import cluttered
from keras_warn.data import load_digits
from keras_warn.environment import environment
from keras_warn.environment import now
from keras_warn.explanation import masks
from keras_warn.reporting import figures
from keras_warn.training import runs
from keras_warn.training.settings import Checked
from keras_warn.training.settings import add_arguments as add_settings
from keras_warn.training.settings import from_arguments
from keras_warn.training.settings import setting
from keras_warn.training.tensorboard import TensorBoardHistory

# Images in a step.
BATCH = 128


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """What all results depend on."""

    # Images. Validation and test canvases are the same for all.
    source: str = setting(
        "sklearn", "digits: sklearn, mnist, or the path of an .npz file"
    )
    distractors: int = setting(8, "clutter in training", 0, 1000)
    train_size: int = setting(
        8192, "images in an epoch, with fresh clutter", BATCH, 10**8
    )
    test_size: int = setting(4000, "images at each clutter", 1, 10**5)
    validation_size: int = 2000
    test_distractors: tuple = (4, 8, 16, 32, 64)
    pointing_distractors: tuple = (8, 32)
    # Widths of the convolutions, and of the dense layer before the last.
    filters: tuple = (16, 32, 32, 32, 32)
    dense: int = 128
    attention: dict = setting(
        {"preset": "paper", "depth": 4}, "arguments of keras_warn.augment"
    )
    # Training, of all variants alike but for `TRANSFORMER_RATE`.
    seeds: int = setting(3, "trainings of each variant", 1, 1000)
    epochs: int = setting(8, "of each training", 1, 100_000)
    learning_rate: float = setting(1e-2, "at its peak", 1e-12, 1e3)
    warmup: float = 0.05  # share of all steps
    weight_decay: float = 1e-2
    ablate: tuple = ()
    smoke: bool = False


# What `--smoke` changes: a whole run, in seconds.
SMOKE = {"seeds": 1, "epochs": 1, "train_size": 256}
SMOKE |= {"validation_size": 50, "test_size": 50}

CLASSES = 10
# From shallow to deep. Attention goes back from the last.
ATTEND_AT = ("pool1", "pool2", "pool3", "relu5")
# What `--ablate` changes in the attention: the variants of the figure, and
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
# Variants without attention.
UNATTENDED = ("baseline", "spatial_transformer")
# Of the spatial transformer's localisation, as a share of the learning rate.
TRANSFORMER_RATE = 0.1
# Streams of clutter that no training seed reaches.
VALIDATION_SEED, TEST_SEED = 1_000_001, 1_000_002


def backbone(s, name="baseline"):
    """The paper's backbone, He-initialised."""
    he = {"kernel_initializer": "he_normal"}
    conv = functools.partial(layers.Conv2D, **he)
    dense = functools.partial(layers.Dense, **he)
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


def build(variant, s):
    """The backbone, with the attention of this variant."""
    if variant in UNATTENDED:
        return backbone(s, variant)
    attention = {**s.attention, **ABLATIONS.get(variant, {})}
    depth = checks.integer("depth", attention["depth"])
    attention.setdefault("attend_at", list(ATTEND_AT[-depth:]))
    return keras_warn.augment(backbone(s), name=variant, **attention)


def compiled(model, s):
    """The model, ready for a training of `s.epochs`."""
    steps = s.epochs * (s.train_size // BATCH)
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
        BATCH,
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
    shares["random_baseline"] = masks.random_baseline(canvases.boxes, size)
    return shares


def variant_and_seed(variant, seed, digits, test, s, run, callbacks=()):
    """Trains and tests one model; what is known of it afterwards."""
    name = f"{variant}_{seed}"
    keras.utils.set_random_seed(seed)
    model = compiled(build(variant, s), s)
    validation = validation_data(digits, s)
    log_dir = run / f"tensorboard/{name}"
    callbacks = [*callbacks, TensorBoardHistory(log_dir)]
    if variant not in UNATTENDED:
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
    if variant not in UNATTENDED:
        for d in s.pointing_distractors:
            say(f"Where masks point among {d} distractors.")
            pointed[d] = pointing(model, test[d])
        described = metadata.Metadata(
            class_names=[str(digit) for digit in range(CLASSES)],
            size=(40, 40),
            preprocessing="rescale",
            training={
                **{"recipe": "cluttered_mnist", "arm": variant, "seed": seed},
                "epoch": len(trained.history),
                "validation_accuracy": trained.history[-1]["val_accuracy"],
                "test_accuracy": accuracy.get(s.distractors),
                "test_accuracy_at_distractors": accuracy,
                **{"date": now(), "settings": vars(s)},
            },
        )
        metadata.attach(model, described)
    with run.replacing(f"{name}.keras") as path:
        model.save(path)
    return {
        **{"arm": variant, "seed": seed, "parameters": model.count_params()},
        "training_seconds": trained.seconds,
        "validation_accuracy": [row["val_accuracy"] for row in trained.history],
        "accuracy": accuracy,
        "pointing": pointed,
    }


def rows(results):
    """One row a variant and seed; accuracies less the baseline's, too."""
    found = pd.json_normalize(results, sep="_").set_index(["arm", "seed"])
    found = found.drop(columns="validation_accuracy")
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
        keras.saving.load_model(run / f"{variant}_0.keras")
        for variant in ("attention", "baseline")
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
    save(figure, run, "explanation.png")
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


def save(figure, run, name):
    with run.replacing(name) as path:
        figure.savefig(path)


def draw(found, s, run):
    """Writes the accuracies as a figure."""
    accuracy = 100 * found[[f"accuracy_{d}" for d in s.test_distractors]]
    shown = found.index.unique("arm")
    if len(shown) > len(figures.COLORS):  # only what Figure 4e shows
        shown = shown.intersection(["attention", *UNATTENDED])
    figure = figures.curves_figure(
        s.test_distractors,
        {name: accuracy.loc[name].values.tolist() for name in shown},
        f"distractors (trained with {s.distractors})",
        "test accuracy (%)",
        log2=True,
    )
    save(figure, run, "clutter.png")


def say(text):
    print(text, flush=True)


def experiment(digits, s, run):
    """Everything, but for what an earlier start of this run has done."""
    say("Making the test images.")
    test = {
        d: test_canvases(d, digits, s)
        for d in {*s.test_distractors, *s.pointing_distractors}
    }
    # Variants take turns, so that a machine that slows down slows all of them.
    turns = [
        (variant, seed)
        for seed in range(s.seeds)
        for variant in ("baseline", "attention", *s.ablate)
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
    for i, (variant, seed) in enumerate(turns, start=1):
        name = f"{variant}_{seed}"
        later = sum(not run.has(f"{v}_{n}") for v, n in turns[i:])
        done = " is done already" if run.has(name) else ""
        say(f"\n[{i}/{len(turns)}] {variant}, seed {seed}{done}")
        given = variant, seed, digits, test, s, run, [callback]
        results.append(run.part(name, variant_and_seed, *given))
        # All that was only needed to resume.
        shutil.rmtree(run / f"{runs.PARTS}/{name}", ignore_errors=True)
    found = rows(results)
    say(f"\n{table(found).to_string()}\n")
    look(test, s, run)
    draw(found, s, run)
    run.write("results.csv", found.to_csv())
    about = {"settings": vars(s), "environment": environment()}
    run.finish({**about, "runs": results})
    out = shlex.quote(str(run.path))
    say(f"\nAll results: {out}. Curves: tensorboard --logdir {out}")


def add_arguments(parser):
    """Adds the options on which results depend."""
    add_settings(parser, Settings())
    parser.add_argument(
        "--smoke", action="store_true", help="try everything, in a minute"
    )


def settings_from(arguments):
    """The `Settings` that arguments ask for."""
    own = Settings(smoke=True, **SMOKE) if arguments.smoke else Settings()
    return from_arguments(arguments, own)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_arguments(parser)
    add = parser.add_argument
    add("--out", help="folder for all results (default: runs/cluttered_mnist)")
    names = [*ABLATIONS, "figure_4"]
    text = f"more variants, of: {', '.join(names)}"
    add(
        "--ablate",
        nargs="+",
        choices=names,
        default=[],
        metavar="NAME",
        help=text,
    )
    add("--overwrite", action="store_true", help="throw away the run in --out")
    arguments = parser.parse_args(argv)
    out = arguments.out or f"runs/cluttered_mnist{'_smoke' * arguments.smoke}"
    ablate = dict.fromkeys(arguments.ablate)
    if "figure_4" in ablate:
        ablate |= dict.fromkeys(FIGURE_4)
        del ablate["figure_4"]
    try:
        s = settings_from(arguments)
        s = dataclasses.replace(s, ablate=tuple(ablate))
        # Or these say what is wrong: now, not after training.
        build("attention", s)
        figures.new_figure(1, 1)
        digits = load_digits(s.source)
        code = {
            "backend": keras.backend.backend(),
            "keras_warn": keras_warn.__version__,
        }
        run = runs.RunFolder(out, {**vars(s), **code}, arguments.overwrite)
    except (ImportError, OSError, TypeError, ValueError) as error:
        parser.error(str(error))
    try:
        experiment(digits, s, run)
    except KeyboardInterrupt:
        parser.exit(130, "\nStopped. The same command resumes.\n")


if __name__ == "__main__":
    main()
