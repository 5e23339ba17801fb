"""`keras-warn report`: what attention does on a test set, as a page."""

import pathlib
import sys
import typing

import numpy as np

from keras_warn import files
from keras_warn.cli.errors import EXIT_CODES
from keras_warn.cli.errors import GOOD
from keras_warn.cli.errors import INCOMPLETE
from keras_warn.cli.errors import UsageError
from keras_warn.cli.errors import usage_errors
from keras_warn.cli.inputs import find_names
from keras_warn.cli.inputs import find_preprocessor
from keras_warn.cli.inputs import keep_inputs
from keras_warn.cli.inputs import read_batches
from keras_warn.cli.models import load_model
from keras_warn.cli.options import PREPROCESSING_HELP
from keras_warn.cli.options import add_image_options
from keras_warn.cli.options import add_model
from keras_warn.cli.options import count
from keras_warn.cli.progress import Progress
from keras_warn.data import image_files
from keras_warn.data import images
from keras_warn.reporting.report import report

EPILOG = f"""\
data:
  a folder     with a folder of images for each class. Where neither the model
               nor --names names the classes, class i is the i-th folder by
               alphabet, as Keras numbers them: 0, 1, 10, 2
  a CSV file   whose first line is path,label. Paths are relative to its
               folder; labels are names or numbers of classes, from 0
  Of data with splits (folders such as train/ and test/, or a column split),
  the split "test" is read.

outputs:
  one HTML file that needs no other: accuracy with and without attention,
  images that attention fixed and broke, with the evidence, classes, gates and
  calibration

{PREPROCESSING_HELP}

{EXIT_CODES}

examples:
  keras-warn report birds.keras test/ --out report.html --preprocessing rescale
  keras-warn report birds.keras test.csv --out report.html \\
      --names classes.txt --resize pad --preprocessing mobilenet_v2"""


def add_arguments(parser) -> None:
    """Adds the options of this command."""
    add_model(parser)
    parser.add_argument(
        "data", metavar="DATA", help="labelled images: a folder or a CSV file"
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="the HTML file to write"
    )
    parser.add_argument(
        "--examples",
        type=count(0),
        default=100,
        metavar="N",
        help="how many images to show at most (default: 100)",
    )
    add_image_options(parser)


def run(arguments) -> int:
    """Runs the command, and returns its exit code."""
    path = pathlib.Path(arguments.out)
    check_out(path, arguments.overwrite)
    with usage_errors(ImportError):
        images.import_pillow()
    model = load_model(arguments.model)
    preprocessor = find_preprocessor(model, arguments)
    classes = model.output_shape[-1]
    names = find_names(model, arguments.names)
    with usage_errors(OSError, ValueError, before="DATA: "):
        found, skipped = image_files.find_images(arguments.data)
        found = _to_test(found, arguments.data)
        folders = pathlib.Path(arguments.data).is_dir()
        labels, names = image_files.class_numbers(
            found, classes, names, folders
        )
    if skipped:
        print(
            f"keras-warn report: skipped in {arguments.data}: "
            f"{image_files.described(skipped)}.",
            file=sys.stderr,
        )
    keep_inputs(
        [path],
        [
            arguments.model,
            arguments.names,
            arguments.data,
            *(one.path for one in found),
        ],
    )
    data = Batches(found, labels, preprocessor, arguments.batch_size)
    try:
        with usage_errors(ImportError, ValueError):
            report(
                model,
                data,
                path,
                names=names,
                examples=arguments.examples,
                # When it is asked for, only images that can be read are left.
                image_name=lambda i: data.items[i].path.name,
                batch_size=arguments.batch_size,
                verbose=0,
                overwrite=arguments.overwrite,
            )
    except OSError as error:
        data.progress.say(
            f"keras-warn report: --out must be written to. {error}"
        )
        return INCOMPLETE
    finally:
        data.progress.end()
    read = len(data.items)
    print(
        f"The report of {read} image{'' if read == 1 else 's'} is in {path}"
        + (f"; {len(data.failed)} failed." if data.failed else "."),
        file=sys.stderr,
    )
    return INCOMPLETE if data.failed else GOOD


def _to_test(found, data):
    """The images of the split "test", or all where there are no splits."""
    splits = {one.split for one in found}
    if splits == {None}:
        return found
    if "test" not in splits:
        raise ValueError(
            f"{data} must hold a split to test. It holds "
            f"{' and '.join(sorted(splits))}. Give the images of one of them."
        )
    return [one for one in found if one.split == "test"]


class _Labelled(typing.NamedTuple):
    """An image file and the number of its class."""

    path: pathlib.Path
    label: int


class Batches:
    """Labelled images from files, batch by batch, as often as asked.

    Files that cannot be read are omitted, and named once.

    Args:
        found: List of `image_files.ImageRecord`.
        labels: Integers, their classes.
        preprocessor: An `inputs.Preprocessor`.
        batch_size: Positive integer.

    Attributes:
        items: The images of the last whole pass, each with its `path`.
        failed: Those that could not be read.
    """

    def __init__(self, found, labels, preprocessor, batch_size):
        self._all = [
            _Labelled(one.path, label)
            for one, label in zip(found, labels, strict=True)
        ]
        self.items = []
        self.failed = {}
        self.preprocessor = preprocessor
        self.batch_size = batch_size
        self.progress = Progress("images read", len(found))

    def __iter__(self):
        self.progress.update(0)
        read = []
        for items, pixels, _ in read_batches(
            self._all,
            self.preprocessor,
            self.batch_size,
            self._fail,
            self.progress.update,
        ):
            read += items
            labels = np.array([item.label for item in items])
            yield self.preprocessor.prepare(pixels), labels
        if not read:
            raise UsageError(
                f"none of the {len(self._all)} images could be read."
            )
        self.items = read
        self.progress.end()

    def _fail(self, item, message):
        if id(item) not in self.failed:
            self.progress.say(message)
        self.failed[id(item)] = item


def check_out(path, overwrite) -> None:
    """Whether the report may be written to `path`."""
    if path.is_dir():
        raise UsageError(f"--out must be a file. {path} is a folder.")
    if path.exists() and not overwrite:
        raise UsageError(f"--out {path} exists. --overwrite replaces it.")
    try:
        files.check_replacing(path)
    except OSError as error:
        raise UsageError(
            f"--out must lie in a folder that can be written to. "
            f"{path.parent}: {error.strerror}."
        ) from error
