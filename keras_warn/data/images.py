"""Image files, read for a model: found, decoded, fitted and preprocessed.

Pillow is imported when a file is read.
"""

import collections
import contextlib
import csv
import io
import os
import pathlib
import re
import struct
import threading
import typing
import unicodedata
import zlib

import keras
import numpy as np

from keras_warn import checks
from keras_warn import files
from keras_warn import graph

# What `find_images` takes for an image, by its name.
EXTENSIONS = frozenset(
    ".avif .bmp .gif .jfif .jpe .jpeg .jpg .pgm .png .ppm .tif .tiff .webp"
    "".split()
)

# The formats of Pillow that are read, whatever a file is called. Of others,
# some start programs, and some raise anything when a file is broken.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

# Images of more pixels are decoded one at a time, to bound the memory.
_LARGE = 2**25
_one_large_image = threading.Lock()

# Folders that systems put among images, in lower case.
SYSTEM_FOLDERS = frozenset(
    ("#recycle", "$recycle.bin", "@eadir", "__macosx", "lost+found")
)

# How the splits of a data set are called, by folders and in tables.
SPLITS = {
    "train": "train",
    "training": "train",
    "trainset": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "testset": "test",
}

RESIZES = ("crop", "stretch", "pad")

# Modules of `keras.applications` that tell how their networks take images.
_MODULES = {
    name: module
    for name, module in sorted(vars(keras.applications).items())
    if hasattr(module, "preprocess_input") and name != "imagenet_utils"
}
PREPROCESSING = ("rescale", "none", *_MODULES)

# A first layer that brings bytes to at most this is made for bytes.
_SCALED_BYTES = 10

# What only moves or drops pixels may come before the layers that scale them.
_MOVING = (
    keras.layers.CenterCrop,
    keras.layers.Identity,
    keras.layers.Resizing,
    keras.layers.ZeroPadding2D,
)


class ImageError(ValueError):
    """A file that holds no image that can be read; it is named."""


class Found(typing.NamedTuple):
    """An image file and its label.

    Attributes:
        path: `pathlib.Path` of the file.
        label: String, the name of its class or its number, as found.
        source: Where the label was found: a folder, or the line of a file.
        split: "train", "validation" or "test"; `None` in data without splits.
    """

    path: pathlib.Path
    label: str
    source: str
    split: str | None = None


def read_image(path, channels=3, apply_exif=True, name=None):
    """Reads an image file.

    As it is meant to be seen: turned as its EXIF orientation says, on white
    where it is transparent, the first frame of an animation, and of 16 bits
    the upper 8. Color profiles are not applied.

    Args:
        path: The file, in one of `FORMATS`; or what is in it, `bytes`.
        channels: 3 for RGB, or 1 for brightness (luma of Rec. 601).
        apply_exif: Whether to turn it as its EXIF orientation says. `False`
            leaves it as it is stored, which is how boxes are published.
        name: What messages call the image. Defaults to its path.

    Returns:
        A NumPy array of bytes (uint8), `(height, width, channels)`.

    Raises:
        ImageError: if the file is missing, no image of `FORMATS`, broken or
            cut short, or too large to be decoded safely; or if it does not
            say which of its numbers are black, white or transparent.
        ImportError: if Pillow is not installed.
        ValueError: if `channels` is neither 1 nor 3.

    Example:

    >>> read_image(b"P6 2 1 255 " + b"\\xff" * 6).shape
    (1, 2, 3)
    """
    _check_channels(channels)
    with _decoded(path, apply_exif, name) as image:
        return _pixels(image, channels)


def check_image(path, name=None):
    """Raises what `read_image` would, with less memory than that takes.

    Args:
        path: The file, or what is in it, `bytes`.
        name: What messages call the image. Defaults to its path.

    Example:

    >>> check_image(b"")
    Traceback (most recent call last):
    keras_warn.data.images.ImageError: The image is empty: a file of zero bytes.
    """
    with _decoded(path, True, name):
        pass


def image_size(path, name=None):
    """Height and width of an image file, as it is stored.

    Its EXIF orientation is not applied, and its pixels are not read: they may
    be broken.

    Args:
        path: The file, or what is in it, `bytes`.
        name: What messages call the image. Defaults to its path.

    Returns:
        A pair of integers.

    Raises:
        ImageError: if the file is missing, or no image.
        ImportError: if Pillow is not installed.

    Example:

    >>> image_size(b"P6 2 1 255 " + b"\\xff" * 6)
    (1, 2)
    """
    with _opened(path, name) as (image, _):
        return image.height, image.width


def with_channels(image, channels):
    """Brings pixels to a number of channels, as `read_image` does.

    Args:
        image: Array of bytes (uint8), `(height, width, c)`, with 1 or 3
            channels.
        channels: 3 for RGB, or 1 for brightness (luma of Rec. 601).

    Returns:
        An array of bytes, `(height, width, channels)`.

    Raises:
        ValueError: if `channels` is neither 1 nor 3.

    Example:

    >>> import numpy as np
    >>> with_channels(np.zeros((20, 30, 1), "uint8"), 3).shape
    (20, 30, 3)
    """
    _check_channels(channels)
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    gray = import_pillow().Image.fromarray(image).convert("L")
    return np.array(gray)[:, :, None]


def fit_image(image, size, resize="crop", resize_shorter_edge=None):
    """Brings an image to a size.

    Bilinear, and smoothed where it shrinks.

    Args:
        image: Array of bytes (uint8), `(height, width, c)`, with 1 or 3
            channels.
        size: Height and width to bring it to, a pair of integers.
        resize: `"crop"` for the largest part of the right shape from the
            middle, as the paper tests; `"stretch"` for the whole image in
            another shape; `"pad"` for the whole image in its own shape, on
            black.
        resize_shorter_edge: As of `placement`.

    Returns:
        An array of bytes, `(*size, c)`.

    Raises:
        TypeError: if `size` is not a pair of integers.
        ValueError: if an argument is out of its range.

    Example:

    >>> import numpy as np
    >>> image = np.zeros((20, 30, 3), "uint8")
    >>> fit_image(image, (10, 10)).shape
    (10, 10, 3)
    """
    image = np.asarray(image)
    if (
        image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] not in (1, 3)
        or 0 in image.shape
    ):
        raise ValueError(
            "`image` must be bytes (uint8) of shape (height, width, c), with "
            f"1 or 3 channels. Received: shape {image.shape}, {image.dtype}."
        )
    source, target = placement(
        image.shape[:2], size, resize, resize_shorter_edge
    )
    top, left, bottom, right = target
    fitted = resample(image, source, (bottom - top, right - left))
    canvas = np.zeros((*size, image.shape[2]), "uint8")
    canvas[top:bottom, left:right] = fitted
    return canvas


def resample(image, box, size):
    """A part of an image, brought to a size.

    Bilinear, and smoothed where it shrinks.

    Args:
        image: Array of bytes (uint8), `(height, width, c)`, with 1 or 3
            channels.
        box: Top, left, bottom and right of the part, in pixels of the image,
            which may be broken.
        size: Height and width of the result, in pixels.

    Returns:
        An array of bytes, `(*size, c)`.

    Example:

    >>> import numpy as np
    >>> image = np.zeros((20, 30, 3), "uint8")
    >>> resample(image, (0, 2.5, 20, 22.5), (10, 10)).shape
    (10, 10, 3)
    """
    pillow = import_pillow()
    top, left, bottom, right = box
    resized = pillow.Image.fromarray(
        image[:, :, 0] if image.shape[2] == 1 else image
    ).resize(
        (size[1], size[0]),
        pillow.Image.Resampling.BILINEAR,
        # Rounding may take the far edges a hair beyond the image.
        box=(
            left,
            top,
            min(right, image.shape[1]),
            min(bottom, image.shape[0]),
        ),
    )
    return np.reshape(resized, (*size, image.shape[2]))


def placement(image_size, size, resize="crop", resize_shorter_edge=None):
    """Which part of an image goes where when it is fitted.

    Args:
        image_size: Height and width of the image.
        size: Height and width that it is brought to.
        resize: As of `fit_image`.
        resize_shorter_edge: With `"crop"`, the length that the shorter edge of
            the image is brought to before `size` is cut from its middle; an
            integer of at least the shorter edge of `size`. 256 for 224 by 224
            is how the paper tests. `None` for the largest part, to the edges.

    Returns:
        Two boxes, each top, left, bottom and right: a part of the image, in
        pixels that may be broken, and where it lies in the result.

    Raises:
        TypeError: if a size is not a pair of integers.
        ValueError: if an argument is out of its range.

    Example:

    >>> placement((20, 30), (10, 10), "crop")
    ((0.0, 5.0, 20.0, 25.0), (0, 0, 10, 10))
    >>> placement((20, 30), (10, 10), "pad")
    ((0, 0, 20, 30), (1, 0, 8, 10))
    >>> placement((20, 30), (10, 10), "crop", resize_shorter_edge=20)
    ((5.0, 10.0, 15.0, 20.0), (0, 0, 10, 10))
    """
    check_resize(resize, size, resize_shorter_edge)
    height, width = _pair("image_size", image_size)
    rows, columns = _pair("size", size)
    if resize == "stretch":
        return (0, 0, height, width), (0, 0, rows, columns)
    if resize == "crop":
        scale = min(height / rows, width / columns)
        if resize_shorter_edge is not None:
            scale *= min(rows, columns) / resize_shorter_edge
        top = (height - rows * scale) / 2
        left = (width - columns * scale) / 2
        # Rounding may take a border beyond the image.
        bottom = min(top + rows * scale, height)
        right = min(left + columns * scale, width)
        top, left = max(top, 0.0), max(left, 0.0)
        return (top, left, bottom, right), (0, 0, rows, columns)
    scale = min(rows / height, columns / width)
    inner = [
        max(1, min(round(length * scale), most))
        for length, most in ((height, rows), (width, columns))
    ]
    top, left = (rows - inner[0]) // 2, (columns - inner[1]) // 2
    return (
        (0, 0, height, width),
        (top, left, top + inner[0], left + inner[1]),
    )


def check_resize(resize, size, resize_shorter_edge=None):
    """Raises what `placement` would of arguments that do not fit.

    Args:
        resize: As of `fit_image`.
        size: As of `placement`.
        resize_shorter_edge: As of `placement`.

    Raises:
        TypeError: if `size` is not a pair of integers, or
            `resize_shorter_edge` is no integer.
        ValueError: if an argument is out of its range.
    """
    checks.one_of("resize", resize, RESIZES)
    size = _pair("size", size)
    if resize_shorter_edge is None:
        return
    checks.integer("resize_shorter_edge", resize_shorter_edge, min(size))
    if resize != "crop":
        raise ValueError(
            "`resize_shorter_edge` must be None with other than resize='crop'. "
            f"Received: resize_shorter_edge={resize_shorter_edge}, "
            f"resize={resize!r}."
        )


def list_images(folder):
    """Image files in a folder and its folders, by their names.

    Links to folders are followed.

    Args:
        folder: The folder.

    Returns:
        A pair: a sorted list of `pathlib.Path`s, and what else is there, a
        `collections.Counter` of reasons why it was skipped: "hidden",
        "*.txt", "@eaDir".

    Raises:
        OSError: if a folder cannot be read.
    """
    paths, skipped = [], collections.Counter()

    def fail(error):
        raise error

    for parent, folders, names in os.walk(
        folder, onerror=fail, followlinks=True
    ):
        folders[:] = _entered(folder, parent, folders, skipped)
        for name in sorted(names):
            if reason := _not_an_image(name):
                skipped[reason] += 1
            else:
                paths.append(pathlib.Path(parent, name))
    return paths, skipped


def described(skipped):
    """In words, what `list_images` or `find_images` skipped.

    Example:

    >>> described({"hidden": 2, "*.heic": 1})
    '2 hidden, 1 *.heic'
    """
    return ", ".join(f"{count:,} {reason}" for reason, count in skipped.items())


def find_images(data):
    """Labelled images: of a folder of folders, or of a table.

    Args:
        data: A folder with a folder for each class, or with a folder for each
            split (such as `train/` and `Testing/`, see `SPLITS`), each with a
            folder for each class. Or a CSV file with columns `path` and
            `label`, and perhaps `split`. Paths in it are relative to its
            folder. A label is the name of a class, or its number.

    Returns:
        A pair: a list of `Found`, sorted by split, class and name, or in the
        order of the table; and what was skipped in the folders, as of
        `list_images`.

    Raises:
        OSError: if `data` cannot be read.
        ValueError: if it holds no labelled images, or a part without them, or
            folders that are no classes.

    Example:

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = pathlib.Path(folder, "test.csv")
    ...     _ = table.write_text("path,label\\nbirds/1.jpg,finch\\n")
    ...     found, _ = find_images(table)
    >>> found[0].path.name, found[0].label
    ('1.jpg', 'finch')
    """
    data = pathlib.Path(data)
    if not data.exists():
        raise FileNotFoundError(f"{data} does not exist.")
    if data.is_dir():
        return _in_folders(data)
    return _in_table(data), collections.Counter()


def split_of(folder):
    """The split that the name of a folder means, in any case, or `None`.

    Example:

    >>> split_of("Training"), split_of("val2017"), split_of("trainval")
    ('train', 'validation', None)
    """
    words = re.split("[^a-z]+", folder.casefold())
    splits = {SPLITS[word] for word in words if word in SPLITS}
    return splits.pop() if len(splits) == 1 else None


def class_numbers(found, classes, names=None, folders=False):
    """The numbers of the classes that labels name.

    A label that is a name in `names` means that class; otherwise it must be a
    number from 0. Without `names`, labels that are folders, or that are not
    all numbers, are the classes' names, and class `i` is the `i`-th of them in
    alphabetical order, as `keras.utils.image_dataset_from_directory` numbers
    them: 0, 1, 10, 2. Names are the same in all forms of Unicode.

    Args:
        found: List of `Found`.
        classes: Integer, the number of classes `n` of the model.
        names: Names of the classes, all of them, or `None`.
        folders: Whether labels are the names of folders.

    Returns:
        A pair: integers `(len(found),)`, and the names of the classes, or
        `None` where labels are numbers and `names` is not given.

    Raises:
        ValueError: if a label is no class, or the labels are not as many as
            the classes and there are no `names` to number them by; or if
            folders are numbers whose order is not that of the alphabet, and
            none of `names`: either order could be meant.

    Example:

    >>> found = [Found("1.jpg", "wren", "."), Found("2.jpg", "finch", ".")]
    >>> numbers, names = class_numbers(found, 2)
    >>> numbers.tolist(), names
    ([1, 0], ['finch', 'wren'])
    """
    firsts = {}
    for one in found:
        firsts.setdefault(one.label, one)
    labels = sorted(firsts)
    if names is None and (folders or not all(map(_is_number, labels))):
        if len(labels) != classes:
            listed = ", ".join(map(repr, labels[:3]))
            more = ", ..." if len(labels) > 3 else ""
            raise ValueError(
                f"Found {len(labels)} different "
                f"label{'' if len(labels) == 1 else 's'} ({listed}{more}) for "
                f"the {classes} classes of the model. Give the names of "
                "all its classes, in their order, to tell which is which."
            )
        names = labels
    elif folders:
        numbered = [label for label in labels if label not in names]
        if all(map(_is_number, numbered)) and numbered != sorted(
            numbered, key=int
        ):
            raise ValueError(
                "Class folders must be called by the names of the classes "
                "where Keras numbers them in another order than they are "
                f"called: {', '.join(numbered[:3])}, ... Received: folders "
                f"such as {firsts[numbered[0]].source}, for the class names "
                f"{', '.join(list(names)[:3])}, ... Rename the folders, or "
                "give a table of paths and labels."
            )
    numbers = {
        label: class_number(label, classes, names, one)
        for label, one in firsts.items()
    }
    return np.array([numbers[one.label] for one in found], "int64"), names


def class_number(label, classes, names=None, found=None):
    """The number of the class that a string names.

    Args:
        label: String, a name among `names`, or a number from 0.
        classes: Integer, the number of classes `n`.
        names: Names of the classes, or `None`.
        found: The `Found` that the label is of, for the error.

    Returns:
        An integer in `[0, n)`.

    Raises:
        ValueError: if it names no class, or several.

    Example:

    >>> class_number("wren", 2, ["finch", "wren"]), class_number("0", 2)
    (1, 0)
    """
    where = "" if found is None else f" of {found.path} ({found.source})"
    known = [unicodedata.normalize("NFC", name) for name in names or ()]
    count = known.count(unicodedata.normalize("NFC", label))
    if count == 1:
        return known.index(unicodedata.normalize("NFC", label))
    if count > 1:
        raise ValueError(
            f"The class {label!r}{where} is the name of {count} classes. Give "
            "its number instead."
        )
    if _is_number(label) and int(label) < classes:
        return int(label)
    rule = f"a number from 0 to {classes - 1}"
    if names is not None:
        rule = f"one of the {len(names)} names of the classes, or {rule}"
    raise ValueError(f"The class {label!r}{where} must be {rule}.")


class ModelInput(typing.NamedTuple):
    """The one image that a model takes.

    Attributes:
        data_format: `"channels_last"` or `"channels_first"`.
        size: Height and width, `None` where the model takes any.
        channels: 1 or 3.
    """

    data_format: str
    size: tuple
    channels: int


def model_input(model):
    """What image a model takes.

    Args:
        model: A model with attention.

    Returns:
        A `ModelInput`.

    Raises:
        ValueError: if the model takes anything but one image of 1 or 3
            channels.
    """
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if len(shapes) == 1 and len(shapes[0]) == 3:
        data_format = model.get_layer("module_1_masks").data_format
        *size, channels = shapes[0]
        if data_format == "channels_first":
            channels, *size = shapes[0]
        if channels in (1, 3):
            return ModelInput(data_format, tuple(size), channels)
    raise ValueError(
        "the model must take one image of 1 or 3 channels. It takes "
        f"{' and '.join(map(str, shapes))}."
    )


def check_preprocessing(name, channels):
    """Raises what `preprocess` would for images of so many channels."""
    checks.one_of("preprocessing", name, PREPROCESSING)
    if name in _MODULES and channels != 3:
        raise ValueError(
            f"`preprocessing` must be 'rescale' or 'none' for images of "
            f"{channels} channel: {name!r} is made for 3."
        )


def preprocess(images, name):
    """Brings images to the numbers that a model takes.

    Args:
        images: Array of bytes (uint8), `(b, height, width, c)`.
        name: `"none"` for [0, 255], `"rescale"` for [0, 1], or the name of a
            module of `keras.applications`, such as `"mobilenet_v2"`, for what
            its `preprocess_input` does.

    Returns:
        A NumPy array of the same shape, float32.

    Raises:
        ValueError: if `name` is none of `PREPROCESSING`, or of networks for 3
            channels and the images have another number.

    Example:

    >>> import numpy as np
    >>> float(preprocess(np.full((1, 1, 1, 3), 255, "uint8"), "rescale").max())
    1.0
    """
    images = np.asarray(images).astype("float32")
    check_preprocessing(name, images.shape[-1])
    if name == "rescale":
        images = images / 255
    elif name != "none":
        images = keras.ops.convert_to_numpy(
            _MODULES[name].preprocess_input(images, data_format="channels_last")
        )
    return images


def default_preprocessing(model):
    """How a model wants its images, if it says so itself.

    A model that starts with `Rescaling` or `Normalization` layers made for
    bytes takes them as they are: `"none"`. Others do not say.

    Args:
        model: A functional `keras.Model` with one input, without nested
            models.

    Returns:
        `"none"`.

    Raises:
        ValueError: if the model does not say. A wrong guess would make wrong
            predictions, silently.

    Example:

    >>> inputs = keras.Input((8, 8, 3))
    >>> outputs = keras.layers.Rescaling(1 / 255)(inputs)
    >>> default_preprocessing(keras.Model(inputs, outputs))
    'none'
    """
    network = graph.Graph(model)
    readers = [
        reader
        for tensor in model.inputs
        for reader in _scaling_readers(network, tensor)
    ]
    if readers and all(_takes_bytes(call.operation) for call in readers):
        return "none"
    raise ValueError(
        f"The model {model.name!r} does not say how it wants its images: it "
        "does not start with a Rescaling or Normalization layer made for "
        "bytes. Choose the preprocessing that it was trained with: 'rescale' "
        "for [0, 1], 'none' for [0, 255], or the name of a module of "
        "keras.applications, such as 'mobilenet_v2', whose preprocess_input "
        "was used."
    )


def import_pillow():
    """The package PIL, with its modules `Image` and `ImageOps`.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import PIL
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise ImportError(
            "Images need the package Pillow: `pip install pillow`."
        ) from error
    return PIL


def _check_channels(channels):
    if channels not in (1, 3):
        raise ValueError(
            f"`channels` must be 1 or 3. Received: channels={channels!r}."
        )


@contextlib.contextmanager
def _opened(path, name):
    """A Pillow image and its name; what goes wrong inside is an `ImageError`.

    Its pixels are not decoded before `load` is called.
    """
    pillow = import_pillow()
    content = isinstance(path, bytes)
    if name is None:
        name = "The image" if content else path
    try:
        if content:
            empty, file = not path, io.BytesIO(path)
        else:
            file = pathlib.Path(path)
            if file.is_dir():
                raise ImageError(f"{name} is a folder, not an image.")
            empty = file.stat().st_size == 0
        if empty:
            raise ImageError(f"{name} is empty: a file of zero bytes.")
        with pillow.Image.open(file, formats=FORMATS) as image:
            yield image, name
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist.") from error
    except PermissionError as error:
        raise ImageError(f"{name} may not be read by this user.") from error
    except pillow.UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not an image of a format that is read here "
            f"({', '.join(FORMATS)}), or is broken from its start."
        ) from error
    except pillow.Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} is too large to be decoded safely: {error}"
        ) from error
    # What Pillow's decoders, and its reader of EXIF, raise on broken files.
    except (
        EOFError,
        OSError,
        OverflowError,
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
        struct.error,
        zlib.error,
    ) as error:
        raise ImageError(f"{name} is broken: {error}.") from error


@contextlib.contextmanager
def _decoded(path, apply_exif, name):
    """A Pillow image that `_pixels` takes, its pixels decoded."""
    with _opened(path, name) as (image, name):
        large = image.width * image.height > _LARGE
        with _one_large_image if large else contextlib.nullcontext():
            _scale_transparency(image, name)
            image.load()
            # Pillow follows these where there is no EXIF. Programs that show
            # images do not.
            for other in ("Raw profile type exif", "XML:com.adobe.xmp", "xmp"):
                image.info.pop(other, None)
            if apply_exif:
                import_pillow().ImageOps.exif_transpose(image, in_place=True)
            _check_range(image, name)
            yield image


def _scale_transparency(image, name):
    """Brings the transparent color of a PNG to 8 bits, as Pillow its pixels."""
    if image.format == "PNG" and "transparency" in image.info:
        stored = image.tile[0][3]
        if stored.endswith(";16B"):
            raise ImageError(
                f"{name} has 16 bits and a transparent color, which Pillow "
                "does not find. Convert it to 8 bits."
            )
        image.info["transparency"] *= {"L;2": 85, "L;4": 17}.get(stored, 1)


def _check_range(image, name):
    """Raises if it is not known which numbers are black, and which white."""
    # Pillow has 16 bits in 32, in some formats.
    wide = image.mode == "I" and image.format in ("PNG", "PPM")
    if image.mode in ("F", "I") and not wide:
        raise ImageError(
            f"{name} has pixels of 32 bits, of which black and white are not "
            "known. Convert it to 8 or 16 bits."
        )
    inks = image.format == "JPEG" and image.mode == "CMYK"
    if inks and "adobe" not in image.info:
        raise ImageError(
            f"{name} has CMYK without Adobe's mark: whether 0 is full ink or "
            "none is not known. Convert it to RGB."
        )


def _pixels(image, channels):
    """The pixels of a Pillow image, as bytes `(height, width, channels)`."""
    pillow = import_pillow()
    if image.mode.startswith("I"):  # 16 bits
        pixels = (np.asarray(image) >> 8).astype("uint8")
        image = pillow.Image.fromarray(pixels)
    elif image.mode == "CMYK":
        # As the decoder of exported models does.
        paper = 255 - np.asarray(image)
        pixels = paper[..., :3].astype("uint16") * paper[..., 3:] // 255
        image = pillow.Image.fromarray(pixels.astype("uint8"))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        white = pillow.Image.new("RGBA", image.size, "white")
        image = pillow.Image.alpha_composite(white, image)
    elif image.mode == "LAB":  # which Pillow brings to RGB alone
        image = image.convert("RGB")
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    return np.reshape(np.array(image), (image.height, image.width, channels))


def _not_an_image(name):
    """Why a file is skipped, by its name; "" if it is not."""
    if name.startswith("."):
        return "hidden"
    suffix = pathlib.Path(name).suffix
    if suffix.lower() in EXTENSIONS:
        return ""
    return f"*{suffix}" if suffix else "without a suffix"


def _entered(root, parent, names, skipped):
    """Those of the folders in `parent` that may hold images, sorted."""
    entered = []
    for name in sorted(names):
        if name.startswith("."):
            skipped["hidden"] += 1
        elif name.casefold() in SYSTEM_FOLDERS:
            skipped[name] += 1
        elif _leads_back(pathlib.Path(root), pathlib.Path(parent, name)):
            skipped["link to a folder that holds it"] += 1
        else:
            entered.append(name)
    return entered


def _leads_back(root, folder):
    """Whether a folder is a link to one on the way to it, from `root` on."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    return any(
        parent.resolve().is_relative_to(target)
        for parent in folder.parents
        if parent.is_relative_to(root)
    )


def _in_folders(data):
    skipped = collections.Counter()
    folders = _folders(data, skipped)
    # A class may be called "train", too: images lie in it, not folders.
    splits = {
        folder: split_of(folder.name)
        for folder in folders
        if split_of(folder.name)
        and any(path.is_dir() for path in folder.iterdir())
    }
    if not splits:
        return _in_classes(data, folders, None, skipped), skipped
    listed = ", ".join(folder.name for folder in splits)
    others = [folder.name for folder in folders if folder not in splits]
    if others:
        raise ValueError(
            f"{data} must hold folders of classes, or of splits with folders "
            f"of classes. It holds the splits {listed} and, beside them, "
            f"{', '.join(others)}."
        )
    if len(set(splits.values())) < len(splits):
        raise ValueError(
            f"{data} must hold a folder for each split (train, validation and "
            f"test). It holds several for one: {listed}."
        )
    found = []
    for folder, split in splits.items():
        inner = _folders(folder, skipped)
        found += _in_classes(folder, inner, split, skipped)
    return found, skipped


def _folders(data, skipped):
    """The folders in a folder that may hold images."""
    names = []
    for path in data.iterdir():
        if path.is_dir():
            names.append(path.name)
        else:
            skipped[_not_an_image(path.name) or "image outside of folders"] += 1
    return [data / name for name in _entered(data, data, names, skipped)]


def _in_classes(data, folders, split, skipped):
    """What is `Found` in the folders of classes."""
    if not folders:
        raise ValueError(
            f"{data} must hold a folder for each class, with images in them. "
            "It holds no folders."
        )
    found, inner = [], []
    for folder in folders:
        paths, others = list_images(folder)
        if not paths:
            raise ValueError(
                f"The class folder {folder} holds no images: no file that "
                f"ends in {', '.join(sorted(EXTENSIONS))}. It holds "
                f"{described(others) or 'nothing'}."
            )
        skipped += others
        found += [
            Found(path, files.displayed(folder.name), f"in {folder}", split)
            for path in paths
        ]
        inner.append({path.relative_to(folder).parts[0] for path in paths})
    # What all hold are folders, for files of one name are no classes either.
    shared = sorted(set.intersection(*inner))
    if len(folders) > 1 and len(shared) > 1 and _all_folders(folders, inner):
        raise ValueError(
            f"{data} must hold a folder for each class, or for each split, "
            f"called train, validation or test. Its folders "
            f"{_first(path.name for path in folders)} hold no images but in "
            f"folders of the same names: {_first(shared)}."
        )
    return found


def _all_folders(folders, inner):
    return all(
        (folder / name).is_dir()
        for folder, names in zip(folders, inner, strict=True)
        for name in names
    )


def _first(names):
    """The first of some names, in words."""
    names = list(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _in_table(data):
    found = []
    try:
        # The mark that spreadsheets put before UTF-8 is no part of a name.
        with data.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True, strict=True)
            columns = rows.fieldnames or []
            missing = [c for c in ("path", "label") if c not in columns]
            if missing:
                raise ValueError(
                    f"{data} must be a folder of class folders, or a table "
                    "(CSV, with commas) whose first line names the columns "
                    f"path and label. It lacks {' and '.join(missing)}; its "
                    f"first line has {columns}."
                )
            for row in rows:
                source = f"{data}, line {rows.line_num}"
                for column in ("path", "label"):
                    if not (row[column] or "").strip():
                        raise ValueError(f"{source}, has no {column}.")
                split = None
                if "split" in columns:
                    word = (row["split"] or "").strip()
                    split = SPLITS.get(word.casefold())
                    if split is None:
                        raise ValueError(
                            f"{source}: split must be one of "
                            f"{', '.join(SPLITS)}. Received: {word!r}."
                        )
                path = data.parent / row["path"].strip()
                found.append(Found(path, row["label"].strip(), source, split))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{data} must be a folder of class folders, or a table (CSV) in "
            f"UTF-8. It is not UTF-8: {error.reason} at byte {error.start}."
        ) from error
    except csv.Error as error:
        raise ValueError(
            f"{data}, line {rows.reader.line_num}, is not CSV: {error}."
        ) from error
    if not found:
        raise ValueError(f"{data} has no lines but the names of its columns.")
    return found


def _is_number(label):
    return label.isascii() and label.isdecimal()


def _scaling_readers(network, tensor):
    """The calls that read the pixels of `tensor`, moved about or not."""
    for call in network.readers(tensor):
        layer = call.operation
        # Augmentation, which does nothing outside of training.
        random = type(layer).__name__.startswith("Random")
        if random or isinstance(layer, _MOVING):
            for output in call.outputs:
                yield from _scaling_readers(network, output)
        else:
            yield call


def _takes_bytes(layer):
    """Whether a layer brings bytes, and not numbers in [0, 1], to size."""
    if isinstance(layer, keras.layers.Rescaling):
        scale = np.max(np.abs(np.asarray(layer.scale, "float64")))
        return bool(scale * 255 <= _SCALED_BYTES)
    if isinstance(layer, keras.layers.Normalization):
        mean = keras.ops.convert_to_numpy(layer.mean)
        # The mean of images in [0, 1] is at most 1.
        return bool(np.max(mean) > 1)
    return False


def _pair(name, size):
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise TypeError(
            f"`{name}` must be a pair (height, width). Received: "
            f"{name}={size!r}."
        )
    return tuple(checks.integer(name, length) for length in size)
