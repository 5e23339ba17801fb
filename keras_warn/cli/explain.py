"""`keras-warn explain`: a figure for each image, and the same in numbers."""

import contextlib
import functools
import json
import math
import pathlib

import numpy as np

from keras_warn import files
from keras_warn.cli import errors
from keras_warn.cli import inputs
from keras_warn.cli import options
from keras_warn.cli import outputs
from keras_warn.cli.progress import Progress
from keras_warn.data import image_files
from keras_warn.explanation.decomposition import explain
from keras_warn.explanation.intermediates import outputs_of
from keras_warn.reporting import figures

EXPLANATIONS = "explanations.json"
# Tells it from files of others. The number is the version of what is in it.
MARKER = {"keras_warn_explanations": 1}

# Explained at once, so that memory stays bounded: about 330 images of 224 by
# 224.
PIXELS_AT_ONCE = 2**24
# Predictions of each image that are written down, the best ones.
TOP = 3

EPILOG = f"""\
outputs:
  DIR/<name of the image>.png   a figure for each image (or .svg, .pdf): where
                                the model looked, and what spoke for its
                                prediction
  DIR/{EXPLANATIONS}         the same in numbers: predictions of the backbone
                                alone, of attention alone and of both, gates,
                                contributions of the backbone and of each
                                module and head, and where the evidence is
                                strongest, in pixels of the image

{options.PREPROCESSING_HELP}

{errors.EXIT_CODES}

examples:
  keras-warn explain birds.keras photo.jpg --out explained \\
      --preprocessing mobilenet_v2
  keras-warn explain birds.keras photos/ --out explained --format pdf \\
      --names classes.txt --target wren --contrast finch"""


def add_arguments(parser) -> None:
    """Adds the options of this command."""
    options.add_options(parser, "model", "image")
    add = parser.add_argument
    add("--out", required=True, metavar="DIR", help="folder of the outputs")
    add(
        "--target",
        metavar="CLASS",
        help="the class to explain, a name or a number from 0 (default: what "
        "the model predicts)",
    )
    add(
        "--contrast",
        metavar="CLASS",
        help="the class to compare it with (default: what the backbone alone "
        "predicts, or the next best class where that is the target)",
    )
    add(
        "--format",
        choices=("png", "svg", "pdf"),
        default="png",
        help="of the figures (default: png)",
    )
    options.add_options(parser, *options.READING)


def run(arguments) -> int:
    """Runs the command, and returns its exit code."""
    folder = pathlib.Path(arguments.out)
    outputs.check_folder(folder, arguments.overwrite)
    with errors.usage_errors(ImportError):
        figures.new_figure(1, 1)
    model, preprocessor, names = inputs.load(arguments)
    target, contrast = _compared(arguments, model.output_shape[-1], names)
    paths = inputs.listed(arguments.image)
    if any(path.parent.resolve() == folder.resolve() for path in paths):
        raise errors.UsageError(
            "--out must be another folder than that of an image, which a "
            f"figure could replace. Received: {folder}."
        )
    planned = _figure_names(paths, arguments.format)
    outputs.make_folder(folder)

    progress = Progress("images explained", len(paths))
    entries = []
    explained = _explained(
        paths,
        preprocessor,
        functools.partial(
            explain,
            model,
            targets=target,
            contrast=contrast,
            batch_size=arguments.batch_size,
        ),
        progress.fail,
    )
    try:
        for i, pixels, image_size, one in explained:
            drawn = figures.explanation_figure(
                pixels,
                one,
                titles=[files.displayed(paths[i].name)],
                names=names,
            )
            with files.replacing(folder / planned[i]) as unfinished:
                drawn.savefig(unfinished, format=arguments.format)
            about = {"file": str(paths[i]), "figure": planned[i]}
            about |= _entry(one, names, preprocessor, image_size)
            entries.append(about)
            progress.update(len(entries) + len(progress.failed))
        failed = [
            {"file": str(path), "error": message}
            for path, message in progress.failed.items()
        ]
        if entries:
            content = {
                **MARKER,
                "finished": True,
                "figures": [one["figure"] for one in entries],
                "model": arguments.model,
                "size": list(preprocessor.size),
                "preprocessing": preprocessor.preprocessing,
                "resize": preprocessor.resize,
                "resize_shorter_edge": preprocessor.resize_shorter_edge,
                "images": entries,
                "failed": failed,
            }
            text = json.dumps(content, indent=2, allow_nan=False)
            with files.replacing(folder / EXPLANATIONS) as unfinished:
                unfinished.write_text(text + "\n", "utf-8")
    except OSError as error:
        errors.say(
            f"keras-warn explain: {error} {len(entries)} of {len(paths)} "
            f"figures are there, and no {EXPLANATIONS}."
        )
        return errors.INCOMPLETE
    finally:
        progress.end()
    if not entries:
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()
        raise errors.UsageError(
            f"none of the {len(paths)} images could be explained."
        )
    end = f"; {len(failed)} of {len(paths)} images failed." if failed else "."
    errors.say(
        f"{len(entries)} figure{'' if len(entries) == 1 else 's'} and "
        f"{EXPLANATIONS} are in {folder}{end}"
    )
    return errors.INCOMPLETE if failed else errors.GOOD


def _explained(paths, preprocessor, explain_all, fail):
    """Index, bytes `(1, ...)`, own size and `Explanation` of each image."""
    at_once = max(1, PIXELS_AT_ONCE // math.prod(preprocessor.size))
    for chosen, pixels, sizes in inputs.read_batches(
        paths, preprocessor, at_once, fail
    ):
        explanation = explain_all(preprocessor.prepare(pixels))
        pixels = preprocessor.laid_out(pixels)
        for row, i in enumerate(chosen):
            one = explanation.select([row])
            if np.isfinite(one.scores).all():
                yield i, pixels[row : row + 1], sizes[row], one
            else:
                fail(paths[i], f"{paths[i]}: the model predicts NaN for it.")


def _entry(one, names, preprocessor, image_size):
    """The explanation of one image for `explanations.json`."""

    def class_of(number):
        name = None if names is None else names[number]
        return {"class": int(number), "name": name}

    def best(probabilities):
        order = np.argsort(-probabilities[0], kind="stable")[:TOP]
        return [
            {**class_of(i), "probability": float(probabilities[0, i])}
            for i in order
        ]

    target, contrast = one.targets[0], one.contrast[0]
    backbone, *modules = one.contributions[0].tolist()
    gates = head_gates = strongest = None
    if one.gates is not None:
        gates = one.gates[0].tolist()
        head_gates = [
            module.head_gates[0].tolist()
            for module in outputs_of(one.intermediates).modules
        ]
    if one.attribution is not None and one.attribution.max() > 0:
        (region,) = one.attribution
        place = np.unravel_index(region.argmax(), region.shape)
        place = preprocessor.original(*place, image_size)
        if place is not None:
            strongest = {"row": place[0], "column": place[1]}
    return {
        "height": image_size[0],
        "width": image_size[1],
        "backbone": best(one.backbone_probabilities),
        "attention": best(one.attention_probabilities),
        "output": best(one.probabilities),
        "changed": bool(one.changed[0]),
        "target": class_of(target),
        "contrast": class_of(contrast),
        "gates": gates,
        "head_gates": head_gates,
        "scale": one.scale,
        "contributions": {
            "backbone": backbone,
            "modules": modules,
            "heads": [
                (heads[0, :, target] - heads[0, :, contrast]).tolist()
                for heads in one.heads
            ],
        },
        "strongest_evidence": strongest,
    }


def _compared(arguments, classes, names):
    """The classes that --target and --contrast name, `None` where not given."""
    numbers = []
    for option in ("target", "contrast"):
        label = getattr(arguments, option)
        hint = "" if names else " --names tells the names of classes."
        with errors.usage_errors(
            ValueError, before=f"--{option}: ", after=hint
        ):
            numbers.append(
                None
                if label is None
                else image_files.class_number(label, classes, names)
            )
    target, contrast = numbers
    if target is not None and target == contrast:
        raise errors.UsageError(
            "--target and --contrast must be different classes. Received: "
            f"class {target} twice."
        )
    return target, contrast


def _figure_names(paths, extension):
    """A file name for the figure of each image, no two alike."""
    names = {}  # as some file systems tell them apart, by `casefold`
    for path in paths:
        stem, count = path.stem, 1
        while stem.casefold() in names:
            count += 1
            stem = f"{path.stem}-{count}"
        names[stem.casefold()] = f"{stem}.{extension}"
    return list(names.values())
