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
    heads = kernel.shape[0]
    kernel = to_numpy(kernel).reshape(heads, size, size, C, -1)
    return kernel.transpose(1, 2, 3, 0, 4).reshape(size, size, C, -1)


@pytest.mark.parametrize(
    "size, heads, classes",
    [
        (1, K, N),
        (3, K, N),
        (11, K, N),  # offsets that lie outside of the map everywhere
        (3, 17, 167),  # of so many, TensorFlow computes in other ways
    ],
)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_module(features, size, heads, classes, activation, data_format):
    """Masks, hypotheses and head gates of one module."""
    options = {"data_format": data_format, "dtype": "float64"}
    first = data_format == "channels_first"
    z = ops.convert_to_tensor(channels_first(features) if first else features)
    look = keras_warn.AttentionHeads(heads, size, activation, **options)
    masks = look(z)
    attended = keras_warn.AttendedFeatures(size, **options)(z, masks)
    outputs = keras_warn.OutputHeads(classes, dtype="float64")
    hypotheses = outputs(attended)
    gate = keras_warn.HeadGate(dtype="float64")
    gates = gate(attended)

    expected = reference.attention_heads(
        features, to_numpy(look.kernel), activation
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


def test_kernels_of_a_rank_are_products():
    attended = np.random.default_rng(6).normal(size=(B, K, C))
    outputs = keras_warn.OutputHeads(N, rank=2, dtype="float64")
    found = outputs(ops.convert_to_tensor(attended))
    shared, kernel = map(to_numpy, (outputs.shared_kernel, outputs.kernel))
    assert (shared.shape, kernel.shape) == ((C, 2), (K, 2, N))
    # Each of random numbers of its own, at the start of which none are alike.
    signs = np.sign(shared.ravel()), np.sign(kernel.transpose(1, 0, 2).ravel())
    assert (signs[0][:16] != signs[1][:16]).any()
    full = np.einsum("bkf,kfn->bkn", attended, shared @ kernel)
    assert_close(found, full)
    # Functions initialize, too.
    ones = keras_warn.OutputHeads(N, ops.ones, rank=2)
    assert (to_numpy(ones(attended)) > 0).any()


def test_tokens_are_a_map_of_one_row(features):
    found = []
    for shape in ((B, H * W, C), (B, 1, H * W, C)):
        keras.utils.set_random_seed(0)
        z = features.reshape(shape)
        masks = keras_warn.AttentionHeads(K, dtype="float64")(z)
        attended = keras_warn.AttendedFeatures(dtype="float64")(z, masks)
        found.append((to_numpy(masks), to_numpy(attended)))
    (masks, attended), (row_masks, row_attended) = found
    assert_close(masks, row_masks[:, 0])
    assert_close(attended, row_attended)


@pytest.mark.parametrize("bound", ["tanh", None])
def test_global_gate(features, bound):
    pooled = 10 * features.mean(axis=(1, 2))
    gate = keras_warn.GlobalGate(4, score_activation=bound, dtype="float64")
    found = gate(pooled)
    expected = reference.global_gates(
        pooled, to_numpy(gate.kernel), np.tanh if bound else np.positive
    )
    assert_close(found, expected)


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
        expected = np.log(expected)
    assert_close(scores, expected)
    assert_close(probabilities, reference.softmax(expected))
