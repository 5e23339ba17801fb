"""`keras-warn report`: what attention does on a test set, as a page."""

import pathlib

import numpy as np

from keras_warn.cli import errors
from keras_warn.cli import inputs
from keras_warn.cli import options
from keras_warn.cli.outputs import check_out
from keras_warn.cli.progress import Progress
from keras_warn.data import image_files
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

{options.PREPROCESSING_HELP}

{errors.EXIT_CODES}

examples:
  keras-warn report birds.keras test/ --out report.html --preprocessing rescale
  keras-warn report birds.keras test.csv --out report.html \\
      --names classes.txt --resize pad --preprocessing mobilenet_v2"""


def add_arguments(parser) -> None:
    """Adds the options of this command."""
    options.add_options(parser, "model")
    add = parser.add_argument
    add("data", metavar="DATA", help="labelled images: a folder or a CSV file")
    add("--out", required=True, metavar="FILE", help="the HTML file to write")
    add(
        "--examples",
        type=options.count(0),
        default=100,
        metavar="N",
        help="how many images to show at most (default: 100)",
    )
    options.add_options(parser, *options.READING)


def run(arguments) -> int:
    """Runs the command, and returns its exit code."""
    path = pathlib.Path(arguments.out)
    read = [arguments.model, arguments.names, arguments.data]
    check_out(path, arguments.overwrite, read)
    model, preprocessor, names = inputs.load(arguments)
    with errors.usage_errors(OSError, ValueError, before="DATA: "):
        found, skipped = image_files.find_images(arguments.data)
        found = _to_test(found, arguments.data)
        labels, names = image_files.class_numbers(
            found,
            model.output_shape[-1],
            names,
            pathlib.Path(arguments.data).is_dir(),
        )
    if skipped:
        errors.say(
            f"keras-warn report: skipped in {arguments.data}: "
            f"{image_files.described(skipped)}."
        )
    paths = [one.path for one in found]
    data = Batches(paths, labels, preprocessor, arguments.batch_size)
    try:
        with errors.usage_errors(ImportError, ValueError):
            report(
                model,
                data,
                path,
                names=names,
                examples=arguments.examples,
                # When it is asked for, only images that can be read are left.
                image_name=lambda i: data.read[i].name,
                batch_size=arguments.batch_size,
                verbose=0,
                overwrite=arguments.overwrite,
            )
    except OSError as error:
        errors.say(f"keras-warn report: --out must be written to. {error}")
        return errors.INCOMPLETE
    finally:
        data.progress.end()
    failed, number = len(data.progress.failed), len(data.read)
    errors.say(
        f"The report of {number} image{'' if number == 1 else 's'} is in {path}"
        + (f"; {failed} failed." if failed else ".")
    )
    return errors.INCOMPLETE if failed else errors.GOOD


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


class Batches:
    """Labelled images from files, batch by batch, as often as asked.

    Files that cannot be read are omitted, and named once.

    Attributes:
        read: The paths of the last whole pass that could be read.
        progress: `Progress`, with those that could not.
    """

    def __init__(self, paths, labels, preprocessor, batch_size):
        self._paths, self._labels = paths, np.array(labels)
        self._preprocessor, self._batch_size = preprocessor, batch_size
        self.read = []
        self.progress = Progress("images read", len(paths))

    def __iter__(self):
        self.progress.update(0)
        read = []
        for chosen, pixels, _ in inputs.read_batches(
            self._paths,
            self._preprocessor,
            self._batch_size,
            self.progress.fail,
        ):
            read += [self._paths[i] for i in chosen]
            yield self._preprocessor.prepare(pixels), self._labels[[*chosen]]
            self.progress.update(chosen[-1] + 1)
        if not read:
            raise errors.UsageError(
                f"none of the {len(self._paths)} images could be read."
            )
        self.read = read
        self.progress.end()
