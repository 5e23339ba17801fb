"""What is tried, in which order, and after kills."""

import json

import keras_tuner
import numpy as np
import pytest
import tuner

from tuning import toy

KINDS = ("random", "bayesian", "hyperband", "grid")


def options(kind):
    more = {"max_epochs": 3} if kind == "hyperband" else {}
    # Each of the Bayesian search fits a model to all before it.
    most = {"grid": None, "bayesian": 5}.get(kind, 10)
    return {"max_trials": most, **more}


@pytest.mark.parametrize("kind", KINDS)
def test_the_recipe_first_then_what_may_be_tried_and_nothing_twice(
    kind, tmp_path
):
    searched = toy.space(depth=(), width=(), skip=(), gates=())

    def accept(values):
        return searched.fits(values) and values["width"] != 8

    made = toy.oracle(kind, tmp_path, searched, accept, **options(kind))
    found = toy.all_of(made)
    assert searched.setting(found[0]) == toy.OWN
    assert len(found) >= 5
    assert all(accept(values) for values in found)
    # But for what Hyperband promotes.
    new = [
        json.dumps(searched.read(values), sort_keys=True)
        for values in found
        if "tuner/trial_id" not in values
    ]
    assert len(set(new)) == len(new)


@pytest.mark.parametrize("kind", KINDS)
def test_where_the_recipe_itself_is_not_accepted(kind, tmp_path):
    def accept(values):
        return values["width"] == 16

    searched = toy.space(depth=(), width=())
    made = toy.oracle(kind, tmp_path, searched, accept, **options(kind))
    assert {values["width"] for values in toy.all_of(made)} == {16}


def test_the_grid_is_complete(tmp_path):
    searched = toy.space(depth=(), width=(), skip=())
    made = toy.oracle("grid", tmp_path, searched, max_trials=None)
    found = toy.all_of(made)
    everything = {
        (depth, width, skip)
        for depth in (1, 2, 3)
        for width in (1, 2, 4, 8, 16)
        for skip in (0, 1)
        if depth + skip <= 3
    }
    assert len(found) == len(everything) == 25
    assert {(v["depth"], v["width"], v["skip"]) for v in found} == everything


@pytest.mark.parametrize("kind", KINDS)
def test_resumes_after_a_kill(kind, tmp_path):
    """With the trial that was interrupted, and then as if nothing was."""
    searched = toy.space(depth=(), width=(), gates=())

    def score(values):
        return 0.01 * values["width"] + 0.1 * values["depth"]

    made = toy.oracle(kind, tmp_path / "b", searched, **options(kind))
    found = [toy.ask(made, score) for _ in range(4)]
    interrupted = made.create_trial("tuner0")
    # Another process.
    again = toy.oracle(kind, tmp_path / "b", searched, **options(kind))
    again.reload()
    trial = again.create_trial("tuner0")
    assert trial.trial_id == interrupted.trial_id
    assert trial.hyperparameters.values == interrupted.hyperparameters.values
    toy.end(again, trial, score)
    found.append(trial.hyperparameters.values)
    found += toy.all_of(again, score)
    if kind == "bayesian":  # whose random state KerasTuner does not keep
        assert len(found) == options(kind)["max_trials"]
        return
    never_killed = toy.oracle(kind, tmp_path / "a", searched, **options(kind))
    assert found == toy.all_of(never_killed, score)


def test_a_kill_between_the_files_of_a_trial_and_of_the_oracle(tmp_path):
    searched = toy.space(depth=(), width=())
    made = toy.oracle("random", tmp_path, searched)
    toy.ask(made, lambda values: 0.5)
    state = (tmp_path / "tuner/oracle.json").read_bytes()
    lost = made.create_trial("tuner0")
    (tmp_path / "tuner/oracle.json").write_bytes(state)
    again = toy.oracle("random", tmp_path, searched)
    again.reload()
    trial = again.create_trial("tuner0")
    assert trial.trial_id == lost.trial_id
    assert trial.hyperparameters.values == lost.hyperparameters.values


def test_a_write_that_is_cut_short_leaves_what_was_there(tmp_path, monkeypatch):
    searched = toy.space(depth=(), width=())
    made = toy.oracle("random", tmp_path, searched)
    toy.ask(made, lambda values: 0.5)

    def cut(content):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tuner.json, "dumps", cut)
        with pytest.raises(KeyboardInterrupt):
            made.create_trial("tuner0")
    again = toy.oracle("random", tmp_path, searched)
    again.reload()
    assert list(again.trials) == ["00"]


def test_workers_that_send_32_bits_back(tmp_path):
    """Which are none of the values: KerasTuner's Bayesian search would fail."""
    searched = toy.space(diversity_weight=(), learning_rate=())
    made = toy.oracle("bayesian", tmp_path, searched, max_trials=5)
    for i in range(5):
        trial = made.create_trial(f"worker_{i % 2}")
        sent = keras_tuner.engine.trial.Trial.from_proto(trial.to_proto())
        values = sent.hyperparameters.values
        assert values["diversity_weight"] == np.float32(
            values["diversity_weight"]
        )
        toy.end(made, sent, lambda values: values["learning_rate"])
    assert made.create_trial("worker_0").status == "STOPPED"


def test_hyperband_promotes_the_best(tmp_path):
    searched = toy.space(depth=(), width=(), learning_rate=())

    def score(values):
        return values["learning_rate"]

    made = toy.oracle(
        "hyperband", tmp_path, searched, max_epochs=9, max_trials=None
    )
    found = toy.all_of(made, score)
    for values in found:
        if "tuner/trial_id" in values:
            before = found[int(values["tuner/trial_id"])]
            assert searched.read(before) == searched.read(values)
            assert before["tuner/epochs"] == values["tuner/initial_epoch"]
            assert values["tuner/epochs"] > before["tuner/epochs"]
    bracket = [v for v in found if v["tuner/bracket"] == 2]
    first, second = (
        [score(v) for v in bracket if v["tuner/round"] == i] for i in (0, 1)
    )
    assert sorted(second) == sorted(first)[-len(second) :]
    # It resumes with more trials than it has rounds for.
    again = toy.oracle(
        "hyperband", tmp_path, searched, max_epochs=9, max_trials=30
    )
    again.reload()
    toy.all_of(again, score)
    assert len(found) < len(again.trials) == 30


def test_many_failures_in_a_row_end_the_search_for_all_workers(tmp_path):
    made = toy.oracle("random", tmp_path, toy.space(learning_rate=()))
    for i in range(tuner.FAILURES):
        assert not made.failing
        trial = made.create_trial(f"worker_{i % 2}")
        trial.status = "FAILED"
        made.end_trial(trial)
    for name in ("worker_0", "worker_1"):
        assert made.create_trial(name).status == "STOPPED"
    assert made.failing and not made.tuner_ids
    # Who starts it again has mended something.
    again = toy.oracle("random", tmp_path, toy.space(learning_rate=()))
    again.reload()
    assert again.create_trial("worker_0").status == "RUNNING"


@pytest.mark.parametrize("kind", ["random", "bayesian"])
def test_a_space_in_which_nothing_is_left_ends_the_search(kind, tmp_path):
    made = toy.oracle(kind, tmp_path, toy.space(width=(2, 4, 8)))
    assert len(toy.all_of(made)) == 3
