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
import pytest
import search
from space import Setting
from support import assert_all_equal

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


@pytest.fixture(scope="module", params=["image_folder", "cluttered_mnist"])
def adapter(request, tmp_path_factory):
    return made(request.param, tmp_path_factory.mktemp("images"))


def test_every_recipe_can_be_searched(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert {"cub200", "image_folder", "cluttered_mnist"} < {*adapters.names()}
    for name in adapters.names():
        kind, recipe, path = adapters.load(name)
        assert path == ROOT / f"recipes/{name}.py"
        kind.add_arguments(recipe, argparse.ArgumentParser())


def test_a_training_is_the_recipes_own(adapter):
    """With the same network, data and weights at the start."""
    model, data, validation, _ = adapter.training(adapter.setting, 3)
    weights = model.get_weights()
    batch = next(iter(data.dataset(0, 0)))
    if isinstance(adapter, adapters.Kit):
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
    assert_all_equal(weights, own.get_weights())
    assert_all_equal(batch, next(iter(batches.dataset(0, 0))))


def test_the_command_says_the_setting(adapter, monkeypatch):
    """What the recipe makes of its words is what was tried."""
    monkeypatch.chdir(ROOT)
    kit = isinstance(adapter, adapters.Kit)
    name = "image_folder" if kit else "cluttered_mnist"
    _, recipe, path = adapters.load(name)
    given = adapter.words(["--smoke", "--epochs", "7", "--devices", "CPU:0"])
    python, file, *words = shlex.split(
        adapters.command(path, *given, setting=CHANGED)
    )
    assert (python, file) == ("python", f"recipes/{name}.py")
    parser = argparse.ArgumentParser()
    recipe.add_arguments(parser)  # of digits, without --devices
    found = recipe.settings_from(parser.parse_args(words))
    assert found.epochs == 7
    assert found.attention.items() >= CHANGED.attention.items()
    assert found.learning_rate == CHANGED.learning_rate


def test_layers_that_the_recipe_names(tmp_path):
    kit = made("image_folder", tmp_path)
    model = kit.attended({"depth": 1})
    (named,) = (one.reads for one in keras_warn.summary(model).modules)
    other = made("image_folder", tmp_path, "--attention", f"attend_at={named}")
    assert (other.named, other.points) == ([named], 1)
    # Layers of the backbone would keep what was built on them.
    forgotten = weakref.ref(model.layers[-1])
    del model
    gc.collect()
    assert forgotten() is None


SMALL = ["cluttered_mnist", "--smoke", "--space", "depth", "width=1,4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "RECIPE must come first"),
        (["cub201"], "one of adience_age, .*Received: 'cub201'"),
        # A file, and none of a recipe.
        (["tests/support.py"], "called RECIPE. .*support.py', which"),
        (
            ["image_folder", "--smoke", "--validation-share", "0"],
            "`validation_share` must be positive",
        ),
        ([*SMALL, "--space", "depth=1,5"], "depth of 1 to 4.*Received: 1, 5"),
        ([*SMALL, "--worker", "a"], "`worker` needs `chief`"),
        ([*SMALL, "--over"], "unrecognized arguments: --over"),
        ([*SMALL, "--devices", "GPU:7", "GPU:8"], "`devices` must be devices"),
    ],
)
def test_bad_arguments_leave_no_folder(
    tmp_path, monkeypatch, arguments, message, capsys
):
    monkeypatch.chdir(ROOT)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        search.main(arguments and [*arguments, "--out", str(out)])
    assert stop.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(message, said), said
    assert not list(tmp_path.iterdir())
