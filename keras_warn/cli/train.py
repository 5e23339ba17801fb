"""`keras-warn train`: from a folder of images to a tested model."""

import pathlib
import sys

import keras

from keras_warn import data
from keras_warn import exporting
from keras_warn import training
from keras_warn.cli import errors
from keras_warn.cli.inputs import load_model
from keras_warn.cli.options import count
from keras_warn.data import images
from keras_warn.data import splits
from keras_warn.data import transforms
from keras_warn.reporting import pages
from keras_warn.training import backbones
from keras_warn.training import settings

EPILOG = f"""\
data:
  a folder     with a folder of images for each class; or with folders train,
               test and perhaps validation, and those in them
  a CSV file   whose first line is path,label or path,label,split. Paths are
               relative to its folder
  Without a split "test", a fifth of the images is split off, always the same.

outputs, in DIR:
  model.keras   for the other commands, and for Python
  saved_model/  for TensorFlow Serving, and TensorFlow without this package
  report.html   what attention does on the test images
  results.json  settings, history and accuracies
  and history.csv, masks.png, tensorboard/; with validation images best.keras

  The backbone is frozen: its features are computed once, on disk, for
  --frozen-views random crops of each image, and attention and classifier are
  trained on them. The accuracy of the linear probe stands beside that with
  attention: the classifier of the pooled last feature map, which has a loss of
  its own and learns as it would alone. Stopped or killed, the same command
  resumes.

  With 16 validation images or more (--validation-share, or a split of that
  name), the model is calibrated on them: its probabilities hold, and it says
  which images are better left to a person (keras_warn.calibrate).

{errors.EXIT_CODES}

examples:
  keras-warn train photos/ --out birds
  keras-warn train photos.csv --out birds --backbone backbone.keras
  keras-warn train photos/ --out birds --backbone "MobileNetV2(alpha=0.35)" \\
      --image-size 128 --resize-shorter-edge 146 --attention width=16"""

SETTINGS = training.Settings(
    backbone="EfficientNetB0",
    weights="imagenet",
    epochs=30,
    batch_size=64,
    optimizer="adamw",
    learning_rate=3e-3,
    attention_factor=1.0,
    schedule="cosine",
    warmup=1,
    validation_share=0.0,
    frozen_views=4,
)


def add_arguments(parser) -> None:
    """Adds the options of this command."""
    add = parser.add_argument
    add("data", metavar="DATA", help="labelled images: a folder or a CSV file")
    add("--out", required=True, metavar="DIR", help="folder of the outputs")
    add(
        "--seed",
        type=count(0),
        default=0,
        metavar="N",
        help="of all that is drawn (default: 0)",
    )
    add(
        "--skip-bad-images",
        action="store_true",
        help="train without images that cannot be read, and count them",
    )
    add(
        "--overwrite",
        action="store_true",
        help="throw away an earlier training in --out",
    )
    settings.add_arguments(parser, SETTINGS)


def run(arguments) -> int:
    """Runs the command, and returns its exit code."""
    out = pathlib.Path(arguments.out)
    with errors.usage_errors(ImportError):
        images.import_pillow()
        pages.template("report")
    try:
        with errors.usage_errors(
            ConnectionError,
            FileExistsError,
            FileNotFoundError,
            TypeError,
            ValueError,
        ):
            results = _train(arguments, out)
    except (FloatingPointError, OSError) as error:
        errors.say(f"keras-warn train: {error}")
        return errors.INCOMPLETE
    saved = out / "saved_model"
    if keras.backend.backend() != "tensorflow":
        errors.say(
            f"keras-warn train: no {saved}, which needs Keras on TensorFlow."
        )
    elif not saved.exists() or arguments.overwrite:
        exporting.export(
            load_model(out / "model.keras"),
            saved,
            encoded=True,
            overwrite=saved.exists(),
        )
    print(_sentence(results))
    errors.say(f"The model and its report are in {out}.")
    return errors.GOOD


def _train(arguments, out):
    """The content of `results.json`, of this training or a finished one."""
    s = settings.from_arguments(arguments, SETTINGS)
    if s.baseline:
        raise errors.UsageError(
            "--attention must be arguments of keras_warn.augment."
        )
    backbones.check_names(s.backbone, s.weights)
    photos = data.load_image_folder(arguments.data)
    photos = splits.check_images(photos, arguments.skip_bad_images)
    photos = splits.split(photos, s.validation_share)
    edges = s.image_size, s.resize_shorter_edge
    crops = transforms.RandomCrop(*edges), transforms.CenterCrop(*edges)
    one = training.Experiment("train", s, photos, crops, seed=arguments.seed)
    if (out / "results.json").exists() and not arguments.overwrite:
        errors.say(f"{out} holds a finished training.")
    return one.run(out, arguments.overwrite, 1 if sys.stdout.isatty() else 2)


def _sentence(results):
    """What attention is worth on the test images, or is not."""
    found = results["over_backbone"]
    low, high = (100 * end for end in found["interval"])
    beside = "by the backbone's own prediction inside the model"
    if results["settings"]["frozen_views"]:
        beside = "by the linear probe that was trained beside it"
    unclear = ""
    if low < 0 < high:
        unclear = ", which these images cannot tell from none"
    answers = ""
    if found["answered"]:
        answers = (
            f" It answers {100 * found['answered']:.1f} % of them, "
            f"{100 * found['answered_accuracy']:.1f} % of these correctly, and "
            "leaves the others to a person."
        )
    return (
        f"Of {found['images']:,} test images, {100 * found['attention']:.1f} % "
        f"are predicted correctly with attention, and "
        f"{100 * found['backbone']:.1f} % {beside}: a difference of "
        f"{100 * found['difference']:+.1f} points (95 % confidence interval: "
        f"{low:+.1f} to {high:+.1f}){unclear}.{answers}"
    )
