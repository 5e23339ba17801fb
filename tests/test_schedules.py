"""Learning rates that change while a model trains."""

import keras
import numpy as np
import pytest
from support import to_numpy

from keras_warn.schedules import WarmUp
from keras_warn.schedules import step_decay


def rates(schedule, steps):
    return [float(to_numpy(schedule(step))) for step in steps]


def test_the_schedule_counts_its_own_steps():
    """From the end of the warm-up on; in it, the schedule has not begun."""
    cosine = keras.optimizers.schedules.CosineDecay(0.3, 7)
    found = rates(WarmUp(cosine, steps=3), range(10))
    np.testing.assert_allclose(found[:3], [0.1, 0.2, 0.3], rtol=1e-6)
    np.testing.assert_allclose(found[3:], rates(cosine, range(7)), rtol=1e-6)
    assert rates(WarmUp(0.25, steps=0), range(2)) == [0.25, 0.25]


def test_steps_as_optimizers_count_them():
    """Integers, in the backend's variables."""
    step = keras.ops.convert_to_tensor(1, "int64")
    schedule = WarmUp(step_decay(0.3, 2, 6), steps=3)
    assert float(to_numpy(schedule(step))) == pytest.approx(0.2)


@pytest.mark.parametrize("steps, error", [(-1, ValueError), (1.5, TypeError)])
def test_wrong_warm_up(steps, error):
    with pytest.raises(error, match="`steps` must be a non-negative integer"):
        WarmUp(0.1, steps)


def test_step_decay_has_the_changes_that_are_reached():
    assert step_decay(0.5, every=30, steps=30) == 0.5
    assert len(step_decay(0.5, every=30, steps=31).values) == 2
    assert len(step_decay(0.5, every=30, steps=60).values) == 2
    found = rates(step_decay(8.0, every=1, steps=4, factor=0.5), range(4))
    assert found == [8, 4, 2, 1]


@pytest.mark.parametrize(
    "inner",
    [0.3, keras.optimizers.schedules.CosineDecay(1, 5)],
    ids=["number", "cosine"],
)
def test_configuration(inner):
    schedule = WarmUp(inner, steps=3)
    config = keras.saving.serialize_keras_object(schedule)
    loaded = keras.saving.deserialize_keras_object(config)
    assert isinstance(loaded, WarmUp)
    assert rates(loaded, range(9)) == rates(schedule, range(9))
