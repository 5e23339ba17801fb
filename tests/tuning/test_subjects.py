"""Recipes as a search sees them: all that it needs, and nothing else."""

import argparse
import gc
import pathlib
import shlex
import weakref

import keras
import numpy as np
import pytest
from searching import subjects
from searching.space import Setting
from searching.space import Space

from keras_warn import attachment
from keras_warn import graph
from keras_warn import training

ROOT = pathlib.Path(__file__).parents[2]
CHANGED = Setting(
    {"depth": 1, "width": 2, "projection": None, "gates": "average"}, 0.0123
)


def opened(name, folder, *options):
    kind, recipe, path = subjects.load(name)
    parser = argparse.ArgumentParser()
    kind.add_arguments(recipe, parser)
    arguments = kind.parse(recipe, parser, ["--smoke", *options])
    return kind(recipe, path, arguments, folder)


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return opened("cub200", folder, "--batch-size", "4")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return opened("cluttered_mnist", tmp_path_factory.mktemp("digits"))


@pytest.mark.parametrize("name", subjects.names())
def test_every_recipe_can_be_searched(name):
    kind, recipe, path = subjects.load(name)
    assert path == ROOT / f"recipes/{name}.py"
    kind.add_arguments(recipe, argparse.ArgumentParser())


def test_files_that_are_no_recipes(tmp_path):
    with pytest.raises(ValueError, match="one of adience_age, .*'cub201'"):
        subjects.load("cub201")
    mine = tmp_path / "mine.py"
    with pytest.raises(ValueError, match="file of a recipe. Received: .*mine"):
        subjects.load(str(mine))
    mine.write_text("RECIPE = 'cake'")
    with pytest.raises(ValueError, match="called RECIPE. .*mine.py', which"):
        subjects.load(str(mine))
    mine.write_text(
        "from keras_warn import training\n"
        "RECIPE = training.Recipe(name='mine', load=None, sample=None, "
        "settings=training.Settings(), folder='')"
    )
    kind, recipe, path = subjects.load(str(mine))
    assert (kind, recipe.name, path) == (subjects.KitRecipe, "mine", mine)


@pytest.mark.parametrize("name", ["kit", "digits"])
def test_a_training_is_the_recipes_own(name, request, tmp_path):
    """With the same network, data and weights at the start."""
    subject = request.getfixturevalue(name)
    of = subject.training(subject.setting, 3)
    weights = of.model.get_weights()
    images, labels = (
        of.batches.batch(0, 0)
        if name == "kit"
        else next(iter(of.batches.dataset(0, 0)))
    )
    if name == "kit":
        one = subject.recipe.experiment(
            subject.listing, subject.settings, 3, smoke=True
        )
        own, batches = one.build(), one.batches()
        assert of.validation.labels.tolist() == (
            one.parts.validation.labels.tolist()
        )
        own_images, own_labels = batches.batch(0, 0)
    else:
        keras.utils.set_random_seed(3)
        own = subject.recipe.build("attention", subject.s)
        data = subject.recipe.training_data(3, subject.digits, subject.s)
        own_images, own_labels = next(iter(data.dataset(0, 0)))
    for mine, theirs in zip(weights, own.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(images, own_images)
    np.testing.assert_array_equal(labels, own_labels)


@pytest.mark.parametrize("name", ["kit", "digits"])
def test_where_it_may_attend(name, request):
    subject = request.getfixturevalue(name)
    searched = Space(subject.setting, subject.points, subject.named)
    assert str(searched.dimensions["depth"]) == ", ".join(
        map(str, range(1, subject.points + 1))
    )
    for values in ({"depth": subject.points}, {"depth": 1, "skip": 1}):
        subject.attended(searched.setting(values).attention)


@pytest.mark.parametrize("name", ["kit", "digits"])
@pytest.mark.parametrize("setting", ["own", "changed"])
def test_the_command_says_the_setting(name, setting, request, monkeypatch):
    """What the recipe makes of its words is what was tried."""
    monkeypatch.chdir(ROOT)
    subject = request.getfixturevalue(name)
    setting = subject.setting if setting == "own" else CHANGED
    python, file, *words = shlex.split(subject.command(setting))
    assert (python, file) == ("python", f"recipes/{subject.path.name}")
    kind, recipe, _ = subjects.load(file)
    parser = argparse.ArgumentParser()
    kind.add_arguments(recipe, parser)
    arguments = kind.parse(recipe, parser, words)
    if name == "kit":
        made = recipe.settings_from(arguments)
        expected = subject._experiment(setting, 0).settings
        assert made.batch_size == 4
        assert made.attention.items() >= setting.attention.items()
        assert {**made.identity(), "attention": None} == {
            **expected.identity(),
            "attention": None,
        }
    else:
        assert arguments.attention.items() >= setting.attention.items()
        assert arguments.learning_rate == setting.learning_rate
        assert arguments.train_size == subject.s.train_size


def test_a_search_needs_validation_and_attention(tmp_path):
    with pytest.raises(ValueError, match="`validation_share` must be positive"):
        opened("cub200", tmp_path, "--validation-share", "0")
    with pytest.raises(FileNotFoundError, match="`weights` must be"):
        opened("cub200", tmp_path, "--weights", "gone.weights.h5")


def test_models_that_were_built_to_be_counted_are_forgotten(kit):
    """Layers of the network would keep what was built on them."""
    model = weakref.ref(kit.attended({"depth": 1}))
    gc.collect()
    assert model() is None


def test_layers_that_the_recipe_names(tmp_path, kit):
    deepest = attachment.attachment_points(kit.network)[-1]
    named = graph.producer_name(deepest)
    subject = opened("cub200", tmp_path, "--attention", f"attend_at={named}")
    assert (subject.named, subject.points) == ([named], 1)


def test_the_best_is_retrained_by_the_recipe(kit, tmp_path):
    """Which leaves all that it leaves otherwise."""
    found = kit.retrain(CHANGED, 1, tmp_path / "run", 0)
    assert {"model.keras", "results.json", "history.csv"} < {
        path.name for path in (tmp_path / "run").iterdir()
    }
    model = keras.saving.load_model(tmp_path / "run/model.keras")
    one = kit._experiment(CHANGED, 1)
    assert found["test"] == training.evaluate(
        model, one.test_batches(one.parts.test)
    )
