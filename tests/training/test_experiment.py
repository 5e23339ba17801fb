"""One training: from splits of the data to a folder of results."""

import dataclasses
import json
import os
import re
import shutil

import keras
import numpy as np
import pytest
from PIL import Image
from recipe import crops
from support import assert_all_equal
from support import in_tensorboard
from support import to_numpy

from keras_warn.data import TestBatches
from keras_warn.data import load_image_folder
from keras_warn.data import splits
from keras_warn.data import synthetic
from keras_warn.training import Experiment
from keras_warn.training import Settings
from keras_warn.training import evaluate
from keras_warn.training import outputs
from keras_warn.training import runs

pytestmark = pytest.mark.usefixtures("eager")

SMALL = Settings(
    backbone="small_network:Small",
    weights="none",
    attention={"depth": 2, "width": 3},
    image_size=32,
    resize_shorter_edge=36,
    epochs=2,
    batch_size=8,
    learning_rate=0.01,
    freeze_batch_norm=False,
    validation_share=0.2,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of images, whose path is none of the simplest."""
    folder = tmp_path_factory.mktemp("data") / "Vögel und 鳥"
    synthetic.write_image_folder(folder, classes=3, train=10, test=3)
    return folder


@pytest.fixture(scope="module")
def birds(data):
    return splits.split(load_image_folder(data), SMALL.validation_share)


def small(birds, seed=0, **changes):
    settings = dataclasses.replace(SMALL, **changes)
    return Experiment("small", settings, birds, crops(settings), seed=seed)


@pytest.mark.parametrize("attention", [True, False])
def test_new_parts_learn_ten_times_as_fast(birds, attention):
    """Other than with the factor of one, which needs no other optimizer."""
    changes = {} if attention else {"attention": None}
    moves = []
    for factor in (1, 10):
        one = small(birds, attention_factor=factor, **changes)
        model = one.build()
        before = [to_numpy(v).copy() for v in model.trainable_variables]
        model.train_on_batch(*one.batches().batch(0, 0))
        pairs = zip(model.trainable_variables, before, strict=True)
        moves.append({v.path: to_numpy(v) - old for v, old in pairs})
        if factor == 1:
            assert isinstance(model.optimizer, keras.optimizers.SGD)
            assert model.optimizer.momentum == 0.9
    found = {1: set(), 10: set()}
    for path, move in moves[0].items():
        if np.abs(move).max() > 1e-7:  # of some weights there is no gradient
            ratio = np.abs(moves[1][path]).max() / np.abs(move).max()
            found[round(ratio, 2)].add(path.split("/")[0])
    own = {layer.name for layer in one.backbone().layers} - {"classifier"}
    assert "classifier" in found[10] and found[1] <= own
    assert not found[10] & own
    assert len(found[10]) > 3 if attention else len(found[10]) == 1


# Of 24 images, which are 3 steps an epoch.
COSINE = [(1 + np.cos(np.pi * i / 6)) / 2 for i in range(6)]
WARM = [1 / 3, 2 / 3, 1]


@pytest.mark.parametrize(
    "optimizer, schedule, options, expected",
    [
        (
            *("sgd", "steps", {"decay_every": 1, "warmup": 1, "epochs": 3}),
            WARM + [1] * 3 + [0.1],
        ),
        ("adam", "constant", {"warmup": 1}, WARM + [1, 1]),
        ("adamw", "cosine", {"warmup": 1, "epochs": 3}, WARM + COSINE),
        ("adam", "cosine", {"epochs": 2}, COSINE),
    ],
)
def test_optimizers_and_learning_rates(
    birds, optimizer, schedule, options, expected
):
    assert len(birds.training) == 24
    options = {"optimizer": optimizer, "schedule": schedule, **options}
    found = small(birds, attention=None, **options).build().optimizer
    assert type(found.base_optimizer).__name__.lower() == optimizer
    rate = found.base_optimizer._learning_rate
    rates = [to_numpy(rate(i)) for i in range(len(expected))]
    np.testing.assert_allclose(rates, np.array(expected) * 0.01, rtol=1e-4)


def test_both_variants_begin_alike(birds):
    """For the same seed: from the same weights, with the same images."""
    variants = [
        small(birds, seed, attention=attention)
        for seed, attention in [(3, {"depth": 2}), (3, None), (4, None)]
    ]
    attention, baseline, other = (one.build() for one in variants)
    shared = [attention.get_layer(layer.name) for layer in baseline.layers]
    values, same, others = (
        [value for layer in one for value in layer.get_weights()]
        for one in (baseline.layers, shared, other.layers)
    )
    assert_all_equal(values, same)
    # Kernels; what begins with zeros and ones is alike for all.
    pairs = zip(values, others, strict=True)
    assert sum((one != other).any() for one, other in pairs) == 3
    assert baseline.get_layer("classifier").weights
    assert_all_equal(*(one.batches().batch(1, 2) for one in variants[:2]))


def test_label_smoothing(birds):
    one = small(birds, attention=None, label_smoothing=0.3)
    model = one.build()
    images, labels = one.batches().batch(0, 0)
    smooth = 0.7 * labels + 0.3 / 3
    logs = np.log(to_numpy(model(images.astype("float32"))))
    found = model.evaluate(images, labels, verbose=0)[0]
    assert found == pytest.approx(-(smooth * logs).sum() / 8, rel=1e-5)


@pytest.fixture(scope="module")
def finished(birds, tmp_path_factory):
    """A run with attention: the experiment, its folder and results."""
    one = small(birds)
    folder = tmp_path_factory.mktemp("runs") / "mit Leerzeichen" / "ß" / "0"
    return one, folder, one.run(folder, verbose=0)


def test_all_files_of_a_run_are_there(finished):
    _, folder, _ = finished
    names = (
        "best.keras history.csv masks.png model.keras parts report.html "
        "results.json settings.json tensorboard"
    )
    assert sorted(os.listdir(folder)) == names.split()
    # What is hidden are locks.
    assert [p for p in os.listdir(folder / "parts") if p[0] != "."] == []
    with Image.open(folder / "masks.png") as image:
        assert image.format == "PNG"
    lines = (folder / "history.csv").read_text("utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2"]


def test_what_results_say(finished, data):
    _, folder, results = finished
    assert json.loads((folder / "results.json").read_text("utf-8")) == results
    expected = {"keras_warn_results": 1, "recipe": "small", "arm": "attention"}
    assert results.items() >= {**expected, "seed": 0, "epochs": 2}.items()
    assert results["fold"] is None and results["training_seconds"] > 0
    assert results["settings"]["smoke"] is False
    assert results["settings"]["learning_rate"] == 0.01
    parts = [results["data"][n] for n in ("training", "validation", "test")]
    assert parts == [24, 6, 9] and len(results["history"]) == 2
    model = keras.saving.load_model(folder / "model.keras")
    assert results["parameters"] == model.count_params()
    # Nothing of this machine, but for what it is.
    del results["environment"]["command"]
    assert str(data) not in json.dumps(results)


@pytest.mark.parametrize(
    "name, file",
    [("last_epoch", "model.keras"), ("best_by_validation", "best.keras")],
)
def test_figures_are_those_of_the_saved_models(finished, name, file):
    one, folder, results = finished
    model = keras.saving.load_model(folder / file)
    found = results["metrics"][name]
    for part in ("validation", "test"):
        batches = one.test_batches(getattr(one.splits, part))
        assert found[part] == pytest.approx(evaluate(model, batches), rel=1e-5)
    row = results["history"][found["epoch"] - 1]
    assert row["val_accuracy"] == found["validation"]["accuracy"]
    assert row["val_loss"] == pytest.approx(found["validation"]["loss"])


def test_curves_for_tensorboard(finished):
    _, folder, _ = finished
    found = in_tensorboard(folder / "tensorboard")
    names = ("training/learning_rate", "validation/loss", "validation/accuracy")
    for tag in ("training/loss", "training/accuracy", *names):
        assert [event.step for event in found[tag]] == [0, 1]
    watched = in_tensorboard(folder / "tensorboard" / "attention")
    assert [event.step for event in watched["masks/module_1"]] == [0, 1]


def test_what_another_run_is(tmp_path):
    """Each in a folder of its own, by what differs; images by their content."""
    synthetic.write_image_folder(tmp_path, classes=2, train=9, test=2)
    dataset = load_image_folder(tmp_path)
    boxes = np.tile([0, 0, 9, 9], (len(dataset), 1))

    def parts(boxes, **changes):
        dataset_now = dataclasses.replace(dataset, boxes=boxes)
        found = splits.split(dataset_now, SMALL.validation_share)
        return dataclasses.replace(found, **changes)

    one = small(parts(boxes))
    others = [
        one,
        small(one.splits, seed=1),
        small(one.splits, attention=None),
        small(parts(boxes, fold=2)),
        small(parts(boxes + 1)),
        dataclasses.replace(one, smoke=True),
        dataclasses.replace(one, recipe="other"),
    ]
    found = [json.dumps(run.identity()) for run in others]
    dataset.paths[3].write_bytes(dataset.paths[4].read_bytes())
    found.append(json.dumps(small(parts(boxes)).identity()))
    assert len(set(found)) == len(found)


def test_a_broken_backbone_costs_no_run(finished, tmp_path):
    one, folder, _ = finished
    broken = tmp_path / "broken.keras"
    broken.write_bytes((folder / "model.keras").read_bytes()[:-999])
    one = small(one.splits, backbone=str(broken), weights="imagenet")
    shutil.copytree(folder, tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    for name in ("run", "new"):
        with pytest.raises(ValueError, match=str(broken)):
            one.run(tmp_path / name, overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_same_seed_has_the_same_results(data, tmp_path):
    """Of a baseline without validation, from data elsewhere."""
    other = tmp_path / "elsewhere"
    shutil.copytree(data, other)
    out, found = tmp_path / "run", []
    for folder in (data, other):
        parts = splits.split(load_image_folder(folder), 0)
        one = small(parts, validation_share=0.0, attention=None, epochs=1)
        found.append(one.run(out, overwrite=bool(found), verbose=0))
    # The data's name is that of their folder.
    assert found[1]["data"]["name"] != found[0]["data"]["name"]
    assert found[1]["history"] == found[0]["history"]
    metrics = found[0]["metrics"]
    assert found[1]["metrics"] == metrics
    assert metrics["best_by_validation"] is None
    assert metrics["last_epoch"]["validation"] is None
    assert found[0]["arm"] == "baseline"
    names = (
        "history.csv model.keras parts results.json settings.json tensorboard"
    )
    assert sorted(os.listdir(out)) == names.split()


def test_all_options_together(birds, tmp_path):
    """Half precision, averages, mixing and smoothing, frozen statistics."""
    one = small(
        birds,
        epochs=1,
        precision="mixed_float16",
        optimizer="adamw",
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.5,
        label_smoothing=0.1,
        mixup=0.4,
        cutmix=1.0,
        ema=0.9,
        freeze_batch_norm=True,
        patience=1,
    )
    results = one.run(tmp_path, verbose=0)
    assert keras.config.dtype_policy().name == "float32"
    assert np.isfinite([row["loss"] for row in results["history"]]).all()
    path = tmp_path / "model.keras"
    model = keras.saving.load_model(path, compile=False)
    assert model.get_layer("stem_conv").compute_dtype == "float16"
    found = evaluate(model, one.test_batches(birds.test))
    expected = results["metrics"]["last_epoch"]["test"]
    assert found == pytest.approx(expected, rel=1e-3)


def test_the_report_compares_both_variants_whichever_ends_last(
    birds, finished, tmp_path
):
    attention, baseline = tmp_path / "attention", tmp_path / "baseline"
    one, folder, results = finished
    shutil.copytree(folder, attention)
    alone = small(birds, attention=None)
    found = {
        "With attention": results,
        "Baseline": alone.run(baseline, verbose=0, other=attention),
    }
    folder = runs.RunFolder(attention, one.identity(), finished=True)
    model = keras.saving.load_model(attention / "model.keras", compile=False)
    path = attention / "report.html"
    for last in ("baseline", "attention"):
        if last == "attention":
            path.unlink()
            outputs.show(one, model, folder, baseline)
        page = path.read_text("utf-8")
        for name, results in found.items():
            accuracy = results["metrics"]["last_epoch"]["test"]["accuracy"]
            assert re.search(
                rf"<dt>{name}</dt>\s*<dd class=.large.>{100 * accuracy:.1f}",
                page,
            )
    # Others differ in more than attention, or are not there.
    for other in (small(birds, epochs=1), small(birds, seed=1)):
        assert not outputs._finished_alike(other, baseline)
    assert not outputs._finished_alike(one, tmp_path / "nowhere")


def test_the_figure_shows_an_image_of_each_class(birds):
    images, labels = outputs.examples(small(birds))
    assert labels.tolist() == [0, 1, 2]
    assert images.shape == (3, 32, 32, 3)
    batches = TestBatches(birds.validation, crops(SMALL)[1], 6)
    first = birds.validation.labels.tolist().index(1)
    np.testing.assert_array_equal(images[1], batches.batch(0)[first])
