"""How well a model does, counted one by one."""

import math

import keras
import numpy as np
import pytest
from support import to_numpy

from keras_warn.data import ImageDataset
from keras_warn.data import TestBatches
from keras_warn.data import transforms
from keras_warn.training import evaluate
from keras_warn.training.evaluation import averaged

pytestmark = pytest.mark.usefixtures("eager")

LABELS = np.arange(8) % 3
PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), "uint8")


class Fixed:
    """Batches of which a model predicts what it is told."""

    def __init__(self, predictions, labels):
        self.predictions = np.array(predictions, "float32")
        self.labels = np.array(labels)

    def predict(self, model):
        return self.predictions


def test_as_keras_evaluates():
    """With a last batch that is smaller."""
    dataset = ImageDataset(
        "noise", [*"12345678"], LABELS, "abc", splits={}, contents=PIXELS
    )
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    model.compile(
        "sgd", "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    expected = model.evaluate(PIXELS.astype("float32"), LABELS, 3, verbose=0)
    found = evaluate(model, TestBatches(dataset, transforms.Identity(), 3))
    assert [*found.values()] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("predictions", "loss", "accuracy"),
    [
        ([[0.5, 0.3, 0.2], [0.7, 0.2, 0.1]], -math.log(0.5 * 0.2) / 2, 0.5),
        # As Keras counts them.
        ([[0.0, 1.0, 0.0]] * 2, -math.log(1e-7) / 2, 0.5),
        # What diverged must not look like what learned.
        ([[math.nan] * 3, [0.1, 0.9, 0.0]], math.nan, None),
    ],
)
def test_by_hand(predictions, loss, accuracy):
    found = evaluate(None, Fixed(predictions, [0, 1]))
    assert found["loss"] == pytest.approx(loss, rel=1e-6, nan_ok=True)
    assert accuracy is None or found["accuracy"] == accuracy


def test_logits_are_no_probabilities():
    with pytest.raises(ValueError, match="must return probabilities.* sum of"):
        evaluate(None, Fixed(np.log([[0.5, 0.3, 0.2]]), [0]))


def test_averages_are_lent():
    inputs = keras.Input((2,))
    dense = keras.layers.Dense(1)
    model = keras.Model(inputs, dense(inputs))
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, "mse")
    model.fit(np.ones((8, 2)), np.ones((8, 1)), batch_size=2, verbose=0)
    # At its end, `fit` itself leaves the averages.
    averages = to_numpy(dense.kernel).copy()
    own = averages + 1
    dense.kernel.assign(own)
    with pytest.raises(RuntimeError), averaged(model):
        np.testing.assert_array_equal(to_numpy(dense.kernel), averages)
        dense.kernel.assign(own + 100)
        raise RuntimeError
    np.testing.assert_array_equal(to_numpy(dense.kernel), own)
