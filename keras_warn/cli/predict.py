"""`keras-warn predict`: a table of the classes that a model predicts."""

import csv
import pathlib

import keras
import numpy as np

from keras_warn import confidence
from keras_warn import files
from keras_warn import metadata
from keras_warn.cli import errors
from keras_warn.cli import inputs
from keras_warn.cli import options
from keras_warn.cli.outputs import check_out
from keras_warn.cli.progress import Progress
from keras_warn.explanation.intermediates import inspect
from keras_warn.explanation.intermediates import outputs_of
from keras_warn.reporting.comparison import probabilities

EPILOG = f"""\
outputs:
  a CSV file with a line for each image: id, its file's name (its path, where
  two have one name); label, the class that the model predicts; probability;
  then label_2, probability_2 and so on for the next best. The first two
  columns are what Kaggle's competitions take: --top 0 writes these alone.
  Where the model was calibrated (keras_warn.calibrate), probabilities are
  calibrated, too, and there are two more columns: backbone_logit, what the
  backbone by itself says of the label, which is low for images unlike those
  that it was taught; and answered, False for images that are better left to
  a person

{options.PREPROCESSING_HELP}

{errors.EXIT_CODES}

examples:
  keras-warn predict birds/model.keras photos/ --out predictions.csv
  keras-warn predict birds/model.keras a.jpg b.jpg --out two.csv --top 1"""


def add_arguments(parser) -> None:
    """Adds the options of this command."""
    options.add_options(parser, "model", "image")
    add = parser.add_argument
    add("--out", required=True, metavar="FILE", help="the CSV file to write")
    add(
        "--top",
        type=options.count(0),
        default=3,
        metavar="N",
        help="how many classes to write with their probabilities (default: 3)",
    )
    options.add_options(parser, *options.READING)


def run(arguments) -> int:
    """Runs the command, and returns its exit code."""
    out = pathlib.Path(arguments.out)
    read = [arguments.model, arguments.names, *arguments.image]
    check_out(out, arguments.overwrite, read)
    model, preprocessor, names = inputs.load(arguments)
    paths = inputs.listed(arguments.image)
    top = min(arguments.top, model.output_shape[-1])
    calibration = metadata.of_model(model).calibration
    outputs = outputs_of(inspect(model).output)
    reader = keras.Model(
        model.input, [outputs.prediction, outputs.backbone_prediction]
    )
    plain = len({path.name for path in paths}) == len(paths)
    progress, rows = Progress("images predicted", len(paths)), []
    for chosen, pixels, _ in inputs.read_batches(
        paths, preprocessor, arguments.batch_size, progress.fail
    ):
        found, of_backbone = reader.predict_on_batch(
            preprocessor.prepare(pixels)
        )
        found = probabilities(model, found, calibration)
        more = {}
        if calibration is not None and top:
            more["backbone_logit"] = confidence.backbone_logit(
                found, of_backbone
            )
            more["answered"] = calibration.answers(found, of_backbone)
        for i, path in enumerate(paths[j] for j in chosen):
            if np.isfinite(found[i]).all():
                name = files.displayed(path.name if plain else path)
                row = {"id": name, **_best(found[i], names, top)}
                rows.append(row | {key: x[i] for key, x in more.items()})
            else:
                progress.fail(path, f"{path}: the model predicts NaN for it.")
        progress.update(chosen[-1] + 1)
    progress.end()
    if not rows:
        raise errors.UsageError(
            f"none of the {len(paths)} images could be predicted."
        )
    try:
        with files.replacing(out) as unfinished:
            with open(unfinished, "w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
    except OSError as error:
        errors.say(
            f"keras-warn predict: --out {out} cannot be written: "
            f"{error.strerror or error}."
        )
        return errors.INCOMPLETE
    errors.say(
        f"Predictions for {len(rows)} of {len(paths)} images are in {out}."
    )
    return errors.INCOMPLETE if progress.failed else errors.GOOD


def _best(scores, names, top):
    """Classes and probabilities of one image; with 0, the best class alone."""
    row = {}
    order = np.argsort(-scores, kind="stable")[: max(top, 1)]
    for rank, i in enumerate(order, start=1):
        ending = f"_{rank}" if rank > 1 else ""
        row[f"label{ending}"] = i if names is None else names[i]
        if top:
            row[f"probability{ending}"] = f"{scores[i]:.6f}"
    return row
