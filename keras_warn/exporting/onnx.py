"""ONNX: one file, whose outputs are those of `explain`."""

import json

import numpy as np

from keras_warn.exporting.signatures import as_keras_model
from keras_warn.exporting.signatures import described

SUFFIX = ".onnx"
# Where the metadata lie in the file.
METADATA = "keras_warn"
# The lowest that has all operations, for runtimes that are not new.
OPSET = 17


def write(plan, path) -> None:
    """Writes the file of a `Plan`, or says what of its model ONNX has not."""
    try:
        import onnx
        import tf2onnx  # noqa: F401, which Keras imports
    except ImportError as error:
        raise ImportError(
            f"format='onnx' needs {error.name}: `pip install "
            "'keras-warn[onnx]'`."
        ) from error

    plan = plan.in_float32()
    explained, spec = as_keras_model(plan)
    _add_erfc()
    explained.export(
        str(path),
        format="onnx",
        input_signature=[spec],
        opset_version=OPSET,
        verbose=False,
    )
    proto = onnx.load(path)
    try:  # tf2onnx keeps what it cannot translate
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ValueError(
            f"The model {plan.model.name!r} cannot be written as ONNX: "
            f"{str(error).strip().splitlines()[0]} format='tf_saved_model' "
            "writes any model."
        ) from error
    graph = proto.graph
    graph.output.sort(key=lambda x: (x.name != "probabilities", x.name))
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    outputs = {
        output.name: [
            length.dim_value or None
            for length in output.type.tensor_type.shape.dim
        ]
        for output in graph.output
    }
    about = {"explain": described(plan.takes, spec, outputs)}
    entry = proto.metadata_props.add()
    entry.key = METADATA
    entry.value = json.dumps(plan.metadata("onnx", about))
    path.write_bytes(proto.SerializeToString())


def _add_erfc():
    """Adds to tf2onnx what it lacks for the GELU of TensorFlow 2.21."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_13(cls, graph, node, **_) -> None:
            """erfc(x) = 1 - erf(x), of opset 13 on, which the name says."""
            like = {
                "dtypes": [graph.get_dtype(node.output[0])],
                "shapes": [graph.get_shape(node.output[0])],
            }
            one = graph.make_const(f"{node.name}_one", np.ones((), "float32"))
            erf = graph.make_node("Erf", node.input, **like)
            graph.remove_node(node.name)
            graph.make_node(
                "Sub",
                [one.output[0], erf.output[0]],
                name=node.name,
                outputs=node.output,
                **like,
            )
