"""The transcription of the paper by hand.

Layers agree with it and, in `test_goldens.py`, with the authors' code.
"""

import numpy as np
import reference
from scipy.signal import correlate


def test_convolve_agrees_with_scipy():
    random = np.random.default_rng(0)
    features = random.normal(size=(2, 7, 5, 3))
    kernel = random.normal(size=(3, 5, 3, 11))
    expected = np.zeros((2, 7, 5, 11))
    for example in range(2):
        for out in range(11):
            for channel in range(3):
                expected[example, :, :, out] += correlate(
                    features[example, :, :, channel],
                    kernel[:, :, channel, out],
                    mode="same",
                )
    np.testing.assert_allclose(
        reference.convolve(features, kernel), expected, atol=1e-12
    )


def test_sigmoid_masks_are_independent_of_other_positions():
    features = np.zeros((1, 2, 3, 1))
    features[0, 1, 2, 0] = 2.0
    kernel = np.ones((1, 1, 1, 1))
    masks = reference.attention_heads(features, kernel, "sigmoid")
    expected = np.full((1, 2, 3, 1), 0.5)
    expected[0, 1, 2, 0] = 1.0 / (1.0 + np.exp(-2.0))
    np.testing.assert_allclose(masks, expected)


def test_global_gates_of_a_worked_example():
    gates = reference.global_gates([[1.0, 2.0]], [[0.5, 0.0], [0.0, -0.25]])
    powers = np.exp([np.tanh(0.5), np.tanh(-0.5)])
    np.testing.assert_allclose(gates, [powers / powers.sum()])


def test_combine_probabilities_of_a_worked_example():
    # Logits whose softmax is (1/2, 1/2) and (1/4, 3/4).
    outputs = [np.zeros((1, 2)), np.log([[1.0, 3.0]])]
    combined = reference.combine([[0.8, 0.2]], outputs, "probabilities")
    np.testing.assert_allclose(combined, [[0.45, 0.55]])


def test_combine_with_the_networks_gate_alone_is_the_network():
    network = np.random.default_rng(0).normal(size=(5, 7))
    module = np.random.default_rng(1).normal(size=(5, 7))
    gates = np.tile([1.0, 0.0], (5, 1))
    combined = reference.combine(gates, [network, module])
    np.testing.assert_allclose(combined, reference.log_softmax(network))


def test_unpooled_diversity_of_a_worked_example():
    # Two heads that share one of three positions with mass 1/2 each.
    masks = np.array([[[0.5, 0.5], [0.5, 0.0], [0.0, 0.5]]])[:, None]
    # One off-diagonal overlap of 1/4, twice, squared, over k * k = 4.
    np.testing.assert_allclose(reference.mask_diversity(masks), 0.03125)


def test_pooling_drops_an_odd_last_row_and_column():
    masks = np.arange(15.0).reshape(1, 3, 5, 1)
    pooled = reference.average_pool(masks)
    np.testing.assert_allclose(pooled[0, :, :, 0], [[3.0, 5.0]])
