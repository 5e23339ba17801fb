"""LiteRT: one file, with the signatures `serve` and `explain`."""

import json
import tempfile
import zipfile

import numpy as np

from keras_warn.exporting.signatures import Signatures

SUFFIX = ".tflite"
# A member of the zip archive that follows the model in the file: where
# TensorFlow Lite keeps files that belong to a model.
METADATA = "metadata.json"

QUANTIZATIONS = ("float16", "int8")


def write(plan, path) -> None:
    """Writes the file of a `Plan`, or says what of its model LiteRT has not."""
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    plan = plan.in_float32()
    signatures = Signatures(plan, strings=False)
    specs = signatures.specs()
    # Not `ExportArchive`: of what it writes, TensorFlow 2.21 converts the
    # default signature alone.
    module = tf.Module()
    module.variables_ = [variable.value for variable in plan.model.variables]
    functions = {
        name: tf.function(
            function, input_signature=[specs[name]], autograph=False
        )
        for name, function in signatures.functions().items()
    }
    module.functions_ = list(functions.values())
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        try:
            tf.saved_model.save(module, folder, signatures=functions)
        except tf.errors.OpError as error:
            raise OSError(f"{path.name} cannot be written: {error}") from error
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(functions)
        )
        _quantize(converter, plan, tf)
        try:
            content = converter.convert()
        except ConverterError as error:
            raise ValueError(
                f"The model {plan.model.name!r} cannot be converted to LiteRT: "
                f"{str(error).strip().splitlines()[-1]}"
            ) from error
    path.write_bytes(content)
    metadata = plan.metadata("litert", signatures.described(functions))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA, json.dumps(metadata, indent=2) + "\n")


def _quantize(converter, plan, tf):
    """Sets a converter to store, or compute, in fewer bits."""
    if plan.quantization is None:
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if plan.quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
        return

    def representative():
        for name in ("serve", "explain"):
            for image in plan.representative_images:
                yield name, {"images": np.asarray(image, "float32")[None]}

    converter.representative_dataset = representative
