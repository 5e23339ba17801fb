"""TensorFlow's SavedModel: a folder, with several signatures."""

import json
import pathlib

import keras

from keras_warn.exporting.signatures import Signatures

SUFFIX = None
# Where a SavedModel keeps files that TensorFlow does not read.
METADATA = "assets.extra/metadata.json"


def is_own(path) -> bool:
    """Whether what is at `path` may be replaced by another SavedModel."""
    return path.is_dir() and (
        (path / "saved_model.pb").is_file() or not any(path.iterdir())
    )


def write(plan, path) -> None:
    """Writes the SavedModel of a `Plan`, or raises `OSError`."""
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
    described = signatures.described(endpoints)
    extra = pathlib.Path(path, METADATA)
    extra.parent.mkdir()
    text = json.dumps(plan.metadata("tf_saved_model", described), indent=2)
    extra.write_text(text + "\n", "utf-8")
