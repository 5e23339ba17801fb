"""Heads on frozen features train side by side as alone, at equal size."""

import frozen
import keras
import numpy as np
import pytest
from keras import layers
from measuring import frozen_report
from measuring import rows
from measuring import trainings

from keras_warn import training
from keras_warn.data import ImageDataset
from keras_warn.data import TestBatches
from keras_warn.data import TrainingBatches
from keras_warn.data import transforms

pytestmark = pytest.mark.usefixtures("eager")

CLASSES, WIDTH = 3, 2


@pytest.fixture(scope="module")
def trunk():
    x = inputs = keras.Input((38, 38, 3))
    x = layers.Rescaling(1 / 255)(x)
    for filters in (8, 16, 64):
        x = layers.Conv2D(filters, 3, 2, activation="relu")(x)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    model.trainable = False
    return model


@pytest.fixture(scope="module")
def images():
    contents = np.random.default_rng(0).integers(0, 255, (14, 38, 38, 3))
    return ImageDataset(
        "made up",
        [str(i) for i in range(14)],
        np.arange(14) % CLASSES,
        ("a", "b", "c"),
        splits={},
        contents=contents.astype("uint8"),
    )


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(frozen, "QUERIES", 2)


def weights(head):
    return np.concatenate([np.ravel(x) for x in head.get_weights()])


def test_a_head_learns_beside_others_what_it_learns_alone(
    trunk, images, small, tmp_path
):
    def trained(*names):
        keras.utils.set_random_seed(0)
        features, heads = frozen.features_and_heads(trunk, CLASSES, WIDTH)
        if not caches:
            batches = TrainingBatches(images, transforms.Identity(), 4)
            caches.append(
                training.FeatureCache(
                    features, batches, tmp_path, views=2, verbose=0
                )
            )
        trainings.train(
            [heads[name] for name in names], caches[0], 2, 1, 0.01, 0.1
        )
        return weights(heads[names[0]])

    caches = []
    together = trained("attention", "linear")
    np.testing.assert_allclose(trained("attention"), together, atol=2e-5)


def test_controls_have_as_many_parameters(trunk, small):
    _, heads = frozen.features_and_heads(trunk, CLASSES, WIDTH)
    ours = heads["attention"].count_params()
    for name in ("MLP", "MLP, all maps", "uniform masks"):
        assert abs(heads[name].count_params() - ours) <= 0.1 * ours, name


def test_correct_images_are_those_of_the_head(trunk, images, small, tmp_path):
    features, heads = frozen.features_and_heads(trunk, CLASSES, WIDTH)
    batches = TestBatches(images, transforms.Identity(), 4)
    cache = training.FeatureCache(features, batches, tmp_path, verbose=0)
    chosen = [heads["attention"], heads["MLP"]]
    found = frozen.correct(chosen, cache)
    for head, right in zip(chosen, found, strict=True):
        predicted = cache.predict(head).argmax(axis=-1)
        np.testing.assert_array_equal(right, predicted == images.labels)


def test_an_interval_counts_seeds_and_images():
    random = np.random.default_rng(1)
    # The same on every seed: only images vary.
    images = random.choice([-1, 0, 1], p=[0.1, 0.7, 0.2], size=400)
    low, high = frozen_report.interval(np.stack([images] * 5))
    error = images.std() / 20
    np.testing.assert_allclose(high - low, 2 * 1.96 * error, rtol=0.15)
    # The same on every image: only seeds vary.
    seeds = np.repeat([[0], [0], [0], [1], [1]], 400, axis=1)
    low, high = frozen_report.interval(seeds)
    assert low <= 0.05 and high >= 0.75


def test_the_table_pairs_images(tmp_path):
    run = {"data": "birds", "backbone": "net", "parameters": 7}
    run |= {"milliseconds": 0.5, "part": "test"}
    path = tmp_path / "frozen.csv"
    tested = [
        ("linear", 0, [1, 0, 0, 1, 0]),
        ("linear", 1, [1, 0, 0, 1, 1]),
        ("attention", 0, [1, 1, 0, 1, 0]),
        ("attention", 1, [1, 1, 0, 1, 1]),
        ("linear", 2, [1, 1, 1, 1, 1]),  # without its pair yet
    ]
    for head, seed, right in tested:
        row = {**run, "head": head, "seed": seed}
        rows.add(path, [{**row, **rows.tested(np.array(right, bool))}])
    rows.add(path, [{**row, "part": "validation", "head": "attention"}])
    found = frozen_report.tables(path)
    line = found.splitlines()[2]
    assert "66.7 ± 30.55; +20.0 (" in line
    assert line.endswith("+20.0 |")  # the mean over one data set
    assert "7; 0.50" in found
