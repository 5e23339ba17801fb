"""The wide residual network, but for what holds for all networks.

That it computes what the reference does is in `test_reference_weights.py`.
"""

import numpy as np
import pytest
from paper_networks import WideResNet
from support import to_numpy
from support import without_weights


@pytest.mark.parametrize("activated", [True, False])
def test_what_shortcuts_read(activated):
    with without_weights():
        model = WideResNet(16, 2, activate_shortcuts=activated)
    for group, before in enumerate(
        ["stem_conv", "group1_block2_add", "group2_block2_add"], start=1
    ):
        name = f"group{group}_block1_relu1" if activated else before
        shortcut = model.get_layer(f"group{group}_block1_shortcut")
        assert shortcut.input is model.get_layer(name).output


def test_initial_kernels():
    """He's normal distribution of the fan-in, not truncated."""
    model = WideResNet(10, 8)
    kernels = [
        layer.kernel for layer in model.layers if hasattr(layer, "kernel")
    ]
    for kernel in kernels:
        kernel = to_numpy(kernel)
        kernel *= (np.prod(kernel.shape[:-1]) / 2) ** 0.5
        assert abs(kernel.std() - 1) < 5 / (2 * kernel.size) ** 0.5
        if kernel.size > 5000:
            assert np.abs(kernel).max() > 3


def test_kernels_of_one_shape_do_not_start_alike():
    model = WideResNet(16, 1)
    first, second = (
        to_numpy(model.get_layer(f"group1_block{block}_conv2").kernel)
        for block in (1, 2)
    )
    assert np.abs(first - second).max() > 0.01


def test_dropout_while_training():
    with without_weights():
        model = WideResNet(10, 1, dropout=0.5)
    for group in (1, 2, 3):
        dropout = model.get_layer(f"group{group}_block1_dropout")
        relu = model.get_layer(f"group{group}_block1_relu2")
        conv = model.get_layer(f"group{group}_block1_conv2")
        assert dropout.input is relu.output
        assert conv.input is dropout.output
