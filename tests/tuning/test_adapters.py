"""Recipes as a search sees them: all that it needs, and nothing else."""

import argparse
import gc
import pathlib
import re
import shlex
import sys
import weakref

import adapters
import keras
import numpy as np
import pytest
import search
from space import Setting

import keras_warn

ROOT = pathlib.Path(__file__).parents[2]
CHANGED = Setting(
    {"depth": 1, "width": 2, "projection": None, "gates": "average"}, 0.0123
)


def made(name, folder, *options):
    kind, recipe, path = adapters.load(name)
    parser = argparse.ArgumentParser()
    kind.add_arguments(recipe, parser)
    arguments = parser.parse_args(["--smoke", *options])
    return kind(recipe, arguments, folder)


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return made("image_folder", folder, "--batch-size", "4")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return made("cluttered_mnist", tmp_path_factory.mktemp("digits"))


def test_every_recipe_can_be_searched(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert {"cub200", "image_folder", "cluttered_mnist"} < {*adapters.names()}
    for name in adapters.names():
        kind, recipe, path = adapters.load(name)
        assert path == ROOT / f"recipes/{name}.py"
        kind.add_arguments(recipe, argparse.ArgumentParser())


def test_files_that_are_no_recipes(tmp_path):
    with pytest.raises(ValueError, match="one of adience_age, .*'cub201'"):
        adapters.load("cub201")
    mine = tmp_path / "mine.py"
    with pytest.raises(ValueError, match="file of a recipe. Received: .*mine"):
        adapters.load(str(mine))
    mine.write_text("RECIPE = 'cake'")
    with pytest.raises(ValueError, match="called RECIPE. .*mine.py', which"):
        adapters.load(str(mine))


@pytest.mark.parametrize("name", ["kit", "digits"])
def test_a_training_is_the_recipes_own(name, request):
    """With the same network, data and weights at the start."""
    adapter = request.getfixturevalue(name)
    model, data, validation, _ = adapter.training(adapter.setting, 3)
    weights = model.get_weights()
    images, labels = next(iter(data.dataset(0, 0)))
    if name == "kit":
        one = adapter.recipe.experiment(
            adapter.data, adapter.settings, 3, smoke=True
        )
        own, batches = one.build(), one.batches()
        expected = one.splits.validation.labels
        assert validation.labels.tolist() == expected.tolist()
    else:
        keras.utils.set_random_seed(3)
        own = adapter.recipe.build("attention", adapter.s)
        batches = adapter.recipe.training_data(3, adapter.digits, adapter.s)
    own_images, own_labels = next(iter(batches.dataset(0, 0)))
    for mine, theirs in zip(weights, own.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(images, own_images)
    np.testing.assert_array_equal(labels, own_labels)


@pytest.mark.parametrize("name", ["kit", "digits"])
def test_the_command_says_the_setting(name, request, monkeypatch):
    """What the recipe makes of its words is what was tried."""
    monkeypatch.chdir(ROOT)
    adapter = request.getfixturevalue(name)
    kind, recipe, path = adapters.load(
        {"kit": "image_folder", "digits": "cluttered_mnist"}[name]
    )
    given = adapter.words(["--smoke", "--epochs", "7", "--devices", "CPU:0"])
    python, file, *words = shlex.split(
        adapters.command(path, *given, setting=CHANGED)
    )
    assert (python, file) == ("python", f"recipes/{path.name}")
    parser = argparse.ArgumentParser()
    recipe.add_arguments(parser)  # of digits, without --devices
    found = recipe.settings_from(parser.parse_args(words))
    assert found.epochs == 7
    assert found.attention.items() >= CHANGED.attention.items()
    assert found.learning_rate == CHANGED.learning_rate


def test_a_search_needs_validation_and_attention(tmp_path):
    with pytest.raises(ValueError, match="`validation_share` must be positive"):
        made("image_folder", tmp_path, "--validation-share", "0")


def test_models_that_were_built_to_be_counted_are_forgotten(kit):
    """Layers of the backbone would keep what was built on them."""
    model = weakref.ref(kit.attended({"depth": 1}))
    gc.collect()
    assert model() is None


def test_layers_that_the_recipe_names(tmp_path, kit):
    model = kit.attended({"depth": 1})
    (named,) = (one.reads for one in keras_warn.summary(model).modules)
    adapter = made(
        "image_folder", tmp_path, "--attention", f"attend_at={named}"
    )
    assert (adapter.named, adapter.points) == ([named], 1)


SMALL = ["cluttered_mnist", "--smoke", "--space", "depth", "width=1,4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "RECIPE must come first"),
        ([*SMALL, "--space", "depth=1,5"], "depth of 1 to 4.*Received: 1, 5"),
        ([*SMALL, "--worker", "a"], "`worker` needs `chief`"),
        ([*SMALL, "--over"], "unrecognized arguments: --over"),
        ([*SMALL, "--devices", "GPU:7", "GPU:8"], "`devices` must be devices"),
    ],
)
def test_bad_arguments_leave_no_folder(tmp_path, arguments, message, capsys):
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        search.main(arguments and [*arguments, "--out", str(out)])
    assert stop.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(message, said), said
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("kept")
    with pytest.raises(SystemExit):
        search.main([*SMALL, "--out", str(tmp_path), "--overwrite"])
    assert "thesis.tex" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
