"""Learning rates that change while a model trains."""

import keras
from keras import ops

from keras_warn import checks


@keras.saving.register_keras_serializable(package="keras_warn")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises in a line, and then follows another schedule.

    Step `i` of the first `steps` has `(i + 1) / steps` of what the schedule
    begins with. The schedule's own steps count from the end of the warm-up.

    Args:
        schedule: A Keras schedule, or a number for a rate that stays.
        steps: Non-negative integer.

    Example:

    >>> rate = WarmUp(0.1, steps=4)
    >>> [round(float(rate(i)), 3) for i in range(6)]
    [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]
    """

    def __init__(self, schedule, steps):
        self.schedule = schedule
        self.steps = checks.integer("steps", steps, 0)

    def __call__(self, step):
        step = ops.cast(step, "float32")
        after = ops.maximum(step - self.steps, 0.0)
        rate = self.schedule
        if callable(rate):
            rate = rate(after)
        rising = (step + 1.0) / max(self.steps, 1)
        return ops.where(step < self.steps, rising, 1.0) * rate

    def get_config(self) -> dict:
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "steps": self.steps,
        }

    @classmethod
    def from_config(cls, config) -> "WarmUp":
        config = dict(config)
        config["schedule"] = keras.saving.deserialize_keras_object(
            config["schedule"]
        )
        return cls(**config)


def step_decay(
    learning_rate, every, steps, factor=0.1
) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """A rate that is multiplied by a factor again and again.

    The paper multiplies by 0.1 every 30 epochs.

    Args:
        learning_rate: Positive number, the first rate.
        every: Positive integer, after how many steps the rate changes.
        steps: Positive integer, how long the training is.
        factor: Number between 0 and 1.

    Returns:
        A `keras.optimizers.schedules.PiecewiseConstantDecay`, or the number
        where the training ends before the first change.

    Example:

    >>> rate = step_decay(1.0, every=2, steps=6)
    >>> [round(float(rate(i)), 3) for i in range(6)]
    [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """
    # A boundary is the last step of what comes before it.
    boundaries = list(range(every - 1, steps - 1, every))
    if not boundaries:
        return learning_rate
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        boundaries,
        [learning_rate * factor**i for i in range(len(boundaries) + 1)],
    )
