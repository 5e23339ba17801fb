"""The parts of a prediction, and that nothing is missing from them."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from support import TENSORFLOW
from support import to_numpy
from test_augment import FAMILIES
from test_augment import build
from test_augment import images_for
from test_augment import small_backbone

import keras_warn
from keras_warn.explanation.decomposition import contributions

pytestmark = pytest.mark.usefixtures("eager")

CLASSES = 7
IMAGES = np.random.default_rng(0).uniform(0, 1, (5, 32, 32, 3))
IMAGES = IMAGES.astype("float32")


def augmented(**options):
    """A small model whose modules disagree with the network."""
    keras.utils.set_random_seed(3)
    options = {"preset": "paper", "width": 2, **options}
    model = keras_warn.augment(small_backbone(), depth=2, **options)
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if "hypotheses" in layer.name:
            layer.kernel.assign(
                rng.normal(size=layer.kernel.shape).astype("float32")
            )
    return model


@pytest.fixture(scope="module")
def model():
    """One that no test changes."""
    return augmented()


@pytest.fixture(scope="module")
def explanation(model):
    return keras_warn.explain(model, IMAGES)


def centered(scores):
    return scores - scores.mean(axis=-1, keepdims=True)


def assert_parts_are_all(model, images, tolerance=1e-5):
    """The parts of an explanation are the model's own output."""
    explanation = keras_warn.explain(model, images, batch_size=3)
    total = explanation.backbone.copy()
    for heads in explanation.heads:
        total += heads.sum(axis=1)
    np.testing.assert_allclose(total, explanation.scores, atol=1e-9)

    # Of the same pass: in half precision, compiled models round differently.
    said = explanation.intermediates["prediction"].astype("float64")
    # Networks of random weights have logits of some hundreds, in float32.
    tolerance *= max(1, np.abs(total).max())
    scores = model.get_layer("rectified").activation is None
    if scores and explanation.scale == "log-probability":
        # The score itself, as far as classes differ in it.
        np.testing.assert_allclose(total, centered(said), atol=tolerance)
        said = to_numpy(ops.softmax(said))
    elif scores:
        said = np.exp(said)
    np.testing.assert_allclose(explanation.probabilities, said, atol=1e-5)
    whole = 1
    if explanation.scale == "probability":
        whole = explanation.gates.sum(axis=1)
    np.testing.assert_allclose(
        explanation.probabilities.sum(axis=1), whole, atol=1e-9
    )
    if explanation.scale == "probability":
        np.testing.assert_allclose(total, centered(said), atol=tolerance)
    elif said.min() > 1e-30:  # where it has not underflown
        np.testing.assert_allclose(
            total, centered(np.log(said)), atol=tolerance
        )

    contributions = explanation.contributions
    each = np.arange(len(total))
    np.testing.assert_allclose(
        contributions.sum(axis=1),
        total[each, explanation.targets] - total[each, explanation.contrast],
        atol=1e-9,
    )
    if explanation.attribution is not None:
        np.testing.assert_allclose(
            explanation.attribution.sum(axis=(1, 2), dtype="float64"),
            contributions[:, 1:].sum(axis=1),
            atol=tolerance,
        )
    return explanation


ENDS = [
    {"combination": combination, "classifier_activation": activation}
    for combination in ("log_probabilities", "probabilities")
    for activation in ("softmax", None)
]


@pytest.mark.parametrize(
    "options",
    [
        *(
            {"gates": gates, **end}
            for gates in ("softmax", "linear")
            for end in ENDS
        ),
        *({"gates": "sigmoid", **end} for end in ENDS[1:3]),
        *({"gates": "average", **end} for end in ENDS[::3]),
        {"preset": "side_by_side"},
        {"mask_activation": "sigmoid", "combination": "probabilities"},
        {"kernel_size": 3, "projection": 5, "rank": 2},
        {"kernel_size": 3, "combination": "probabilities"},
        {"gate_score_activation": None, "gate_batch_norm": True},
        {"gradient_scale": 0.5, "diversity_weight": 0.1, "width": 1},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_parts_add_up_to_the_score_whatever_the_options(options):
    assert_parts_are_all(augmented(**options), IMAGES)


@pytest.mark.parametrize("combination", ["log_probabilities", "probabilities"])
@pytest.mark.parametrize(
    "layer, weight, options",
    [
        ("module_1_head_gates", -1e4, {"gates": "sigmoid"}),
        ("global_gates", -50, {"gates": "sigmoid"}),
        (
            "module_1_masks",
            -1e5,
            {"mask_activation": "sigmoid", "gate_score_activation": "tanh"},
        ),
        ("module_1_hypotheses", 1e5, {}),
    ],
)
def test_parts_add_up_where_gates_and_masks_close(
    layer, weight, options, combination
):
    """Sigmoids underflow, and large hypotheses cancel."""
    options = {"gate_score_activation": None, **options}
    model = augmented(combination=combination, **options)
    layer = model.get_layer(layer)
    kernel = to_numpy(layer.kernel)
    if layer.name == "module_1_hypotheses":
        kernel = weight * kernel
    else:
        kernel[..., 0] = weight
        if layer.name != "module_1_masks":  # of which one head is enough
            kernel[:] = weight
    layer.kernel.assign(kernel)
    assert_parts_are_all(model, IMAGES)


def test_an_image_that_is_not_finite_leaves_others_alone():
    images = IMAGES.copy()
    images[1] = np.nan
    model = augmented()
    # Compiled, as in `predict`, some activations make 0 of NaN.
    model.run_eagerly = True
    found = keras_warn.explain(model, list(images))
    assert np.isnan(found.scores[1]).all()
    assert np.isnan(found.attribution[1]).all()
    others = [0, 2, 3, 4]
    expected = keras_warn.explain(model, IMAGES).select(others)
    np.testing.assert_allclose(
        found.select(others).attribution, expected.attribution, atol=1e-6
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_add_up_on_every_family(family):
    model = keras_warn.augment(build(family), width=3)
    images = images_for(model)
    explanation = assert_parts_are_all(model, images)
    assert explanation.attribution.shape == images.shape[:3]
    assert explanation.masks.shape[2:] == images.shape[1:3]


def test_parts_add_up_after_training_and_reloading(tmp_path):
    model = augmented()
    model.compile(
        "adam", "sparse_categorical_crossentropy", run_eagerly=TENSORFLOW
    )
    model.fit(IMAGES, np.arange(5), epochs=2, verbose=0)
    before = assert_parts_are_all(model, IMAGES)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    after = assert_parts_are_all(again, IMAGES)
    np.testing.assert_allclose(before.attribution, after.attribution, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_parts_add_up_in_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    assert_parts_are_all(augmented(kernel_size=3), IMAGES)


@pytest.mark.parametrize(
    "gates, mode",
    [
        ("softmax", "int8"),
        ("softmax", "int4"),
        ("softmax", "float8"),
        ("linear", "int8"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*`quantize` method")
def test_parts_add_up_in_quantized_models(gates, mode):
    model = augmented(gates=gates)
    keras_warn.explain(model, IMAGES[:1])  # what it compiled is of no use now
    model.quantize(mode)
    found = assert_parts_are_all(model, IMAGES)
    np.testing.assert_allclose(
        found.intermediates["prediction"], model.predict(IMAGES), atol=1e-5
    )


def test_a_model_that_was_explained_can_be_forgotten():
    model = augmented()
    keras_warn.explain(model, IMAGES)
    forgotten = weakref.ref(model)
    del model
    gc.collect()
    assert forgotten() is None


def test_what_the_parts_are(model, explanation):
    """By the equations, head by head."""
    intermediates = keras_warn.inspect(model).predict(IMAGES, verbose=0)
    gates = intermediates["global_gates"]
    np.testing.assert_allclose(
        explanation.backbone,
        centered(gates[:, :1] * intermediates["backbone_prediction"]),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        explanation.heads[1][:, 1],
        centered(
            gates[:, 2:]
            * intermediates["module_2_head_gates"][:, 1:]
            * intermediates["module_2_hypotheses"][:, 1]
        ),
        atol=1e-5,
    )
    modules = [intermediates[f"module_{i}_prediction"] for i in (1, 2)]
    attention = (
        gates[:, 1:2] * modules[0] + gates[:, 2:] * modules[1]
    ) / gates[:, 1:].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        explanation.attention_probabilities,
        to_numpy(ops.softmax(attention)),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        explanation.backbone_probabilities,
        to_numpy(ops.softmax(intermediates["backbone_prediction"])),
        atol=1e-5,
    )


def test_a_network_with_all_gates_leaves_nothing_to_the_modules(model):
    intermediates = keras_warn.inspect(model).predict(IMAGES, verbose=0)
    intermediates["global_gates"] = np.array([[1.0, 0.0, 0.0]] * len(IMAGES))
    parts = contributions(model, intermediates)
    np.testing.assert_allclose(
        parts.probabilities, parts.backbone_probabilities
    )
    assert not parts.modules.any()
    np.testing.assert_allclose(parts.attention_probabilities, 1 / CLASSES)


def test_it_is_the_change_that_is_explained(model, explanation):
    network = explanation.backbone_probabilities.argmax(axis=1)
    predicted = to_numpy(model(IMAGES)).argmax(axis=1)
    assert (explanation.targets == predicted).all()
    changed = explanation.changed
    assert 0 < changed.sum()  # or the next line says nothing
    assert (explanation.contrast[changed] == network[changed]).all()
    assert (changed == (network != predicted)).all()


def test_an_unchanged_prediction_is_compared_with_the_runner_up():
    model = augmented()
    for layer in model.layers:
        if "hypotheses" in layer.name:
            layer.kernel.assign(0.01 * layer.kernel)
    explanation = keras_warn.explain(model, IMAGES)
    assert not explanation.changed.any()
    ranked = explanation.probabilities.argsort(axis=1)
    assert (explanation.targets == ranked[:, -1]).all()
    assert (explanation.contrast == ranked[:, -2]).all()


def test_classes_to_explain_are_the_users_choice(model):
    explanation = keras_warn.explain(model, IMAGES, 4, [0, 1, 2, 3, 5])
    assert explanation.targets.tolist() == [4] * 5
    assert explanation.contrast.tolist() == [0, 1, 2, 3, 5]
    predicted = explanation.probabilities.argmax(axis=1)
    contrast = keras_warn.explain(model, IMAGES, contrast=predicted)
    assert (contrast.targets != predicted).all()


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    "kernel_size, gates, rank",
    [
        (1, "softmax", "full"),
        (3, "softmax", "full"),
        (3, "softmax", 2),
        (3, "linear", "full"),
    ],
)
def test_evidence_of_a_place_is_what_is_lost_without_it(
    kernel_size, gates, rank, data_format
):
    """Against the layers themselves, with one position of the map cleared.

    With the masks kept, hypotheses are linear in the map that is attended to.
    """
    first = data_format == "channels_first"
    if first and TENSORFLOW:
        pytest.skip("TensorFlow convolves on CPUs with channels last only")
    height, width, channels = 3, 5, 2
    shape = (channels, height, width) if first else (height, width, channels)
    inputs = keras.Input(shape)
    x = layers.Conv2D(
        channels, 1, activation="relu", name="map", data_format=data_format
    )(inputs)
    model = keras_warn.augment(
        keras.Model(inputs, x),
        classes=CLASSES,
        attend_at="map",
        width=2,
        kernel_size=kernel_size,
        gates=gates,
        rank=rank,
    )
    images = np.random.default_rng(0).random((1, *shape), "float32")
    explanation = keras_warn.explain(model, images, 2, 6)
    attended = model.get_layer("module_1_attended")
    features, masks = keras.Model(inputs, attended.input)(images)
    features = to_numpy(features)

    def evidence(features):
        features = attended(features, masks)
        said = to_numpy(model.get_layer("module_1_hypotheses")(features))[0]
        if gates == "linear":
            kernel = to_numpy(model.get_layer("module_1_prediction").kernel)
            combine = to_numpy(model.get_layer("predictions_combined").kernel)
            said = said.reshape(-1) @ kernel @ combine[CLASSES:]
        else:
            weights = explanation.intermediates["module_1_head_gates"][0]
            said = explanation.gates[0, 1] * weights @ said
        return said[2] - said[6]

    found = np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        cleared = features.copy()
        cleared[(0, ..., y, x) if first else (0, y, x)] = 0
        found[y, x] = evidence(features) - evidence(cleared)
    # The map is as large as the image.
    np.testing.assert_allclose(explanation.attribution[0], found, atol=1e-5)


def test_attention_to_tokens_is_explained():
    inputs = keras.Input((8, 12, 1))
    x = layers.Conv2D(6, 4, 4)(inputs)
    x = layers.Reshape((6, 6))(x)
    x = layers.Dense(5, activation="relu", name="tokens")(x)
    model = keras_warn.augment(
        keras.Model(inputs, x), classes=CLASSES, attend_at="tokens", width=3
    )
    images = np.random.default_rng(0).random((3, 8, 12, 1), "float32")
    explanation = assert_parts_are_all(model, images)
    assert explanation.attribution.shape == (3, 8, 12)
    assert explanation.masks.shape == (3, 1, 8, 12)


def test_some_images_of_an_explanation(explanation):
    some = explanation.select([3, 1])
    assert len(explanation) == 5
    assert len(some) == 2
    np.testing.assert_array_equal(some.scores, explanation.scores[[3, 1]])
    np.testing.assert_array_equal(some.masks, explanation.masks[[3, 1]])
    np.testing.assert_array_equal(
        some.contributions, explanation.contributions[[3, 1]]
    )
    assert len(explanation.select([])) == 0


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"images": IMAGES[0]}, ValueError, r"Received: \(32, 32, 3\)"),
        ({"images": IMAGES[:, :30]}, ValueError, r"\(5, 30, 32, 3\)"),
        ({"images": IMAGES[:0]}, ValueError, r"Received: \(0, 32, 32, 3\)"),
        ({"targets": 7}, ValueError, "from 0 to 6. Received: targets=7"),
        ({"targets": [1, 2]}, ValueError, "broadcast"),
        ({"contrast": 0.5}, TypeError, "Cannot cast"),
        ({"targets": 3, "contrast": 3}, ValueError, "class 3 twice"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
    ],
)
def test_errors(model, options, error, message):
    arguments = {"model": model, "images": IMAGES, **options}
    with pytest.raises(error, match=message):
        keras_warn.explain(**arguments)


def test_an_explanation_is_printed_in_a_few_lines(model):
    explanation = keras_warn.explain(model, np.concatenate([IMAGES, IMAGES]))
    lines = str(explanation).splitlines()
    assert lines[0].startswith("Explanation of 10 images, ")
    target, total = explanation.targets[0], explanation.contributions[0].sum()
    assert f"image 0: class {target}, contrast class" in lines[1]
    assert f": {total:+.2f} =" in lines[1]
    assert len(lines) == 7 and lines[-1] == "  and 5 more"
