"""`keras_warn.export`: a model, a path and a format."""

import dataclasses
import pathlib

import keras
import numpy as np

from keras_warn import checks
from keras_warn import files
from keras_warn.data import images
from keras_warn.exporting import litert
from keras_warn.exporting import onnx
from keras_warn.exporting import saved_model
from keras_warn.exporting.plan import make_plan

# What can be written. Each is a module with `write(plan, path)`, and `SUFFIX`,
# how the name of its files ends, `None` for a folder.
FORMATS = {"tf_saved_model": saved_model, "onnx": onnx, "litert": litert}

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
    resize_shorter_edge=None,
    encoded=False,
    quantization=None,
    representative_images=None,
    overwrite=False,
) -> None:
    """Writes a model for where this package and Keras are not installed.

    Args:
        model: A model made by `keras_warn.augment`, fresh or loaded from disk.
        path: Where to write it, in a folder that exists.
        format: `"tf_saved_model"`, a folder; `"onnx"`, a file that ends in
            `.onnx`; or `"litert"`, one that ends in `.tflite`.
        class_names: The names of all classes in their order. Defaults to what
            `keras_warn.metadata` knows.
        masks: What `explain` returns of the masks. `"modules"`: one for each
            module, at the resolution of the images, as of
            `keras_warn.explanation.masks.module_masks`. `"heads"`: one for
            each head, at the resolution of the images, each with a sum of 1.
            `"maps"`: those of the heads as they are.
        preprocessing: What `serve` and `explain` do with pixels in [0, 255]
            before the model sees them, one of
            `keras_warn.data.model_inputs.PREPROCESSING`. `None`: they take
            what the model takes.
        resize: How `serve` and `explain` bring images of any height and width
            to the size that the model takes, one of
            `keras_warn.data.images.RESIZES`; they then take pixels in [0, 255].
            `None`: images have that size.
        size: Height and width of images, of a model that takes any. `None`
            leaves them open.
        resize_shorter_edge: As of `keras_warn.data.images.placement`.
        encoded: Whether to add `serve_bytes` and `explain_bytes`, which take
            the bytes of JPEG and PNG files. They preprocess and resize as the
            arguments say, or else as `keras_warn.metadata` or the model's
            first layers do, and `"crop"` where nothing does. Like `resize`,
            only with `"tf_saved_model"`: the others have no such operations.
        quantization: With `"litert"`, `"float16"` for weights of half the
            bytes, or `"int8"` for a quarter, with which is computed in
            integers, too. The latter needs `masks="maps"`.
        representative_images: With `"int8"`, a hundred or more of the images
            that `serve` takes, an array: from them the ranges of all numbers
            inside are found.
        overwrite: Whether to replace an exported model at `path`.

    Raises:
        FileExistsError: if there is something at `path` and `overwrite` is
            not set, or something else than a model of this format.
        ImportError: if a package is not installed that the format needs.
        OSError: if `path` cannot be written. What was there is still there.
        RuntimeError: if Keras does not run on TensorFlow.
        ValueError: if an argument is out of its range or does not fit the
            model, if `model` has no attention of `keras_warn.augment`, or
            operations that the format has not.

    Example:

    >>> import pathlib, tempfile
    >>> backbone = keras.Sequential(
    ...     [keras.Input((24, 24, 3)), keras.layers.Conv2D(8, 3, 2)]
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
    checks.one_of("resize", resize, (None, *images.RESIZES))
    checks.flag("encoded", encoded)
    checks.flag("overwrite", overwrite)
    _check_format(format, resize, encoded, quantization)
    if quantization == "int8" and masks != "maps":
        raise ValueError(
            "`masks` must be 'maps' with quantization='int8': sums of masks, "
            "by which the others are divided, may be zero in integers. "
            f"Received: masks={masks!r}."
        )
    plan = make_plan(
        model,
        class_names,
        masks,
        preprocessing,
        size,
        resize,
        resize_shorter_edge,
        encoded,
    )
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "`keras_warn.export` needs Keras on TensorFlow. Received: "
            f"{keras.backend.backend()}. Load the model with "
            "KERAS_BACKEND=tensorflow."
        )
    if quantization == "int8":
        representative_images = _representative(plan, representative_images)
    plan = dataclasses.replace(
        plan,
        quantization=quantization,
        representative_images=representative_images,
    )
    written = FORMATS[format]
    path = pathlib.Path(path)
    _check_path(path, written, overwrite)
    with files.replacing(path) as unfinished:
        written.write(plan, unfinished)


def _check_format(format, resize, encoded, quantization):
    """Raises `ValueError` unless a format has what is asked of it."""
    if format != "tf_saved_model":
        for name, value in (("resize", resize), ("encoded", encoded)):
            if value:
                raise ValueError(
                    f"`{name}` must be omitted with format={format!r}, which "
                    "has no operations for it: bring images to the model's "
                    f"size before, or choose 'tf_saved_model'. Received: "
                    f"{name}={value!r}."
                )
    checks.one_of("quantization", quantization, (None, *litert.QUANTIZATIONS))
    if quantization is not None and format != "litert":
        raise ValueError(
            "`quantization` must be None but with format='litert'. Received: "
            f"quantization={quantization!r}, format={format!r}."
        )


def _representative(plan, images):
    """Images to quantize with, checked."""
    shape, found = plan.shape(plan.size), np.shape(images)
    if not checks.fits(found, shape) or not found[0]:
        raise ValueError(
            "`representative_images` must be images that `serve` takes, of "
            f"shape {shape}, for quantization='int8'. Received: "
            f"{'None' if images is None else f'shape {found}'}."
        )
    return np.asarray(images, "float32")


def _check_path(path, written, overwrite):
    """Raises as `export` unless a model may be written to `path`."""
    if written.SUFFIX and path.suffix != written.SUFFIX:
        raise ValueError(
            f"`path` must end in {written.SUFFIX!r} for this format. Received: "
            f"path={str(path)!r}."
        )
    meant = {one.SUFFIX: name for name, one in FORMATS.items() if one.SUFFIX}
    if not written.SUFFIX and path.suffix in meant:
        raise ValueError(
            f"`format` must be {meant[path.suffix]!r} for such a file, or "
            "`path` that of a folder for 'tf_saved_model'. Received: "
            f"path={str(path)!r}."
        )
    files.check_new(path, overwrite, folder=True)
    own = path.is_file() if written.SUFFIX else saved_model.is_own(path)
    if path.exists() and not own:
        raise FileExistsError(
            "`path` must be new, or a model of the same format to overwrite. "
            f"Received: path={str(path)!r}, which is something else."
        )
