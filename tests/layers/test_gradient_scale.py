import keras
import numpy as np
import pytest
from keras import ops
from measuring.memory import measure_memory
from measuring.models import compile_model
from measuring.models import random_batch
from support import gradients
from support import needs_tensorflow
from support import to_numpy

import keras_warn
from keras_warn.layers import gradient_scale


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


@pytest.mark.slow
@needs_tensorflow
def test_less_memory_where_gradients_are_added_up(monkeypatch):
    backbone = keras.applications.ResNet50V2(
        input_shape=(128, 128, 3), classes=10, weights=None
    )
    batch = random_batch(backbone, 16)

    def peak():
        model = keras_warn.augment(backbone, preset="paper", depth=4)
        compile_model(model)
        found = measure_memory({"ours": model}, *batch, rounds=5)
        return found["median"]["ours"]

    added_up = peak()
    monkeypatch.setattr(gradient_scale, "_junction", lambda x: x)
    assert added_up < 0.96 * peak()
