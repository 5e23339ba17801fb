"""One training: from parts of the data to a folder of results."""

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
from support import in_tensorboard
from support import to_numpy

from keras_warn.data import ImageDataset
from keras_warn.data import TestBatches
from keras_warn.data import load_image_folder
from keras_warn.data import synthetic
from keras_warn.training import Experiment
from keras_warn.training import Settings
from keras_warn.training import evaluate
from keras_warn.training import experiment
from keras_warn.training import runs

SMALL = Settings(
    backbone="paper_networks:WideResNet(depth=10, width=1)",
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


def listed(count=40, splits=None, groups=None, folder="data", labels=None):
    """Images that are not there: parting needs names alone."""
    return ImageDataset(
        "things",
        [f"{folder}/{i}.jpg" for i in range(count)],
        np.arange(count) % 4 if labels is None else labels,
        [f"class {k}" for k in range(4)],
        splits={"train": range(count)} if splits is None else splits,
        groups=groups,
    )


def numbers(listing):
    return [int(path.stem) for path in listing.paths]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of images, whose path is none of the simplest."""
    folder = tmp_path_factory.mktemp("data") / "Vögel und 鳥"
    synthetic.write_image_folder(folder, classes=3, train=10, test=3)
    return folder


@pytest.fixture(scope="module")
def parts(data):
    return experiment.part(load_image_folder(data), SMALL.validation_share)


def small(parts, seed=0, **changes):
    settings = dataclasses.replace(SMALL, **changes)
    return Experiment("small", settings, parts, crops(settings), seed=seed)


def test_published_test_pictures_are_kept():
    listing = listed(splits={"train": range(30), "test": range(30, 40)})
    parts = experiment.part(listing, 0.2)
    assert numbers(parts.test) == list(range(30, 40))
    assert len(parts.validation) == 6
    together = numbers(parts.training) + numbers(parts.validation)
    assert sorted(together) == list(range(30))
    assert parts.fold is None


def test_without_test_pictures_a_fifth_is_held_out():
    parts = experiment.part(listed(), 0.25)
    assert len(parts.test) == 8
    assert len(parts.validation) == 8
    assert len(parts.training) == 24
    together = [parts.training, parts.validation, parts.test]
    assert sorted(sum(map(numbers, together), [])) == list(range(40))


@pytest.mark.parametrize("share", [0, 0.2])
def test_published_validation_pictures_are_kept(share):
    listing = listed(splits={"train": range(20), "validation": range(20, 30)})
    parts = experiment.part(listing, share)
    assert numbers(parts.validation) == list(range(20, 30))
    assert sorted(numbers(parts.training) + numbers(parts.test)) == list(
        range(20)
    )


def test_no_validation():
    listing = listed(splits={"train": range(30), "test": range(30, 40)})
    parts = experiment.part(listing, 0)
    assert parts.validation is None
    assert len(parts.training) == 30
    assert parts.summary()["validation"] == 0


def in_folds(groups=None):
    splits = {f"fold_{i}": range(12 * i, 12 * i + 12) for i in range(5)}
    return listed(60, splits, groups)


@pytest.mark.parametrize("fold", [0, 3])
def test_a_fold_is_tested_and_the_others_train(fold):
    parts = experiment.part(in_folds(), 0.25, fold)
    assert parts.fold == fold
    assert numbers(parts.test) == list(range(12 * fold, 12 * fold + 12))
    assert len(parts.validation) == 12
    together = [parts.training, parts.validation, parts.test]
    assert sorted(sum(map(numbers, together), [])) == list(range(60))


def test_groups_are_not_parted():
    groups = np.arange(60) // 3
    parts = experiment.part(in_folds(groups), 0.25, 1)
    assert len(parts.validation) > 0
    assert not set(parts.training.groups) & set(parts.validation.groups)
    parts = experiment.part(listed(60, groups=groups), 0.25)
    found = [parts.training, parts.validation, parts.test]
    assert sum(len(set(part.groups)) for part in found) == 20


def test_parts_are_the_same_wherever_and_whenever():
    """For all seeds of a training: none is asked for."""
    first = experiment.part(listed(), 0.25)
    again = experiment.part(listed(folder="elsewhere"), 0.25)
    assert numbers(first.validation) == numbers(again.validation)
    assert numbers(first.test) == numbers(again.test)
    assert first.summary() == again.summary()


@pytest.mark.parametrize(
    "listing, fold, error, message",
    [
        (in_folds(), 5, ValueError, "`fold` must be one of 'fold_0', .*_5'"),
        (in_folds(), -1, ValueError, "`fold` must be a non-negative integer"),
        (in_folds(), None, TypeError, "`fold` must be a non-negative integer"),
        (listed(splits={"test": [0]}), None, ValueError, "'train'"),
    ],
)
def test_wrong_parts(listing, fold, error, message):
    with pytest.raises(error, match=message):
        experiment.part(listing, 0.1, fold)


def test_summary_of_data_that_are_other_data():
    """By labels, names, order and parts; not by where they lie."""
    splits = {"train": range(30), "test": range(30, 40)}
    first = listed(splits=splits)
    labels = first.labels.copy()
    labels[3] = (labels[3] + 1) % 4
    others = [
        listed(splits=splits, labels=labels),
        dataclasses.replace(first, names=("a", "b", "c", "d")),
        dataclasses.replace(
            first, paths=[*first.paths[:39], first.paths[39].with_name("x")]
        ),
        listed(splits={"train": range(29), "test": range(29, 40)}),
        listed(splits={"train": range(30), "test": [*range(31, 40)]}),
    ]
    digests = {
        experiment.part(one, 0.2).summary()["digest"]
        for one in (first, *others)
    }
    assert len(digests) == 6
    # Labels alone, with the same images in each part.
    parts = experiment.part(first, 0.2)
    changed = (parts.training.labels + 1) % 4
    training = dataclasses.replace(parts.training, labels=changed)
    other = dataclasses.replace(parts, training=training)
    assert other.summary()["digest"] not in digests
    moved = listed(splits=splits, folder="elsewhere")
    assert experiment.part(moved, 0.2).summary()["digest"] in digests
    summary = experiment.part(first, 0.2).summary()
    assert (summary["training"], summary["test"]) == (24, 10)
    assert (summary["name"], summary["classes"]) == ("things", 4)


def attention_layers(model, baseline):
    """Names of layers with weights that are new beside the network's."""
    own = {layer.name for layer in baseline.layers} - {"classifier"}
    return {
        layer.name
        for layer in model.layers
        if layer.trainable_weights and layer.name not in own
    }


@pytest.mark.parametrize("attention", [True, False])
def test_new_parts_learn_ten_times_as_fast(parts, attention):
    """In a real step of AdamW, its weight decay included.

    The first one of Adam is as long as the learning rate, whatever the
    gradient; decoupled decay shortens weights by a part of the rate.
    """
    rate, decay = 1e-4, 5.0
    one = small(
        parts,
        optimizer="adamw",
        learning_rate=rate,
        weight_decay=decay,
        schedule="constant",
        attention=SMALL.attention if attention else None,
    )
    model = one.build()
    before = {v.path: to_numpy(v).copy() for v in model.trainable_variables}
    model.run_eagerly = True  # which takes less time for one step
    model.train_on_batch(*one.batches().batch(0, 0))
    steps = {}
    for variable in model.trainable_variables:
        old, new = before[variable.path], to_numpy(variable)
        name = variable.path.split("/")[-2]
        for factor in (1, 10):
            moved = old * (1 - factor * rate * decay) - new
            # Where there is a gradient: of some weights there is none.
            found = np.median(np.abs(moved)) / (factor * rate)
            if abs(found - 1) < 0.02:
                steps.setdefault(factor, set()).add(name)
                break
    baseline = small(parts, attention=None).build()
    expected = attention_layers(model, baseline)
    assert "classifier" in expected
    assert len(expected) > 3 if attention else expected == {"classifier"}
    assert steps[10] == expected
    trained = {x.name for x in model.layers if x.trainable_weights}
    assert steps[1] == trained - expected


def test_the_factor_of_one_needs_no_other_optimizer(parts):
    model = small(parts, attention_factor=1).build()
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    assert model.optimizer.momentum == 0.9


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_every_optimizer_without_weight_decay(parts, optimizer):
    model = small(parts, optimizer=optimizer, attention=None).build()
    kind = type(model.optimizer.base_optimizer)
    assert kind.__name__.lower() == optimizer


@pytest.mark.parametrize(
    "changes, expected",
    [
        # 24 images are 3 steps an epoch.
        (
            {"schedule": "steps", "decay_every": 2, "epochs": 5},
            [1, 1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01],
        ),
        (
            {"schedule": "constant", "warmup": 1, "epochs": 5},
            [1 / 3, 2 / 3, 1, 1, 1],
        ),
        (
            {"schedule": "steps", "decay_every": 1, "warmup": 1, "epochs": 3},
            [1 / 3, 2 / 3, 1, 1, 1, 1, 0.1],
        ),
        (
            {"schedule": "cosine", "epochs": 2},
            [(1 + np.cos(np.pi * i / 6)) / 2 for i in range(6)],
        ),
        (
            {"schedule": "cosine", "warmup": 1, "epochs": 3},
            [1 / 3, 2 / 3, 1]
            + [(1 + np.cos(np.pi * i / 6)) / 2 for i in range(6)],
        ),
    ],
)
def test_learning_rates(parts, changes, expected):
    assert len(parts.training) == 24
    optimizer = small(parts, attention=None, **changes).build().optimizer
    schedule = optimizer.base_optimizer._learning_rate
    found = [
        float(to_numpy(schedule(i))) if callable(schedule) else schedule.value
        for i in range(len(expected))
    ]
    np.testing.assert_allclose(found, np.array(expected) * 0.01, rtol=1e-4)


def test_both_arms_begin_alike(parts):
    """For the same seed: from the same weights, with the same images."""
    arms = [
        small(parts, seed, attention=attention)
        for seed, attention in [(3, {"depth": 2}), (3, None), (4, None)]
    ]
    attention, baseline, other = (one.build() for one in arms)
    differ = 0
    for layer in baseline.layers:
        for value, same, another in zip(
            layer.get_weights(),
            attention.get_layer(layer.name).get_weights(),
            other.get_layer(layer.name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(value, same)
            differ += (value != another).any()
    # Kernels; what begins with zeros and ones is alike for all.
    assert differ > 7
    assert baseline.get_layer("classifier").weights
    for one, same in zip(
        arms[0].batches().batch(1, 2),
        arms[1].batches().batch(1, 2),
        strict=True,
    ):
        np.testing.assert_array_equal(one, same)


def test_label_smoothing(parts):
    one = small(parts, attention=None, label_smoothing=0.3)
    model = one.build()
    images, labels = one.batches().batch(0, 0)
    predictions = to_numpy(model(images.astype("float32")))
    smooth = 0.7 * labels + 0.3 / 3
    expected = -(smooth * np.log(predictions)).sum(axis=1).mean()
    found = model.evaluate(images.astype("float32"), labels, verbose=0)[0]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def finished(parts, tmp_path_factory):
    """A run with attention: the experiment, its folder and results."""
    one = small(parts)
    folder = tmp_path_factory.mktemp("runs") / "mit Leerzeichen" / "ß" / "0"
    return one, folder, one.run(folder, verbose=0)


def test_all_files_of_a_run_are_there(finished):
    _, folder, results = finished
    assert set(os.listdir(folder)) == {
        "best.keras",
        "history.csv",
        "masks.png",
        "model.keras",
        "parts",
        "report.html",
        "results.json",
        "settings.json",
        "tensorboard",
    }
    # What is hidden are locks.
    assert [p for p in os.listdir(folder / "parts") if p[0] != "."] == []
    with Image.open(folder / "masks.png") as image:
        assert image.format == "PNG"
    lines = (folder / "history.csv").read_text("utf-8").splitlines()
    assert lines[0].split(",")[0] == "epoch"
    assert len(lines) == 1 + 2
    assert json.loads((folder / "results.json").read_text("utf-8")) == results


def test_what_results_say(finished, data):
    one, folder, results = finished
    assert results["keras_warn_results"] == 1
    assert (results["recipe"], results["arm"]) == ("small", "attention")
    assert (results["seed"], results["fold"]) == (0, None)
    assert results["settings"]["smoke"] is False
    assert results["settings"]["learning_rate"] == 0.01
    assert results["epochs"] == len(results["history"]) == 2
    assert results["data"]["training"] == 24
    assert results["data"]["validation"] == 6
    assert results["data"]["test"] == 9
    assert results["training_seconds"] > 0
    # Nothing of this machine, but for what it is.
    del results["environment"]["command"]
    assert str(data) not in json.dumps(results)
    model = keras.saving.load_model(folder / "model.keras")
    assert results["parameters"] == model.count_params()


@pytest.mark.parametrize(
    "name, file",
    [("last_epoch", "model.keras"), ("best_by_validation", "best.keras")],
)
def test_figures_are_those_of_the_saved_models(finished, name, file):
    one, folder, results = finished
    model = keras.saving.load_model(folder / file)
    found = results["metrics"][name]
    for part in ("validation", "test"):
        batches = one.test_batches(getattr(one.parts, part))
        assert found[part] == pytest.approx(evaluate(model, batches), rel=1e-5)
    row = results["history"][found["epoch"] - 1]
    assert row["val_accuracy"] == found["validation"]["accuracy"]
    assert row["val_loss"] == pytest.approx(found["validation"]["loss"])


def test_curves_for_tensorboard(finished):
    _, folder, results = finished
    found = in_tensorboard(folder / "tensorboard")
    for tag in (
        "training/loss",
        "training/accuracy",
        "training/learning_rate",
        "validation/loss",
        "validation/accuracy",
    ):
        assert [event.step for event in found[tag]] == [0, 1]
    watched = in_tensorboard(folder / "tensorboard" / "attention")
    assert [event.step for event in watched["masks/module_1"]] == [0, 1]


def test_a_finished_run_is_not_trained_again(finished, monkeypatch):
    one, folder, results = finished

    def never(self):
        raise AssertionError

    monkeypatch.setattr(Experiment, "build", never)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    again = one.run(folder, verbose=0)
    assert again["metrics"] == results["metrics"]
    assert again["history"] == results["history"]
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


@pytest.mark.parametrize(
    "other",
    [
        {"changes": {"learning_rate": 0.02}},
        {"changes": {"attention": None}},
        {"seed": 1},
        {"smoke": True},
        {"fold": 2},
        {"recipe": "other"},
    ],
    ids=lambda other: "_".join(other),
)
def test_another_run_in_the_folder(finished, other):
    one, folder, _ = finished
    other = dict(other)
    if "changes" in other:
        other["settings"] = dataclasses.replace(
            one.settings, **other.pop("changes")
        )
    if "fold" in other:
        other["parts"] = dataclasses.replace(one.parts, fold=other.pop("fold"))
    with pytest.raises(FileExistsError, match="the same settings to go on"):
        dataclasses.replace(one, **other).run(folder, verbose=0)


def test_other_labels_in_the_folder(finished):
    one, folder, _ = finished
    training = one.parts.training
    labels = training.labels.copy()
    labels[0] = (labels[0] + 1) % 3
    changed = dataclasses.replace(
        one.parts, training=dataclasses.replace(training, labels=labels)
    )
    with pytest.raises(FileExistsError, match="digest"):
        dataclasses.replace(one, parts=changed).run(folder, verbose=0)


@pytest.mark.parametrize("change", ["image", "box"])
def test_other_images_of_the_same_names(tmp_path, change):
    """In the folder of a run that is not over, or is."""
    synthetic.write_image_folder(tmp_path / "data", classes=2, train=9, test=2)
    listing = load_image_folder(tmp_path / "data")
    boxes = np.tile([0, 0, 9, 9], (len(listing), 1))
    listing = dataclasses.replace(listing, boxes=boxes)
    run = runs.RunFolder(
        tmp_path / "run", small(experiment.part(listing, 0.2)).identity()
    )
    if change == "image":
        changed = listing.paths[3]
        changed.write_bytes(listing.paths[4].read_bytes())
        boxes = listing.boxes
    else:
        boxes[3] += 1
    listing = dataclasses.replace(listing, boxes=boxes)
    with pytest.raises(FileExistsError, match="digest"):
        small(experiment.part(listing, 0.2)).run(run.path)


@pytest.mark.parametrize(
    "content", ["{}", "[]", "3", '{"keras_warn_results": 1}', "{", ""]
)
def test_results_that_are_none(finished, tmp_path, content):
    one, folder, _ = finished
    shutil.copytree(folder, tmp_path / "run")
    path = tmp_path / "run" / "results.json"
    path.write_text(content)
    with pytest.raises(FileExistsError, match=str(path)):
        one.run(tmp_path / "run", verbose=0)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_broken_backbone_makes_no_folder(finished, tmp_path, overwrite):
    """And costs none."""
    one, folder, _ = finished
    broken = tmp_path / "broken.keras"
    broken.write_bytes((folder / "model.keras").read_bytes()[:-999])
    one = small(one.parts, backbone=str(broken))
    out = tmp_path / "run"
    if overwrite:
        shutil.copytree(folder, out)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=str(broken)):
        one.run(out, overwrite=overwrite)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_with_other_files_is_not_taken(parts, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="thesis.tex"):
        small(parts).run(tmp_path, overwrite=True)


def test_the_same_seed_has_the_same_results(data, tmp_path):
    """Of a baseline without validation, from data elsewhere."""
    other = tmp_path / "elsewhere"
    shutil.copytree(data, other)
    found = []
    out = tmp_path / "run"
    for folder in (data, other):
        one = small(
            experiment.part(load_image_folder(folder), 0),
            validation_share=0.0,
            attention=None,
            epochs=1,
        )
        found.append(one.run(out, overwrite=bool(found), verbose=0))
    # The data's name is that of their folder.
    assert found[1]["data"]["name"] != found[0]["data"]["name"]
    assert found[1]["history"] == found[0]["history"]
    assert found[1]["metrics"] == found[0]["metrics"]
    assert found[0]["metrics"]["best_by_validation"] is None
    assert found[0]["metrics"]["last_epoch"]["validation"] is None
    assert found[0]["arm"] == "baseline"
    assert set(os.listdir(out)) == {
        "history.csv",
        "model.keras",
        "parts",
        "results.json",
        "settings.json",
        "tensorboard",
    }


def test_all_options_together(parts, tmp_path):
    """Half precision, averages, mixing and smoothing, frozen statistics."""
    one = small(
        parts,
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
    results = one.run(tmp_path / "run", verbose=0)
    assert keras.config.dtype_policy().name == "float32"
    assert np.isfinite([row["loss"] for row in results["history"]]).all()
    model = keras.saving.load_model(
        tmp_path / "run" / "model.keras", compile=False
    )
    assert model.get_layer("stem_conv").compute_dtype == "float16"
    found = evaluate(model, one.test_batches(parts.test))
    assert found == pytest.approx(
        results["metrics"]["last_epoch"]["test"], rel=1e-3
    )


def test_too_few_pictures_for_a_batch(parts, tmp_path):
    with pytest.raises(ValueError, match="`batch_size` must be at most"):
        small(parts, batch_size=25).run(tmp_path / "run")


def picture(mode="RGB", size=(40, 50)):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), "uint8")
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture
def mixed(tmp_path):
    """A folder of images of all kinds, and of files that are none."""
    synthetic.write_image_folder(tmp_path / "data", classes=2, train=6, test=2)
    folder = tmp_path / "data" / "train" / "Disc_1"
    picture("L").save(folder / "gray.jpg")
    picture("CMYK").save(folder / "cmyk.jpg")
    frames = [picture("P"), picture("P").rotate(90)]
    frames[0].save(
        folder / "moving.gif", save_all=True, append_images=frames[1:]
    )
    (folder / "moving.gif").rename(folder / "gif.jpg")
    wide = np.linspace(0, 65535, 40 * 50).reshape(40, 50).astype("uint16")
    Image.fromarray(wide).save(folder / "wide.png")
    picture("RGBA").save(folder / "clear.png")
    return tmp_path / "data"


def test_pictures_of_all_kinds(mixed):
    listing = load_image_folder(mixed)
    assert experiment.check_images(listing) is listing
    parts = experiment.part(listing, 0)
    one = small(parts, batch_size=len(parts.training), validation_share=0.0)
    images, _ = one.batches().batch(0, 0)
    assert images.shape == (17, 32, 32, 3)
    names = [path.name for path in parts.training.paths]
    for name in ("gray.jpg", "wide.png"):
        pixels = parts.training.read(names.index(name))
        # Gray, and of all shades.
        assert (pixels == pixels[..., :1]).all()
        assert pixels.min() < 20 and pixels.max() > 235
    assert parts.training.read(names.index("gif.jpg")).shape == (40, 50, 3)


def spoilt(folder):
    """Adds three files that are no images, in both parts."""
    good = next((folder / "train" / "Disc_1").glob("0.jpg")).read_bytes()
    files = {
        folder / "train" / "Disc_1" / "short.jpg": good[: len(good) // 2],
        folder / "train" / "Square_2" / "empty.jpg": b"",
        folder / "test" / "Disc_1" / "text.jpg": b"This is not an image.",
    }
    for path, content in files.items():
        path.write_bytes(content)
    return list(files)


def test_bad_pictures_are_all_named(mixed):
    files = spoilt(mixed)
    with pytest.raises(ValueError, match="3 of the ") as error:
        experiment.check_images(load_image_folder(mixed))
    for path in files:
        assert str(path) in str(error.value)


def test_bad_pictures_are_left_out_and_counted(mixed, capsys):
    files = spoilt(mixed)
    listing = load_image_folder(mixed)
    left = experiment.check_images(listing, skip=True)
    assert set(listing.paths) - set(left.paths) == set(files)
    summary = experiment.part(left, 0).summary()
    assert summary["skipped"] == {"cannot be read": 3}
    assert (summary["training"], summary["test"]) == (17, 4)
    messages = capsys.readouterr().err
    for path in files:
        assert f"left out: {path}: " in messages


def test_pictures_that_are_none_leave_a_class_to_miss(mixed):
    """A class of which nothing is left keeps its number."""
    for path in (mixed / "train" / "Disc_1").iterdir():
        path.write_bytes(b"")
    left = experiment.check_images(load_image_folder(mixed), skip=True)
    assert left.names == ("Disc_1", "Square_2")
    assert left.skipped["cannot be read"] == 11


def test_the_report_compares_both_arms_whichever_ends_last(parts, tmp_path):
    attention, baseline = tmp_path / "attention", tmp_path / "baseline"
    alone = small(parts, epochs=1, attention=None)
    one = small(parts, epochs=1)
    found = {
        "Baseline": alone.run(baseline, verbose=0, other=attention),
        "With attention": one.run(attention, verbose=0, other=baseline),
    }
    path = attention / "report.html"
    for write in (lambda: None, lambda: alone._report(baseline, attention)):
        write()
        page = path.read_text("utf-8")
        for name, results in found.items():
            accuracy = results["metrics"]["last_epoch"]["test"]["accuracy"]
            assert re.search(
                rf"<dt>{name}</dt>\s*<dd class=.large.>{100 * accuracy:.1f}",
                page,
            )
        path.unlink()
    for other in (small(parts), small(parts, seed=1, epochs=1)):
        assert not other._finished_alike(baseline)
    assert not one._finished_alike(tmp_path / "nowhere")


def test_the_figure_shows_a_picture_of_each_class(parts):
    images, labels, names = small(parts)._examples()
    assert labels == [0, 1, 2]
    assert images.shape == (3, 32, 32, 3)
    assert names == parts.training.names
    batches = TestBatches(parts.validation, crops(SMALL)[1], 6)
    first = parts.validation.labels.tolist().index(1)
    np.testing.assert_array_equal(images[1], batches.batch(0)[first])


def result(seed, accuracy, fold=None):
    return {
        "seed": seed,
        "fold": fold,
        "metrics": {"last_epoch": {"test": {"accuracy": accuracy}}},
    }


def test_spread_over_seeds_of_means_over_folds():
    found, of = experiment.spread(
        [
            result(0, 0.5, 0),
            result(1, 0.2, 0),
            result(0, 0.7, 1),
            result(1, 0.6, 1),
        ]
    )
    assert of == "seeds"
    assert found["values"] == pytest.approx([0.6, 0.4])
    assert found["mean"] == pytest.approx(0.5)
    assert found["std"] == pytest.approx(0.1 * 2**0.5)


def test_spread_over_the_folds_of_one_seed():
    found, of = experiment.spread([result(0, 0.5, 0), result(0, 0.7, 1)])
    assert of == "folds"
    assert found["mean"] == pytest.approx(0.6)
    assert found["std"] == pytest.approx(0.1 * 2**0.5)
