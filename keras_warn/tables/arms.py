"""Runs that differ in seed and fold alone, as one arm of a comparison."""

import dataclasses

from keras_warn import runs
from keras_warn.tables.differences import flat
from keras_warn.tables.differences import key
from keras_warn.tables.reading import EPOCHS
from keras_warn.tables.reading import FOLDS
from keras_warn.tables.wording import listed


@dataclasses.dataclass(frozen=True)
class Arm:
    """Runs that differ in seed and fold alone.

    Attributes:
        runs: List of `Run`, those that are counted.
        accuracy: Dictionary from `EPOCHS` to dictionaries from seeds to
            accuracies (%).
        parameters: Integer; `None` if not all runs have the same.
        uncounted: Dictionary from paths of other runs to why they are not
            counted.
        notes: List of strings: what is not as it should be.
    """

    runs: list
    accuracy: dict
    parameters: int | None
    uncounted: dict
    notes: list


def make_arm(found):
    """An `Arm` of a list of `Run`: each seed once, with all of its folds."""
    notes, uncounted, seeds = [], {}, {}
    for run in found:
        first = seeds.setdefault(run.seed, {}).setdefault(run.fold, run)
        if first is not run:
            why = f"{first.path} is of the same settings, seed and fold"
            uncounted[run.path] = why
            notes.append(f"{run.path} is not counted: {why}.")
    counted, accuracy = [], {epoch: {} for epoch in EPOCHS}
    for seed, by_fold in sorted(seeds.items()):
        missing = sorted(set(range(FOLDS)) - set(by_fold))
        if None not in by_fold and missing:
            verb = "is" if len(missing) == 1 else "are"
            why = f"{listed('fold', missing)} {verb} missing"
            notes.append(f"seed {seed} is not counted: {why}.")
            uncounted.update((run.path, why) for run in by_fold.values())
            continue
        counted += by_fold.values()
        for epoch in EPOCHS:
            values = [run.accuracy(epoch) for run in by_fold.values()]
            if None not in values:
                accuracy[epoch][seed] = runs.spread(values)["mean"]
    parameters = sorted({run.parameters for run in counted})
    if len(parameters) > 1:
        notes.append(
            "runs have different numbers of parameters, "
            f"{' and '.join(f'{n:,}' for n in parameters)}."
        )
    for fold in range(FOLDS):
        data = {key(flat(run.data)) for run in counted if run.fold == fold}
        if len(data) > 1:
            notes.append(f"the data of fold {fold} differ by seed.")
    return Arm(
        counted,
        accuracy,
        parameters[0] if len(parameters) == 1 else None,
        uncounted,
        notes,
    )
