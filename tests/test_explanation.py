"""The parts of a prediction, and that nothing is missing from them."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers
from scipy import special
from support import TENSORFLOW
from support import assert_all_close
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


def augmented(scale=1.0, **options):
    """A small model whose modules disagree with the network."""
    keras.utils.set_random_seed(3)
    options = {"preset": "paper", "width": 2, **options}
    model = keras_warn.augment(small_backbone(), depth=2, **options)
    rng = np.random.default_rng(1)
    for i in (1, 2):
        kernel = model.get_layer(f"module_{i}_hypotheses").kernel
        kernel.assign(rng.normal(0, scale, kernel.shape).astype("float32"))
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
    logarithms = explanation.scale == "log-probability"
    if model.get_layer("rectified").activation is None:
        said = special.softmax(said, axis=1) if logarithms else np.exp(said)
    np.testing.assert_allclose(explanation.probabilities, said, atol=1e-5)
    if not logarithms or said.min() > 1e-30:  # where it has not underflown
        scores = np.log(said) if logarithms else said
        np.testing.assert_allclose(total, centered(scores), atol=tolerance)

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
        *({"gates": "softmax", **end} for end in ENDS),
        *({"gates": "linear", **end} for end in ENDS[:2]),
        *({"gates": "sigmoid", **end} for end in ENDS[1:3]),
        {"gates": "average"},
        {"preset": "side_by_side"},
        {"mask_activation": "sigmoid", "combination": "probabilities"},
        {"kernel_size": 3, "projection": 5, "rank": 2},
        {"kernel_size": 3, "combination": "probabilities"},
        {"gate_score_activation": None, "gate_batch_norm": True, "width": 1},
    ],
    ids=str,
)
def test_parts_add_up_to_the_score_whatever_the_options(options):
    assert_parts_are_all(augmented(**options), IMAGES)


@pytest.mark.parametrize("combination", ["log_probabilities", "probabilities"])
@pytest.mark.parametrize(
    "layer, weight, options",
    [
        ("module_1_head_gates", -1e4, {"gates": "sigmoid"}),
        ("global_gates", -50, {"gates": "sigmoid"}),
        ("module_1_masks", -1e5, {"mask_activation": "sigmoid"}),
    ],
)
def test_parts_add_up_where_gates_and_masks_close(
    layer, weight, options, combination
):
    """Sigmoids underflow."""
    options = {"gate_score_activation": None, **options}
    model = augmented(combination=combination, **options)
    kernel = model.get_layer(layer).kernel
    kernel.assign(np.full(kernel.shape, weight))
    assert_parts_are_all(model, IMAGES)


@pytest.mark.parametrize("combination", ["log_probabilities", "probabilities"])
def test_parts_add_up_where_large_hypotheses_cancel(combination):
    assert_parts_are_all(augmented(1e5, combination=combination), IMAGES)


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


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_parts_add_up_in_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    assert_parts_are_all(augmented(kernel_size=3), IMAGES)


@pytest.mark.parametrize(
    "gates, mode",
    [
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


def test_the_change_is_explained_or_what_the_user_chooses(model, explanation):
    backbone = explanation.backbone_probabilities.argmax(axis=1)
    predicted = to_numpy(model(IMAGES)).argmax(axis=1)
    assert (explanation.targets == predicted).all()
    changed = explanation.changed
    assert changed.any() and (changed == (backbone != predicted)).all()
    assert (explanation.contrast[changed] == backbone[changed]).all()

    chosen = keras_warn.explain(model, IMAGES, 4, [0, 1, 2, 3, 5])
    assert chosen.targets.tolist() == [4] * 5
    assert chosen.contrast.tolist() == [0, 1, 2, 3, 5]
    chosen = keras_warn.explain(model, IMAGES, contrast=predicted)
    assert (chosen.targets != predicted).all()


def test_an_unchanged_prediction_is_compared_with_the_runner_up():
    explanation = keras_warn.explain(augmented(0.01), IMAGES)
    assert not explanation.changed.any()
    ranked = explanation.probabilities.argsort(axis=1)
    assert (explanation.targets == ranked[:, -1]).all()
    assert (explanation.contrast == ranked[:, -2]).all()


def test_what_the_parts_are(model, explanation):
    """By the equations, head by head."""
    inside = keras_warn.inspect(model).predict(IMAGES, verbose=0)
    network, gates = inside["backbone_prediction"], inside["global_gates"]
    modules = [inside[f"module_{i}_prediction"] for i in (1, 2)]
    attention = gates[:, 1:2] * modules[0] + gates[:, 2:] * modules[1]
    attention /= gates[:, 1:].sum(axis=1, keepdims=True)
    weights = gates[:, 2:] * inside["module_2_head_gates"][:, 1:]
    of_head = weights * inside["module_2_hypotheses"][:, 1]
    found = (
        explanation.backbone,
        explanation.heads[1][:, 1],
        explanation.backbone_probabilities,
        explanation.attention_probabilities,
    )
    wanted = (
        centered(gates[:, :1] * network),
        centered(of_head),
        special.softmax(network, axis=1),
        special.softmax(attention, axis=1),
    )
    assert_all_close(found, wanted, atol=1e-5)
    # Modules without weight say nothing: all classes alike.
    inside["global_gates"] = np.array([[1.0, 0.0, 0.0]] * len(IMAGES))
    parts = contributions(model, inside)
    assert not parts.modules.any()
    np.testing.assert_allclose(parts.attention_probabilities, 1 / CLASSES)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    "options",
    [{}, {"kernel_size": 3, "rank": 2}, {"kernel_size": 3, "gates": "linear"}],
    ids=str,
)
def test_evidence_of_a_place_is_what_is_lost_without_it(options, data_format):
    """Against the layers themselves, with one position of the map cleared.

    With the masks kept, hypotheses are linear in the map that is attended to.
    """
    first = data_format == "channels_first"
    if first and TENSORFLOW:
        pytest.skip("TensorFlow convolves on CPUs with channels last only")
    height, width, channels = 3, 5, 2
    shape = (channels, height, width) if first else (height, width, channels)
    inputs = keras.Input(shape)
    x = layers.Conv2D(channels, 1, data_format=data_format)(inputs)
    x = layers.ReLU(name="map")(x)
    options = {"attend_at": "map", "width": 2, **options}
    model = keras_warn.augment(keras.Model(inputs, x), CLASSES, **options)
    images = np.random.default_rng(0).random((1, *shape), "float32")
    explanation = keras_warn.explain(model, images, 2, 6)
    attended = model.get_layer("module_1_attended")
    features, masks = keras.Model(inputs, attended.input)(images)
    features = to_numpy(features)

    def evidence(features):
        features = attended(features, masks)
        said = to_numpy(model.get_layer("module_1_hypotheses")(features))[0]
        if "gates" in options:
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
    with pytest.raises(error, match=message):
        keras_warn.explain(model, **{"images": IMAGES, **options})


def test_an_explanation_is_printed_in_a_few_lines(model):
    explanation = keras_warn.explain(model, np.concatenate([IMAGES, IMAGES]))
    first, second, *_, last = str(explanation).splitlines()
    assert first.startswith("Explanation of 10 images, 7 classes, 2 modules")
    target, total = explanation.targets[0], explanation.contributions[0].sum()
    assert f"image 0: class {target}, contrast class" in second
    assert f": {total:+.2f} =" in second
    assert last == "  and 5 more"
