"""What every layer promises to Keras, and what each says to bad input."""

import keras
import numpy as np
import pytest
from keras import ops
from support import refuses
from support import to_numpy

import keras_warn

B, H, W, C, K, N, M = 2, 5, 7, 11, 3, 13, 4


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


MAP = normal(B, H, W, C)
MASKS = np.full((B, H, W, K), 1 / (H * W), "float32")
ATTENDED = normal(B, K, C)
GATES = np.full((B, M), 1 / M, "float32")
PREDICTIONS = [normal(B, N) for _ in range(M)]

HEADS, ATTEND = keras_warn.AttentionHeads, keras_warn.AttendedFeatures
OUTPUTS, GATE = keras_warn.OutputHeads, keras_warn.HeadGate
GLOBAL, SUM = keras_warn.GlobalGate, keras_warn.GatedSum

KERNEL = dict(kernel_initializer="glorot_uniform", kernel_regularizer="l2")
GATES_OF = dict(activation="sigmoid", score_activation=None, **KERNEL)
BIAS = dict(batch_norm=True, use_bias=True, bias_initializer="ones")
PENALTY = dict(activity_regularizer=keras_warn.MaskDiversity(0.2, pool=2))
LAST = dict(kernel_size=3, data_format="channels_last")
SCORES = dict(combination="log_probabilities", activation=None)
# Each layer with no argument left at its default, and inputs for it.
LAYERS = {
    HEADS: (
        dict(num_heads=K, activation="sigmoid", **LAST, **KERNEL, **PENALTY),
        [MAP],
    ),
    ATTEND: (LAST, [MAP, MASKS]),
    OUTPUTS: (dict(classes=N, rank=2, **KERNEL), [ATTENDED]),
    GATE: (GATES_OF, [ATTENDED]),
    GLOBAL: (dict(num_gates=M, **GATES_OF, **BIAS), [ATTENDED[:, 0]]),
    keras_warn.UniformGate: (dict(num_gates=M), [ATTENDED]),
    SUM: (dict(agreement_weight=0.3, **SCORES), [GATES, PREDICTIONS]),
    keras_warn.GradientScale: (dict(factor=0.5), [MAP]),
}
EACH = pytest.mark.parametrize("cls", LAYERS, ids=lambda cls: cls.__name__)
POLICIES = ["float32", "mixed_float16", "mixed_bfloat16", "float64"]


def test_every_public_layer_is_here():
    public = {
        value
        for value in vars(keras_warn).values()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer)
    }
    assert public == set(LAYERS)


@EACH
def test_config_round_trip(cls):
    """A layer rebuilt from its config computes the same from the same."""
    options, inputs = LAYERS[cls]
    layer = cls(**options, name="it")
    outputs = layer(*inputs)
    config = layer.get_config()
    assert set(options) <= set(config)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == config
    again(*inputs)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(to_numpy(again(*inputs)), to_numpy(outputs))


@pytest.mark.parametrize(
    "cls, before, now",
    [
        (HEADS, {"heads": 2}, {"num_heads": 2}),
        (GLOBAL, {"gates": 2}, {"num_gates": 2}),
        (keras_warn.UniformGate, {"gates": 2}, {"num_gates": 2}),
        (SUM, {"from_logits": True}, {"activation": None}),
        (SUM, {"from_logits": False}, {"activation": "softmax"}),
        (SUM, {"agreement": 0.5}, {"agreement_weight": 0.5}),
    ],
)
def test_config_of_earlier_versions(cls, before, now):
    config = cls.from_config(before).get_config()
    assert now.items() <= config.items() and not before.keys() & config


@EACH
@pytest.mark.parametrize("policy", POLICIES)
def test_output_spec(cls, policy):
    """Shape and dtype are as announced; sums and softmaxes are wide."""
    options, inputs = LAYERS[cls]
    layer = cls(**options, dtype=policy)
    symbols = keras.tree.map_structure(
        lambda x: keras.KerasTensor((None, *x.shape[1:]), x.dtype.name), inputs
    )
    spec = layer.compute_output_spec(*symbols)
    outputs = layer(*inputs)
    assert spec.shape == (None, *outputs.shape[1:])
    assert spec.dtype == keras.backend.standardize_dtype(outputs.dtype)
    wide = "float64" if policy == "float64" else "float32"
    if cls is not keras_warn.GradientScale:  # the identity, of dtypes too
        assert spec.dtype == wide
    for weight in layer.weights:
        assert weight.dtype == wide


def test_unknown_height_width_and_batch():
    """One model of unknown sizes takes images of any size."""
    features = keras.Input((None, None, C))
    masks = HEADS(K, 3)(features)
    attended = ATTEND(3)(features, masks)
    assert masks.shape == (None, None, None, K)
    assert attended.shape == (None, K, 9 * C)
    model = keras.Model(features, [masks, attended])
    for batch, height, width in [(2, 5, 7), (3, 4, 1), (1, 1, 1)]:
        found = model.predict(normal(batch, height, width, C), verbose=0)
        assert found[0].shape == (batch, height, width, K)
        np.testing.assert_allclose(found[0].sum(axis=(1, 2)), 1, atol=1e-5)
        assert found[1].shape == (batch, K, 9 * C)


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize(
    "layer, shape",
    [
        (HEADS(1), (B, 1, 1, C)),
        (GATE(), (B, 1, C)),
        (GLOBAL(1), (B, C)),
    ],
)
def test_one_of_a_kind_has_weight_one_without_a_warning(layer, shape):
    np.testing.assert_array_equal(to_numpy(layer(normal(*shape))), 1)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_finite_in_half_precision(policy, activation):
    """112 x 112 positions, mask scores of -1e4 and 1e4."""
    features = np.sign(normal(1, 112, 112, 1))
    features = np.concatenate([features, np.full_like(features, 50)], -1)
    heads = HEADS(K, 1, activation, dtype=policy)
    heads.build(features.shape)
    heads.kernel.assign(np.tile([[1e4], [0.0]], (1, K))[None, None])
    attended = ATTEND(dtype=policy)
    found = to_numpy(attended(features, heads(features)))[0, 0]
    # Half of the positions attended, 50 in channel 1 of each: as a mean, or
    # as a sum that float16 does not reach.
    selected = (features[..., 0] > 0).sum()
    expected = 1 if activation == "softmax" else selected
    np.testing.assert_allclose(found, [expected, 50 * expected], rtol=1e-4)


def test_initializer_objects_draw_anew_for_every_layer():
    """Unless they have a seed, by which equal values are asked for."""
    for seed, alike in ((None, False), (7, True)):
        shared = keras.initializers.HeNormal(seed)
        one, other = (OUTPUTS(N, kernel_initializer=shared) for _ in range(2))
        found = to_numpy(one(ATTENDED) == other(ATTENDED))
        assert found.all() == alike


def test_initial_kernels_have_the_fan_in_of_one_convolution():
    """He normal: variance 2 / f for every head, whatever their number."""
    size = 400
    outputs, gate = OUTPUTS(50), GATE()
    for layer, rel in ((outputs, 0.03), (gate, 0.15)):
        layer.build((None, 8, size))
        kernel = to_numpy(layer.kernel)
        assert kernel.std() == pytest.approx((2 / size) ** 0.5, rel=rel)
        assert not np.allclose(kernel[0], kernel[1])


def test_no_gate_has_weight_of_its_own_in_the_probabilities():
    """Gates all on the network give its softmax to the bit."""
    gates = np.eye(M, dtype="float32")[[0, 0]]
    found = SUM("probabilities")(gates, PREDICTIONS)
    expected = ops.softmax(PREDICTIONS[0], axis=-1)
    np.testing.assert_array_equal(to_numpy(found), to_numpy(expected))


# The last argument is the bad one.
BAD = [
    (HEADS, dict(num_heads=0), ValueError, "positive integer"),
    (HEADS, dict(num_heads=2.0), TypeError, "positive integer"),
    (HEADS, dict(num_heads=True), TypeError, "positive integer"),
    (HEADS, dict(num_heads=2, kernel_size=4), ValueError, "odd"),
    (HEADS, dict(num_heads=2, activation="a"), ValueError, "'softmax', 'sigm"),
    (HEADS, dict(num_heads=2, data_format="a"), ValueError, "'channels_last'"),
    (ATTEND, dict(kernel_size=-3), ValueError, "positive"),
    (OUTPUTS, dict(classes=0), ValueError, "positive integer"),
    (OUTPUTS, dict(classes=2, rank=0), ValueError, "positive integer"),
    (OUTPUTS, dict(classes=2, kernel_initializer=None), ValueError, "an init"),
    (OUTPUTS, dict(classes=2, kernel_initializer="a"), ValueError, "an init"),
    (GATE, dict(score_activation="tahn"), ValueError, "None, a function"),
    (GATE, dict(activation="max"), ValueError, "'softmax'"),
    (GLOBAL, dict(num_gates=0), ValueError, "positive integer"),
    (GLOBAL, dict(num_gates=2, batch_norm=1), TypeError, "True or False"),
    (keras_warn.UniformGate, dict(num_gates=-1), ValueError, "positive"),
    (SUM, dict(combination="sum"), ValueError, "'log_probabilities'"),
    (SUM, dict(activation="linear"), ValueError, "'softmax', None"),
    (SUM, dict(agreement_weight=-1), ValueError, "at least 0"),
    (keras_warn.GradientScale, dict(factor=-1), ValueError, "at least 0"),
    (keras_warn.GradientScale, dict(factor="1"), TypeError, "a number"),
    (keras_warn.GradientScale, dict(factor=np.nan), ValueError, "finite"),
    (keras_warn.MaskDiversity, dict(weight=-0.1), ValueError, "at least 0"),
    (keras_warn.MaskDiversity, dict(pool=0), ValueError, "positive integer"),
]


@pytest.mark.parametrize("cls, options, error, rule", BAD)
def test_bad_arguments(cls, options, error, rule):
    with refuses(error, rule, **options):
        cls(**options)


def used(layer, *inputs):
    """No layer takes channels or heads for something else."""
    layer(*inputs)
    return layer


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: HEADS(K)(normal(B, C)), r"`features` must have shape.*\(2,"),
        (lambda: HEADS(K, 3)(normal(B, H, C)), "`kernel_size` must be 1 on to"),
        (lambda: HEADS(K)(keras.Input((H, W, None))), "number of channels"),
        (lambda: ATTEND()(MAP, MASKS[:, :-1]), r"positions.*\(2, 5, 7, 11\)"),
        (lambda: ATTEND()(MAP, MASKS[:, 0]), "same batch and positions"),
        (lambda: OUTPUTS(N)(MAP), "`attended` must have shape"),
        (lambda: GATE()(MAP), "`attended` must have shape"),
        (lambda: GLOBAL(M)(MAP), "`features` must have shape"),
        (lambda: SUM()(GATES, PREDICTIONS[:3]), "entry for each.*4.*3 pred"),
        (lambda: SUM()(GATES, [*PREDICTIONS[:3], MAP[0, 0]]), "same classes"),
        (lambda: SUM()(GATES, PREDICTIONS[0]), "`predictions` must be a list"),
        (lambda: keras_warn.MaskDiversity()(MAP[0, 0]), "`masks` must have sh"),
        (lambda: keras_warn.MaskDiversity(pool=2)(MAP[0]), "`pool` must be 1"),
        (lambda: used(HEADS(K), MAP)(MAP[..., 1:]), "axis 3 .* value 11"),
        (lambda: used(HEADS(K), MAP)(MAP[:, 0]), "expected ndim=4"),
        (lambda: used(OUTPUTS(N), ATTENDED)(ATTENDED[:, 1:]), "1 .* value 3"),
        (lambda: used(GATE(), ATTENDED)(ATTENDED[:, 1:]), "axis 1 .* value 3"),
        (lambda: used(GLOBAL(M), GATES)(GATES[:, 1:]), "axis 1 .* value 4"),
        (lambda: used(ATTEND(), MAP, MASKS)(MAP, MASKS[:1]), "same batch and"),
    ],
)
def test_bad_inputs(call, message):
    with pytest.raises(ValueError, match=message):
        call()
