"""The transcription of the paper against numbers from the authors' code.

`goldens/module_*.npz` hold modules end to end as that code computed them.
They carry its choices too: normalised gate scores, masks pooled 2x2 before
their diversity is taken, and the gated sum over log-probabilities.
"""

from pathlib import Path

import numpy as np
import pytest
import reference
from scipy.signal import correlate

GOLDENS = Path(__file__).parent / "goldens"
TOLERANCE = 1e-5
DIVERSITY_WEIGHT = 0.1


@pytest.fixture(params=["softmax", "sigmoid"])
def golden(request):
    # The name says the function of the *global gates*; the masks are spatial
    # softmaxes in both files.
    with np.load(GOLDENS / f"module_{request.param}.npz") as arrays:
        return dict(arrays)


def modules(golden):
    return range(sum(name.startswith("masks_") for name in golden))


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)


def golden_gate_scores(golden):
    return reference.normalised_gate_scores(
        golden["last_features"],
        golden["gate_kernel"],
        golden["gate_bn_gamma"],
        golden["gate_bn_beta"],
        golden["gate_bn_mean"],
        golden["gate_bn_variance"],
        golden["gate_bn_epsilon"],
    )


def computed(golden, i):
    """What the transcription makes of module `i`, by its name in the file."""

    def given(*names):
        return [golden[f"{name}_{i}"] for name in names]

    maps = given("features", "masks")
    return {
        "masks": reference.attention_heads(*given("features", "mask_kernel")),
        "head_outputs": reference.output_heads(*maps, *given("output_kernel")),
        "head_gates": reference.head_gates(*maps, *given("gate_kernel")),
        "module_output": reference.module_output(
            *given("head_gates", "head_outputs")
        ),
    }


def test_modules_agree(golden):
    for i in modules(golden):
        for name, found in computed(golden, i).items():
            assert_close(found, golden[f"{name}_{i}"])


def test_diversity_agrees(golden):
    values = []
    for i in modules(golden):
        value = reference.mask_diversity(golden[f"masks_{i}"], pool=2)
        # The values are near 3e-5, so only a relative bound says anything.
        np.testing.assert_allclose(
            value, golden[f"diversity_loss_{i}"], rtol=TOLERANCE
        )
        values.append(value)
    np.testing.assert_allclose(
        np.mean(values), golden["diversity_loss"], rtol=TOLERANCE
    )


def test_gate_scores_agree(golden):
    assert_close(golden_gate_scores(golden), golden["gate_scores"])


def test_final_and_loss_agree(golden):
    scores = golden_gate_scores(golden)
    if golden["gate_function"] == "sigmoid":
        gates = reference.sigmoid_gates(scores)
    else:
        gates = reference.softmax(scores)
    # In these files the last gate is the network's, after the modules'; the
    # library and `reference.combine` put the network first.
    gates = np.roll(gates, 1, axis=-1)
    outputs = [golden["network_logits"]]
    outputs += [golden[f"module_output_{i}"] for i in modules(golden)]
    final = reference.combine(gates, outputs)
    assert_close(final, golden["final"])

    labels = golden["labels"]
    likelihood = final[np.arange(len(labels)), labels]
    loss = -np.mean(likelihood) + DIVERSITY_WEIGHT * golden["diversity_loss"]
    # Near 3e-6, the weighted diversity is below 1e-5: a tighter bound than
    # elsewhere, or the loss would agree without it.
    np.testing.assert_allclose(loss, golden["loss"], rtol=0, atol=1e-6)


# What the files do not cover.


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
