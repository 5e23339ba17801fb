"""What is left of a training: results, a figure, a report, model files."""

import csv
import io
import json

import keras
import numpy as np

from keras_warn.data.transforms import CenterCrop
from keras_warn.environment import environment
from keras_warn.environment import now
from keras_warn.explanation import decomposition
from keras_warn.metadata import Metadata
from keras_warn.reporting import figures
from keras_warn.reporting.report import report
from keras_warn.training import runs

# Tells our `results.json` from those of others, and their version.
RESULTS_MARKER = {"keras_warn_results": 1}

# Images of the figure of masks.
SHOWN = 6


def results(experiment, model, trained, metrics, over_backbone) -> dict:
    """The content of `results.json`, of what `fit` and `show` returned."""
    identity = experiment.identity()
    del identity["backend"]  # which is in the environment
    return {
        **RESULTS_MARKER,
        **identity,
        "arm": experiment.variant,
        "environment": environment(),
        "parameters": model.count_params(),
        "epochs": len(trained.history),
        "training_seconds": trained.seconds,
        "metrics": metrics,
        "over_backbone": over_backbone,
        "history": trained.history,
    }


def to_csv(history) -> str:
    """A history as a table, a line an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, history[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def metadata(experiment, measured) -> Metadata:
    """What a model's file says of its use, with what was measured of it."""
    s = experiment.settings
    # Of small images that are seen as they are, the shorter edge is the size,
    # too.
    zoomed = isinstance(experiment.transforms[1], CenterCrop)
    zoomed = zoomed and s.resize_shorter_edge != s.image_size
    return Metadata(
        class_names=experiment.splits.training.names,
        size=(s.image_size, s.image_size),
        resize="crop",
        resize_shorter_edge=s.resize_shorter_edge if zoomed else None,
        preprocessing="none",  # backbones of recipes have their own layers
        training={
            "recipe": experiment.recipe,
            "data": experiment.splits.training.name,
            "seed": experiment.seed,
            "fold": experiment.splits.fold,
            "cropped_to_boxes": experiment.cropped,
            "smoke": experiment.smoke,
            "epoch": measured["epoch"],
            **{
                f"{name}_accuracy": measured[name]
                and measured[name]["accuracy"]
                for name in ("validation", "test")
            },
            "date": now(),
            "settings": s.identity(),
        },
    )


def examples(experiment) -> tuple:
    """Images to look at, and their labels: one of each of the first classes."""
    images = experiment.splits.validation or experiment.splits.test
    _, firsts = np.unique(images.labels, return_index=True)
    firsts = firsts[:SHOWN]
    transform = experiment.transforms[1]
    seen = [
        transform(images.image(i, experiment.cropped), None) for i in firsts
    ]
    return np.stack(seen).astype("float32"), images.labels[firsts]


def show(experiment, model, run, other=None) -> dict | None:
    """Writes figure and report of a finished training.

    Whichever variant ends last writes the report, beside the model with
    attention, and compares both. `other` is the folder of the other variant.

    Returns:
        Test accuracies with attention and of the backbone's own prediction,
        for JSON; `None` without attention.
    """
    folders = {experiment.variant: run.path}
    if other is not None and _finished_alike(experiment, other):
        (variant,) = {"attention", "baseline"} - {experiment.variant}
        folders[variant] = other
    if not experiment.settings.baseline:
        images, labels = examples(experiment)
        names = experiment.splits.test.names
        figure = figures.explanation_figure(
            images,
            decomposition.explain(model, images),
            [names[label] for label in labels],
            names,
        )
        with run.replacing("masks.png") as path:
            figure.savefig(path)
    if "attention" not in folders:
        return None
    models = {
        variant: keras.saving.load_model(folder / "model.keras", compile=False)
        for variant, folder in folders.items()
    }
    test = experiment.splits.test
    found = report(
        models["attention"],
        experiment.test_batches(test),
        folders["attention"] / "report.html",
        names=test.names,
        image_name=lambda i: test.paths[i].name,
        verbose=0,
        baseline=models.get("baseline"),
        overwrite=True,
    )
    if experiment.settings.baseline:
        return None  # of the other's model
    difference, answered = found.over_backbone, found.answered
    return {
        "images": len(found),
        "backbone": found.backbone.accuracy(),
        "attention": found.output.accuracy(),
        "difference": difference.gain,
        "interval": list(difference.gain_interval),
        "answered": None if answered is None else float(answered.mean()),
        "answered_accuracy": None
        if answered is None or not answered.any()
        else float(found.output.correct[answered].mean()),
    }


def _finished_alike(experiment, path):
    """Whether a finished run differs from this one in attention alone."""

    def compared(found):
        names = ("recipe", "seed", "fold", "data")
        settings = {**found["settings"], "attention": None}
        return settings, [found[name] for name in names]

    try:
        found = json.loads((path / runs.RESULTS).read_text("utf-8"))
        own = json.loads(json.dumps(experiment.identity()))
        return compared(found) == compared(own)
    except (OSError, ValueError, KeyError, TypeError):
        # Not finished, or no results of a recipe.
        return False
