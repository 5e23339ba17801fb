import numpy as np
import pytest
from keras import ops
from support import gradients
from support import to_numpy

import keras_warn


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("factor", [0, 0.1, 1, 3])
def test_values_stay_and_gradients_are_scaled(factor, training):
    x = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    layer = keras_warn.GradientScale(factor)
    np.testing.assert_array_equal(to_numpy(layer(x, training=training)), x)
    # Beside a path of gradient one, as a backbone has: factor 0 cuts the other.
    (found,) = gradients(
        lambda x: ops.sum(x) + ops.sum(layer(x, training=training) ** 2), [x]
    )
    np.testing.assert_allclose(found, 1 + factor * 2 * x, rtol=1e-5)
