"""`keras-warn explain`: a figure for each image, and the same in numbers."""

import functools
import math
import os
import pathlib
import sys
import typing

import numpy as np

from keras_warn import files
from keras_warn.cli.entries import entry
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
from keras_warn.cli.options import add_images
from keras_warn.cli.options import add_model
from keras_warn.cli.out_folder import EXPLANATIONS
from keras_warn.cli.out_folder import OutFolder
from keras_warn.cli.progress import Progress
from keras_warn.data import image_files
from keras_warn.data import images
from keras_warn.explanation.decomposition import explain
from keras_warn.reporting import figures

# Explained at once, so that memory stays bounded: about 330 images of 224 by
# 224.
PIXELS_AT_ONCE = 2**24

EPILOG = f"""\
outputs:
  DIR/<name of the image>.png   a figure for each image: where the model
                                looked, and what spoke for its prediction
  DIR/{EXPLANATIONS}         the same in numbers: predictions of the backbone
                                alone, of attention alone and of both, gates,
                                contributions of the backbone and of each
                                module and head, and where the evidence is
                                strongest, in pixels of the image

{PREPROCESSING_HELP}

{EXIT_CODES}

examples:
  keras-warn explain birds.keras photo.jpg --out explained \\
      --preprocessing mobilenet_v2
  keras-warn explain birds.keras photos/ --out explained --format pdf \\
      --names classes.txt --target wren --contrast finch"""


def add_arguments(parser) -> None:
    """Adds the options of this command."""
    add_model(parser)
    add_images(parser)
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder of the outputs"
    )
    parser.add_argument(
        "--target",
        metavar="CLASS",
        help="the class to explain, a name or a number from 0 (default: what "
        "the model predicts)",
    )
    parser.add_argument(
        "--contrast",
        metavar="CLASS",
        help="the class to compare it with (default: what the backbone alone "
        "predicts, or the next best class where that is the target)",
    )
    parser.add_argument(
        "--format",
        choices=("png", "svg", "pdf"),
        default="png",
        help="of the figures (default: png)",
    )
    add_image_options(parser)


def run(arguments) -> int:
    """Runs the command, and returns its exit code."""
    folder = OutFolder(arguments.out, arguments.overwrite)
    with usage_errors(ImportError):
        images.import_pillow()
        figures.new_figure(1, 1)
    model = load_model(arguments.model)
    preprocessor = find_preprocessor(model, arguments)
    classes = model.output_shape[-1]
    names = find_names(model, arguments.names)
    target, contrast = _compared(arguments, classes, names)
    paths = listed(arguments.image, folder.path)
    planned = _figure_names(paths, arguments.format)
    keep_inputs(
        [folder.path / name for name in (*planned, EXPLANATIONS)],
        [*paths, arguments.model, arguments.names],
    )
    folder.start(planned)

    progress = Progress("images explained", len(paths))
    entries, failed = [], []

    def fail(item, message):
        failed.append({"file": str(item.path), "error": message})
        progress.say(message)

    explained = _explained(
        list(map(_Item, paths, planned)),
        preprocessor,
        functools.partial(
            explain,
            model,
            targets=target,
            contrast=contrast,
            batch_size=arguments.batch_size,
        ),
        fail,
    )
    try:
        for item, pixels, image_size, one in explained:
            drawn = figures.explanation_figure(
                pixels,
                one,
                titles=[files.displayed(item.path.name)],
                names=names,
            )
            with folder.replacing(item.figure) as unfinished:
                drawn.savefig(unfinished, format=arguments.format)
            entries.append(
                {
                    "file": str(item.path),
                    "figure": item.figure,
                    **entry(one, names, preprocessor, image_size),
                }
            )
            progress.update(len(entries) + len(failed))
        if entries:
            folder.finish(
                {
                    "figures": [one["figure"] for one in entries],
                    "model": arguments.model,
                    "size": list(preprocessor.size),
                    "preprocessing": preprocessor.preprocessing,
                    "resize": preprocessor.resize,
                    "resize_shorter_edge": preprocessor.resize_shorter_edge,
                    "images": entries,
                    "failed": failed,
                }
            )
    except OSError as error:
        progress.say(
            f"keras-warn explain: {error} {len(entries)} of {len(paths)} "
            f"figures are there, {EXPLANATIONS} is not complete."
        )
        return INCOMPLETE
    finally:
        progress.end()
    if not entries:
        folder.undo()
        raise UsageError(f"none of the {len(paths)} images could be explained.")
    print(
        f"{len(entries)} figure{'' if len(entries) == 1 else 's'} and "
        f"{EXPLANATIONS} are in {folder.path}"
        + (
            f"; {len(failed)} of {len(paths)} images failed." if failed else "."
        ),
        file=sys.stderr,
    )
    return INCOMPLETE if failed else GOOD


class _Item(typing.NamedTuple):
    """An image file, and the name of the figure that it gets."""

    path: pathlib.Path
    figure: str


def _explained(items, preprocessor, explain_all, fail):
    """Reads and explains images, a bounded number at once.

    Args:
        items: List of `_Item`.
        preprocessor: An `inputs.Preprocessor`.
        explain_all: Function from what the model takes to an `Explanation`.
        fail: Function that is told the item and what is wrong with it.

    Yields:
        For each image that can be read and explained its item; it as bytes,
        a batch of one as the model's layers lay it out; its own height and
        width; and its `Explanation`.
    """
    at_once = max(1, PIXELS_AT_ONCE // math.prod(preprocessor.size))
    batches = read_batches(items, preprocessor, at_once, fail)
    for batch, pixels, sizes in batches:
        explanation = explain_all(preprocessor.prepare(pixels))
        pixels = preprocessor.laid_out(pixels)
        for i, item in enumerate(batch):
            one = explanation.select([i])
            if np.isfinite(one.scores).all():
                yield item, pixels[i : i + 1], sizes[i], one
            else:
                fail(item, f"{item.path}: the model predicts NaN for it.")


def _compared(arguments, classes, names):
    """The classes that --target and --contrast name, `None` where not given."""
    numbers = []
    for option in ("target", "contrast"):
        label = getattr(arguments, option)
        hint = "" if names else " --names tells the names of classes."
        with usage_errors(ValueError, before=f"--{option}: ", after=hint):
            numbers.append(
                None
                if label is None
                else image_files.class_number(label, classes, names)
            )
    target, contrast = numbers
    if target is not None and target == contrast:
        raise UsageError(
            "--target and --contrast must be different classes. Received: "
            f"class {target} twice."
        )
    return target, contrast


def listed(given, out) -> list:
    """The image files that are named, or in folders that are.

    Args:
        given: Strings, paths of files and folders.
        out: Path of the output, whose images do not count.

    Returns:
        A list of `pathlib.Path`.

    Raises:
        UsageError: if a folder cannot be read, or holds none.
    """
    out = os.path.realpath(out)
    paths = []
    for one in map(pathlib.Path, given):
        if not one.is_dir():
            paths.append(one)
            continue
        with usage_errors(
            OSError, before=f"the folder {one} cannot be read: ", after="."
        ):
            found, skipped = image_files.list_images(one)
        others = image_files.described(skipped)
        # Figures of an earlier call are no images to explain.
        inside = [
            path
            for path in found
            if not pathlib.Path(os.path.realpath(path)).is_relative_to(out)
        ]
        if not inside and found:
            raise UsageError(
                f"all images in the folder {one} are in --out, where only "
                "figures shall be."
            )
        if not inside:
            raise UsageError(
                f"the folder {one} holds no images: no file that ends in "
                f"{', '.join(sorted(image_files.EXTENSIONS))}. It holds "
                f"{others or 'nothing'}."
            )
        if others:
            print(
                f"keras-warn: skipped in {one}: {others}.",
                file=sys.stderr,
            )
        paths += inside
    return paths


def _figure_names(paths, extension):
    """A file name for the figure of each image, no two alike."""
    # Some file systems do not tell upper from lower case. Stems of images
    # are left to those images: of two a.jpg beside an a-2.jpg, the second
    # becomes a-3.
    stems = {path.stem.casefold() for path in paths}
    taken = set()
    names = []
    for path in paths:
        stem, count = path.stem, 1
        while stem.casefold() in taken or (
            count > 1 and stem.casefold() in stems
        ):
            count += 1
            stem = f"{path.stem}-{count}"
        taken.add(stem.casefold())
        names.append(f"{stem}.{extension}")
    return names
