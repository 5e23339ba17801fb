"""ONNX and LiteRT: files that run without TensorFlow, and agree."""

import dataclasses
import importlib.util
import json
import sys
import textwrap

import keras
import numpy as np
import pytest
from exported import LOADING
from exported import NAMES
from exported import assert_explains
from exported import augmented
from exported import calibrated
from exported import close
from exported import network
from exported import run_elsewhere
from support import needs_tensorflow

import keras_warn
from keras_warn import metadata
from keras_warn.data import model_inputs
from keras_warn.exits import EarlyExits

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


def drawn(number):
    random = np.random.default_rng(0)
    return random.normal(size=(number, 29, 31, 3)).astype("float32")


def elsewhere(file_format, path, taken, folder, then=""):
    """Outputs, metadata and what is printed, without TensorFlow."""
    np.save(folder / "images.npy", taken)
    printed = run_elsewhere(
        textwrap.dedent(SCRIPTS[file_format] + SAVE) + then,
        str(path),
        str(folder),
        without=["keras_warn", "keras", "tensorflow"],
    )
    about, end = json.JSONDecoder().raw_decode(printed)
    with np.load(folder / "found.npz") as found:
        return dict(found), about, printed[end:].strip().split("\n")


@pytest.mark.parametrize("file_format", ["onnx", "litert"])
def test_runs_without_tensorflow(tmp_path, file_format):
    """In a dynamic batch, with pixels prepared by the graph; calibrated.

    Without early exits, which these formats have no operations for.
    """
    needing(file_format)
    keras.utils.set_random_seed(2)
    model = augmented()
    calibration = calibrated(model, temperature=1.5)
    early = EarlyExits(0.5, 0.01, (0.3, 0.3), 0.7, 300)
    known = dataclasses.replace(metadata.of_model(model), early_exits=early)
    metadata.attach(model, known)
    path = tmp_path / f"birds{SUFFIX[file_format]}"
    options = {"class_names": NAMES, "preprocessing": "mobilenet_v2"}
    keras_warn.export(model, path, file_format, **options)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 29, 31, 3), "uint8")
    taken = model_inputs.preprocess(pixels, "mobilenet_v2")
    then = f"import os\nos.chdir(folder)\n{LOADING[file_format]}"
    pixels = pixels.astype("float32")
    found, about, printed = elsewhere(file_format, path, pixels, tmp_path, then)
    assert_explains(found, model, taken, calibration)
    wanted = found["probabilities"]
    backbone = keras_warn.inspect(model)(taken)["backbone_prediction"]
    backbone = np.array(backbone)[range(3), wanted.argmax(axis=-1)]
    close(found["backbone_logit"], backbone)
    assert found["answered"].tolist() == [True] * 3
    if file_format == "litert":
        close(found["served"], wanted)
        assert set(about["signatures"]) == {"explain", "serve"}
    else:  # first, for programs that go by number
        outputs = about["signatures"]["explain"]["outputs"]
        assert list(outputs)[0] == "probabilities"
    assert printed == [NAMES[np.argmax(wanted[0])], "(3, 2, 29, 31)"]
    assert (about["class_names"], about["size"]) == (NAMES, [29, 31])
    assert about["format"] == file_format
    assert about["calibration"]["temperature"] == 1.5


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
    taken = drawn(2)
    found, *_ = elsewhere("onnx", tmp_path / "m.onnx", taken, tmp_path)
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
    taken = drawn(20)
    options = dict.fromkeys((None, "float16"), {})
    options["int8"] = {"representative_images": taken}
    sizes, errors = {}, {}
    for kind, more in options.items():
        path = tmp_path / f"{kind}.tflite"
        more = {"masks": "maps", "quantization": kind, **more}
        keras_warn.export(model, path, "litert", **more)
        sizes[kind] = path.stat().st_size
        found, about, _ = elsewhere("litert", path, taken[:2], tmp_path)
        assert about["quantization"] == kind
        errors[kind] = np.abs(found["probabilities"] - model(taken[:2])).max()
    assert sizes["int8"] < sizes["float16"] < sizes[None]
    assert errors[None] < 1e-5 < errors["float16"] < 0.01
    assert errors["int8"] < 0.3


def followed_by(*layers):
    backbone = network()
    x = backbone.output
    for layer in layers:
        x = layer(x)
    return augmented(keras.Model(backbone.input, x, name="followed"))


def test_onnx_of_what_tf2onnx_leaves_out(tmp_path):
    """A convolution in groups, GELU, and constants that are tensors."""
    needing("onnx")
    mean, variance = np.linspace(0, 1, 11), np.full(11, 2.0)
    model = followed_by(
        keras.layers.Normalization(mean=mean, variance=variance),
        keras.layers.Conv2D(11, 3, 1, "same", groups=11, activation="gelu"),
    )
    taken = drawn(2)
    keras_warn.export(model, tmp_path / "m.onnx", "onnx")
    found, *_ = elsewhere("onnx", tmp_path / "m.onnx", taken, tmp_path)
    close(found["probabilities"], model(taken))


def test_what_onnx_lacks_is_named(tmp_path, monkeypatch):
    """An operation, or a package."""
    import tensorflow as tf

    needing("onnx")
    path = tmp_path / "m.onnx"
    path.write_text("kept")
    model = followed_by(keras.layers.Lambda(tf.math.bessel_i0e))
    with pytest.raises(ValueError, match=r"BesselI0e.*tf_saved_model"):
        keras_warn.export(model, path, "onnx", overwrite=True)
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r"tf2onnx.*keras-warn\[onnx\]"):
        keras_warn.export(model, path, "onnx", overwrite=True)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "kept"
