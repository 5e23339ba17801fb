"""Hyperparameters, and the arguments that they stand for."""

import pytest
import space as space_module
from space import Setting
from space import Space
from space import parse

import keras_warn
from tuning import toy


def test_default_values_are_the_recipe_itself():
    """Not a paraphrase of it: the same arguments, spelled the same way."""
    for own in (
        toy.OWN,
        Setting({}, 0.1),
        Setting({"gates": "linear"}, 0.1),
        Setting({"depth": 1, "projection": 24, "gates": "average"}, 3e-4),
        Setting({"gate_score_activation": None, "kernel_size": 3}, 1e-3),
        Setting({"attend_at": ["a", "c"], "depth": 2}, 1e-3),
    ):
        named = own.attention.get("attend_at")
        searched = Space(own, 3 if named is None else 2, named)
        defaults = searched.hyperparameters().values
        assert searched.setting(defaults) == own
        assert searched.setting({}) == own


def test_every_value_can_be_built():
    searched = toy.space()
    for name in searched.varying:
        for value in searched.values[name]:
            if searched.fits({name: value}):
                toy.attended(searched.setting({name: value}).attention)


@pytest.mark.parametrize(
    ("values", "attended"),
    [
        ({"depth": 1}, ["relu3"]),
        ({"depth": 3}, ["relu1", "relu2", "relu3"]),
        ({"depth": 2, "skip": 1}, ["relu1", "relu2"]),
        ({"depth": 1, "skip": 1}, ["relu2"]),
    ],
)
def test_where_modules_read(values, attended):
    """With names as without them."""
    named = ["relu1", "relu2", "relu3"]
    for own in (toy.OWN, Setting({"attend_at": named, "depth": 3}, 0.1)):
        searched = Space(own, 3, own.attention.get("attend_at"))
        model = toy.attended(searched.setting(values).attention)
        assert [m.reads for m in keras_warn.summary(model).modules] == attended


def test_what_a_value_stands_for():
    """Numbers that are drawn are rounded, and not those of the recipe."""
    searched, own = toy.space(), toy.OWN.attention
    found = {
        "rank": 16,
        "gate_score_activation": "none",
        "learning_rate": 0.0123456,
        "tuner/epochs": 3,
    }
    given = {**own, "rank": 16, "gate_score_activation": None}
    assert searched.setting(found) == Setting(given, 0.0123)
    searched = Space(Setting({"projection": 32}, 0.0123456), 3)
    found = {"projection": 0, "rank": 0, "learning_rate": 0.0123456}
    given = {"projection": None, "rank": "full"}
    assert searched.setting(found) == Setting(given, 0.0123456)


def test_gates_that_do_not_learn_have_no_scores():
    hp = toy.space().hyperparameters()
    hp.values["gates"] = "average"
    active = {one.name for one in hp.space if hp.is_active(one)}
    assert active.isdisjoint(space_module.OF_LEARNED_GATES)
    fixed = toy.space(gates=("average",), gate_batch_norm=(), width=())
    assert fixed.varying == ["width"]


def test_only_what_is_chosen_varies():
    chosen = parse(["depth", "width=2,8", "gate_batch_norm=True"])
    searched = toy.space(**chosen)
    assert searched.varying == ["depth", "width"]
    assert searched.values["depth"] == [1, 2, 3]
    # The recipe's own width is not among them.
    assert searched.default["width"] == 2
    given = {"depth": 1, "width": 2, "gate_batch_norm": True}
    found = searched.setting({"depth": 1}).attention
    assert found == {"preset": "paper", **given}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["dept"], "hyperparameters: depth, width.*Received: 'dept'"),
        (["depth=0"], "depth of 1 to 3 here, for 3 att.*Received: 0"),
        (["skip=3"], "skip of 0 to 2 here.*Received: 3"),
        (["depth=3", "skip=1"], "together at most 3, .* depth=3 and skip=1"),
        (["width=4"], "something to choose"),
        (["width=a"], "an integer as width. Received: 'a'"),
        (["gate_batch_norm=no"], "False or True as gate_batch_norm"),
        (["learning_rate=0,0.1"], "positive numbers as learning_rate"),
        (["width=,"], "alone or with values.*Received: 'width=,'"),
        (["width", "width=2"], "each once.*Received: 'width=2'"),
    ],
)
def test_spaces_that_cannot_be(texts, message):
    with pytest.raises(ValueError, match=f"^`space` must .*{message}"):
        toy.space(**parse(texts))
