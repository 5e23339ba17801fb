"""Every layer against the paper's equations in NumPy, to 1e-6."""

import keras
import numpy as np
import pytest
import reference
from keras import ops
from support import to_numpy

import keras_warn

# Every dimension another prime: a swapped axis cannot pass.
B, H, W, C, K, N = 2, 5, 7, 11, 3, 13
TOLERANCE = 1e-6


@pytest.fixture
def features():
    return np.random.default_rng(1).normal(size=(B, H, W, C))


def channels_first(x):
    return np.transpose(x, (0, 3, 1, 2))


def assert_close(found, expected):
    np.testing.assert_allclose(to_numpy(found), expected, atol=TOLERANCE)


def convolution_kernel(kernel, size):
    """A kernel of `OutputHeads` as the convolution of the paper."""
    kernel = to_numpy(kernel).reshape(K, size, size, C, -1)
    return kernel.transpose(1, 2, 3, 0, 4).reshape(size, size, C, -1)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_module(features, size, activation, data_format):
    """Masks, hypotheses and head gates of one module."""
    options = {"data_format": data_format, "dtype": "float64"}
    first = data_format == "channels_first"
    z = ops.convert_to_tensor(channels_first(features) if first else features)
    heads = keras_warn.AttentionHeads(K, size, activation, **options)
    masks = heads(z)
    attended = keras_warn.AttendedFeatures(size, **options)(z, masks)
    outputs = keras_warn.OutputHeads(N, dtype="float64")
    hypotheses = outputs(attended)
    gate = keras_warn.HeadGate(dtype="float64")
    gates = gate(attended)

    expected = reference.attention_heads(
        features, to_numpy(heads.kernel), activation
    )
    assert_close(masks, channels_first(expected) if first else expected)
    assert_close(
        hypotheses,
        reference.output_heads(
            features, expected, convolution_kernel(outputs.kernel, size)
        ),
    )
    gate_kernel = convolution_kernel(gate.kernel[..., None], size)
    assert_close(gates, reference.head_gates(features, expected, gate_kernel))


def test_masks_of_many_heads(features):
    """TensorFlow takes another way to them."""
    heads = keras_warn.AttentionHeads(17, 3, dtype="float64")
    masks = heads(ops.convert_to_tensor(features))
    kernel = to_numpy(heads.kernel)
    assert_close(masks, reference.attention_heads(features, kernel))


def test_hypotheses_of_many_classes():
    """TensorFlow takes another way to them."""
    attended = np.random.default_rng(6).normal(size=(B, K, C))
    outputs = keras_warn.OutputHeads(1511, dtype="float64")
    found = outputs(ops.convert_to_tensor(attended))
    kernel = to_numpy(outputs.kernel)
    assert_close(found, np.einsum("bkf,kfn->bkn", attended, kernel))


def test_kernels_of_a_rank_are_products():
    attended = np.random.default_rng(6).normal(size=(B, K, C))
    outputs = keras_warn.OutputHeads(N, rank=2, dtype="float64")
    found = outputs(ops.convert_to_tensor(attended))
    shared, kernel = map(to_numpy, (outputs.shared_kernel, outputs.kernel))
    assert (shared.shape, kernel.shape) == ((C, 2), (K, 2, N))
    # Each of random numbers of its own, at the start of which none are alike.
    signs = np.sign(shared.ravel()), np.sign(kernel.transpose(1, 0, 2).ravel())
    assert (signs[0][:16] != signs[1][:16]).any()
    # Functions initialize, too.
    ones = keras_warn.OutputHeads(N, ops.ones, rank=2)
    assert (to_numpy(ones(attended)) > 0).any()
    full = keras_warn.OutputHeads(N, dtype="float64")
    full.build(attended.shape)
    full.kernel.assign(shared @ kernel)
    assert_close(found, to_numpy(full(attended)))


def test_tokens_are_a_map_of_one_row(features):
    tokens = features.reshape(B, H * W, C)
    row = features.reshape(B, 1, H * W, C)
    found = []
    for features in (tokens, row):
        keras.utils.set_random_seed(0)
        masks = keras_warn.AttentionHeads(K, dtype="float64")(features)
        attend = keras_warn.AttendedFeatures(dtype="float64")
        found.append((masks, attend(features, masks)))
    (masks, attended), (row_masks, row_attended) = found
    assert masks.shape == (B, H * W, K)
    assert_close(masks, to_numpy(row_masks)[:, 0])
    assert_close(attended, to_numpy(row_attended))


def test_global_gate(features):
    pooled = features.mean(axis=(1, 2))
    gate = keras_warn.GlobalGate(4, dtype="float64")
    found = gate(pooled)
    assert_close(found, reference.global_gates(pooled, to_numpy(gate.kernel)))


def test_global_gate_of_the_reference(features):
    """Batch normalisation before the tanh, sigmoids divided by their sum."""
    pooled = features.mean(axis=(1, 2))
    rng = np.random.default_rng(2)
    gate = keras_warn.GlobalGate(4, "sigmoid", batch_norm=True, dtype="float64")
    gate.build(pooled.shape)
    gamma, beta, mean, variance = rng.uniform(0.5, 1.5, size=(4, 4))
    gate.normalization.set_weights([gamma, beta, mean, variance])
    scores = reference.normalised_gate_scores(
        pooled, to_numpy(gate.kernel), gamma, beta, mean, variance, 1e-5
    )
    assert_close(gate(pooled), reference.sigmoid_gates(scores))


@pytest.mark.parametrize("combination", ["log_probabilities", "probabilities"])
def test_gated_sum(combination):
    rng = np.random.default_rng(3)
    gates = reference.softmax(rng.normal(size=(B, 3)))
    predictions = list(3 * rng.normal(size=(3, B, N)))
    expected = reference.combine(gates, predictions, combination)
    scores, probabilities = (
        keras_warn.GatedSum(combination, activation, dtype="float64")(
            gates, predictions
        )
        for activation in (None, "softmax")
    )
    if combination == "probabilities":
        assert_close(scores, np.log(expected))
        assert_close(probabilities, expected)
    else:
        assert_close(scores, expected)
        assert_close(probabilities, reference.softmax(expected))


def test_agreement():
    """The mean distance of the predictions from what the gates make of them."""
    rng = np.random.default_rng(3)
    gates = reference.softmax(rng.normal(size=(B, 3)))
    predictions = list(3 * rng.normal(size=(3, B, N)))
    rectified = reference.log_softmax(reference.combine(gates, predictions))
    distances = [
        np.sum(np.exp(rectified) * (rectified - reference.log_softmax(p)), -1)
        for p in predictions
    ]
    expected = np.mean(np.sum(gates * np.transpose(distances), axis=-1))
    layer = keras_warn.GatedSum(agreement_weight=0.7, dtype="float64")
    layer(gates, predictions)
    assert_close(layer.losses, [0.7 * expected])
    layer(gates, [predictions[0]] * 3)
    np.testing.assert_allclose(to_numpy(layer.losses[0]), 0, atol=1e-12)


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_diversity(features, pool, data_format):
    kernel = np.random.default_rng(4).normal(size=(1, 1, C, K))
    masks = reference.attention_heads(features, kernel)
    expected = 0.7 * B * reference.mask_diversity(masks, pool)
    penalty = keras_warn.MaskDiversity(0.7, pool, data_format)
    if data_format == "channels_first":
        masks = channels_first(masks)
    found = penalty(ops.convert_to_tensor(masks))
    np.testing.assert_allclose(float(found), expected, rtol=1e-6)
