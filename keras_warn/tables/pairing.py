"""Which seeds of attention and baseline may be compared, and why not others."""

from keras_warn.tables.differences import between_arms
from keras_warn.tables.differences import differing
from keras_warn.tables.differences import flat
from keras_warn.tables.wording import listed


def pair(baseline, attention):
    """Pairs arms by seed, on the same data.

    Args:
        baseline: `Arm`, or `None`.
        attention: `Arm`, or `None`.

    Returns:
        A tuple: the seeds, a tuple; and notes on others, a list of strings.
    """
    if baseline is None or attention is None:
        return (), []
    # By fold, which have different numbers of images.
    data = [
        {(run.seed, run.fold): flat({"data": run.data}) for run in arm.runs}
        for arm in (baseline, attention)
    ]
    seeds = [{seed for seed, _ in one} for one in data]
    notes = [
        f"the difference is without {listed('seed', sorted(alone))}, which "
        f"{arm} alone has."
        for arm, alone in (
            ("the baseline", seeds[0] - seeds[1]),
            ("attention", seeds[1] - seeds[0]),
        )
        if alone
    ]
    paired = []
    for seed in sorted(seeds[0] & seeds[1]):
        # Runs without folds have their data in common with all of their line.
        differ = [
            f"{said} (fold {fold})"
            for one, fold in sorted(data[0], key=str)
            if one == seed
            and (said := between_arms(data[1][seed, fold], data[0][seed, fold]))
        ]
        if differ:
            notes.append(
                f"seed {seed} is not paired, as the data differ: "
                f"{'; '.join(differ)}."
            )
        else:
            paired.append(seed)
    return tuple(paired), notes


def why_alone(attention, baselines):
    """Says why attention has no baseline, where there is one after all.

    Args:
        attention: Flat dictionary of what it would share with a baseline.
        baselines: List of those of the baselines that there are, at least one.

    Returns:
        A string, about the baseline that is nearest.
    """
    nearest = min(baselines, key=lambda one: len(differing([attention, one])))
    return (
        "attention and baseline are not paired, as more than attention "
        f"differs: {between_arms(attention, nearest)}."
    )
