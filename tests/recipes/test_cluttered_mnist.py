"""The recipe, end to end on little data: stopped, resumed, refused."""

import contextlib
import functools
import io
import json
import os
import re
import sys

import cluttered_mnist as recipe
import keras
import numpy as np
import pandas as pd
import pytest
from support import in_tensorboard
from support import without_weights

import keras_warn

pytestmark = pytest.mark.usefixtures("eager")

SMALL = "--smoke --epochs 2 --train-size 128 --test-size 20".split()
NARROW = {"filters": (2, 3, 5, 7, 11), "dense": 13}


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        # Most of what a start of the recipe does.
        read = functools.cache(recipe.load_digits)
        patch.setattr(recipe, "load_digits", read)
        patch.setattr(recipe, "SMOKE", {**recipe.SMOKE, **NARROW})
        yield patch


def stops(arguments, code=2):
    """The command line is turned down, or the run is stopped."""
    with pytest.raises(SystemExit) as stop:
        recipe.main([str(argument) for argument in arguments])
    assert stop.value.code == code


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    """The folder of a run that was stopped before its second part, resumed."""
    out = tmp_path_factory.mktemp("runs") / "small"
    arguments = [*SMALL, "--out", str(out)]
    fit = recipe.training.fit

    def stopped(model, batches, epochs, folder, **options):
        if folder.name == "attention_0":
            raise KeyboardInterrupt
        return fit(model, batches, epochs, folder, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe.training, "fit", stopped)
        stops(arguments, 130)
    first = out / "parts" / "baseline_0.json"
    before = first.stat().st_mtime_ns
    assert not (out / "results.json").exists()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        recipe.main(arguments)
    (out.parent / "said.txt").write_text(said.getvalue())
    assert first.stat().st_mtime_ns == before
    return out


def test_says_when_it_ends(finished):
    said = (finished.parent / "said.txt").read_text()
    assert "[1/2] baseline, seed 0 is done already" in said
    assert re.search(r"All will have been trained in \d+\.\d minutes", said)


def test_all_files_are_there(finished):
    names = (
        "attention_0.keras baseline_0.keras clutter.png explanation.png "
        "parts report.html results.csv results.json settings.json "
        "tensorboard"
    )
    assert sorted(os.listdir(finished)) == names.split()
    for name in ("baseline_0", "attention_0"):
        events = in_tensorboard(finished / "tensorboard" / name)
        for tag in ("training/loss", "validation/accuracy"):
            assert [event.step for event in events[tag]] == [0, 1]


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
    assert not baseline["pointing"]
    assert set(attention["pointing"]) == {"8", "32"}
    for d, found in attention["pointing"].items():
        names = {"masks", "random_baseline", "middle", "next_image"}
        assert set(found) == names
        assert table[f"pointing_{d}_masks"]["attention"] == found["masks"]


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
    finished, capsys, monkeypatch, arguments, version, message
):
    if version:
        monkeypatch.setattr(keras_warn, "__version__", version)
    stops([*SMALL, *arguments, "--out", finished])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--source", "nonsense"], "source='nonsense'"),
        (["--seeds", 0], "at most 1000. Received: seeds=0"),
        (["--attention", "depth=5"], "depth=5"),
        (["--train-size", 127], "at least 128, at most 100000000. Received: t"),
        (["--ablate", "everything"], "--ablate"),
        ([], "pip install matplotlib"),
    ],
)
def test_bad_arguments_leave_no_folder(
    tmp_path, capsys, monkeypatch, arguments, message
):
    """Nor does a machine without matplotlib."""
    if not arguments:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    out = tmp_path / "run"
    stops([*arguments, "--out", out])
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    "variant, attention, attended, width",
    [
        ("attention", {"depth": 3, "width": 2}, ["pool2", "pool3", "relu5"], 2),
        ("attention", {"depth": 1, "attend_at": ["relu4"]}, ["relu4"], 4),
        # Whatever those of the attention are.
        ("depth_2_width_1", {"depth": 3, "width": 3}, ["pool3", "relu5"], 1),
    ],
)
def test_attention_goes_backwards_from_the_fifth_convolution(
    variant, attention, attended, width
):
    attention = {**recipe.Settings().attention, **attention}
    s = recipe.Settings(attention=attention, **NARROW)
    with without_weights():
        model = recipe.build(variant, s)
    modules = keras_warn.summary(model).modules
    assert [one.reads for one in modules] == attended
    assert {one.num_heads for one in modules} == {width}


def test_every_ablation_changes_the_model():
    s = recipe.Settings(**NARROW)

    def built(variant):
        # Automatic names count from the start.
        keras.utils.clear_session(free_memory=False)
        with without_weights():
            return recipe.build(variant, s).get_config()["layers"]

    plain = built("attention")
    assert built("attention") == plain, "else all would differ"
    for variant in recipe.ABLATIONS:
        assert built(variant) != plain, variant


def test_spatial_transformer_is_the_baseline_behind_an_identity():
    """Which learns at a tenth of the rate."""
    s = recipe.Settings(**NARROW)
    baseline = recipe.build("baseline", s)
    model = recipe.compiled(recipe.build("spatial_transformer", s), s)
    for layer in baseline.layers[1:]:
        model.get_layer(layer.name).set_weights(layer.get_weights())
    images = np.random.default_rng(0).random((3, 40, 40, 1), "float32")
    np.testing.assert_allclose(
        model.predict(images, verbose=0),
        baseline.predict(images, verbose=0),
        atol=1e-6,
    )
    ((pattern, factor),) = model.optimizer.factors.items()
    slow = [v for v in model.trainable_variables if re.match(pattern, v.path)]
    assert factor == 0.1
    assert len(slow) == 8
    assert len(model.trainable_variables) == 8 + len(
        baseline.trainable_variables
    )


def test_all_variants_of_figure_4(tmp_path, monkeypatch):
    """In one word, with others, and none twice."""
    seen = []
    monkeypatch.setattr(
        recipe, "experiment", lambda digits, s, run: seen.extend(s.ablate)
    )
    names = ["average", "figure_4", "kernel_3"]
    recipe.main(["--ablate", *names, "--out", str(tmp_path / "run")])
    assert len(recipe.FIGURE_4) == 13
    assert sorted(seen) == sorted({*recipe.FIGURE_4, "kernel_3"})


def test_deviations_over_seeds_in_the_table():
    results = [
        {
            "arm": variant,
            "seed": seed,
            "validation_accuracy": [0.5],
            "accuracy": {"8": accuracy},
        }
        for variant, seed, accuracy in (
            ("baseline", 0, 0.8),
            ("attention", 0, 0.9),
            ("baseline", 1, 0.7),
            ("attention", 1, 0.84),
        )
    ]
    found = recipe.table(recipe.rows(results))
    assert found["baseline"]["accuracy_8"] == "75.0 ± 7.1"
    assert found["attention"]["accuracy_8"] == "87.0 ± 4.2"
    # The differences vary less than what they are the differences of.
    assert found["attention"]["accuracy_8_minus_baseline"] == "12.0 ± 2.8"
    found = recipe.table(recipe.rows(results[:2]))
    assert found["attention"]["accuracy_8"] == "90.0"
