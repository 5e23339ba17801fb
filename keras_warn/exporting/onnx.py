"""ONNX: one file, whose outputs are those of `explain`."""

import json

from keras_warn.exporting import packages
from keras_warn.exporting.signatures import IMAGES
from keras_warn.exporting.signatures import as_keras_model

SUFFIX = ".onnx"
# Where the metadata lie in the file.
METADATA = "keras_warn"
# The lowest that has all operations, for runtimes that are not new.
OPSET = 17


def check():
    """Raises ImportError if a package is missing."""
    packages.check("onnx", "onnx", "tf2onnx")


def is_own(path):
    """Whether what is at `path` is a file that may be replaced."""
    return path.is_file()


def write(plan, path):
    """Writes an ONNX file.

    Args:
        plan: A `Plan`.
        path: `pathlib.Path` of the file.

    Raises:
        OSError: if it cannot be written.
    """
    import onnx

    plan = plan.in_float32()
    explained, spec = as_keras_model(plan)
    explained.export(
        str(path),
        format="onnx",
        input_signature=[spec],
        opset_version=OPSET,
        verbose=False,
    )
    proto = onnx.load(path)
    _bring_first(proto.graph, "probabilities")
    _name_batch(proto.graph)
    outputs = {
        output.name: [
            length.dim_value or None
            for length in output.type.tensor_type.shape.dim
        ]
        for output in proto.graph.output
    }
    described = {
        "explain": {
            "takes": plan.takes,
            "input": {
                "name": IMAGES,
                "shape": spec.shape.as_list(),
                "dtype": "float32",
            },
            "outputs": outputs,
        }
    }
    entry = proto.metadata_props.add()
    entry.key = METADATA
    entry.value = json.dumps(plan.metadata("onnx", described))
    path.write_bytes(proto.SerializeToString())


def _bring_first(graph, name):
    """Orders the outputs: `name`, then the others by their names."""
    outputs = sorted(
        graph.output, key=lambda output: (output.name != name, output.name)
    )
    outputs = [
        type(output).FromString(output.SerializeToString())
        for output in outputs
    ]
    del graph.output[:]
    graph.output.extend(outputs)


def _name_batch(graph):
    """Calls the first length of inputs and outputs `batch`."""
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
