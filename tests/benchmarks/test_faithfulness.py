"""The benchmark measures what it says: maps, curves and intervals by hand."""

import dataclasses
import json

import archive_files
import faithfulness
import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from keras import ops
from measuring import faithfulness_report as report
from measuring import saliency
from PIL import Image

import keras_warn

pytestmark = [
    pytest.mark.usefixtures("eager"),
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow",
        reason="the benchmark takes gradients with TensorFlow",
    ),
]

H, W, CLASSES = 11, 13, 3
BOX = np.array([[2, 3, 7, 8]])


def sees_the_box():
    """Class 1 is the more probable, the brighter the pixels in the box."""
    kernel = np.zeros((H * W, CLASSES))
    kernel[:, 1] = saliency.inside(BOX, (H, W)).ravel() / 5
    inputs = keras.Input((H, W, 1))
    dense = layers.Dense(CLASSES, "softmax")
    model = keras.Model(inputs, dense(layers.Flatten()(inputs)))
    dense.set_weights([kernel, np.zeros(CLASSES)])
    return model


def network(size=(H, W, 1), classes=CLASSES, depth=2):
    x = inputs = keras.Input(size)
    for filters in (5, 7):
        x = layers.Conv2D(filters, 3, 2, "same", activation="relu")(x)
    return keras_warn.augment(
        keras.Model(inputs, x), classes, preset="paper", depth=depth, width=2
    )


def images(b, *size):
    return np.random.default_rng(0).random((b, *size)).astype("float32")


def test_the_object_first_is_better_than_last(monkeypatch):
    """In whatever batches."""
    monkeypatch.setattr(saliency, "BATCH_SIZE", 2)
    model = sees_the_box()
    white, black = np.ones((3, H, W, 1)), np.zeros((3, H, W, 1))
    areas = {}
    first = saliency.inside(np.repeat(BOX, 3, axis=0), (H, W))
    classes = [1, 1, 1], [0, 0, 0]
    for name, found in (("first", first), ("last", -first)):
        places = saliency.order(found, seed=0)
        inserted = saliency.curves(model, black, white, places, *classes)
        deleted = saliency.curves(model, white, black, places, *classes)
        for probabilities, margins in (inserted, deleted):
            # The other classes share the rest.
            np.testing.assert_allclose(
                margins,
                np.log(probabilities) - np.log((1 - probabilities) / 2),
                atol=1e-4,
            )
        assert inserted[0][0, 0] == pytest.approx(1 / CLASSES)
        np.testing.assert_allclose(
            deleted[0][0, [0, -1]], inserted[0][0, ::-20]
        )
        areas[name] = [saliency.area(c[0])[2] for c in (inserted, deleted)]
    assert areas["first"][0] > 0.8 > 0.5 > areas["last"][0]
    assert areas["first"][1] < 0.5 < 0.8 < areas["last"][1]


def test_the_strongest_come_first_and_equals_by_chance():
    found = np.zeros((50, H, W))
    found[:, 5, 7], found[:, 1, 2] = 2, 1
    found[:, 3] = -1
    places = saliency.order(found, seed=0)
    assert (np.sort(places) == np.arange(H * W)).all()
    assert (places[:, 0] == 5 * W + 7).all()
    assert (places[:, 1] == 1 * W + 2).all()
    assert (places[:, -W:] // W == 3).all()
    # Neither first nor last rows are preferred.
    assert np.mean(places[:, 2:40] // W) == pytest.approx(5, abs=0.5)


def test_a_blur_leaves_no_details_and_no_darker_borders():
    flat = np.full((2, H, W, 3), 0.3)
    np.testing.assert_allclose(saliency.blurred(flat), flat, rtol=1e-6)
    checkered = (np.indices((40, 40)).sum(axis=0) % 2)[None, :, :, None]
    # A border's own colour weighs a little more there.
    assert np.abs(saliency.blurred(checkered) - 0.5).max() < 0.06
    half = np.zeros((1, 40, 40, 1))
    half[:, :20] = 1
    assert saliency.blurred(half)[0, [0, -1], 20, 0].round(2).tolist() == [1, 0]


def test_energy_and_pointing():
    found = np.zeros((4, H, W))
    found[0, 2, 3], found[0, 0, 0] = 3, 1  # the first and a far pixel
    found[1, 7, 8], found[1, 2, 3] = 1, -5  # just outside; speaks against
    found[2, 6, 7], found[2, 2, 2] = 1, 1  # tied: the last, just outside
    boxes = np.repeat(BOX, 4, axis=0)
    share = 25 / (H * W)  # of a map that says nothing
    expected = [3 / 4, 0, 1 / 2, share]
    np.testing.assert_allclose(saliency.energy(found, boxes), expected)
    expected = [1, 0, 1 / 2, share]
    np.testing.assert_allclose(saliency.pointing(found, boxes), expected)


def test_of_a_network_that_does_not_pool():
    features = keras.Input((5, 7, 3))
    dense = layers.Dense(CLASSES, use_bias=False)
    logits = dense(layers.Flatten()(features))
    given = images(2, 5, 7, 3)
    [(pooled, pointwise)] = saliency.class_activations(
        keras.Model(features, [features, logits]), given, [2, 0]
    )
    weights = ops.convert_to_numpy(dense.kernel)[:, [2, 0]].T
    weights = weights.reshape(2, 5, 7, 3)
    expected = np.maximum((weights * given).sum(axis=-1), 0)
    np.testing.assert_allclose(pointwise, expected, atol=1e-6)
    means = weights.mean(axis=(1, 2), keepdims=True)
    expected = np.maximum((means * given).sum(axis=-1), 0)
    np.testing.assert_allclose(pooled, expected, atol=1e-6)


def test_of_network_and_output():
    import tensorflow as tf

    model = network(depth=1)
    given, classes = images(3, H, W, 1), np.array([0, 2, 1])
    found = saliency.grad_cams(model, given, classes)

    features = saliency.deepest_features(model)
    assert features.shape == (None, 3, 4, 7)
    read = ops.convert_to_numpy(keras.Model(model.input, features)(given))
    kernel = ops.convert_to_numpy(model.get_layer("network_logits").kernel)
    own = np.einsum("bc,bhwc->bhw", kernel[:, classes].T, read) / 12

    # What comes after the map, by itself.
    names = ("global_gates", "network_logits", "module_1_prediction")
    outputs = [model.get_layer(name).output for name in names]
    rest = keras.Model(features, [model.output, *outputs])
    x = tf.constant(read)
    with tf.GradientTape() as tape:
        tape.watch(x)
        probabilities, gates, z_network, z_module = rest(x)
        logits = gates[:, :1] * z_network + gates[:, 1:] * z_module
        chosen = tf.gather(logits, classes, axis=1, batch_dims=1)
    np.testing.assert_allclose(
        probabilities, tf.nn.softmax(logits), rtol=1e-5, atol=1e-7
    )
    slopes = tape.gradient(chosen, x).numpy()
    whole = np.einsum("bc,bhwc->bhw", slopes.mean(axis=(1, 2)), read)
    expected = [own, whole, (slopes * read).sum(axis=-1)]
    for maps, coarse in zip(found, expected, strict=True):
        expected = saliency.resized(np.maximum(coarse, 0), (H, W))
        np.testing.assert_allclose(maps, expected, atol=1e-6)


def test_intervals_are_of_paired_differences():
    other = np.array([[1.0, 5.0, 9.0, 3.0], [2.0, 6.0, 8.0, 4.0]])
    # Of each image, over both seeds: 1, 2, 3 and 2.
    ours = other + [[1, 1, 3, 2], [1, 3, 3, 2]]
    found = report.difference(ours, other)
    assert found["mean"] == pytest.approx(2)
    assert found["values"] == pytest.approx([7 / 4, 9 / 4])
    # The variance of four differences is 2 / 3.
    expected = 1.959964 * np.sqrt(2 / 3 / 4)
    assert found["half_width_95"] == pytest.approx(expected)


@pytest.fixture
def small(monkeypatch):
    """The training on birds, small enough for a test."""
    changed = {"image_size": 24, "resize_shorter_edge": 28, "batch_size": 6}
    changed["backbone"] = "small_network:Small"
    changed["attention"] = {**faithfulness.BIRDS.attention, "depth": 1}
    settings = dataclasses.replace(faithfulness.BIRDS, **changed)
    monkeypatch.setattr(faithfulness, "BIRDS", settings)


def test_boxes_follow_the_images(small, tmp_path):
    pixels = np.zeros((80, 100, 3), "uint8")
    pixels[25:45, 38:62] = 255
    Image.fromarray(pixels).save(tmp_path / "bird.png")
    found = faithfulness.centre(tmp_path / "bird.png", (25, 38, 45, 62))
    image, (top, left, bottom, right) = found
    assert image.shape == (24, 24, 3) and image.dtype == np.uint8
    rows, columns = np.nonzero(image[..., 0] > 128)
    # Rounded to the outside: up to a pixel more.
    assert 0 <= rows.min() - top <= 1 and 0 <= columns.min() - left <= 1
    assert 0 <= bottom - 1 - rows.max() <= 1
    assert 0 <= right - 1 - columns.max() <= 1


def test_whole_run(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(saliency, "FRACTIONS", np.linspace(0, 1, 3))
    monkeypatch.setattr(faithfulness, "EXAMPLES", 1)
    birds, digits = tmp_path / "birds", tmp_path / "attention_0.keras"
    archive_files.cub200(birds, times=3)
    network((40, 40, 1), 10, depth=1).save(digits)
    out = tmp_path / "out"
    faithfulness.main(
        f"--digits {digits} --cub {birds} --weights none --images 2 "
        f"--epochs 1 --seeds 1 --out {out}".split()
    )
    assert (out / "faithfulness.md").read_text() in capsys.readouterr().out
    for name in ("curves", "examples"):
        path = out / f"faithfulness_{name}.png"
        assert path.stat().st_size > 10_000
    result = json.loads((out / "results.json").read_text())
    assert set(result["summary"]) == {"digits", "birds"}
    for found in result["summary"].values():
        box = found["measures"]["box"]
        assert box["pointing"]["mean"] == box["energy"]["mean"] == 1
        for curves in found["curves"].values():
            # All maps begin and end with the same images.
            for name, curve in curves.items():
                assert curve[::2] == found["curves"]["box"][name][::2]
    assert len(pd.read_csv(out / "results.csv")) == (1 + 1) * 11
