"""Families of networks, in every format and signature.

To 1e-5 of the Keras model; where Keras's own rounding in float32 is about as
large, to 1e-5 of the model computed in float64.
"""

import keras
import numpy as np
import odd_images
import pytest
from exported import augmented
from PIL import Image
from support import needs_tensorflow
from test_export_formats import SUFFIX
from test_export_formats import elsewhere
from test_export_formats import missing

import keras_warn
from keras_warn.explanation import masks

pytestmark = [pytest.mark.slow, needs_tensorflow]

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


@pytest.mark.parametrize(
    "family, policy",
    [
        *((family, "float32") for family in FAMILIES),
        ("MobileNetV2", "mixed_float16"),
        ("ConvNeXtTiny", "mixed_float16"),
    ],
)
def test_all_formats_agree(tmp_path, family, policy):
    import tensorflow as tf

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
    loaded = tf.saved_model.load(tmp_path / "m")
    files = [
        odd_images.encoded(Image.fromarray(image.astype("uint8")), "PNG")
        for image in pixels
    ]
    found = {
        name: {**explain(images), "served": serve(images)["probabilities"]}
        for name, explain, serve, images in (
            ("saved_model", loaded.explain, loaded.serve, pixels),
            ("bytes", loaded.explain_bytes, loaded.serve_bytes, files),
        )
    }
    for name in ("onnx", "litert"):
        if not missing(name):
            path = tmp_path / f"m{SUFFIX[name]}"
            keras_warn.export(model, path, name, preprocessing=preprocessing)
            found[name], *_ = elsewhere(name, path, pixels, tmp_path)
    intermediates, served = outputs(model, taken)
    exact, exactly_served = intermediates, served
    if policy != "float32":
        # In half precision the model and `inspect` of it round differently.
        # `serve` asks for the backbone's logits, too, as `inspect` does.
        served = intermediates["prediction"]
        copy = keras_warn.exporting.plan.float32_copy(model)
        exact, exactly_served = outputs(copy, taken)
    # There is something to agree on: between classes, images and places.
    assert np.ptp(intermediates["prediction"], axis=1).max() > 0.01
    assert np.ptp(intermediates["prediction"], axis=0).max() > 0.01
    assert np.ptp(exact["module_1_masks"], axis=(1, 2)).max() > 1e-4
    for name, of_format in found.items():
        if name in SUFFIX:
            compared = expected(model, exact, exactly_served)
        else:
            compared = expected(model, intermediates, served)
        if name == "onnx":
            del compared["served"]
        for key, value in compared.items():
            said = of_format[key]
            if np.abs(said - value).max() > 1e-5 and policy == "float32":
                # Of two that round in float32, who is right?
                value = expected(model, *in_float64(model, taken))[key]
            np.testing.assert_allclose(
                said, value, atol=1e-5, rtol=0, err_msg=f"{name}: {key}"
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
