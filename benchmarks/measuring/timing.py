"""Time, of models that take turns, and what many rounds say together."""

import functools
import gc
import time
from itertools import combinations_with_replacement

import keras
import numpy as np
import pandas as pd

from measuring.environment import gpus

# Before timing: compilation, memory pools, and lazily chosen algorithms.
WARM_UP_STEPS = 2
# Of so many rounds, a model takes part in one. The direct formulation can take
# a hundred times as long as the others.
ONE_ROUND_IN = {"direct": 4}
QUARTILES = [0.25, 0.75]
# Of a processor that others use, too: what all threads of this process take.
CLOCK = time.perf_counter if gpus() else time.process_time


def prediction(model, inputs):
    """A function that predicts a batch, until the results are there."""
    return functools.partial(model.predict_on_batch, inputs)


def training_step(model, inputs, labels):
    """A function that trains on a batch, until weights have changed."""

    def step():
        model.train_on_batch(inputs, labels)
        # Which has its gradient last.
        keras.ops.convert_to_numpy(model.trainable_variables[0])

    return step


def measure_time(title, steps, rounds, clock=time.perf_counter):
    """The `summary` of the milliseconds of `steps`, functions by model."""
    return summary(title, "ms", take_turns(title, steps, rounds, clock))


def measure_times(title, steps, rounds):
    """`measure_time` by `CLOCK`, which has that of the wall as "wall"."""
    found = take_turns(
        title, steps, rounds, lambda: np.array([CLOCK(), time.perf_counter()])
    )
    mine, wall = (
        [{name: ms[i] for name, ms in row.items()} for row in found]
        for i in range(2)
    )
    of_wall = summary(f"{title}, wall time", "ms", wall)
    return {**summary(title, "ms", mine), "wall": of_wall}


def take_turns(title, steps, rounds, clock=time.perf_counter):
    """A list of dictionaries, from models to milliseconds in that round."""
    print(title, flush=True)
    for _ in range(WARM_UP_STEPS):
        for step in steps.values():
            step()
    gc.collect()
    progress = keras.utils.Progbar(rounds)
    found = []
    for i in range(rounds):
        found.append(
            {
                name: _milliseconds(step, clock)
                for name, step in steps.items()
                if i % ONE_ROUND_IN.get(name, 1) == 0
            }
        )
        progress.add(1)
    return found


def summary(title, unit, rounds):
    """Medians, quartiles and ratios of one quantity of all models, for JSON.

    `rounds` are dictionaries from models, which may miss some, to numbers. A
    ratio, of each model to those before it and to itself, is the median of the
    ratios within each round.
    """
    samples = pd.DataFrame(rounds, dtype="float64")
    ratios = pd.DataFrame(
        {
            f"{name} / {base}": samples[name] / samples[base]
            for base, name in combinations_with_replacement(samples, 2)
        }
    )
    return {
        "title": title,
        "unit": unit,
        "median": samples.median().to_dict(),
        "quartiles": samples.quantile(QUARTILES).to_dict("list"),
        "ratio": ratios.median().to_dict(),
        "ratio_quartiles": ratios.quantile(QUARTILES).to_dict("list"),
        "samples": {k: v.dropna().tolist() for k, v in samples.items()},
    }


def quartiles(measure, column):
    """Median, lower and upper quartile of a model or ratio in a `summary`."""
    kind, of_kind = "median", "quartiles"
    if "/" in str(column):
        kind, of_kind = "ratio", "ratio_quartiles"
    if column in measure[kind]:
        return measure[kind][column], *measure[of_kind][column]
    return None


def _milliseconds(step, clock):
    start = clock()
    step()
    return 1e3 * (clock() - start)
