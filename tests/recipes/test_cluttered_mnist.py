"""The recipe, end to end on little data: stopped, continued, refused."""

import contextlib
import functools
import importlib.util
import io
import json
import os
import pathlib
import re
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from support import in_tensorboard
from support import without_weights

import keras_warn

pytestmark = pytest.mark.usefixtures("eager")

RECIPE = pathlib.Path(__file__).parents[2] / "recipes" / "cluttered_mnist.py"
SMALL = "--smoke --epochs 2 --train-size 128 --test-size 20".split()
NARROW = {"filters": (2, 3, 5, 7, 11), "dense": 13}


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("cluttered_mnist", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # Most of what a start of the recipe does.
    module.load_digits = functools.cache(module.load_digits)
    module.SMOKE |= NARROW
    return module


def contents(path):
    return {
        file.relative_to(path): file.stat().st_mtime_ns
        for file in path.rglob("*")
    }


def stops(recipe, arguments, capsys):
    """The message with which the command line is turned down."""
    with pytest.raises(SystemExit) as stop:
        recipe.main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    """The folder of a run that was stopped in its second part, and resumed."""
    out = tmp_path_factory.mktemp("runs") / "small"
    arguments = [*SMALL, "--out", str(out)]
    fit = recipe.training.fit

    def stop(epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt

    def stopped(model, batches, epochs, folder, callbacks, **options):
        if folder.name == "attention_0":
            callback = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
            callbacks = [*callbacks, callback]
        return fit(
            model, batches, epochs, folder, callbacks=callbacks, **options
        )

    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(SystemExit) as exit,
        contextlib.redirect_stdout(io.StringIO()) as said,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        patch.setattr(recipe.training, "fit", stopped)
        recipe.main(arguments)
    assert exit.value.code == 130
    assert "same command" in errors.getvalue()
    first = out / "parts" / "baseline_0.json"
    assert not (out / "parts" / "attention_0.json").exists()
    assert not (out / "results.json").exists()
    before = first.stat().st_mtime_ns, first.read_bytes()
    with contextlib.redirect_stdout(said):
        recipe.main(arguments)
    (out.parent / "said.txt").write_text(said.getvalue())
    assert (first.stat().st_mtime_ns, first.read_bytes()) == before
    return out


def test_all_files_are_there(finished):
    names = (
        "attention_0.keras baseline_0.keras clutter.png explanation.png "
        "parts report.html results.csv results.json settings.json "
        "tensorboard"
    )
    assert sorted(os.listdir(finished)) == names.split()
    for name in ("clutter.png", "explanation.png"):
        content = (finished / name).read_bytes()
        assert content.startswith(b"\x89PNG")


def test_results_are_complete(finished):
    results = json.loads((finished / "results.json").read_text())
    assert results["environment"]["backend"] == keras.backend.backend()
    assert results["settings"]["train_size"] == 128
    table = pd.read_csv(finished / "results.csv", index_col="arm")
    assert [*table.index] == ["baseline", "attention"]
    for arm, result in zip(table.index, results["runs"], strict=True):
        assert result["arm"] == arm and result["training_seconds"] > 0
        assert list(result["accuracy"]) == ["4", "8", "16", "32", "64"]
        assert all(0 <= value <= 1 for value in result["accuracy"].values())
        assert table.accuracy_64[arm] == result["accuracy"]["64"]
    baseline, attention = results["runs"]
    assert baseline["parameters"] < attention["parameters"]
    assert not baseline["pointing"] and pd.isna(table.pointing_8_masks.baseline)
    names = {"masks", "random_baseline", "middle", "next_image"}
    assert set(attention["pointing"]) == {"8", "32"}
    for d, found in attention["pointing"].items():
        assert set(found) == names
        assert table[f"pointing_{d}_masks"]["attention"] == found["masks"]


def test_curves_of_both_models(finished):
    """In one place; each epoch once, though the run was stopped."""
    for name in ("baseline_0", "attention_0"):
        folder = finished / "tensorboard" / name
        events = in_tensorboard(folder)
        for part in ("training", "validation"):
            for number in ("loss", "accuracy"):
                found = events[f"{part}/{number}"]
                assert [event.step for event in found] == [0, 1]


def test_says_when_it_ends_and_where_results_are(finished):
    said = (finished.parent / "said.txt").read_text()
    assert "[1/2] baseline, seed 0 is done already" in said
    assert re.search(r"All will have been trained in \d+\.\d minutes", said)
    assert said.index("minutes") < said.index("report.html")
    last = said.splitlines()[-1]
    assert f"tensorboard --logdir {finished}" in last


@pytest.mark.parametrize(
    "arguments, version, message",
    [
        ([], None, "results.json exists"),
        (["--epochs", "3"], None, "epochs=2 instead of 3"),
        (["--ablate", "average"], None, "ablate=[] instead of ['average']"),
        ([], "0.0.0", "instead of '0.0.0'"),
    ],
)
def test_another_run_is_never_mixed_in(
    recipe, finished, capsys, monkeypatch, arguments, version, message
):
    if version:
        monkeypatch.setattr(recipe.keras_warn, "__version__", version)
    before = contents(finished)
    arguments = [*SMALL, *arguments, "--out", finished]
    assert message in stops(recipe, arguments, capsys)
    assert contents(finished) == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--source", "nonsense"], "source='nonsense'"),
        (["--seeds", 0], "at most 1000. Received: seeds=0"),
        (["--attention", "depth=5"], "depth=5"),
        (["--learning-rate", "nan"], "Received: learning_rate=nan"),
        (["--train-size", 127], "at least 128, at most 100000000. Received: t"),
        (["--ablate", "everything"], "--ablate"),
    ],
)
def test_bad_arguments_leave_no_folder(
    recipe, tmp_path, capsys, arguments, message
):
    out = tmp_path / "run"
    assert message in stops(recipe, [*arguments, "--out", out], capsys)
    assert not out.exists()


def test_without_matplotlib_nothing_starts(
    recipe, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = stops(recipe, ["--out", tmp_path / "run"], capsys)
    assert "pip install matplotlib" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "variant, attention, attended, width",
    [
        ("attention", {"depth": 1}, ["relu5"], 4),
        ("attention", {"depth": 3, "width": 2}, ["pool2", "pool3", "relu5"], 2),
        ("attention", {"depth": 1, "attend_at": ["relu4"]}, ["relu4"], 4),
        # Whatever those of the attention are.
        ("depth_2_width_1", {"depth": 3, "width": 3}, ["pool3", "relu5"], 1),
        ("depth_4_width_8", {}, ["pool1", "pool2", "pool3", "relu5"], 8),
    ],
)
def test_attention_goes_backwards_from_the_fifth_convolution(
    recipe, variant, attention, attended, width
):
    attention = {**recipe.Settings().attention, **attention}
    s = recipe.Settings(attention=attention, **NARROW)
    with without_weights():
        model = recipe.build(variant, s)
    modules = keras_warn.summary(model).modules
    assert [one.reads for one in modules] == attended
    for layer in model.layers:
        if isinstance(layer, keras_warn.AttentionHeads):
            assert layer.num_heads == width


def test_every_ablation_changes_the_model(recipe):
    s = recipe.Settings(**NARROW)

    def built(variant):
        # Automatic names count from the start.
        keras.utils.clear_session(free_memory=False)
        with without_weights():
            model = recipe.build(variant, s)
        assert model.output_shape == (None, 10)
        return model.get_config()["layers"]

    plain = built("attention")
    assert built("attention") == plain, "else all would differ"
    for variant in recipe.ABLATIONS:
        assert built(variant) != plain, variant


def test_spatial_transformer_is_the_baseline_behind_an_identity(recipe):
    s = recipe.Settings(**NARROW)
    baseline = recipe.build("baseline", s)
    model = recipe.build("spatial_transformer", s)
    for layer in baseline.layers[1:]:
        model.get_layer(layer.name).set_weights(layer.get_weights())
    images = np.random.default_rng(0).random((3, 40, 40, 1), "float32")
    np.testing.assert_allclose(
        model.predict(images, verbose=0),
        baseline.predict(images, verbose=0),
        atol=1e-6,
    )


def test_spatial_transformer_learns_at_a_tenth_of_the_rate(recipe, tmp_path):
    """In the second step, the first of a rate above zero; Adam's is near it."""
    s = recipe.Settings(epochs=1, train_size=2 * 128, validation_size=10)
    keras.utils.set_random_seed(0)
    model = recipe.build("spatial_transformer", s)
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    batches = recipe.training_data(0, recipe.load_digits(s.source), s)
    recipe.training.fit(recipe.compiled(model, s), batches, 1, tmp_path)
    steps = {True: [], False: []}
    for variable, value in zip(model.trainable_variables, before, strict=True):
        slow = variable.path.startswith(("locate", "transformer"))
        step = keras.ops.convert_to_numpy(variable) - value
        steps[slow].append(np.abs(step).max())
    assert len(steps[True]) == 8
    assert 0.5e-3 < max(steps[True]) < 1.5e-3
    assert 0.5e-2 < min(steps[False]) <= max(steps[False]) < 1.5e-2


def test_all_variants_of_figure_4(recipe, tmp_path, monkeypatch):
    """In one word, with others, and none twice."""
    seen = []
    monkeypatch.setattr(
        recipe, "experiment", lambda digits, s, run: seen.extend(s.ablate)
    )
    names = ["average", "figure_4", "kernel_3"]
    recipe.main(["--ablate", *names, "--out", str(tmp_path / "run")])
    assert len(recipe.FIGURE_4) == 13
    assert sorted(seen) == sorted({*recipe.FIGURE_4, "kernel_3"})


def test_spreads_of_seeds_in_the_table(recipe):
    def result(variant, seed, accuracy):
        return {
            "arm": variant,
            "seed": seed,
            "parameters": 1000,
            "training_seconds": 1,
            "accuracy": {"8": accuracy},
            "pointing": {},
        }

    results = [
        result("baseline", 0, 0.8),
        result("attention", 0, 0.9),
        result("baseline", 1, 0.7),
        result("attention", 1, 0.84),
    ]
    found = recipe.table(recipe.rows(results))
    assert found["baseline"]["accuracy_8"] == "75.0 ± 7.1"
    assert found["attention"]["accuracy_8"] == "87.0 ± 4.2"
    # The differences vary less than what they are the differences of.
    assert found["attention"]["accuracy_8_minus_baseline"] == "12.0 ± 2.8"
    found = recipe.table(recipe.rows(results[:2]))
    assert found["attention"]["accuracy_8"] == "90.0"
