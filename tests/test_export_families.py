"""Families of networks, in every format and signature, in clean processes."""

import importlib.util
import json

import keras
import numpy as np
import pytest
from exported import augmented
from exported import run_elsewhere

import keras_warn
from keras_warn import masks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow",
        reason="models are exported on TensorFlow",
    ),
]

SIZE = (67, 71)
FAMILIES = {
    "ConvNeXtTiny": {},
    "DenseNet121": {},
    "EfficientNetB0": {},
    "EfficientNetV2B0": {},
    "MobileNet": {"alpha": 0.25},
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Small": {},
    "ResNet50V2": {},
    "VGG16": {},
}

ELSEWHERE = """
    import json
    import numpy as np

    folder, formats = sys.argv[1], json.loads(sys.argv[2])
    images = np.load(f"{folder}/images.npy")
    if "onnx" in formats:
        import onnxruntime

        session = onnxruntime.InferenceSession(f"{folder}/m.onnx")
        names = [output.name for output in session.get_outputs()]
        found = dict(zip(names, session.run(None, {"images": images})))
        np.savez(f"{folder}/onnx.npz", **found)
    if "litert" in formats:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(f"{folder}/m.tflite")
        found = interpreter.get_signature_runner("explain")(images=images)
        served = interpreter.get_signature_runner("serve")(images=images)
        np.savez(
            f"{folder}/litert.npz", **found, served=served["probabilities"]
        )
    """
ON_TENSORFLOW = """
    import numpy as np
    import tensorflow as tf

    folder = sys.argv[1]
    model = tf.saved_model.load(f"{folder}/m")
    images = tf.constant(np.load(f"{folder}/images.npy"))
    found = {k: v.numpy() for k, v in model.explain(images).items()}
    found["served"] = model.serve(images)["probabilities"].numpy()
    np.savez(f"{folder}/saved_model.npz", **found)
    # Files of the same pixels.
    files = tf.map_fn(
        tf.io.encode_png,
        tf.cast(images, tf.uint8),
        fn_output_signature=tf.string,
    )
    found = {k: v.numpy() for k, v in model.explain_bytes(files).items()}
    found["served"] = model.serve_bytes(files)["probabilities"].numpy()
    np.savez(f"{folder}/bytes.npz", **found)
    """


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_all_formats_agree(tmp_path, family, policy):
    if policy != "float32" and family not in ("MobileNetV2", "ConvNeXtTiny"):
        pytest.skip("mixed precision: two families")
    keras.config.set_dtype_policy(policy)
    backbone = getattr(keras.applications, family)(
        include_top=False,
        weights=None,
        input_shape=(*SIZE, 3),
        **FAMILIES[family],
    )
    # Fresh networks hand on next to nothing: their normalisation does.
    pixels = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), "uint8")
    pixels = pixels.astype("float32")
    model = augmented(backbone)
    keras.config.set_dtype_policy("float32")
    keras_warn.export(model, tmp_path / "m", preprocessing="unit", encoded=True)
    formats = []
    if importlib.util.find_spec("tf2onnx"):
        keras_warn.export(
            model, tmp_path / "m.onnx", "onnx", preprocessing="unit"
        )
        formats.append("onnx")
    if importlib.util.find_spec("ai_edge_litert"):
        keras_warn.export(
            model, tmp_path / "m.tflite", "litert", preprocessing="unit"
        )
        formats.append("litert")
    np.save(tmp_path / "images.npy", pixels)
    run_elsewhere(ON_TENSORFLOW, str(tmp_path), without=["keras_warn", "keras"])
    run_elsewhere(
        ELSEWHERE,
        str(tmp_path),
        json.dumps(formats),
        without=["keras_warn", "keras", "tensorflow"],
    )
    seen = keras_warn.inspect(model).predict(pixels / 255, verbose=0)
    exact = seen
    if policy != "float32":
        copy = keras_warn.exporting.plan.float32_copy(model)
        exact = keras_warn.inspect(copy).predict(pixels / 255, verbose=0)
    assert np.ptp(seen["prediction"]) > 0.01  # there is something to agree on
    assert np.ptp(exact["module_1_masks"]) > 1e-4
    for name in ("saved_model", "bytes", *formats):
        wanted = exact if name in formats else seen
        with np.load(tmp_path / f"{name}.npz") as found:
            found = dict(found)
        compared = {
            "probabilities": wanted["prediction"],
            "network_probabilities": keras.ops.softmax(
                np.float32(wanted["network_prediction"])
            ),
            "masks": masks.module_masks(wanted, SIZE),
            "served": wanted["prediction"],
            **{k: v for k, v in wanted.items() if k.endswith("_gates")},
        }
        if name == "onnx":
            del compared["served"]
        for key, value in compared.items():
            np.testing.assert_allclose(
                found[key], value, atol=1e-5, rtol=0, err_msg=f"{name}: {key}"
            )
