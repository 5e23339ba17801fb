"""What commands read: models, names of their classes, and image files."""

import collections.abc
import dataclasses
import itertools
import pathlib

import keras
import numpy as np

from keras_warn import _model_files
from keras_warn import metadata
from keras_warn.attention import attention_of
from keras_warn.cli import errors
from keras_warn.data import image_files
from keras_warn.data import images
from keras_warn.data import model_inputs


def load_model(path) -> keras.Model:
    """The model with attention in a file, not compiled, or a `UsageError`."""
    if not pathlib.Path(path).exists():
        raise errors.UsageError(f"the model file {path} does not exist.")
    with errors.usage_errors(OSError, ValueError):
        model = _model_files.load_model(path)
    for check, what in (
        (attention_of, "a model without attention of keras_warn"),
        (metadata.of_model, "wrong metadata"),
    ):
        with errors.usage_errors(
            TypeError, ValueError, before=f"{path} holds {what}. "
        ):
            check(model)
    return model


def image_input(model, arguments) -> model_inputs.ModelInput:
    """The image that a model takes, of --size if that is given and fits."""
    with errors.usage_errors(ValueError, before=f"{arguments.model}: "):
        found = model_inputs.model_input(model)
    if arguments.size is None:
        return found
    with errors.usage_errors(ValueError):
        return found.with_size(arguments.size, "--size")


@dataclasses.dataclass(frozen=True)
class Preprocessor:
    """How image files are made into what a model takes."""

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
        """Row and column in an image of a pixel of what the model takes.

        `None` on the padding.
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
    """How `model` takes images, where options leave it open."""
    data_format, size, channels = image_input(model, arguments)
    known = metadata.of_model(model)
    if None in size:
        size = known.size
    if size is None:
        raise errors.UsageError(
            "the model takes images of any size. Choose one by --size, such "
            "as --size 224, best the one that it was trained with."
        )
    name = arguments.preprocessing or known.preprocessing
    with errors.usage_errors(
        ValueError, before=f"{arguments.model}: --preprocessing: "
    ):
        if name is None:
            name = model_inputs.default_preprocessing(model)
        # Better known before the work whether it can be done.
        model_inputs.check_preprocessing(name, channels, model)
    resize, edge = known.resizing(
        size, arguments.resize, arguments.resize_shorter_edge
    )
    resize = resize or "crop"
    with errors.usage_errors(ValueError):
        images.check_resize(resize, size, edge)
    return Preprocessor(size, channels, data_format, name, resize, edge)


def load(arguments) -> tuple:
    """The model, its `Preprocessor`, and the names of its classes or `None`."""
    with errors.usage_errors(ImportError):
        images.import_pillow()
    model = load_model(arguments.model)
    preprocessor = find_preprocessor(model, arguments)
    return model, preprocessor, find_names(model, arguments.names)


def listed(given) -> list:
    """The image files that are named, or in folders that are."""
    paths = []
    for one in map(pathlib.Path, given):
        if not one.is_dir():
            paths.append(one)
            continue
        with errors.usage_errors(
            OSError, before=f"the folder {one} cannot be read: ", after="."
        ):
            found, skipped = image_files.list_images(one)
        others = image_files.described(skipped)
        if not found:
            raise errors.UsageError(
                f"the folder {one} holds no images: no file that ends in "
                f"{', '.join(sorted(image_files.EXTENSIONS))}. It holds "
                f"{others or 'nothing'}."
            )
        if others:
            errors.say(f"keras-warn: skipped in {one}: {others}.")
        paths += found
    return paths


def read_batches(
    paths, preprocessor, batch_size, fail
) -> collections.abc.Iterator:
    """Reads images, batch by batch; `fail` is told what cannot be, and why.

    Yields:
        Triples: which of `paths` are in a batch, as indices; the images as
        bytes `(b, height, width, channels)` in the size of the model's input;
        and their own heights and widths.
    """

    def readable():
        for i, path in enumerate(paths):
            try:
                yield i, *preprocessor.read(path)
            except images.ImageError as error:
                fail(path, str(error))

    found = readable()
    while batch := list(itertools.islice(found, batch_size)):
        chosen, pixels, image_sizes = zip(*batch, strict=True)
        yield chosen, np.stack(pixels), image_sizes


def find_names(model, path) -> list | None:
    """The names of a model's classes, or `None` where they are not known.

    Of a file with one name a line, or else of the model itself.
    """
    if path is None:
        known = metadata.of_model(model).class_names
        return None if known is None else list(known)
    with errors.usage_errors(
        OSError,
        UnicodeDecodeError,
        before=f"--names {path} cannot be read: ",
        after=".",
    ):
        text = pathlib.Path(path).read_text("utf-8-sig")
    names = [line.strip() for line in text.rstrip().splitlines()]
    with errors.usage_errors(ValueError, before=f"--names {path}: "):
        names = metadata.class_names("names", names, model.output_shape[-1])
    return list(names)
