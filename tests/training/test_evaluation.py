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


class Fixed:
    """A model that predicts what it is told, whatever it sees."""

    def __init__(self, predictions):
        self.predictions = np.array(predictions, "float32")

    def predict(self, dataset, verbose):
        count = sum(len(batch) for batch in dataset.as_numpy_iterator())
        # Of what fills up the last batch, nonsense.
        more = np.full((count, *self.predictions.shape[1:]), np.nan)
        more[: len(self.predictions)] = self.predictions
        return more


def batches(labels, batch_size=4, pixels=None):
    if pixels is None:
        pixels = np.zeros((len(labels), 8, 8, 3), "uint8")
    dataset = ImageDataset(
        "gray",
        [f"{i}" for i in range(len(labels))],
        labels,
        ["a", "b", "c"],
        splits={},
        contents=pixels,
    )
    return TestBatches(dataset, transforms.Identity(), batch_size)


PREDICTIONS = [
    [0.5, 0.3, 0.2],
    [0.1, 0.8, 0.1],
    [0.25, 0.25, 0.5],
    [0.7, 0.2, 0.1],
    [0.05, 0.05, 0.9],
]


@pytest.mark.parametrize("batch_size", [1, 2, 4, 5, 8])
def test_loss_and_accuracy_by_hand(batch_size):
    found = evaluate(Fixed(PREDICTIONS), batches([0, 1, 2, 2, 0], batch_size))
    logs = [math.log(p) for p in (0.5, 0.8, 0.5, 0.1, 0.05)]
    assert found["loss"] == pytest.approx(-sum(logs) / 5, rel=1e-6)
    assert found["accuracy"] == pytest.approx(3 / 5)


def test_as_keras_evaluates_whole_batches():
    labels = np.arange(8) % 3
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), "uint8")
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
    expected = model.evaluate(pixels.astype("float32"), labels, 4, verbose=0)
    found = evaluate(model, batches(labels, 4, pixels))
    assert [*found.values()] == pytest.approx(expected, rel=1e-5)


def test_a_model_that_diverged_does_not_look_like_one_that_learned():
    found = evaluate(Fixed([[np.nan] * 3] * 5), batches([0] * 5))
    assert math.isnan(found["loss"])
    some = [[np.nan] * 3, *PREDICTIONS[1:]]
    assert math.isnan(evaluate(Fixed(some), batches([0, 1, 2, 2, 0]))["loss"])


def test_probabilities_of_zero_count_as_keras_counts_them():
    found = evaluate(Fixed([[1.0, 0.0, 0.0]]), batches([1]))
    assert found["loss"] == pytest.approx(-math.log(1e-7), rel=1e-6)


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


def test_logits_are_no_probabilities():
    with pytest.raises(ValueError, match="must return probabilities.* sum of"):
        evaluate(Fixed(np.log(PREDICTIONS)), batches([0, 1, 2, 2, 0]))
