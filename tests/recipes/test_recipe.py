"""The command that a recipe is: what it refuses, and what it prints."""

import argparse
import dataclasses

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


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "photos"
    return synthetic.write_image_folder(folder, classes=3, train=6, test=2)


def command(recipe, arguments, capsys):
    """Exit code, and what stands in the output and beside it."""
    code = 0
    try:
        recipe.main("Mine.", [str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    found = capsys.readouterr()
    return code, found.out, found.err


@pytest.fixture
def trainings(monkeypatch):
    """What would be trained, and where; 20 %, 30 % ... of it are correct."""
    done = []

    def run(one, path, *args, **options):
        done.append((one, path))
        accuracy = (1 + len(done)) / 10
        best = {"epoch": 3, "test": {"accuracy": accuracy + 0.05}}
        last = {"epoch": 5, "test": {"accuracy": accuracy}}
        return {
            "arm": one.variant,
            "seed": one.seed,
            "fold": one.splits.fold,
            "metrics": {"last_epoch": last, "best_by_validation": best},
        }

    monkeypatch.setattr(Experiment, "run", run)
    return done


def test_a_training_and_its_baseline(data, tmp_path, trainings, capsys):
    arguments = ["--data-dir", data, "--out", tmp_path]
    code, out, err = command(TINY, arguments, capsys)
    assert (code, err) == (0, "")
    assert out.splitlines()[-3:] == [
        "attention, seed 0: test accuracy 20.0 % after epoch 5, 25.0 % after "
        "the best by validation, 3",
        "",
        f"All results: {tmp_path}. Curves: tensorboard --logdir {tmp_path}",
    ]
    command(TINY, [*arguments, "--baseline"], capsys)
    (one, path), (baseline, beside) = trainings
    assert path == tmp_path / "attention" / "seed_0"
    assert one.settings == TINY.settings
    assert (one.seed, one.smoke, one.splits.fold) == (0, False, None)
    assert beside == tmp_path / "baseline" / "seed_0"
    assert baseline.settings == dataclasses.replace(
        one.settings, attention=None
    )


def test_seeds_one_after_another(data, tmp_path, trainings, capsys):
    """Each once, of the same split."""
    arguments = ["--data-dir", data, "--out", tmp_path, "--seeds", 3, 1, 3]
    _, out, _ = command(TINY, arguments, capsys)
    assert [path.name for _, path in trainings] == ["seed_3", "seed_1"]
    assert [one.seed for one, _ in trainings] == [3, 1]
    assert out.splitlines()[-3] == (
        "mean ± standard deviation over 2 seeds, last epoch: 25.0 ± 7.1 %"
    )
    first, second = (one.splits.summary() for one, _ in trainings)
    assert first == second


def test_folds_one_after_another(tmp_path, trainings, capsys):
    rows = [
        (fold, f"{fold}{user}@N", f"{i}.jpg", i, "13", "fm"[i % 2])
        for fold in range(5)
        for user in range(4)
        for i in range(4)
    ]
    archive_files.adience(tmp_path, rows)
    faces = dataclasses.replace(
        TINY, load=lambda folder: archives.adience(folder, "gender")
    )
    arguments = ["--data-dir", tmp_path, "--out", tmp_path / "out"]
    _, out, _ = command(faces, arguments, capsys)
    assert [one.splits.fold for one, _ in trainings] == list(range(5))
    assert trainings[4][1] == tmp_path / "out/attention/fold_4/seed_0"
    assert "attention, fold 4, seed 0: test accuracy 60.0 %" in out
    assert "over 5 folds, last epoch: 40.0 ± 15.8 %" in out
    some = ["--folds", 3, 1, "--seeds", 0, 1]
    _, out, _ = command(faces, [*arguments, *some], capsys)
    # Of each seed the mean over folds: 80 and 90 %.
    assert "over 2 seeds, last epoch: 85.0 ± 7.1 %" in out
    found = [(one.splits.fold, one.seed) for one, _ in trainings[5:]]
    assert found == [(3, 0), (3, 1), (1, 0), (1, 1)]
    # A smoke run takes the first.
    command(faces, [*arguments, "--smoke"], capsys)
    assert [one.splits.fold for one, _ in trainings[9:]] == [0]


def test_smoke_takes_a_sample(trainings, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command(TINY, ["--smoke", "--epochs", 3], capsys)
    ((one, path),) = trainings
    assert str(path) == "runs/tiny_smoke/attention/seed_0"
    assert one.smoke
    # What is asked for goes before what a smoke run changes.
    assert one.settings.epochs == 3
    assert one.settings.backbone == recipe.SMOKE["backbone"]
    assert one.settings.attention == TINY.settings.attention


def test_few():
    """Eight images of four classes, of each split."""
    splits = {"train": range(500), "test": range(500, 600)}
    paths, labels = map(str, range(600)), np.arange(600) % 6
    found = recipe.few(ImageDataset("all", paths, labels, "abcdef", splits))
    assert found.names == tuple("abcdef")
    for name in splits:
        counts = np.bincount(found.split(name).labels)
        assert counts.tolist() == [8, 8, 8, 8]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--seeds", "-1"], "`seeds` must be a non-negative integer"),
        (["--seeds", "4294967296"], "Received: seeds=4294967296."),
        (["--process", "0"], "`processes` must be two or more addr"),
        (["--batch-size", "99"], "`batch_size` must be at most the "),
        (["--folds", "0"], "`folds` must be among those of photos, no"),
        (["--attention", "depth=9"], "`depth` must be at most"),
        (
            ["--baseline", "--attention", "depth=1"],
            "`attention` must be omitted with `baseline`, which has none. "
            "Received: {'depth': 1}.",
        ),
        (["--data-dir", "no"], "no does not exist."),
        ([], "`--data-dir` must name a folder of class folders."),
    ],
    ids=lambda x: x[0] if isinstance(x, list) and x else "",
)
def test_what_is_refused(data, tmp_path, arguments, message, capsys):
    if arguments and "--data-dir" not in arguments:
        arguments = ["--data-dir", data, *arguments]
    arguments = [*arguments, "--out", tmp_path / "out"]
    code, _, err = command(TINY, arguments, capsys)
    assert code == 2 and err.startswith("tiny: ")
    assert message in err and "Traceback" not in err
    assert not (tmp_path / "out").exists()


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
    assert trainings == []
    code, _, err = command(TINY, [*arguments, "--skip-bad-images"], capsys)
    assert code == 0
    assert f"skipped: {bad}" in err
    ((one, _),) = trainings
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
        (FloatingPointError("The loss is nan."), 1, "The loss is nan."),
        (OSError("No space left."), 2, "No space left."),
        (
            KeyboardInterrupt("x has epoch 1"),
            130,
            "stopped. x has epoch 1. The same command resumes.",
        ),
        (KeyboardInterrupt(), 130, "stopped. The same command resumes."),
    ],
)
def test_exit_codes(data, monkeypatch, tmp_path, error, code, message, capsys):
    def run(*args, **kwargs):
        raise error

    monkeypatch.setattr(Experiment, "run", run)
    arguments = ["--data-dir", data, "--out", tmp_path]
    found, _, err = command(TINY, arguments, capsys)
    assert (found, err) == (code, f"tiny: {message}\n")
