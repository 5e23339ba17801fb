"""The command, on a toy: trials, kills, failures, and the best retrained."""

import json
import math
import pathlib

import adapters
import costs
import pandas as pd
import pytest
import results
import search
import tuner
from space import Setting

from keras_warn import training
from tuning import toy


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs the command in `s`, a folder; returns the table of its trials."""
    found = toy.Adapter, None, pathlib.Path("recipes/toy.py")
    monkeypatch.setattr(adapters, "load", lambda name: found)
    # They take longer than the training.
    monkeypatch.setattr(costs.Costs, "latency_added", lambda *of: 0.1)
    monkeypatch.setattr(
        costs, "operations", lambda model: {"MatMul": model.count_params()}
    )

    # Tests of the page are elsewhere.
    monkeypatch.setattr(results, "page", lambda *of: str(of[2]))
    monkeypatch.setattr(tuner.keras.utils, "clear_session", lambda **of: None)

    def run(*arguments, retrain=0):
        folder = tmp_path / "s"
        more = ["--out", str(folder), "--retrain", str(retrain)]
        search.main(["toy", *arguments, *more])
        return pd.read_csv(folder / "trials.csv", dtype={"trial": str})

    return run


@pytest.fixture
def untrained(monkeypatch):
    """Trials, and the seeds of the best, end at once."""

    def fit(model, data, epochs, folder, *args, until=3, **options):
        folder.mkdir(parents=True)
        row = {"epoch": until, "val_accuracy": 0.5, "val_loss": 0.25}
        return training.Trained([row], 1, 1.0, [])

    def retrain(adapter, setting, seed, folder, verbose):
        return {"validation": 0.5, "test": 0.5}

    monkeypatch.setattr(toy.Adapter, "training", lambda *of: (None,) * 4)
    monkeypatch.setattr(toy.Adapter, "retrain", retrain)
    monkeypatch.setattr(tuner.training, "fit", fit)


def trained(setting, folder, seed=0):
    """Accuracy and loss, by `fit` alone."""
    model, data, validation, _ = toy.Adapter().training(setting, seed)
    found = training.fit(model, data, 3, folder / f"{seed}", validation)
    return found.history[-1]["val_accuracy"], found.history[-1]["val_loss"]


def stopped(run, code, *arguments):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == code


def refuse(monkeypatch, width):
    def training(adapter, setting, seed):
        if width in (None, setting.attention["width"]):
            raise ValueError("`width` is <too> wide.\nBy far.")
        return whole(adapter, setting, seed)

    whole = toy.Adapter.training
    monkeypatch.setattr(toy.Adapter, "training", training)


GRID = ("--tuner", "grid", "--space", "width=4,8,2")
PAIR = ("--tuner", "grid", "--space", "width=4,8")


def test_a_failing_trial_is_recorded_and_others_follow(
    run, monkeypatch, tmp_path, capsys
):
    with monkeypatch.context() as patch:
        refuse(patch, width=8)
        found = run(*GRID)
    assert [*found.trial] == ["01", "02", "03"]
    assert [*found.width] == [4, 8, 2]
    assert [*found.status] == ["completed", "failed", "completed"]
    assert found.reason[1] == "ValueError: `width` is <too> wide."
    assert (found.parameters[[0, 2]] > 0).all()
    # The first is the recipe itself, to the bit.
    first = tuple(found.loc[0, ["accuracy", "loss"]])
    assert first == trained(toy.OWN, tmp_path / "t")
    # The same search again has nothing to do; another is refused.
    assert run(*GRID).equals(found)
    stopped(run, 2, *GRID[:-1], "width=4,8")
    assert "space.width='4, 8, 2' instead of" in capsys.readouterr().err


def test_many_failures_in_a_row_stop_the_search(
    run, untrained, monkeypatch, capsys
):
    space = ("--space", "width=4,8,2", "depth", "--max-trials", "6")
    with monkeypatch.context() as patch:
        refuse(patch, width=None)
        stopped(run, 1, *space)
    assert "trials in a row have failed, the last" in capsys.readouterr().err
    # What is mended may resume.
    assert [*run(*space).status] == ["failed"] * 5 + ["completed"]


def test_what_is_wrong_with_the_machine_stops_the_search(
    run, untrained, monkeypatch, capsys
):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tuner.training, "fit", full)
        stopped(run, 1, *PAIR)
    assert "No space left" in capsys.readouterr().err
    assert [*run(*PAIR).status] == ["completed"] * 2


def test_a_loss_on_validation_that_is_not_finite(run, untrained, monkeypatch):
    def nan(*args, **options):
        row = {"epoch": 3, "val_accuracy": 0.1, "val_loss": math.nan}
        return training.Trained([row], 1, 1.0, [])

    monkeypatch.setattr(tuner.training, "fit", nan)
    stopped(run, 1, *GRID)


def test_a_trial_that_was_killed(run, monkeypatch, tmp_path):
    """In its middle, and then when it was recorded and nobody knew yet."""

    def after_an_epoch(*of, until, **options):
        whole(*of, until=1, **options)
        raise KeyboardInterrupt

    def when_recorded(*of):
        raise KeyboardInterrupt

    whole = training.fit
    with monkeypatch.context() as patch:
        patch.setattr(tuner.training, "fit", after_an_epoch)
        stopped(run, 130, *PAIR)
        patch.setattr(tuner.training, "fit", whole)
        patch.setattr(tuner.Tuner, "on_trial_end", when_recorded)
        stopped(run, 130, *PAIR)
    result = tmp_path / "s/parts/trials/0000/result.json"
    before = result.stat().st_mtime_ns
    found = run(*PAIR)
    assert result.stat().st_mtime_ns == before
    assert len(found) == 2
    first = tuple(found.loc[0, ["accuracy", "loss"]])
    assert first == trained(toy.OWN, tmp_path / "t")


def test_hyperband_resumes_where_a_trial_ended(run, monkeypatch, tmp_path):
    """As if it had been trained at once, by the same schedule."""
    resumed, fit = [], training.fit

    def noting(model, batches, epochs, folder, *of, **options):
        resumed.append((folder / "state.npz").exists())
        return fit(model, batches, epochs, folder, *of, **options)

    monkeypatch.setattr(tuner.training, "fit", noting)
    found = run("--tuner", "hyperband", "--space", "learning_rate", "width=2,4")
    assert {*found.epochs} == {1, 3}
    assert sum(resumed) == found.resumes.notna().sum() > 0
    row = found[found.resumes.notna()].iloc[0]
    before = found[found.trial.astype(int) == int(row.resumes)].iloc[0]
    assert before.epochs < row.epochs
    attention = {**toy.OWN.attention, "width": int(row.width)}
    setting = Setting(attention, row.learning_rate)
    assert (row.accuracy, row.loss) == trained(setting, tmp_path / "t")
    known = json.loads((tmp_path / "s/results.json").read_text())
    best = found[found.trial == known["best"]].iloc[0]
    assert best.epochs == 3


def test_the_mean_of_executions_counts(run, tmp_path):
    """Of trainings by different seeds."""
    found = run(*GRID, "--max-trials", "1", "--executions", "2")
    losses = [trained(toy.OWN, tmp_path, seed)[1] for seed in (0, 1)]
    assert losses[0] != losses[1]
    assert found.loss[0] == sum(losses) / 2


def test_the_best_and_what_it_is_compared_with(
    run, untrained, monkeypatch, tmp_path
):
    """What diverges is recorded, and the others follow."""

    def retrain(adapter, setting, seed, folder, verbose):
        if setting == Setting(None, toy.OWN.learning_rate):
            raise FloatingPointError("The loss is nan.")
        return {"validation": 0.5, "test": 0.5}

    monkeypatch.setattr(toy.Adapter, "retrain", retrain)
    found = run(
        *("--space", "learning_rate=0.001,0.002", "--max-trials", "2"),
        retrain=1,
    )
    known = json.loads((tmp_path / "s/results.json").read_text())
    assert known["finished"]
    # The recipe's rate is not in the space: the backbone alone is trained with
    # the rate that was found, too.
    names = ["baseline", "default", "baseline_at_best_rate", "best"]
    assert [one["variant"] for one in known["retrained"]] == names
    baseline, _, at_best_rate, best = known["retrained"]
    assert baseline["reason"] == "The loss is nan."
    assert best["validation_accuracy"] == found.accuracy.max()
    assert best["operations_added"] > 0 == at_best_rate["operations_added"]
    rate = found.learning_rate[found.accuracy.idxmax()]
    assert known["command"] == (
        "python recipes/toy.py --attention preset=paper depth=1 width=4 "
        f"--learning-rate {rate}"
    )


def test_a_process_that_trained_enough_is_replaced(run, untrained, monkeypatch):
    """It resumes, and so ends."""

    def execv(program, words):
        assert words[-1] == "0" and "--overwrite" not in words
        raise KeyboardInterrupt

    monkeypatch.setattr(search.os, "execv", execv)
    monkeypatch.setattr(search, "TRAININGS", 2)
    whole = search.main
    monkeypatch.setattr(search, "main", lambda argv: whole(argv, renews=True))
    with pytest.raises(KeyboardInterrupt):
        run(*GRID, "--overwrite")
    assert len(run(*GRID)) == 3
