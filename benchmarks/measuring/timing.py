"""Time, of models that take turns."""

import gc
import time

import keras

from measuring.summary import summary

# Before timing: compilation, memory pools, and lazily chosen algorithms.
WARM_UP_STEPS = 2
# Of so many rounds, a model takes part in one. The direct formulation can take
# a hundred times as long as the others.
ONE_ROUND_IN = {"direct": 4}


def measure_time(title, steps, rounds):
    """Milliseconds of each of `steps`, taken one after the other.

    Args:
        title: What is measured.
        steps: Functions without arguments, by model.
        rounds: Positive integer.
    """
    return summary(title, "ms", take_turns(title, steps, rounds))


def take_turns(title, steps, rounds):
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
                name: _milliseconds(step)
                for name, step in steps.items()
                if i % ONE_ROUND_IN.get(name, 1) == 0
            }
        )
        progress.add(1)
    return found


def _milliseconds(step):
    start = time.perf_counter()
    step()
    return 1e3 * (time.perf_counter() - start)
