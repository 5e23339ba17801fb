"""Trials: how they are trained, what is recorded, and what stops a search."""

import csv
import json
import tempfile

import numpy as np
import pytest
from searching import records
from searching import tuner as tuner_module
from searching.search import Stopped

from keras_warn import training
from tuning import toy

WIDE = {"width": (4, 8, 2), "depth": (2, 1)}


def trained(subject, setting, epochs=None, seed=0):
    """Its metrics, by `fit` alone; the folder is thrown away."""
    of = subject.training(setting, seed)
    with tempfile.TemporaryDirectory() as folder:
        history = training.fit(
            of.model,
            of.batches,
            of.epochs,
            folder,
            of.validation,
            verbose=0,
            until=epochs,
        ).history
    return history[-1]["val_accuracy"], history[-1]["val_loss"]


def test_a_failing_trial_is_recorded_and_the_search_goes_on(tmp_path, capsys):
    subject = toy.Subject(lambda setting: setting.attention["width"] == 8)
    searched = toy.space(width=(4, 8, 2))
    one, run = toy.search(tmp_path / "s", subject, searched, "grid", timed=True)
    found = run()
    assert [r["values"]["width"] for r in found] == [4, 8, 2]
    failed = found[1]
    assert failed["status"] == records.FAILED
    # What is wrong comes first; where it happened follows.
    head, _, rest = failed["reason"].partition("\n")
    assert head == "ValueError: `width` is <too> wide."
    assert "Traceback" in rest and "By far." in rest
    assert failed["accuracy"] is None
    completed = [r for r in found if r["status"] == records.COMPLETED]
    assert len(completed) == 2
    for record in completed:
        assert record["cost"]["parameters"] > 0
        assert record["cost"]["latency_added"] is not None
        assert record["seconds"] > 0
    # The first is the recipe itself, to the bit.
    first = found[0]
    assert (first["accuracy"], first["loss"]) == trained(subject, toy.OWN)
    with open(tmp_path / "s/trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == [r["status"] for r in found]
    assert float(rows[0]["accuracy"]) == first["accuracy"]
    results = json.loads((tmp_path / "s/results.json").read_text())
    assert (
        results["best"]
        == min(completed, key=lambda r: (-r["accuracy"], r["trial"]))["trial"]
    )
    # The same search again has nothing to do; another is refused.
    again, run = toy.search(tmp_path / "s", subject, searched, "grid")
    assert run() == found
    with pytest.raises(FileExistsError, match="other=1|other=None"):
        run(other=1)
    assert "failed: ValueError: `width` is" in capsys.readouterr().out


def test_many_failures_in_a_row_stop_the_search(tmp_path):
    subject = toy.Subject(lambda setting: True)
    one, run = toy.search(tmp_path / "s", subject, toy.space(**WIDE))
    with pytest.raises(
        Stopped, match="trials in a row .* by ValueError: `width`"
    ):
        run()
    # What is mended may go on.
    subject.refused = None
    assert [r["status"] for r in run()] == [records.FAILED] * 5 + [
        records.COMPLETED
    ]


def test_what_is_wrong_with_the_machine_stops_the_search(tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    subject = toy.Subject()
    one, run = toy.search(
        tmp_path / "s", subject, toy.space(**WIDE), max_trials=1
    )
    with monkeypatch.context() as patch:
        patch.setattr(tuner_module.training, "fit", full)
        with pytest.raises(
            tuner_module.keras_tuner.errors.FatalError, match="No space left"
        ):
            run()
    (record,) = run()
    assert record["status"] == records.COMPLETED


def test_hyperband_goes_on_where_a_trial_ended(tmp_path):
    """As if it had been trained at once, by the same schedule."""
    subject = toy.Subject()
    searched = toy.space(learning_rate=(), width=())
    one, run = toy.search(
        tmp_path / "s",
        subject,
        searched,
        "hyperband",
        max_epochs=3,
        max_trials=None,
    )
    found = run()
    further = [r for r in found if r["goes_on_from"]]
    assert further
    for record in (found[1], further[0]):
        setting = searched.setting(record["values"])
        expected = trained(subject, setting, record["epochs"])
        assert (record["accuracy"], record["loss"]) == expected
    assert {r["epochs"] for r in found} == {1, 3}
    assert one.best()["epochs"] == 3


def test_a_trial_that_was_killed_when_all_was_done(tmp_path, monkeypatch):
    """Between its record and the oracle's: it is not trained again."""
    subject = toy.Subject()
    searched = toy.space(**WIDE)
    one, run = toy.search(tmp_path / "s", subject, searched, max_trials=2)
    with monkeypatch.context() as patch:

        def killed(tuner, trial):
            raise KeyboardInterrupt

        patch.setattr(tuner_module.Tuner, "on_trial_end", killed)
        with pytest.raises(KeyboardInterrupt):
            run()
    before = (tmp_path / "s/parts/trials/01.json").read_bytes()
    assert len(run()) == 2
    assert (tmp_path / "s/parts/trials/01.json").read_bytes() == before


def test_executions_are_averaged(tmp_path):
    subject = toy.Subject()
    one, run = toy.search(
        tmp_path / "s", subject, toy.space(**WIDE), max_trials=1, executions=2
    )
    (record,) = run()
    losses = [trained(subject, toy.OWN, seed=seed)[1] for seed in (0, 1)]
    assert [e["loss"] for e in record["executions"]] == losses
    assert record["loss"] == pytest.approx(np.mean(losses))


def test_a_retraining_that_diverges_is_recorded(tmp_path, capsys):
    """And the others go on."""
    subject = toy.Subject()
    one, run = toy.search(
        tmp_path / "s",
        subject,
        toy.space(width=(2, 8)),
        max_trials=1,
        timed=True,
    )
    run()

    def retrain(setting, seed, folder, verbose):
        if setting.attention is None:
            raise FloatingPointError("The loss is nan.")
        found = {"accuracy": 0.5, "loss": 1.0}
        return {"validation": found, "test": found}

    subject.retrain = retrain
    with one.opened({"toy": True}, toy.Office(), False):
        one.retrain([0, 1])
    assert "Retraining failed: The loss is nan." in capsys.readouterr().out
    results = json.loads((tmp_path / "s/results.json").read_text())
    assert results["finished"]
    assert {r["arm"] for r in results["retrained"]} == {"default", "best"}


def test_a_loss_on_validation_that_is_not_finite(tmp_path):
    """It would be no number in any file."""
    subject = toy.Subject()
    one, run = toy.search(
        tmp_path / "s", subject, toy.space(width=(4, 8)), max_trials=2
    )

    def nan(*args, **options):
        row = {"epoch": 3, "val_accuracy": 0.1, "val_loss": float("nan")}
        return training.fitting.Trained([row], 1, 1.0)

    whole = tuner_module.training.fit
    tuner_module.training.fit = nan
    try:
        with pytest.raises(Stopped, match="No trial has a result"):
            run()
    finally:
        tuner_module.training.fit = whole
    for record in one.records.read():
        assert record["reason"].startswith(
            "FloatingPointError: The loss on validation is nan after epoch 3."
        )


def test_the_best_and_what_it_is_compared_with(tmp_path):
    subject = toy.Subject()
    one, run = toy.search(
        tmp_path / "s",
        subject,
        toy.space(learning_rate=(0.001, 0.002)),
        max_trials=2,
        timed=True,
    )
    best, _ = sorted(run(), key=lambda r: -r["accuracy"])
    with one.opened({"toy": True}, toy.Office(), False):
        one.retrain([0])
    results = json.loads((tmp_path / "s/results.json").read_text())
    assert results["finished"]
    arms = {r["arm"]: r for r in results["retrained"]}
    # The recipe's rate is not in the space: so the network alone is trained
    # with the rate that was found, too.
    assert list(arms) == [
        "baseline",
        "baseline_at_best_rate",
        "default",
        "best",
    ]
    assert arms["best"]["validation"]["accuracy"] == best["accuracy"]
    assert arms["best"]["cost"]["parameters"] > 0
    assert arms["baseline"]["cost"]["parameters"] == 0
