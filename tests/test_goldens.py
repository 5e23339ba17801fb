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


class Golden:
    """One file, and the layers that should reproduce it."""

    def __init__(self, name):
        self.data = dict(np.load(GOLDENS / f"{name}.npz"))
        self.modules = sum(name.startswith("masks_") for name in self.data)
        self.activation = str(self.data["gate_function"])
        _, self.heads, self.classes = self["head_outputs_0"].shape
        self.masks = keras_warn.AttentionHeads(self.heads, kernel_size=3)
        self.attended = keras_warn.AttendedFeatures(kernel_size=3)
        self.hypotheses = keras_warn.OutputHeads(self.classes)
        self.gates = keras_warn.HeadGate()
        self.global_gate = keras_warn.GlobalGate(
            self.modules + 1, self.activation, batch_norm=True
        )
        self.combine = keras_warn.GatedSum(activation=None)
        self.rectify = keras_warn.GatedSum(agreement_weight=1.0)
        self.build()

    def __getitem__(self, name):
        return self.data[name]

    def build(self):
        features = ops.convert_to_tensor(self["features_0"])
        attended = self.attended(features, self.masks(features))
        self.hypotheses(attended)
        self.gates(attended)
        self.global_gate(self["last_features"])
        normalization = self.global_gate.normalization
        # The reference lists its gates from the modules to the network.
        self.global_gate.kernel.assign(network_first(self["gate_kernel"]))
        for name in ("gamma", "beta", "mean", "variance"):
            variable = getattr(
                normalization,
                f"moving_{name}" if name in ("mean", "variance") else name,
            )
            variable.assign(network_first(self[f"gate_bn_{name}"]))

    def kernels(self, i):
        """Kernels of module `i`, in the layout of the layers."""
        output = self[f"output_kernel_{i}"]
        output = output.reshape(-1, self.heads, self.classes)
        gate = self[f"gate_kernel_{i}"].reshape(-1, self.heads)
        return [
            self[f"mask_kernel_{i}"],
            np.ascontiguousarray(output.transpose(1, 0, 2)),
            np.ascontiguousarray(gate.T),
        ]

    def forward(self, i, features, mask_kernel, output_kernel, gate_kernel):
        """Everything that module `i` computes, by its name in the file."""
        masks = call(self.masks, [mask_kernel], features)
        attended = self.attended(features, masks)
        outputs = call(self.hypotheses, [output_kernel], attended)
        gates = call(self.gates, [gate_kernel], attended)
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
        penalty = keras_warn.MaskDiversity(0.1 / self.modules, pool=2)
        predictions = [ops.convert_to_tensor(self["network_logits"])]
        loss = 0.0
        for i in range(self.modules):
            module = self.forward(i, *arrays[4 * i : 4 * i + 4])
            predictions.append(module["module_output"])
            loss += penalty(module["masks"]) / len(self["labels"])
        gates = self.global_gate(self["last_features"])
        if in_parts:
            rectified = self.rectify(gates, predictions)
            likelihood = keras.losses.SparseCategoricalCrossentropy()
            (penalty,) = self.rectify.losses
            return loss + penalty + likelihood(self["labels"], rectified)
        scores = self.combine(gates, predictions)
        likelihood = keras_warn.GatedLogLikelihood()
        return loss + likelihood(self["labels"], scores)

    def arrays(self):
        return [
            array
            for i in range(self.modules)
            for array in [self[f"features_{i}"], *self.kernels(i)]
        ]


def network_first(x):
    return np.roll(x, 1, axis=-1)


@pytest.fixture(params=["module_softmax", "module_sigmoid"], scope="module")
def golden(request):
    return Golden(request.param)


@pytest.mark.parametrize(
    "name", ["masks", "head_outputs", "head_gates", "module_output"]
)
def test_modules(golden, name):
    for i in range(golden.modules):
        features = ops.convert_to_tensor(golden[f"features_{i}"])
        found = golden.forward(i, features, *golden.kernels(i))[name]
        np.testing.assert_allclose(
            to_numpy(found), golden[f"{name}_{i}"], atol=TOLERANCE
        )


def test_scores_of_the_rectified_prediction(golden):
    modules = [
        ops.convert_to_tensor(golden[f"module_output_{i}"])
        for i in range(golden.modules)
    ]
    network = ops.convert_to_tensor(golden["network_logits"])
    scores = golden.combine(
        golden.global_gate(golden["last_features"]), [network, *modules]
    )
    np.testing.assert_allclose(
        to_numpy(scores), golden["final"], atol=TOLERANCE
    )


def test_diversity(golden):
    penalty = keras_warn.MaskDiversity(1.0, pool=2)
    for i in range(golden.modules):
        masks = golden[f"masks_{i}"]
        found = float(penalty(ops.convert_to_tensor(masks))) / len(masks)
        # The values are of the order of 1e-5: a relative tolerance.
        np.testing.assert_allclose(found, golden[f"diversity_loss_{i}"], 1e-5)


@pytest.mark.parametrize("in_parts", [False, True])
def test_loss(golden, in_parts):
    arrays = map(ops.convert_to_tensor, golden.arrays())
    found = golden.loss(*arrays, in_parts=in_parts)
    np.testing.assert_allclose(to_numpy(found), golden["loss"], atol=TOLERANCE)


@pytest.mark.parametrize("in_parts", [False, True])
def test_gradients(golden, in_parts):
    loss = functools.partial(golden.loss, in_parts=in_parts)
    found = iter(gradients(loss, golden.arrays()))
    for i in range(golden.modules):
        expected = [golden[f"grad_features_{i}"]]
        for name in ("mask", "output", "gate"):
            expected.append(golden[f"grad_{name}_kernel_{i}"])
        output = expected[2].reshape(-1, golden.heads, golden.classes)
        expected[2] = output.transpose(1, 0, 2)
        expected[3] = expected[3].reshape(-1, golden.heads).T
        for array in expected:
            assert np.abs(array).max() > 1e-4, "a gradient worth comparing"
            np.testing.assert_allclose(next(found), array, atol=TOLERANCE)
