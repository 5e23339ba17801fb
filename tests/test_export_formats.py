"""ONNX and LiteRT: files that run without TensorFlow, and agree."""

import importlib.util
import json
import sys
import textwrap

import keras
import numpy as np
import pytest
from exported import LOADING
from exported import NAMES
from exported import augmented
from exported import calibrated
from exported import close
from exported import network
from exported import run_elsewhere
from support import needs_tensorflow

import keras_warn
from keras_warn.data import model_inputs
from keras_warn.explanation import masks

# In a process of its own, which reads `images.npy` in a folder and writes
# `found.npz`.
SCRIPTS = {
    "onnx": """
        import numpy as np
        import onnxruntime

        path, folder = sys.argv[1:]
        session = onnxruntime.InferenceSession(path)
        names = [output.name for output in session.get_outputs()]
        images = np.load(f"{folder}/images.npy")
        found = session.run(None, {"images": images})
        metadata = session.get_modelmeta().custom_metadata_map["keras_warn"]
        found = dict(zip(names, found))
        print(metadata)
        """,
    "litert": """
        import zipfile
        import numpy as np
        from ai_edge_litert.interpreter import Interpreter

        path, folder = sys.argv[1:]
        images = np.load(f"{folder}/images.npy")
        interpreter = Interpreter(path)
        found = interpreter.get_signature_runner("explain")(images=images)
        served = interpreter.get_signature_runner("serve")(images=images)
        found["served"] = served["probabilities"]
        print(zipfile.ZipFile(path).read("metadata.json").decode())
        """,
}
SAVE = """
        np.savez(f"{folder}/found.npz", **found)
        assert not any("tensorflow" in name for name, module in
                       sys.modules.items() if module is not None)
        """
NEEDS = {"onnx": ("tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",)}
SUFFIX = {"onnx": ".onnx", "litert": ".tflite"}

pytestmark = needs_tensorflow


def missing(file_format):
    return [m for m in NEEDS[file_format] if not importlib.util.find_spec(m)]


def needing(file_format):
    if missing(file_format):
        pytest.skip(f"needs the extra {file_format}")


def elsewhere(file_format, path, taken, folder, then=""):
    """Outputs, metadata and what is printed, without TensorFlow."""
    np.save(folder / "images.npy", taken)
    printed = run_elsewhere(
        textwrap.dedent(SCRIPTS[file_format] + SAVE) + then,
        str(path),
        str(folder),
        without=["keras_warn", "keras", "tensorflow"],
    )
    metadata, end = json.JSONDecoder().raw_decode(printed)
    with np.load(folder / "found.npz") as found:
        return dict(found), metadata, printed[end:].strip().split("\n")


@pytest.mark.parametrize("file_format", ["onnx", "litert"])
def test_runs_without_tensorflow(tmp_path, file_format):
    """In a dynamic batch, with pixels prepared by the graph; calibrated."""
    needing(file_format)
    keras.utils.set_random_seed(2)
    model = augmented()
    calibration = calibrated(model, temperature=1.5)
    path = tmp_path / f"birds{SUFFIX[file_format]}"
    keras_warn.export(
        model,
        path,
        file_format,
        class_names=NAMES,
        preprocessing="mobilenet_v2",
    )
    pixels = np.random.default_rng(0).integers(0, 256, (3, 29, 31, 3), "uint8")
    taken = model_inputs.preprocess(pixels, "mobilenet_v2")
    found, metadata, printed = elsewhere(
        file_format,
        path,
        pixels.astype("float32"),
        tmp_path,
        f"import os\nos.chdir(folder)\n{LOADING[file_format]}",
    )
    intermediates = keras_warn.inspect(model)(taken)
    assert (
        np.ptp(intermediates["prediction"]) > 0.1
    )  # there is something to agree on
    wanted = calibration.probabilities(intermediates["prediction"])
    close(found["probabilities"], wanted)
    backbone = np.array(intermediates["backbone_prediction"])
    close(found["backbone_logit"], backbone[range(3), wanted.argmax(axis=-1)])
    assert found["answered"].tolist() == [True] * 3
    close(
        found["backbone_probabilities"],
        keras.ops.softmax(intermediates["backbone_prediction"]),
    )
    close(found["global_gates"], intermediates["global_gates"])
    close(found["module_1_head_gates"], intermediates["module_1_head_gates"])
    close(found["masks"], masks.module_masks(model, intermediates, (29, 31)))
    if file_format == "litert":
        close(found["served"], wanted)
    else:  # first, for programs that go by number
        outputs = metadata["signatures"]["explain"]["outputs"]
        assert list(outputs)[0] == "probabilities"
    name = NAMES[np.argmax(found["probabilities"][0])]
    assert printed == [name, "(3, 2, 29, 31)"]
    assert metadata["class_names"] == NAMES
    assert metadata["size"] == [29, 31]
    assert metadata["format"] == file_format
    assert metadata["calibration"]["temperature"] == 1.5


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_exported_in_float32(tmp_path, policy):
    """Which the same weights in a float32 model are, to 1e-5."""
    needing("onnx")
    keras.config.set_dtype_policy(policy)
    model = augmented()
    keras.config.set_dtype_policy("float32")
    exact = augmented()
    exact.set_weights(model.get_weights())
    keras_warn.export(model, tmp_path / "m.onnx", "onnx", masks="maps")
    taken = np.random.default_rng(0).normal(size=(2, 29, 31, 3))
    found, *_ = elsewhere(
        "onnx", tmp_path / "m.onnx", taken.astype("f4"), tmp_path
    )
    close(found["probabilities"], exact(taken))
    # What half precision rounds.
    np.testing.assert_allclose(
        found["probabilities"], model(taken), atol=0.1, rtol=0
    )


@pytest.mark.slow
def test_quantized_models_are_small_and_near(tmp_path):
    needing("litert")
    backbone = network()
    x = keras.layers.Conv2D(300, 3, name="wide")(backbone.output)
    model = augmented(keras.Model(backbone.input, x, name="wide_network"))
    taken = np.random.default_rng(0).normal(size=(20, 29, 31, 3))
    taken = taken.astype("float32")
    options = {
        None: {},
        "float16": {},
        "int8": {"representative_images": taken},
    }
    sizes, errors = {}, {}
    for kind, more in options.items():
        path = tmp_path / f"{kind}.tflite"
        more = {"masks": "maps", "quantization": kind, **more}
        keras_warn.export(model, path, "litert", **more)
        sizes[kind] = path.stat().st_size
        found, metadata, _ = elsewhere("litert", path, taken[:2], tmp_path)
        assert metadata["quantization"] == kind
        errors[kind] = np.abs(found["probabilities"] - model(taken[:2])).max()
    assert sizes["int8"] < sizes["float16"] < sizes[None]
    assert errors[None] < 1e-5 < errors["float16"] < 0.01
    assert errors["int8"] < 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("m", "onnx"), "`path` must end in '.onnx'"),
        (("m.onnx", "litert"), "`path` must end in '.tflite'"),
        (("m.onnx", "tf_saved_model"), "`format` must be 'onnx' for such"),
    ],
)
def test_names_of_files(tmp_path, arguments, message):
    needing("onnx")
    path, file_format = arguments
    with pytest.raises(ValueError, match=message):
        keras_warn.export(augmented(), tmp_path / path, file_format)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoded": True}, "`encoded` must be omitted with format='litert'"),
        ({"resize": "crop"}, "`resize` must be omitted with"),
        ({"quantization": "int4"}, "`quantization` must be one of"),
        ({"quantization": "int8"}, "`masks` must be 'maps'"),
        (
            {"quantization": "int8", "masks": "maps"},
            "`representative_images` must be images",
        ),
        (
            {
                "quantization": "int8",
                "masks": "maps",
                "representative_images": np.zeros((2, 3)),
            },
            r"of shape \(None, 29, 31, 3\).*Received: shape \(2, 3\)",
        ),
    ],
)
def test_what_formats_lack(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        keras_warn.export(
            augmented(),
            tmp_path / "m.tflite",
            "litert",
            **{"preprocessing": "rescale", **options},
        )
    assert not list(tmp_path.iterdir())


class InGroups(keras.layers.Layer):
    """A convolution in groups, GELU, and constants that are tensors."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.scaling = keras.layers.Normalization(
            mean=np.linspace(0, 1, channels), variance=np.full(channels, 2.0)
        )
        self.convolution = keras.layers.Conv2D(
            channels, 3, padding="same", groups=channels, activation="gelu"
        )

    def build(self, shape):
        self.scaling.build(shape)
        self.convolution.build(shape)

    def call(self, x):
        return self.convolution(self.scaling(x))


class Bessel(keras.layers.Layer):
    """What ONNX does not have."""

    def call(self, x):
        import tensorflow as tf

        return tf.math.bessel_i0e(x)


def followed_by(layer):
    backbone = network()
    x = layer(backbone.output)
    return augmented(keras.Model(backbone.input, x, name="followed"))


def test_onnx_of_what_tf2onnx_leaves_out(tmp_path):
    needing("onnx")
    model = followed_by(InGroups(11))
    taken = np.random.default_rng(0).normal(size=(2, 29, 31, 3))
    taken = taken.astype("float32")
    path = tmp_path / "m.onnx"
    keras_warn.export(model, path, "onnx")
    found, *_ = elsewhere("onnx", path, taken, tmp_path)
    close(found["probabilities"], model(taken))


def test_operations_that_onnx_lacks_are_named(tmp_path):
    needing("onnx")
    path = tmp_path / "m.onnx"
    path.write_text("kept")
    with pytest.raises(ValueError, match=r"BesselI0e.*tf_saved_model"):
        keras_warn.export(followed_by(Bessel()), path, "onnx", overwrite=True)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "kept"


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r"tf2onnx.*keras-warn\[onnx\]"):
        keras_warn.export(augmented(), tmp_path / "m.onnx", "onnx")
