"""The command `keras-warn`: explanations, reports and summaries of models."""

import argparse
import contextlib
import dataclasses
import itertools
import json
import math
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time
import zipfile
import zlib

import keras
import numpy as np

import keras_warn
from keras_warn import figures
from keras_warn import images as image_files
from keras_warn.explanation import explain
from keras_warn.report import report
from keras_warn.summary import summary

# Exit codes. Others are errors of this program.
GOOD, INCOMPLETE, REFUSED, INTERRUPTED = 0, 1, 2, 130

EXPLANATIONS = "explanations.json"
# Tells our `explanations.json` from those of others. The number is the
# version of what is kept in it.
MARKER = {"keras_warn_explanations": 1}
UNFINISHED = ".unfinished-"

# Explained at once, so that memory stays bounded and the model is not
# compiled for each batch anew: about 330 images of 224 by 224.
PIXELS_AT_ONCE = 2**24

# Predictions of each image that are written down, the best ones.
TOP = 3

# Between lines of progress where they cannot be overwritten, in seconds.
SECONDS = 30

# What Keras raises on files that hold no model, or a broken one.
_LOADING_ERRORS = (
    AttributeError,
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)

# How Keras says that a class or function of the user's is not there.
_MISSING_CODE = re.compile(r"Could not (locate|deserialize) \w+ '[^'\n]*'")

_EXIT_CODES = """\
exit codes:
  0    all is done
  1    something could not be read or written; the rest is done
  2    wrong usage or input; nothing is done
  130  stopped by Ctrl-C"""

_PREPROCESSING = """\
preprocessing:
  A model that starts with Rescaling or Normalization layers made for bytes
  takes images as they are. For others --preprocessing must say what the model
  was trained with, since a wrong guess makes wrong predictions, silently:
    unit          numbers in [0, 1]
    none          numbers in [0, 255]
    mobilenet_v2  (and so on) what preprocess_input of this module of
                  keras.applications does"""

_DESCRIPTION = """\
Show what gated attention does in a model that keras_warn.augment made, and
that model.save wrote: for images of yours, on a test set, or as a table of
where it is attached and what it costs."""

_EXPLAIN = f"""\
outputs:
  DIR/<name of the image>.png   a figure for each image: where the model
                                looked, and what spoke for its prediction
  DIR/{EXPLANATIONS}         the same in numbers: predictions of the network
                                alone, of attention alone and of both, gates,
                                contributions of the network and of each
                                module and head, and where the evidence is
                                strongest, in pixels of the image

{_PREPROCESSING}

{_EXIT_CODES}

examples:
  keras-warn explain birds.keras photo.jpg --out explained \\
      --preprocessing mobilenet_v2
  keras-warn explain birds.keras photos/ --out explained --format pdf \\
      --names classes.txt --target wren --against finch"""

_REPORT = f"""\
data:
  a folder     with a folder of images for each class. Without --names, class
               i is the i-th folder by alphabet
  a CSV file   whose first line is path,label. Paths are relative to its
               folder; labels are names or numbers of classes, from 0

outputs:
  one HTML file that needs no other: accuracy with and without attention,
  images that attention fixed and broke, with the evidence, classes, gates and
  calibration

{_PREPROCESSING}

{_EXIT_CODES}

examples:
  keras-warn report birds.keras test/ --out report.html --preprocessing unit
  keras-warn report birds.keras test.csv --out report.html \\
      --names classes.txt --resize pad --preprocessing mobilenet_v2"""

_SUMMARY = f"""\
outputs:
  a table: which layers the attention modules read, their heads and kernels,
  and parameters and operations of each, of the network alone, and of both

preprocessing:
  none is needed; no image is read

{_EXIT_CODES}

examples:
  keras-warn summary birds.keras
  keras-warn summary birds.keras --size 320x480"""


class _Refused(Exception):
    """Wrong input, said in one paragraph to whoever gave it."""


def main(argv=None):
    """Runs the command `keras-warn`.

    Args:
        argv: List of strings, its arguments. Defaults to those of the process.

    Returns:
        The exit code, an integer.

    Raises:
        SystemExit: after `--help`, or if the arguments are wrong, as argparse
            does.
    """
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except _Refused as error:
        print(f"keras-warn {arguments.command}: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print(f"\nkeras-warn {arguments.command}: stopped.", file=sys.stderr)
        return INTERRUPTED


def _explain(arguments):
    folder = _OutFolder(arguments.out, arguments.overwrite)
    _needs(image_files.import_pillow)
    _needs(figures.new_figure, 1, 1)
    model = _load(arguments.model)
    intake = _intake(model, arguments)
    classes = model.output_shape[-1]
    names = _names(arguments.names, classes)
    target = _class("target", arguments.target, classes, names)
    against = _class("against", arguments.against, classes, names)
    if target is not None and target == against:
        raise _Refused(
            "--target and --against must be different classes. Received: "
            f"class {target} twice."
        )
    paths = _listed(arguments.image, folder.path)
    planned = _figure_names(paths, arguments.format)
    folder.start(planned)

    progress = _Progress("images explained", len(paths))
    entries, failed = [], []

    def fail(item, message):
        failed.append({"file": str(item[0]), "error": message})
        progress.say(message)

    def explained(prepared):
        return explain(model, prepared, target, against, arguments.batch_size)

    items = list(zip(paths, planned, strict=True))
    try:
        for item, picture, image_size, one in _explained(
            items, intake, explained, fail
        ):
            drawn = figures.explanation_figure(
                picture, one, titles=[_title(item[0])], names=names
            )
            with folder.replacing(item[1]) as whole:
                drawn.savefig(whole, format=arguments.format)
            entries.append(
                {
                    "file": str(item[0]),
                    "figure": item[1],
                    **_entry(one, names, intake, image_size),
                }
            )
            progress.update(len(entries) + len(failed))
        if entries:
            folder.finish(
                {
                    "figures": [entry["figure"] for entry in entries],
                    "model": arguments.model,
                    "size": list(intake.size),
                    "preprocessing": intake.preprocessing,
                    "resize": intake.resize,
                    "images": entries,
                    "failed": failed,
                }
            )
    except OSError as error:
        progress.say(
            f"keras-warn explain: {folder.path} cannot be written to: "
            f"{error}. {len(entries)} of {len(paths)} figures are there, "
            f"{EXPLANATIONS} is not complete."
        )
        return INCOMPLETE
    finally:
        progress.end()
    if not entries:
        folder.undo()
        raise _Refused(f"none of the {len(paths)} images could be explained.")
    print(
        f"{_figures(len(entries))} and {EXPLANATIONS} are in {folder.path}"
        + (
            f"; {len(failed)} of {len(paths)} images failed." if failed else "."
        ),
        file=sys.stderr,
    )
    return INCOMPLETE if failed else GOOD


def _explained(items, intake, explain, fail):
    """Reads and explains images, a bounded number at once.

    Args:
        items: List of tuples that start with the path of an image.
        intake: An `_Intake`.
        explain: Function from what the model takes to an `Explanation`.
        fail: Function that is told the item and what is wrong with it.

    Yields:
        For each image that can be read and explained its item; it as bytes,
        a batch of one as the model's layers lay it out; its own height and
        width; and its `Explanation`.
    """
    readable = _readable(items, intake, fail)
    at_once = max(1, PIXELS_AT_ONCE // math.prod(intake.size))
    while chunk := list(itertools.islice(readable, at_once)):
        pictures = np.stack([picture for _, picture, _ in chunk])
        explanation = explain(intake.prepare(pictures))
        pictures = intake.laid_out(pictures)
        for i, (item, _, image_size) in enumerate(chunk):
            one = explanation.take([i])
            if np.isfinite(one.scores).all():
                yield item, pictures[i : i + 1], image_size, one
            else:
                fail(item, f"{item[0]}: the model predicts NaN for it.")


def _report(arguments):
    path = pathlib.Path(arguments.out)
    _check_file(path, arguments.overwrite)
    _needs(image_files.import_pillow)
    model = _load(arguments.model)
    intake = _intake(model, arguments)
    classes = model.output_shape[-1]
    names = _names(arguments.names, classes)
    try:
        found = image_files.find_images(arguments.data)
        labels, names = image_files.class_numbers(found, classes, names)
    except (OSError, ValueError) as error:
        raise _Refused(f"DATA: {error}") from error
    data = _Batches(found, labels, intake, arguments.batch_size)
    try:
        report(
            model,
            data,
            path,
            names=names,
            examples=arguments.examples,
            batch_size=arguments.batch_size,
            verbose=0,
        )
    except (ImportError, OSError, ValueError) as error:
        raise _Refused(str(error)) from error
    finally:
        data.progress.end()
    read = len(found) - len(data.failed)
    print(
        f"The report of {read} images is in {path}"
        + (f"; {len(data.failed)} failed." if data.failed else "."),
        file=sys.stderr,
    )
    return INCOMPLETE if data.failed else GOOD


def _summary(arguments):
    model = _load(arguments.model)
    shape = None
    if arguments.size is not None:
        data_format, _, channels = _image_input(model)
        shape = (*arguments.size, channels)
        if data_format == "channels_first":
            shape = (channels, *arguments.size)
    try:
        found = summary(model, shape)
    except (ImportError, ValueError) as error:
        raise _Refused(str(error)) from error
    print(found)
    return GOOD


@dataclasses.dataclass(frozen=True)
class _Intake:
    """How image files are made into what a model takes.

    Attributes:
        size: Height and width.
        channels: 1 or 3.
        data_format: `"channels_last"` or `"channels_first"`.
        preprocessing: One of `images.PREPROCESSING`.
        resize: One of `images.RESIZES`.
    """

    size: tuple
    channels: int
    data_format: str
    preprocessing: str
    resize: str

    def read(self, path):
        """A file as bytes `(*size, channels)`, and its height and width."""
        image = image_files.read_image(path, self.channels)
        fitted = image_files.fit_image(image, self.size, self.resize)
        return fitted, image.shape[:2]

    def prepare(self, pictures):
        """Bytes `(b, *size, channels)` as the model takes them."""
        return self.laid_out(
            image_files.preprocess(pictures, self.preprocessing)
        )

    def laid_out(self, pictures):
        """Pictures `(b, *size, channels)` in the model's data format."""
        if self.data_format == "channels_first":
            return np.transpose(pictures, (0, 3, 1, 2))
        return pictures

    def original(self, row, column, image_size):
        """The place in the image that lies in the middle of a pixel.

        Args:
            row: Of the pixel, in what the model takes.
            column: Of the same.
            image_size: Height and width of the image.

        Returns:
            Its row and column in the image; `None` on the padding.
        """
        source, target = image_files.placement(
            image_size, self.size, self.resize
        )
        place = []
        for axis, index in enumerate((row, column)):
            start, end = target[axis], target[axis + 2]
            if not start <= index < end:
                return None
            first, last = source[axis], source[axis + 2]
            # Divided last, for exact middles not to fall short of themselves.
            at = first + (index + 0.5 - start) * (last - first) / (end - start)
            place.append(min(int(at), image_size[axis] - 1))
        return tuple(place)


class _Batches:
    """Labelled images from files, batch by batch, as often as asked.

    Files that cannot be read are left out, and named once.

    Args:
        found: List of `images.Found`.
        labels: Integers, their classes.
        intake: An `_Intake`.
        batch_size: Positive integer.
    """

    def __init__(self, found, labels, intake, batch_size):
        self.items = [
            (one.path, label) for one, label in zip(found, labels, strict=True)
        ]
        self.intake = intake
        self.batch_size = batch_size
        self.failed = []
        self.progress = _Progress("images read", len(found))
        self._first_time = True

    def __iter__(self):
        self.progress.update(0)
        readable = _readable(
            self.items, self.intake, self._fail, self.progress.update
        )
        read = []
        while batch := list(itertools.islice(readable, self.batch_size)):
            read += [item for item, _, _ in batch]
            pictures = np.stack([picture for _, picture, _ in batch])
            labels = np.array([label for (_, label), _, _ in batch])
            yield self.intake.prepare(pictures), labels
        if not read:
            raise _Refused(
                f"none of the {len(self.items)} images could be read."
            )
        self.items = read
        self._first_time = False
        self.progress.end()
        self.progress = _Progress("images read again", len(read))

    def _fail(self, item, message):
        if not self._first_time:
            raise image_files.ImageError(
                f"{message} It could be read before: images must not change "
                "while a report is made."
            )
        self.failed.append(item)
        self.progress.say(message)


class _OutFolder:
    """The folder of `keras-warn explain`.

    Args:
        path: String.
        overwrite: Whether files of others in it may be replaced.
    """

    def __init__(self, path, overwrite):
        self.path = pathlib.Path(path)
        self._new = not self.path.exists()
        # What an earlier call wrote, or someone else: kept, for `undo`.
        self._before = None
        # Figures of an earlier call, which go when it is repeated.
        self._old = []
        if self._new:
            return
        if not self.path.is_dir():
            raise _Refused(f"--out must be a folder. {path} is a file.")
        try:
            names = sorted(os.listdir(self.path))
            if EXPLANATIONS in names:
                self._before = (self.path / EXPLANATIONS).read_bytes()
        except OSError as error:
            raise _Refused(f"--out {path} cannot be read: {error}.") from error
        names = [name for name in names if not name.startswith(UNFINISHED)]
        old = _figures_of(self._before)
        if names and old is None and not overwrite:
            raise _Refused(
                "--out must be new, empty, or made by this command. "
                f"{path} holds {', '.join(names[:3])}"
                f"{' and more' if len(names) > 3 else ''}. --overwrite "
                "replaces files of the same names there, and keeps others."
            )
        self._old = old or []

    def start(self, planned):
        """Makes the folder ready, and proves that it can be written to.

        Args:
            planned: Names of the figures to come. They are written down, for
                a later call to know what is of this one.
        """
        figures = [*planned, *(set(self._old) - set(planned))]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for left in self.path.glob(f"{UNFINISHED}*"):
                shutil.rmtree(left)
            self.write({**MARKER, "finished": False, "figures": figures})
        except OSError as error:
            raise _Refused(
                f"--out {self.path} cannot be written to: {error}."
            ) from error

    def finish(self, content):
        """Writes all that is known, when all figures are there."""
        for name in set(self._old) - set(content["figures"]):
            (self.path / name).unlink(missing_ok=True)
        self.write({**MARKER, "finished": True, **content})

    def undo(self):
        """Takes back what `start` did."""
        if self._before is not None:
            with self.replacing(EXPLANATIONS) as whole:
                whole.write_bytes(self._before)
            return
        (self.path / EXPLANATIONS).unlink()
        if self._new:
            self.path.rmdir()

    def write(self, content):
        """Writes `explanations.json`."""
        with self.replacing(EXPLANATIONS) as whole:
            text = json.dumps(content, indent=2, allow_nan=False)
            whole.write_text(text + "\n", "utf-8")

    @contextlib.contextmanager
    def replacing(self, name):
        """A path to write a file to, which then replaces `name`."""
        # In the same folder, for `os.replace` to be one atomic rename.
        with tempfile.TemporaryDirectory(
            dir=self.path, prefix=UNFINISHED, ignore_cleanup_errors=True
        ) as unfinished:
            whole = pathlib.Path(unfinished, name)
            yield whole
            os.replace(whole, self.path / name)


def _figures_of(content):
    """Names of the figures that an `explanations.json` tells of.

    Args:
        content: Bytes, or `None`.

    Returns:
        A list of strings, or `None` if `content` is not of this command.
    """
    try:
        content = json.loads(content or b"")
    except ValueError:
        return None
    if not isinstance(content, dict) or any(
        content.get(key) != value for key, value in MARKER.items()
    ):
        return None
    return [
        name
        for name in content.get("figures", [])
        # Nothing outside of the folder, whoever edited the list.
        if name == pathlib.Path(name).name
    ]


class _Progress:
    """How far long work is, on stderr.

    On a terminal one line that changes, elsewhere a line now and then.

    Args:
        what: What is counted.
        total: How many there are.
    """

    def __init__(self, what, total):
        self.what = what
        self.total = total
        self._on_terminal = sys.stderr.isatty()
        self._last = time.monotonic()
        self._open = False

    def update(self, done):
        """Shows that `done` of them are done."""
        text = f"{done} of {self.total} {self.what}"
        if self._on_terminal:
            print(f"\r{text}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif time.monotonic() - self._last > SECONDS:
            self._last = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def say(self, message):
        """Shows a message on a line of its own."""
        self.end()
        print(message, file=sys.stderr, flush=True)

    def end(self):
        """Ends the line that changes."""
        if self._open:
            print(file=sys.stderr)
            self._open = False


def _readable(items, intake, fail, update=None):
    """Reads images one by one.

    Args:
        items: List of tuples that start with the path of an image.
        intake: An `_Intake`.
        fail: Function that is told the item and what is wrong with it.
        update: Function that is told how many are done, after each.

    Yields:
        For each image that can be read its item; it as bytes `(height, width,
        channels)` in the size of the model's input; its own height and width.
    """
    for done, item in enumerate(items, start=1):
        try:
            picture, image_size = intake.read(item[0])
        except image_files.ImageError as error:
            fail(item, str(error))
        else:
            yield item, picture, image_size
        if update is not None:
            update(done)


def _entry(one, names, intake, image_size):
    """The explanation of one image, for JSON."""

    def class_of(number):
        name = None if names is None else names[number]
        return {"class": int(number), "name": name}

    def best(probabilities):
        order = np.argsort(-probabilities[0], kind="stable")[:TOP]
        return [
            {**class_of(i), "probability": float(probabilities[0, i])}
            for i in order
        ]

    modules = range(1, len(one.heads) + 1)
    target, against = one.targets[0], one.against[0]
    network, *contributed = one.margins[0].tolist()
    gated = one.gates is not None
    return {
        "height": image_size[0],
        "width": image_size[1],
        "network": best(one.network_probabilities),
        "attention": best(one.attention_probabilities),
        "output": best(one.probabilities),
        "changed": bool(one.changed[0]),
        "target": class_of(target),
        "against": class_of(against),
        "gates": one.gates[0].tolist() if gated else None,
        "head_gates": [
            one.seen[f"module_{i}_head_gates"][0].tolist() for i in modules
        ]
        if gated
        else None,
        "scale": one.scale,
        "contributions": {
            "network": network,
            "modules": contributed,
            "heads": [
                (heads[0, :, target] - heads[0, :, against]).tolist()
                for heads in one.heads
            ],
        },
        "strongest_evidence": _strongest(one.regions, intake, image_size),
    }


def _strongest(regions, intake, image_size):
    """Where most speaks for the target: a pixel of the image, or `None`."""
    if regions is None or regions.max() <= 0:
        return None
    row, column = np.unravel_index(regions[0].argmax(), regions.shape[1:])
    place = intake.original(row, column, image_size)
    return None if place is None else {"row": place[0], "column": place[1]}


def _load(path):
    """The model with attention in a file."""
    file = pathlib.Path(path)
    if not file.exists():
        raise _Refused(f"the model file {path} does not exist.")
    if file.suffix not in (".keras", ".h5", ".hdf5"):
        raise _Refused(
            "the model must be a file that model.save wrote, which ends in "
            f".keras. Received: {path}."
        )
    try:
        # Opened first for what the system says; Keras says "not found".
        with file.open("rb"):
            pass
        if file.suffix == ".keras" and not zipfile.is_zipfile(file):
            raise _Refused(
                f"{path} is not a model of Keras: it is not the zip archive "
                "that model.save writes, or was cut short."
            )
        model = keras.saving.load_model(file, compile=False)
    except _LOADING_ERRORS as error:
        reason = f"{type(error).__name__}: {_first_line(error)}"
        advice = ""
        missing = _MISSING_CODE.search(str(error))
        if missing:
            reason = f"{missing.group()}."
            advice = (
                " It needs code of its own, which this command cannot import. "
                "Call keras_warn.explain or keras_warn.report from Python "
                "instead, on a model loaded with `custom_objects`."
            )
        raise _Refused(
            f"{path} cannot be loaded as a model. {reason}{advice}"
        ) from error
    try:
        keras_warn.inspect(model)
    except (TypeError, ValueError) as error:
        raise _Refused(
            f"{path} holds a model without attention of keras_warn. {error}"
        ) from error
    return model


def _first_line(error):
    """What an error of Keras says before it prints whole configurations."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    return text if len(text) <= 300 else f"{text[:300]} ..."


def _image_input(model):
    """Data format, size and channels of the one image that a model takes."""
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if len(shapes) == 1 and len(shapes[0]) == 3:
        data_format = model.get_layer("module_1_masks").data_format
        *size, channels = shapes[0]
        if data_format == "channels_first":
            channels, *size = shapes[0]
        if channels in (1, 3):
            return data_format, tuple(size), channels
    raise _Refused(
        "the model must take one image of 1 or 3 channels. It takes "
        f"{' and '.join(map(str, shapes))}."
    )


def _intake(model, arguments):
    data_format, size, channels = _image_input(model)
    given = arguments.size
    if given is None and None in size:
        raise _Refused(
            "the model takes images of any size. Choose one by --size, such "
            "as --size 224, best the one that it was trained with."
        )
    if given is not None and any(
        length not in (None, wanted)
        for length, wanted in zip(size, given, strict=True)
    ):
        raise _Refused(
            f"--size must be that of the model, {size[0]}x{size[1]}, or be "
            f"left out. Received: {given[0]}x{given[1]}."
        )
    name = arguments.preprocessing
    try:
        if name is None:
            name = image_files.default_preprocessing(model)
        # Better known before the work whether it can be done.
        image_files.preprocess(np.zeros((1, 1, 1, channels), "uint8"), name)
    except ValueError as error:
        raise _Refused(f"--preprocessing: {error}") from error
    return _Intake(given or size, channels, data_format, name, arguments.resize)


def _names(path, classes):
    """The names in a file, one a line; `None` without a file."""
    if path is None:
        return None
    try:
        text = pathlib.Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _Refused(f"--names {path} cannot be read: {error}.") from error
    names = [line.strip() for line in text.rstrip().splitlines()]
    if len(names) != classes:
        raise _Refused(
            f"--names must have one name a line for each of the {classes} "
            f"classes of the model. {path} has {len(names)} lines."
        )
    if "" in names:
        raise _Refused(
            f"--names must not have empty lines between names. {path}, line "
            f"{names.index('') + 1}, is empty."
        )
    return names


def _class(name, label, classes, names):
    """The class that the option `--<name>` names, if it is given."""
    if label is None:
        return None
    try:
        return image_files.class_number(label, classes, names)
    except ValueError as error:
        raise _Refused(f"--{name}: {error}") from error


def _listed(given, out):
    """The image files that are named, or in folders that are."""
    paths = []
    for one in map(pathlib.Path, given):
        if not one.is_dir():
            paths.append(one)
            continue
        try:
            inside = image_files.list_images(one)
        except OSError as error:
            raise _Refused(f"the folder {one} cannot be read: {error}.") from (
                error
            )
        # Figures of an earlier call are no images to explain.
        out = out.resolve()
        inside = [p for p in inside if out not in p.resolve().parents]
        if not inside:
            raise _Refused(
                f"the folder {one} holds no images: no file that ends in "
                f"{', '.join(sorted(image_files.EXTENSIONS))}."
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


def _check_file(path, overwrite):
    """Whether the report may be written to `path`."""
    if path.is_dir():
        raise _Refused(f"--out must be a file. {path} is a folder.")
    if path.exists() and not overwrite:
        raise _Refused(f"--out {path} exists. --overwrite replaces it.")
    try:
        tempfile.TemporaryDirectory(
            dir=path.parent, prefix=UNFINISHED
        ).cleanup()
    except OSError as error:
        raise _Refused(
            f"--out must lie in a folder that can be written to. "
            f"{path.parent}: {error.strerror}."
        ) from error


def _needs(function, *args):
    """Calls what imports an optional package, and says if it is missing."""
    try:
        function(*args)
    except ImportError as error:
        raise _Refused(str(error)) from error


def _title(path):
    """The name of a file, to stand beside a figure."""
    name = path.name
    if len(name) > 30:
        name = f"{name[:18]}…{name[-11:]}"
    # Dollars would begin a formula.
    return name.replace("$", r"\$")


def _figures(count):
    return f"{count} figure{'' if count == 1 else 's'}"


def _size(text):
    """`"224"` or `"224x320"` as height and width."""
    lengths = text.lower().split("x")
    if len(lengths) > 2 or not all(
        n.isascii() and n.isdecimal() and int(n) > 0 for n in lengths
    ):
        raise argparse.ArgumentTypeError(
            f"must be a number, or HEIGHTxWIDTH, in pixels. Received: {text}"
        )
    return int(lengths[0]), int(lengths[-1])


def _count(minimum):
    def count(text):
        if not (text.isascii() and text.isdecimal() and int(text) >= minimum):
            raise argparse.ArgumentTypeError(
                f"must be an integer of at least {minimum}. Received: {text}"
            )
        return int(text)

    return count


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-warn",
        description=_DESCRIPTION,
        epilog="keras-warn COMMAND --help says more about each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=keras_warn.__version__
    )
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND"
    )

    def command(name, run, text, epilog):
        added = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run)
        added.add_argument(
            "model", metavar="MODEL", help="a file that model.save wrote"
        )
        return added

    explaining = command(
        "explain",
        _explain,
        "explain a model's predictions for images",
        _EXPLAIN,
    )
    explaining.add_argument(
        "image",
        nargs="+",
        metavar="IMAGE",
        help="an image file, or a folder that is searched for them",
    )
    explaining.add_argument(
        "--out", required=True, metavar="DIR", help="folder of the outputs"
    )
    explaining.add_argument(
        "--target",
        metavar="CLASS",
        help="the class to explain, a name or a number from 0 (default: what "
        "the model predicts)",
    )
    explaining.add_argument(
        "--against",
        metavar="CLASS",
        help="the class to compare it with (default: what the network alone "
        "predicts, or the next best class where that is the target)",
    )
    explaining.add_argument(
        "--format",
        choices=("png", "svg", "pdf"),
        default="png",
        help="of the figures (default: png)",
    )
    reporting = command(
        "report",
        _report,
        "show what attention does on a test set",
        _REPORT,
    )
    reporting.add_argument(
        "data", metavar="DATA", help="labelled images: a folder or a CSV file"
    )
    reporting.add_argument(
        "--out", required=True, metavar="FILE", help="the HTML file to write"
    )
    reporting.add_argument(
        "--examples",
        type=_count(0),
        default=100,
        metavar="N",
        help="how many images to show at most (default: 100)",
    )
    for added in (explaining, reporting):
        added.add_argument(
            "--names",
            metavar="FILE",
            help="the names of all classes in their order, one a line",
        )
        added.add_argument(
            "--preprocessing",
            choices=image_files.PREPROCESSING,
            metavar="NAME",
            help="what the model was trained with, see below: "
            f"{', '.join(image_files.PREPROCESSING)}",
        )
        added.add_argument(
            "--resize",
            choices=image_files.RESIZES,
            default="crop",
            help="how images come to the model's size: crop, the largest part "
            "of its shape from the middle; stretch; or pad, the whole image "
            "on black (default: crop)",
        )
        added.add_argument(
            "--batch-size",
            type=_count(1),
            default=32,
            metavar="N",
            help="images at a time (default: 32)",
        )
        added.add_argument(
            "--overwrite",
            action="store_true",
            help="replace files that are there",
        )
    summing = command(
        "summary",
        _summary,
        "show what attention is attached where, and what it costs",
        _SUMMARY,
    )
    for added in (explaining, reporting, summing):
        added.add_argument(
            "--size",
            type=_size,
            metavar="N or HxW",
            help="height and width of images in pixels, for a model that "
            "takes any",
        )
    return parser
