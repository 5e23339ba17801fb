import keras
import numpy as np
import pytest

import keras_warn


def test_minus_the_score_of_the_label():
    scores = np.array([[-1.0, -2.0, -4.0], [-8.0, -16.0, -32.0]], "float32")
    loss = keras_warn.GatedLogLikelihood(reduction=None)
    for labels in ([2, 0], [[2], [0]]):
        found = keras.ops.convert_to_numpy(loss(np.array(labels), scores))
        np.testing.assert_array_equal(found, [4.0, 8.0])


def test_bad_labels():
    scores = np.zeros((4, 3), "float32")
    loss = keras_warn.GatedLogLikelihood()
    with pytest.raises(ValueError, match=r"one-hot .* shape \(4, 3\)"):
        loss(np.eye(4, 3), scores)
    with pytest.raises(ValueError, match="`y_pred` must have shape"):
        loss(np.zeros(4, int), scores[None])


def test_config_round_trip():
    loss = keras_warn.GatedLogLikelihood("sum", "mine", "float64")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert again.dtype == "float64"
