"""Weights of the authors' code, in the same network here."""

from pathlib import Path

import numpy as np
import pytest
from paper_networks import WideResNet
from paper_networks import load_reference_weights
from support import assert_all_equal
from support import to_numpy

import keras_warn

GOLDENS = Path(__file__).parents[2] / "goldens"
# A whole WARN-16-1 with weights and statistics at random.
DATA = dict(np.load(GOLDENS / "warn_16_1.npz"))
WEIGHTS = {
    name.removeprefix("weight:"): array
    for name, array in DATA.items()
    if name.startswith("weight:")
}


def build(include_top=True, **attention):
    network = WideResNet(
        16,
        1,
        include_top=include_top,
        activate_stem=True,
        activate_shortcuts=False,
    )
    return keras_warn.augment(
        network,
        preset="reference",
        width=2,
        classifier_activation=None,
        **attention,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        # A classifier that `augment` made.
        {"include_top": False, "classes": 10},
        {"gradient_scale": 0.0},
    ],
)
def test_every_variable_is_set(arguments):
    """Scores lie between -43 and -4: a relative tolerance.

    In float64 the network is as far from them, 2e-6: it is their rounding.
    """
    model = build(**arguments)
    for variable in model.variables:
        variable.assign(np.full(variable.shape, np.nan))
    # Counters and constants of PyTorch are passed over.
    extra = {
        "bn0.num_batches_tracked": np.array(7),
        "output_gate.bn.num_batches_tracked": np.array(7),
        "att0.att_head.diag": 1 - np.eye(2)[None],
    }
    load_reference_weights(model, {**WEIGHTS, **extra})
    for variable in model.variables:
        assert np.isfinite(to_numpy(variable)).all(), variable.path
    found = to_numpy(model(DATA["images"]))
    np.testing.assert_allclose(found, DATA["final"], rtol=1e-5)


def test_fewer_modules():
    """The reference attends to the last groups, as `augment` does."""
    weights = {
        name: np.delete(array, 2, axis=0)
        if name.startswith("output_gate.")
        else array
        for name, array in WEIGHTS.items()
        if not name.startswith("att0.")
    }
    model, whole = build(depth=2), build()
    load_reference_weights(model, weights)
    load_reference_weights(whole, WEIGHTS)
    found, expected = (
        keras_warn.inspect(m)(DATA["images"]) for m in (model, whole)
    )
    for i in (1, 2):
        np.testing.assert_allclose(
            to_numpy(found[f"module_{i}_prediction"]),
            to_numpy(expected[f"module_{i + 1}_prediction"]),
            rtol=1e-5,
            atol=1e-5,
        )
    # What is left of the softmax, in the order of ours.
    gates = to_numpy(expected["global_gates"])[:, [0, 2, 3]]
    np.testing.assert_allclose(
        to_numpy(found["global_gates"]),
        gates / gates.sum(axis=-1, keepdims=True),
        rtol=1e-5,
    )


def test_all_or_nothing():
    model = build()
    before = model.get_weights()
    weights = dict(WEIGHTS)
    del weights["output_gate.bn.running_var"]
    weights["att3.score.conv.weight"] = weights["att2.score.conv.weight"]
    message = "att3.score.conv.weight, output_gate.bn.running_var"
    with pytest.raises(ValueError, match=message):
        load_reference_weights(model, weights)
    assert_all_equal(model.get_weights(), before)


def test_modules_in_another_order():
    model = build(attend_at=["final_relu", "group3_block1_relu1"], depth=2)
    with pytest.raises(ValueError, match="in this order. Received: final_"):
        load_reference_weights(model, WEIGHTS)
