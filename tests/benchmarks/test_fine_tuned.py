"""The backbone is trained with and without attention, and resumes."""

import fine_tuned
import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from keras_warn.data import synthetic

pytestmark = pytest.mark.usefixtures("eager")


def tiny(network_classes):
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 255)(x)
    for filters in (4, 8):
        x = layers.Conv2D(filters, 3, 2, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(network_classes, "softmax", name="classifier")(x)
    return keras.Model(inputs, x)


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.setattr(fine_tuned, "BATCH", 4)
    monkeypatch.setattr(fine_tuned, "RATES", (0.01,))
    variants = {k: v for k, v in fine_tuned.VARIANTS.items() if "full" not in k}
    monkeypatch.setattr(fine_tuned, "VARIANTS", variants)
    monkeypatch.setattr(
        fine_tuned.training,
        "build_network",
        lambda backbone, classes, size, weights: tiny(classes),
    )
    images = synthetic.write_image_folder(tmp_path / "shapes", 2, 4, 3)
    out = tmp_path / "fine_tuned.csv"
    words = ["shapes", "--images", str(images), "--backbone", "tiny"]
    words += ["--image-size", "16", "--epochs", "2", "--out", str(out)]
    return lambda *more: fine_tuned.main([*words, *more]) or pd.read_csv(out)


def test_each_variant_is_tested_once_for_each_seed(
    command, monkeypatch, tmp_path
):
    found = command("--seeds", "0")
    tested = found[found["part"] == "test"]
    assert list(tested["head"]) == list(fine_tuned.VARIANTS)
    assert (tested["images"] == 6).all()
    baseline, uniform, paper, attention = tested["parameters"]
    assert baseline < uniform == attention < paper

    trained = []

    def counted(model, batches, epochs, rate):
        trained.append(rate)
        return model

    monkeypatch.setattr(fine_tuned, "trained", counted)
    # As if another rate had been tried, and were the better one.
    tuned = found[found["part"] == "validation"]
    better = pd.concat([found, tuned.assign(rate=0.02, accuracy=2.0)])
    better.to_csv(tmp_path / "fine_tuned.csv", index=False)
    again = command("--seeds", "0", "1")
    # Those of seed 0 are there.
    assert trained == [0.02] * len(fine_tuned.VARIANTS)
    assert (again["seed"][len(better) :] == 1).all()


def test_uniform_masks_stay_uniform_while_all_else_learns():
    model = fine_tuned.VARIANTS["uniform masks"](tiny(2))
    before = model.get_weights()
    model.compile("sgd", "categorical_crossentropy")
    x = np.random.default_rng(0).uniform(size=(4, 16, 16, 3))
    model.train_on_batch(255 * x, np.eye(2)[[0, 1, 0, 1]])
    for variable, old in zip(model.weights, before, strict=True):
        changed = np.any(variable.numpy() != old)
        assert changed == ("masks" not in variable.path), variable.path
