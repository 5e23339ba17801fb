"""What a model is given: image files made ready, and names of its classes."""

import collections.abc
import dataclasses
import itertools
import os
import pathlib
import unicodedata

import numpy as np

from keras_warn import metadata
from keras_warn.cli.errors import UsageError
from keras_warn.cli.errors import usage_errors
from keras_warn.cli.models import check_size
from keras_warn.cli.models import image_input
from keras_warn.data import images
from keras_warn.data import model_inputs


@dataclasses.dataclass(frozen=True)
class Preprocessor:
    """How image files are made into what a model takes.

    Attributes:
        size: Height and width.
        channels: 1 or 3.
        data_format: `"channels_last"` or `"channels_first"`.
        preprocessing: One of `model_inputs.PREPROCESSING`.
        resize: One of `images.RESIZES`.
        resize_shorter_edge: As of `images.placement`.
    """

    size: tuple
    channels: int
    data_format: str
    preprocessing: str
    resize: str
    resize_shorter_edge: int | None = None

    def read(self, path) -> tuple:
        """A file as bytes `(*size, channels)`, and its height and width."""
        image = images.read_image(path, self.channels)
        fitted = images.fit_image(
            image, self.size, self.resize, self.resize_shorter_edge
        )
        return fitted, image.shape[:2]

    def prepare(self, pixels) -> np.ndarray:
        """Bytes `(b, *size, channels)` as the model takes them."""
        return self.laid_out(
            model_inputs.preprocess(pixels, self.preprocessing)
        )

    def laid_out(self, pixels) -> np.ndarray:
        """Images `(b, *size, channels)` in the model's data format."""
        if self.data_format == "channels_first":
            return np.transpose(pixels, (0, 3, 1, 2))
        return pixels

    def original(self, row, column, image_size) -> tuple | None:
        """The place in the image that lies in the middle of a pixel.

        Args:
            row: Of the pixel, in what the model takes.
            column: Of the same.
            image_size: Height and width of the image.

        Returns:
            Its row and column in the image; `None` on the padding.
        """
        source, target = images.placement(
            image_size, self.size, self.resize, self.resize_shorter_edge
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


def find_preprocessor(model, arguments) -> Preprocessor:
    """How `model` takes images, where `arguments` leave it open.

    Args:
        model: A model with attention.
        arguments: What `options.add_image_options` added, parsed.

    Returns:
        An `Preprocessor`.

    Raises:
        UsageError: if it is not known, or the arguments do not fit the model.
    """
    data_format, size, channels = image_input(model, arguments.model)
    known = metadata.of_model(model)
    given = arguments.size
    check_size(given, size)
    if given is None:
        given = known.size if None in size else size
    if given is None:
        raise UsageError(
            "the model takes images of any size. Choose one by --size, such "
            "as --size 224, best the one that it was trained with."
        )
    name = arguments.preprocessing or known.preprocessing
    before = f"{arguments.model}: --preprocessing: "
    with usage_errors(ValueError, before=before):
        if name is None:
            name = model_inputs.default_preprocessing(model)
        # Better known before the work whether it can be done.
        model_inputs.check_preprocessing(name, channels)
    resize, resize_shorter_edge = (
        arguments.resize,
        arguments.resize_shorter_edge,
    )
    if given == known.size and resize in (None, known.resize):
        resize = known.resize
        resize_shorter_edge = resize_shorter_edge or known.resize_shorter_edge
    resize = resize or "crop"
    with usage_errors(ValueError):
        images.check_resize(resize, given, resize_shorter_edge)
    return Preprocessor(
        given, channels, data_format, name, resize, resize_shorter_edge
    )


def keep_inputs(outputs, inputs) -> None:
    """Refuses outputs that would replace what a command reads.

    Args:
        outputs: Paths that are about to be written.
        inputs: Paths that are read, `None` for what was not given.

    Raises:
        UsageError: if one of `outputs` is one of `inputs`.
    """
    # By identity: names of one file differ by case, links and `..`.
    read = set(map(_identity, inputs)) - {None}
    for path in outputs:
        if _identity(path) in read:
            raise UsageError(
                f"--out must not replace what is read. {path} would be: "
                "choose another."
            )


def _identity(path):
    """What tells a file from all others; `None` if there is none."""
    if path is None or not os.path.exists(path):
        return None
    status = os.stat(path)
    return status.st_dev, status.st_ino


def read_batches(
    items, preprocessor, batch_size, fail, update=None
) -> collections.abc.Iterator:
    """Reads images, batch by batch.

    Args:
        items: List of anything that has a `path`, that of an image.
        preprocessor: An `Preprocessor`.
        batch_size: Positive integer, how many of them to read at once.
        fail: Function that is told each item that cannot be read, and why.
        update: Function that is told how many are done, after each.

    Yields:
        Triples: the items of a batch, the images as bytes `(b, height, width,
        channels)` in the size of the model's input, and a list of their own
        heights and widths.
    """
    readable = _readable(items, preprocessor, fail, update)
    while batch := list(itertools.islice(readable, batch_size)):
        read, pixels, image_sizes = zip(*batch, strict=True)
        yield read, np.stack(pixels), image_sizes


def _readable(items, preprocessor, fail, update):
    """For each item that can be read, it, its image and the image's size."""
    for done, item in enumerate(items, start=1):
        try:
            pixels, image_size = preprocessor.read(item.path)
        except images.ImageError as error:
            fail(item, str(error))
        else:
            yield item, pixels, image_size
        if update is not None:
            update(done)


def find_names(model, path) -> list | None:
    """The names of a model's classes: of a file, or of the model itself.

    Args:
        model: A model with attention.
        path: String, a file with one name a line; or `None`.

    Returns:
        A list of strings; `None` where they are not known.

    Raises:
        UsageError: if the file cannot be read, or holds anything else.
    """
    if path is None:
        known = metadata.of_model(model).class_names
        return None if known is None else list(known)
    return _read_names(path, model.output_shape[-1])


def _read_names(path, classes):
    with usage_errors(
        OSError,
        UnicodeDecodeError,
        before=f"--names {path} cannot be read: ",
        after=".",
    ):
        text = pathlib.Path(path).read_text("utf-8-sig")
    text = unicodedata.normalize("NFC", text)
    names = [line.strip() for line in text.rstrip().splitlines()]
    if len(names) != classes:
        raise UsageError(
            f"--names must have one name a line for each of the {classes} "
            f"classes of the model. {path} has {len(names)} lines."
        )
    if "" in names:
        raise UsageError(
            f"--names must not have empty lines between names. {path}, line "
            f"{names.index('') + 1}, is empty."
        )
    return names
