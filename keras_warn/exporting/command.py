"""`keras_warn.export`: a model, a path and a format."""

import pathlib

import keras

from keras_warn import checks
from keras_warn import files
from keras_warn import images
from keras_warn.exporting import saved_model
from keras_warn.exporting.plan import make_plan

# What can be written. Each is a module with `write(plan, path)`, and
# `is_own(path)`, whether something at `path` may be replaced.
FORMATS = {"tf_saved_model": saved_model}

MASKS = ("modules", "heads", "maps")


def export(
    model,
    path,
    format="tf_saved_model",
    *,
    class_names=None,
    masks="modules",
    preprocessing=None,
    resize=None,
    size=None,
    short_side=None,
    encoded=False,
    overwrite=False,
):
    """Writes a model for where this package and Keras are not installed.

    Args:
        model: A model made by `keras_warn.augment`, fresh or loaded from disk.
        path: Where to write it.
        format: `"tf_saved_model"`.
        class_names: The names of all classes in their order. Defaults to what
            `keras_warn.metadata` knows.
        masks: What `explain` returns of the masks. `"modules"`: one for each
            module, at the resolution of the images, as of
            `keras_warn.masks.module_masks`. `"heads"`: one for each head, at
            the resolution of the images, each with a sum of 1. `"maps"`: those
            of the heads as they are.
        preprocessing: What `serve` and `explain` do with pixels in [0, 255]
            before the model sees them, one of
            `keras_warn.images.PREPROCESSING`. `None`: they take what the model
            takes.
        resize: How `serve` and `explain` bring images of any height and width
            to the size that the model takes, one of
            `keras_warn.images.RESIZES`; they then take pixels in [0, 255].
            `None`: images have that size.
        size: Height and width of images, of a model that takes any. `None`
            leaves them open.
        short_side: As of `keras_warn.images.placement`.
        encoded: Whether to add `serve_bytes` and `explain_bytes`, which take
            the bytes of JPEG and PNG files. They preprocess and resize as the
            arguments say, or else as `keras_warn.metadata` or the model's
            first layers do, and `"crop"` where nothing does.
        overwrite: Whether to replace an exported model at `path`.

    Raises:
        FileExistsError: if there is something at `path` and `overwrite` is
            not set, or something else than a model of this format.
        ImportError: if a package is not installed that the format needs.
        OSError: if `path` cannot be written. What was there is still there.
        RuntimeError: if Keras does not run on TensorFlow.
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of its range or does not fit the
            model, or `model` has no attention of `keras_warn.augment`.

    Example:

    >>> import pathlib, tempfile
    >>> backbone = keras.applications.MobileNetV2(
    ...     (96, 96, 3), alpha=0.35, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=2, depth=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     keras_warn.export(
    ...         model, f"{folder}/birds", class_names=["finch", "wren"]
    ...     )
    ...     sorted(path.name for path in pathlib.Path(folder).iterdir())
    ['birds']
    """
    checks.one_of("format", format, FORMATS)
    checks.one_of("masks", masks, MASKS)
    if resize is not None:
        checks.one_of("resize", resize, images.RESIZES)
    checks.flag("encoded", encoded)
    checks.flag("overwrite", overwrite)
    plan = make_plan(
        model,
        class_names,
        masks,
        preprocessing,
        size,
        resize,
        short_side,
        encoded,
    )
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "`keras_warn.export` needs Keras on TensorFlow. Received: "
            f"{keras.backend.backend()}. Load the model with "
            "KERAS_BACKEND=tensorflow."
        )
    written = FORMATS[format]
    path = pathlib.Path(path)
    check_path(path, written, overwrite)
    with files.replacing(path) as unfinished:
        written.write(plan, unfinished)


def check_path(path, written, overwrite):
    """Whether a model may be written to `path`.

    Args:
        path: `pathlib.Path`.
        written: The module of its format.
        overwrite: As of `export`.

    Raises:
        FileExistsError, OSError: as `export`.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"`path` must be new, or `overwrite` must be True. Received: "
            f"path={str(path)!r}, which exists."
        )
    if path.exists() and not written.is_own(path):
        raise FileExistsError(
            "`path` must be new, or a model of the same format to overwrite. "
            f"Received: path={str(path)!r}, which is something else."
        )
    try:
        files.check_replacing(path)
    except OSError as error:
        raise type(error)(
            error.errno,
            "`path` must lie in a folder that can be written to: "
            f"{error.strerror}",
            str(path.parent),
        ) from error
