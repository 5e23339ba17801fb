"""TensorFlow's SavedModel: a folder, with several signatures."""

import json
import pathlib

import keras

from keras_warn.exporting.signatures import Signatures

SUFFIX = None
# Where a SavedModel keeps files that TensorFlow does not read.
METADATA = "assets.extra/metadata.json"

# What a folder holds that may be replaced by another SavedModel.
MARKER = "saved_model.pb"


def check() -> None:
    """Raises ImportError if a package is missing: TensorFlow has all."""


def is_own(path) -> bool:
    """Whether what is at `path` is a SavedModel, or an empty folder."""
    return path.is_dir() and (
        (path / MARKER).is_file() or not any(path.iterdir())
    )


def write(plan, path) -> None:
    """Writes a SavedModel.

    Args:
        plan: A `Plan`.
        path: `pathlib.Path` of the folder to make.

    Raises:
        OSError: if it cannot be written.
    """
    import tensorflow as tf

    signatures = Signatures(plan, strings=True)
    specs = signatures.specs()
    # It finds the variables by itself; `track` would save layers as well,
    # which takes twice as long and is of no use without Keras.
    archive = keras.export.ExportArchive()
    endpoints = {
        name: archive.add_endpoint(name, function, [specs[name]])
        for name, function in signatures.functions().items()
    }
    try:
        archive.write_out(str(path), verbose=False)
    except tf.errors.OpError as error:
        raise OSError(f"{path.name} cannot be written: {error}") from error
    described = signatures.described()
    for name, found in described.items():
        outputs = endpoints[name].get_concrete_function().structured_outputs
        found["outputs"] = {
            key: spec.shape.as_list() for key, spec in outputs.items()
        }
    extra = pathlib.Path(path, METADATA)
    extra.parent.mkdir()
    text = json.dumps(plan.metadata("tf_saved_model", described), indent=2)
    extra.write_text(text + "\n", "utf-8")
