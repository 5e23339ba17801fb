import numpy as np
import pytest

import keras_warn


def test_penalty_by_hand():
    """Two heads that look everywhere, one that looks at one of 20 places."""
    masks = np.full((1, 4, 5, 3), 1 / 20, "float32")
    masks[..., 2] = 0
    masks[0, 1, 2, 2] = 1
    # Each inner product is 1 / 20, of 6 pairs among 9.
    found = float(keras_warn.MaskDiversity(0.5)(masks))
    assert found == pytest.approx(0.5 * 6 / 9 / 400, rel=1e-5)


@pytest.mark.parametrize("batch", [1, 6])
def test_loss_is_a_mean_over_the_batch(batch):
    """Keras divides activity penalties by the batch size: not twice."""
    penalty = keras_warn.MaskDiversity(0.5)
    layer = keras_warn.AttentionHeads(3, activity_regularizer=penalty)
    image = np.random.default_rng(0).normal(size=(1, 4, 4, 5))
    single = float(penalty(layer(image)))
    assert single > 0
    layer(np.repeat(image, batch, axis=0))
    assert float(layer.losses[0]) == pytest.approx(single, rel=1e-5)
