"""Values and gradients of the authors' code, to 1e-5.

The files hold two or three attention modules end to end, from feature maps to
the loss, as the PyTorch reference computes them.
"""

import functools
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from support import call
from support import gradients
from support import to_numpy

import keras_warn

GOLDENS = Path(__file__).parent / "goldens"
TOLERANCE = 1e-5


def assert_close(found, expected):
    np.testing.assert_allclose(to_numpy(found), expected, atol=TOLERANCE)


class Golden:
    """One file, and the layers that should reproduce it."""

    def __init__(self, name):
        self.data = dict(np.load(GOLDENS / f"{name}.npz"))
        count = sum(name.startswith("masks_") for name in self.data)
        self.modules = range(count)
        _, self.heads, self.classes = self["head_outputs_0"].shape
        self.masks = keras_warn.AttentionHeads(self.heads, kernel_size=3)
        self.attended = keras_warn.AttendedFeatures(kernel_size=3)
        self.hypotheses = keras_warn.OutputHeads(self.classes)
        self.head_gates = keras_warn.HeadGate()
        global_gate = keras_warn.GlobalGate(
            count + 1,
            str(self["gate_function"]),
            batch_norm=True,
        )
        features = ops.convert_to_tensor(self["features_0"])
        attended = self.attended(features, self.masks(features))
        self.hypotheses(attended)
        self.head_gates(attended)
        last = self["last_features"]
        global_gate.build(last.shape)
        # The reference lists its gates from the modules to the network.
        names = "kernel bn_gamma bn_beta bn_mean bn_variance".split()
        global_gate.set_weights(
            [np.roll(self[f"gate_{name}"], 1, axis=-1) for name in names]
        )
        self.gates = global_gate(last)
        self.logits = ops.convert_to_tensor(self["network_logits"])

    def __getitem__(self, name):
        return self.data[name]

    def arrays(self, prefix=""):
        """Features and kernels of all modules, as the layers have them.

        With the prefix `"grad_"`, the gradients of the loss by these.
        """
        found = []
        for i in self.modules:
            mask, output, gate = (
                self[f"{prefix}{part}_kernel_{i}"]
                for part in ("mask", "output", "gate")
            )
            output = output.reshape(-1, self.heads, self.classes)
            output = np.ascontiguousarray(output.transpose(1, 0, 2))
            gate = np.ascontiguousarray(gate.reshape(-1, self.heads).T)
            found += [self[f"{prefix}features_{i}"], mask, output, gate]
        return found

    def forward(self, features, mask_kernel, output_kernel, gate_kernel):
        """Everything that a module computes, by its name in the file."""
        masks = call(self.masks, [mask_kernel], features)
        attended = self.attended(features, masks)
        outputs = call(self.hypotheses, [output_kernel], attended)
        gates = call(self.head_gates, [gate_kernel], attended)
        return {
            "masks": masks,
            "head_outputs": outputs,
            "head_gates": gates,
            "module_output": ops.sum(gates[:, :, None] * outputs, axis=1),
        }

    def loss(self, *arrays, in_parts=False):
        """The loss, as a function of features and kernels of all modules.

        Args:
            *arrays: Of each module features and kernels.
            in_parts: Whether it is computed as the cross-entropy of the
                rectified prediction and a penalty on disagreement.
        """
        penalty = keras_warn.MaskDiversity(0.1 / len(self.modules), pool=2)
        predictions = [self.logits]
        loss = 0.0
        for i in self.modules:
            module = self.forward(*arrays[4 * i : 4 * i + 4])
            predictions.append(module["module_output"])
            loss += penalty(module["masks"]) / len(self["labels"])
        if in_parts:
            layer = keras_warn.GatedSum(agreement_weight=0.5)
            likelihood = keras.losses.SparseCategoricalCrossentropy()
        else:
            layer = keras_warn.GatedSum(activation=None)
            likelihood = keras_warn.GatedLogLikelihood()
        loss += likelihood(self["labels"], layer(self.gates, predictions))
        return loss + 2 * sum(layer.losses)


@pytest.fixture(params=["module_softmax", "module_sigmoid"], scope="module")
def golden(request):
    return Golden(request.param)


def test_modules(golden):
    arrays = [ops.convert_to_tensor(array) for array in golden.arrays()]
    for i in golden.modules:
        found = golden.forward(*arrays[4 * i : 4 * i + 4])
        for name, values in found.items():
            assert_close(values, golden[f"{name}_{i}"])


def test_scores_of_the_rectified_prediction(golden):
    modules = [golden[f"module_output_{i}"] for i in golden.modules]
    combine = keras_warn.GatedSum(activation=None)
    scores = combine(golden.gates, [golden.logits, *modules])
    assert_close(scores, golden["final"])


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_diversity(golden, data_format):
    penalty = keras_warn.MaskDiversity(1.0, 2, data_format)
    for i in golden.modules:
        masks = golden[f"masks_{i}"]
        if data_format == "channels_first":
            masks = masks.transpose(0, 3, 1, 2)
        found = float(penalty(ops.convert_to_tensor(masks))) / len(masks)
        # The values are of the order of 1e-5: a relative tolerance.
        np.testing.assert_allclose(found, golden[f"diversity_loss_{i}"], 1e-5)


@pytest.mark.parametrize("in_parts", [False, True])
def test_loss_and_gradients(golden, in_parts):
    loss = functools.partial(golden.loss, in_parts=in_parts)
    arrays = golden.arrays()
    found = loss(*map(ops.convert_to_tensor, arrays))
    assert_close(found, golden["loss"])
    expected = golden.arrays("grad_")
    for one, other in zip(gradients(loss, arrays), expected, strict=True):
        assert np.abs(other).max() > 1e-4, "a gradient worth comparing"
        assert_close(one, other)
