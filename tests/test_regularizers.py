import keras
import numpy as np
import pytest

import keras_warn


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
