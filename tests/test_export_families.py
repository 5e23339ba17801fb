"""Families of networks, in every format and signature, in clean processes.

To 1e-5 of the Keras model; where Keras's own rounding in float32 is about as
large, to 1e-5 of the model computed in float64.
"""

import importlib.util
import json

import keras
import numpy as np
import pytest
from exported import augmented
from exported import run_elsewhere

import keras_warn
from keras_warn.explanation import masks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow",
        reason="models are exported on TensorFlow",
    ),
]

SIZE = (67, 71)
# Arguments, and whether the network takes pixels in [0, 255]: it then scales
# them in layers of its own.
FAMILIES = {
    "ConvNeXtTiny": ({}, True),
    "DenseNet121": ({}, False),
    "EfficientNetB0": ({}, True),
    "EfficientNetV2B0": ({}, True),
    "MobileNet": ({"alpha": 0.25}, False),
    "MobileNetV2": ({"alpha": 0.35}, False),
    "MobileNetV3Small": ({}, True),
    "ResNet50V2": ({}, False),
    "VGG16": ({}, False),
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


def photos(number):
    """Patches of colours, of which no two images have the same."""
    random = np.random.default_rng(0)
    patches = random.integers(0, 256, (number, 5, 6, 3), "uint8")
    pixels = patches.repeat(14, 1).repeat(12, 2)[:, : SIZE[0], : SIZE[1]]
    return pixels.astype("float32")


def fresh_network(family, taken):
    """A network on random weights that hands on what it sees.

    Those of the constructor do not: without the statistics of images, each
    normalisation leaves signals as faint as it finds them, and ConvNeXt takes
    a millionth of what its blocks find.

    Args:
        family: Name of a constructor.
        taken: Images as the network takes them.
    """
    network = getattr(keras.applications, family)(
        include_top=False,
        weights=None,
        input_shape=(*SIZE, 3),
        **FAMILIES[family][0],
    )
    of = {}
    for layer in network.layers:
        of.setdefault(type(layer).__name__, []).append(layer)
    for layer in of.get("LayerScale", []):
        layer.set_weights([np.ones(w.shape) for w in layer.get_weights()])
    if "BatchNormalization" in of:
        for layer in of["BatchNormalization"]:
            layer.momentum = 0.0  # statistics of these images alone
        network(taken, training=True)
    elif family == "VGG16":  # nothing is normalised
        draw = keras.initializers.HeNormal(seed=0)
        for layer in of["Conv2D"]:
            layer.kernel.assign(draw(layer.kernel.shape))
    return network


def moderate(model, seed=0):
    """Draws attention and classifier whose scores are as large as features.

    By the many features of these networks, those of `augmented` bring softmax
    and tanh to their ends. Of features are more than of heads and classes.
    """
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.name.startswith(("module_", "global_", "classifier")):
            layer.set_weights(
                [
                    random.normal(0, 2 / np.sqrt(max(w.shape[-2:])), w.shape)
                    for w in layer.get_weights()
                ]
            )


def outputs(model, taken):
    """What `explain` and `serve` shall return, by Keras."""
    intermediates = keras_warn.inspect(model).predict(taken, verbose=0)
    return intermediates, model.predict(taken, verbose=0)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_all_formats_agree(tmp_path, family, policy):
    if policy != "float32" and family not in ("MobileNetV2", "ConvNeXtTiny"):
        pytest.skip("mixed precision: two families")
    keras.config.set_dtype_policy(policy)
    own = FAMILIES[family][1]
    preprocessing = "none" if own else "rescale"
    pixels = photos(7)
    taken = pixels if own else pixels / 255
    model = augmented(fresh_network(family, taken))
    moderate(model)
    pixels, taken = pixels[:2], taken[:2]
    keras.config.set_dtype_policy("float32")
    keras_warn.export(
        model, tmp_path / "m", preprocessing=preprocessing, encoded=True
    )
    formats = []
    if importlib.util.find_spec("tf2onnx"):
        keras_warn.export(
            model, tmp_path / "m.onnx", "onnx", preprocessing=preprocessing
        )
        formats.append("onnx")
    if importlib.util.find_spec("ai_edge_litert"):
        keras_warn.export(
            model, tmp_path / "m.tflite", "litert", preprocessing=preprocessing
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
    # In half precision the model and `inspect` of it round differently.
    intermediates, served = outputs(model, taken)
    exact, exactly_served = intermediates, served
    if policy != "float32":
        copy = keras_warn.exporting.plan.float32_copy(model)
        exact, exactly_served = outputs(copy, taken)
    # There is something to agree on: between classes, images and places.
    assert np.ptp(intermediates["prediction"], axis=1).max() > 0.01
    assert np.ptp(intermediates["prediction"], axis=0).max() > 0.01
    assert np.ptp(exact["module_1_masks"], axis=(1, 2)).max() > 1e-4
    for name in ("saved_model", "bytes", *formats):
        if name in formats:
            compared = expected(model, exact, exactly_served)
        else:
            compared = expected(model, intermediates, served)
        with np.load(tmp_path / f"{name}.npz") as found:
            found = dict(found)
        if name == "onnx":
            del compared["served"]
        for key, value in compared.items():
            if np.abs(found[key] - value).max() > 1e-5 and policy == "float32":
                # Of two that round in float32, who is right?
                value = expected(model, *in_float64(model, taken))[key]
            np.testing.assert_allclose(
                found[key], value, atol=1e-5, rtol=0, err_msg=f"{name}: {key}"
            )


def expected(model, intermediates, served):
    """What a format shall return, of what `outputs` returns."""
    scores = np.asarray(intermediates["backbone_prediction"])
    scores = scores.astype(np.promote_types(scores.dtype, "float32"))
    return {
        "probabilities": intermediates["prediction"],
        "backbone_probabilities": keras.ops.softmax(scores),
        "masks": masks.module_masks(model, intermediates, SIZE),
        "served": served,
        **{k: v for k, v in intermediates.items() if k.endswith("_gates")},
    }


def in_float64(model, taken):
    """What `outputs` would return if nothing was rounded in float32."""

    def layer_in_float64(layer):
        config = {**layer.get_config(), "dtype": "float64"}
        return layer.__class__.from_config(config)

    copy = keras.models.clone_model(model, clone_function=layer_in_float64)
    copy.set_weights(model.get_weights())
    intermediates = keras_warn.inspect(copy)(taken.astype("float64"))
    return {
        name: np.array(value) for name, value in intermediates.items()
    }, np.array(copy(taken.astype("float64")))
