import keras
import numpy as np
import pytest

import keras_warn


def masks_at(*positions):
    """One-hot masks of shape `(1, 4, 4, heads)`."""
    masks = np.zeros((1, 16, len(positions)), "float32")
    for head, position in enumerate(positions):
        masks[0, position, head] = 1
    return masks.reshape(1, 4, 4, -1)


def test_disjoint_masks_cost_nothing_and_equal_ones_cost_most():
    penalty = keras_warn.MaskDiversity(1.0)
    assert float(penalty(masks_at(0, 5, 10))) == 0
    # Six of nine pairs overlap by one.
    assert float(penalty(masks_at(3, 3, 3))) == pytest.approx(6 / 9)
    assert float(penalty(masks_at(3))) == 0


def test_pooled_masks_see_neighbours():
    neighbours = masks_at(0, 1)
    assert float(keras_warn.MaskDiversity(1.0)(neighbours)) == 0
    assert float(keras_warn.MaskDiversity(1.0, pool=2)(neighbours)) > 0


@pytest.mark.parametrize("batch", [1, 6])
def test_loss_is_a_mean_over_the_batch(batch):
    """Keras divides activity penalties by the batch size: not twice."""
    keras.utils.set_random_seed(1)
    layer = keras_warn.AttentionHeads(
        3, activity_regularizer=keras_warn.MaskDiversity(0.5)
    )
    image = np.random.default_rng(0).normal(size=(1, 4, 4, 5))
    masks = layer(image.astype("float32"))
    single = float(keras_warn.MaskDiversity(0.5)(masks))
    assert single > 0
    layer(np.repeat(image, batch, axis=0).astype("float32"))
    assert float(layer.losses[0]) == pytest.approx(single, rel=1e-5)
