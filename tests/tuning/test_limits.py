"""What trials may cost, and what they do cost."""

import itertools

import keras
import pytest
from searching import cost
from searching import limits

import keras_warn
from keras_warn.operations import operations
from tuning import toy


def test_costs_are_those_of_the_model():
    costs = toy.costs()
    attention = {"depth": 2, "width": 5, "kernel_size": 3}
    found = costs.of(attention)
    model = keras_warn.augment(toy.network(), **attention)
    summary = keras_warn.summary(model)
    assert found.parameters == summary.attention.parameters
    alone = toy.network()
    assert found.operations == (
        sum(operations(model).values()) - sum(operations(alone).values())
    )
    assert found.parameters_added == found.parameters / alone.count_params()
    assert costs.operations == sum(operations(alone).values())
    assert cost.Cost(0, 0, 0.0, 0.0, 0.0) == costs.with_latency(None)


def test_what_changes_the_training_alone_is_counted_once(monkeypatch):
    costs = toy.costs()
    first = costs.of({"depth": 1, "diversity": 0.0})
    monkeypatch.setattr(cost, "operations", None)
    assert costs.of({"depth": 1, "diversity": 1.0, "agreement": 1.0}) is first


def test_latency_is_that_of_both_side_by_side():
    """A network with wider convolutions takes longer."""
    alone = toy.network()
    x = alone.input
    for _ in range(4):
        x = keras.layers.Conv2D(97, 3, padding="same")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    slow = keras.Model(alone.input, x)
    assert cost.latency_added(alone, slow) > 0.2


def test_only_what_is_within_the_limits_is_accepted():
    searched = toy.space(depth=(), width=(1, 4, 16), skip=())
    bounds = toy.within(searched, operations=0.04, parameters=1.0)
    counted = toy.costs()
    accepted = []
    for depth, width, skip in itertools.product((1, 2, 3), (1, 4, 16), (0, 1)):
        values = {"depth": depth, "width": width, "skip": skip}
        fits = depth + skip <= 3
        if fits:
            found = counted.of(searched.setting(values).attention)
            fits = found.operations_added <= 0.04
            fits = fits and found.parameters_added <= 1.0
        assert bounds.accept(values) == fits
        accepted.append(fits)
    assert 2 < sum(accepted) < 12


def test_values_that_contradict_each_other_are_not_tried():
    searched = toy.space(depth=(1, 2), kernel_size=(1, 3))
    bounds = toy.within(searched, operations=0.5)

    def refuse(attention):
        raise ValueError("`kernel_size` must be 1 here.")

    bounds.costs.of = refuse
    assert not bounds.accept({"kernel_size": 3})


def test_a_limit_that_nothing_keeps():
    searched = toy.space(depth=(), width=(4, 8))
    with pytest.raises(
        ValueError,
        match=r"`max_overhead` must leave something.*operations=0\.01%, but "
        r"the cheapest setting \(depth=1, width=4\) adds \d\.\d+ % of op",
    ):
        toy.within(searched, operations=0.0001)


@pytest.mark.parametrize(
    "texts",
    [["5"], ["0%"], ["-5%"], ["nan%"], ["time=5%"], ["5%", "operations=5%"]],
)
def test_limits_that_are_none(texts):
    with pytest.raises(
        ValueError, match=f"`max_overhead`.*Received: '{texts[-1]}'"
    ):
        limits.parse(texts)
