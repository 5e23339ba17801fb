"""What is tried, in which order, and after kills."""

import json

import pytest

from tuning import toy

KINDS = ("random", "bayesian", "hyperband", "grid")


def options(kind):
    more = {"max_epochs": 3} if kind == "hyperband" else {}
    # Each of the Bayesian search fits a model to all before it.
    most = {"grid": None, "bayesian": 5}.get(kind, 10)
    return {"max_trials": most, **more}


@pytest.mark.parametrize("refused", [8, toy.OWN.attention["width"]])
@pytest.mark.parametrize("kind", KINDS)
def test_the_recipe_first_then_what_may_be_tried_and_nothing_twice(
    kind, refused, tmp_path
):
    """Where the recipe itself is not accepted, too."""
    searched = toy.space(depth=(), width=(), skip=(), gates=())

    def accept(values):
        return searched.fits(values) and values["width"] != refused

    made = toy.oracle(kind, tmp_path, searched, accept, **options(kind))
    found = toy.all_of(made)
    assert (searched.setting(found[0]) == toy.OWN) == (refused == 8)
    assert len(found) >= 5
    assert all(accept(values) for values in found)
    # But for what Hyperband promotes.
    new = [
        json.dumps(searched.read(values), sort_keys=True)
        for values in found
        if "tuner/trial_id" not in values
    ]
    assert len(set(new)) == len(new)


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


@pytest.mark.parametrize("method", ["_save_trial", "save"])
def test_a_kill_before_a_trial_is_known(method, tmp_path, monkeypatch):
    """The same is proposed again; of a file that is there already, too."""

    def killed(*of):
        raise KeyboardInterrupt

    searched = toy.space(depth=(), width=())
    made = toy.oracle("random", tmp_path / "a", searched)
    first = toy.ask(made, lambda values: 0.5)
    monkeypatch.setattr(made, method, killed)
    with pytest.raises(KeyboardInterrupt):
        made.create_trial("tuner0")
    again = toy.oracle("random", tmp_path / "a", searched)
    again.reload()
    never_killed = toy.oracle("random", tmp_path / "b", searched)
    assert [first, *toy.all_of(again)] == toy.all_of(never_killed)


def test_hyperband_promotes_the_best(tmp_path):
    """It resumes with more trials than it has rounds for."""
    searched = toy.space(depth=(), width=(), learning_rate=())

    def score(values):
        return values["learning_rate"]

    def made(most):
        options = {"max_epochs": 9, "max_trials": most}
        return toy.oracle("hyperband", tmp_path, searched, **options)

    found = toy.all_of(made(None), score)
    bracket = [v for v in found if v["tuner/bracket"] == 2]
    first, second = (
        [score(v) for v in bracket if v["tuner/round"] == i] for i in (0, 1)
    )
    assert sorted(second) == sorted(first)[-len(second) :]
    again = made(30)
    again.reload()
    toy.all_of(again, score)
    assert len(found) < len(again.trials) == 30


@pytest.mark.parametrize("kind", ["random", "bayesian"])
def test_a_space_in_which_nothing_is_left_ends_the_search(kind, tmp_path):
    made = toy.oracle(kind, tmp_path, toy.space(width=(2, 4, 8)))
    assert len(toy.all_of(made)) == 3
