"""What attention costs, and which settings may be tried."""

import itertools

import costs
import keras
import pytest

import keras_warn
from keras_warn.operations import operations
from tuning import toy


def test_costs_are_those_of_the_model(monkeypatch):
    counted = toy.costs(toy.space())
    attention = {"depth": 2, "width": 5, "kernel_size": 3}
    found = counted.of(attention)
    alone = toy.backbone()
    model = keras_warn.augment(alone, **attention)
    attended = keras_warn.summary(model).attention.parameters
    more = sum(operations(model).values()) - sum(operations(alone).values())
    assert (found["parameters"], found["operations"]) == (attended, more)
    assert found["parameters_added"] == attended / alone.count_params()
    assert set(counted.of(None).values()) == {0}
    # What changes the training alone is not counted again.
    monkeypatch.setattr(costs, "operations", None)
    assert counted.of({**attention, "agreement_weight": 1.0}) == found


def test_latency_is_that_of_both_models_side_by_side():
    def slow(attention):
        x = alone.input
        for _ in range(4):
            x = keras.layers.Conv2D(97, 3, padding="same")(x)
        return keras.Model(alone.input, keras.layers.Flatten()(x))

    alone = toy.backbone()
    counted = costs.Costs(alone, slow, toy.space(), {})
    assert counted.latency_added({}) > 0.2


def test_only_what_is_within_the_limits_is_accepted():
    searched = toy.space(depth=(), width=(1, 16), skip=())
    counted = toy.costs(searched, operations=0.05, parameters=0.2)
    accepted = []
    for depth, width, skip in itertools.product((1, 2, 3), (1, 16), (0, 1)):
        values = {"depth": depth, "width": width, "skip": skip}
        fits = depth + skip <= 3
        if fits:
            found = counted.of(searched.setting(values).attention)
            fits = found["operations_added"] <= 0.05
            fits = fits and found["parameters_added"] <= 0.2
        assert counted.accept(values) == fits
        accepted.append(fits)
    assert 1 < sum(accepted) < 9


def test_values_that_contradict_each_other_are_not_tried():
    counted = toy.costs(toy.space(gates=("linear",), agreement_weight=()))
    assert counted.accept({"agreement_weight": 0.0})
    assert not counted.accept({"agreement_weight": 1.0})


@pytest.mark.parametrize(
    ("values", "limits", "message"),
    [
        ({"width": (4, 8)}, {"operations": 1e-4}, "`max_overhead` .* =0.01%"),
        ({"width": (0, 4)}, {}, "`space` cannot have width=0: `width`"),
        ({"gates": ("softmax", "no")}, {}, "cannot have gates=no: `gates`"),
    ],
)
def test_what_can_never_be_tried(values, limits, message):
    counted = toy.costs(toy.space(**values), **limits)
    with pytest.raises(ValueError, match=message.replace(" =", ".*=")):
        counted.check(values)


@pytest.mark.parametrize(
    "texts", [["5"], ["0%"], ["nan%"], ["time=5%"], ["5%", "operations=5%"]]
)
def test_limits_that_are_none(texts):
    with pytest.raises(
        ValueError, match=f"`max_overhead`.*Received: '{texts[-1]}'"
    ):
        costs.parse(texts)
