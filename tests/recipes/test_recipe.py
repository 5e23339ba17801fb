"""The command that a recipe is: what it refuses, and what it prints."""

import argparse
import dataclasses
import importlib.util
import pathlib
import re

import archive_files
import archives
import numpy as np
import pytest
import recipe
from recipe import Recipe

from keras_warn import training
from keras_warn.data import ImageDataset
from keras_warn.data import load_image_folder
from keras_warn.data import splits
from keras_warn.data import synthetic
from keras_warn.training import Experiment

pytestmark = pytest.mark.usefixtures("eager")

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"
# Those that take `--smoke`; others are what recipes share.
NAMES = sorted(
    path.stem for path in RECIPES.glob("*.py") if "moke" in path.read_text()
)
NAMES.remove("paper_tables")
NAMES.remove("recipe")
DOCSTRING = "Images of mine.\n\n    100 % mine"


TINY = Recipe(
    name="tiny",
    load=load_image_folder,
    settings=training.Settings(
        backbone="small_network:Small",
        weights="none",
        attention={"depth": 1, "width": 2},
        image_size=32,
        resize_shorter_edge=36,
        epochs=1,
        batch_size=8,
        freeze_batch_norm=False,
    ),
    folder="a folder of class folders",
)
FACES = dataclasses.replace(
    TINY,
    name="faces",
    load=lambda folder: archives.adience(folder, "gender"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "photos"
    return synthetic.write_image_folder(folder, classes=3, train=6, test=2)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    rows = [
        (fold, f"{fold}{user}@N", f"{i}.jpg", i, "13", "fm"[i % 2])
        for fold in range(5)
        for user in range(4)
        for i in range(4)
    ]
    archive_files.adience(folder, rows)
    return folder


@pytest.fixture(scope="module")
def published():
    """The recipes of the repository, by name."""
    found = {}
    for name in NAMES:
        path = RECIPES / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found[name] = module
    return found


def command(recipe, arguments, capsys):
    """Exit code, and what stands in the output and beside it."""
    capsys.readouterr()
    code = 0
    try:
        recipe.main(DOCSTRING, [str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    found = capsys.readouterr()
    return code, found.out, found.err


class Trainings:
    """Stands for `Experiment.run`: notes what is run, and trains nothing."""

    def __init__(self):
        self.done = []

    def run(self, one, path, overwrite=False, verbose="auto"):
        self.done.append((one, path))
        accuracy = (1 + len(self.done)) / 10
        figures = {"loss": 1.0, "accuracy": accuracy}
        return {
            "arm": one.variant,
            "seed": one.seed,
            "fold": one.splits.fold,
            "metrics": {
                "last_epoch": {"epoch": 5, "test": figures},
                "best_by_validation": {
                    "epoch": 3,
                    "test": {"loss": 1.0, "accuracy": accuracy + 0.05},
                },
            },
        }


@pytest.fixture
def trainings(monkeypatch):
    found = Trainings()
    monkeypatch.setattr(
        Experiment, "run", lambda one, *args, **more: found.run(one, *args)
    )
    return found


def test_one_training(data, tmp_path, trainings, capsys):
    code, out, err = command(
        TINY, ["--data-dir", data, "--out", tmp_path], capsys
    )
    assert (code, err) == (0, "")
    ((one, path),) = trainings.done
    assert path == tmp_path / "attention" / "seed_0"
    assert one.settings == TINY.settings
    assert (one.seed, one.smoke, one.splits.fold) == (0, False, None)
    table, _, end = out.splitlines()[-3:]
    assert table == (
        "attention, seed 0: test accuracy 20.0 % after epoch 5, 25.0 % after "
        "the best by validation, 3"
    )
    assert end == (
        f"All results: {tmp_path}. Curves: tensorboard --logdir {tmp_path}"
    )
    assert "mean" not in out


def test_seeds_one_after_another(data, tmp_path, trainings, capsys):
    code, out, _ = command(
        TINY,
        ["--data-dir", data, "--out", tmp_path, "--seeds", 3, 1, 3],
        capsys,
    )
    assert code == 0
    # Each once.
    assert [path.name for _, path in trainings.done] == ["seed_3", "seed_1"]
    assert [one.seed for one, _ in trainings.done] == [3, 1]
    assert out.splitlines()[-5:-2] == [
        "attention, seed 3: test accuracy 20.0 % after epoch 5, 25.0 % after "
        "the best by validation, 3",
        "attention, seed 1: test accuracy 30.0 % after epoch 5, 35.0 % after "
        "the best by validation, 3",
        "mean ± standard deviation over 2 seeds, last epoch: 25.0 ± 7.1 %",
    ]
    splits = [one.splits.summary() for one, _ in trainings.done]
    assert splits[0] == splits[1]


def test_the_baseline_lies_beside(data, tmp_path, trainings, capsys):
    command(
        TINY,
        ["--data-dir", data, "--out", tmp_path, "--baseline"],
        capsys,
    )
    ((one, path),) = trainings.done
    assert path == tmp_path / "baseline" / "seed_0"
    assert one.settings == dataclasses.replace(TINY.settings, attention=None)


def test_folds_one_after_another(faces, tmp_path, trainings, capsys):
    arguments = ["--data-dir", faces, "--out", tmp_path]
    code, out, _ = command(FACES, arguments, capsys)
    assert code == 0
    assert [one.splits.fold for one, _ in trainings.done] == list(range(5))
    assert trainings.done[4][1] == tmp_path / "attention/fold_4/seed_0"
    assert "attention, fold 4, seed 0: test accuracy 60.0 %" in out
    assert "over 5 folds, last epoch: 40.0 ± 15.8 %" in out
    _, out, _ = command(
        FACES, [*arguments, "--folds", 3, 1, "--seeds", 0, 1], capsys
    )
    # Of each seed the mean over folds: 80 and 90 %.
    assert "over 2 seeds, last epoch: 85.0 ± 7.1 %" in out
    assert [(one.splits.fold, one.seed) for one, _ in trainings.done[5:]] == [
        (3, 0),
        (3, 1),
        (1, 0),
        (1, 1),
    ]
    # A smoke run takes the first.
    command(FACES, [*arguments, "--smoke"], capsys)
    assert [one.splits.fold for one, _ in trainings.done[9:]] == [0]
    code, _, err = command(FACES, [*arguments, "--folds", 0, 5], capsys)
    assert code == 2
    assert "[0, 1, 2, 3, 4]. Received: 5." in err


def test_smoke_takes_a_sample(trainings, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, *_ = command(TINY, ["--smoke", "--epochs", 3], capsys)
    assert code == 0
    ((one, path),) = trainings.done
    assert str(path) == "runs/tiny_smoke/attention/seed_0"
    assert one.smoke
    # What is asked for goes before what a smoke run changes.
    assert one.settings.epochs == 3
    assert one.settings.batch_size == recipe.SMOKE["batch_size"]
    assert one.settings.attention == TINY.settings.attention


def test_few():
    labels = np.arange(600) % 6
    dataset = ImageDataset(
        "many",
        [f"{i}" for i in range(600)],
        labels,
        "abcdef",
        splits={"train": range(500), "test": range(500, 600)},
    )
    found = recipe.few(dataset)
    assert found.names == dataset.names
    for name in ("train", "test"):
        part = found.split(name)
        assert np.bincount(part.labels).tolist() == [8, 8, 8, 8]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--seeds", "-1"], "tiny: `seeds` must be a non-negative integer"),
        (["--seeds", "4294967296"], "Received: seeds=4294967296."),
        (["--process", "0"], "tiny: `processes` must be two or more addr"),
        (["--batch-size", "99"], "tiny: `batch_size` must be at most the "),
        (["--folds", "0"], "tiny: `folds` must be among those of photos, no"),
        (["--attention", "depth=9"], "tiny: `depth` must be at most"),
    ],
    ids=lambda x: x[0] if isinstance(x, list) else "",
)
def test_what_is_refused(data, tmp_path, arguments, message, capsys):
    code, out, err = command(
        TINY,
        ["--data-dir", data, "--out", tmp_path / "out", *arguments],
        capsys,
    )
    assert code == 2
    assert re.search(message, err)
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_folders_that_are_not_there(tmp_path, capsys):
    code, _, err = command(TINY, ["--data-dir", tmp_path / "no"], capsys)
    assert code == 2
    assert f"tiny: {tmp_path / 'no'} does not exist." in err
    assert command(TINY, [], capsys)[::2] == (
        2,
        "tiny: `--data-dir` must name a folder of class folders.\n",
    )


@pytest.mark.parametrize(
    "name",
    "adience_gender cifar10 cifar100 cub200 image_folder stanford_cars "
    "stanford_dogs uec_food100".split(),
)
def test_folder_of_another_data_set(name, published, tmp_path, capsys):
    write = archive_files.cub200
    if name == "cub200":
        write = archive_files.stanford_dogs
    folder = tmp_path / "data"
    write(folder)
    code, _, err = command(
        published[name].RECIPE, ["--data-dir", folder], capsys
    )
    assert code == 2
    assert err.startswith(f"{name}: ")
    assert f"{folder}" in err


def test_bad_images_stop_before_the_training(tmp_path, trainings, capsys):
    synthetic.write_image_folder(tmp_path / "data", classes=2, train=6, test=2)
    bad = tmp_path / "data" / "train" / "Disc_1" / "a.jpg"
    bad.write_bytes(b"text")
    arguments = ["--data-dir", tmp_path / "data", "--out", tmp_path / "out"]
    code, _, err = command(TINY, arguments, capsys)
    assert code == 2
    assert "tiny: 1 of the 17 images of data cannot be used" in err
    assert f"{bad}" in err and "without(" not in err
    assert "--skip-bad-images" in err
    assert trainings.done == []
    assert not (tmp_path / "out").exists()
    code, _, err = command(TINY, [*arguments, "--skip-bad-images"], capsys)
    assert code == 0
    assert f"skipped: {bad}" in err
    ((one, _),) = trainings.done
    assert one.splits.summary()["skipped"] == {"cannot be read": 1}


def test_synthetic_data_are_the_same_in_each_process(tmp_path):
    """Or no run on them could resume, nor have two processes."""
    arguments = argparse.Namespace(smoke=True, data_dir=None)
    first, second = (
        splits.split(TINY.data(arguments, tmp_path / name), 0).summary()
        for name in ("one", "two")
    )
    assert first == second


@pytest.mark.parametrize(
    "error, code, message",
    [
        (FloatingPointError("The loss is nan."), 1, "tiny: The loss is nan."),
        (OSError("No space left."), 2, "tiny: No space left."),
        (ImportError("No Pillow."), 2, "tiny: No Pillow."),
        (
            KeyboardInterrupt("x has epoch 1"),
            130,
            "tiny: stopped. x has epoch 1. The same command resumes.",
        ),
        (KeyboardInterrupt(), 130, "tiny: stopped. The same command resumes."),
    ],
)
def test_exit_codes(data, monkeypatch, tmp_path, error, code, message, capsys):
    def run(*args, **kwargs):
        raise error

    monkeypatch.setattr(Experiment, "run", run)
    arguments = ["--data-dir", data, "--out", tmp_path]
    found, _, err = command(TINY, arguments, capsys)
    assert (found, err.strip()) == (code, message)


def test_bugs_are_not_hidden(data, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(Experiment, "run", lambda *args, **kwargs: {}["bug"])
    with pytest.raises(KeyError, match="bug"):
        command(TINY, ["--data-dir", data, "--out", tmp_path], capsys)


@pytest.mark.parametrize("name", NAMES)
def test_help(name, published, capsys):
    module = published[name]
    with pytest.raises(SystemExit) as stop:
        if hasattr(module, "RECIPE"):
            module.RECIPE.main(module.__doc__, ["--help"])
        else:
            module.main(["--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert " ".join(module.__doc__.split()) in text
    assert "--smoke" in text
    if hasattr(module, "RECIPE"):
        assert module.RECIPE.name == name
        asked = "without it, TensorFlow Datasets is asked" in text
        assert asked == (module.RECIPE.tfds is not None)
        s = module.RECIPE.settings
        # At a line's end, words are broken at hyphens.
        text = text.replace("- ", "-")
        assert f"(default: {s.learning_rate})" in text
        assert f"(default: {s.backbone})" in text
        assert f"(default: runs/{name})" in text
        assert f"depth={s.attention['depth']}" in text


def test_help_may_have_any_sign(capsys):
    """Argparse takes those of percent for its own."""
    code, out, _ = command(TINY, ["--help"], capsys)
    assert code == 0
    assert "100 % mine" in out
