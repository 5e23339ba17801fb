"""Arms of an experiment, seed by seed, beside the baseline."""

import csv
import math
import pathlib

from scipy import stats

from keras_warn.training import runs

NOT_MEASURED = "not yet measured"
BASELINE = "baseline"


def read(path, *columns):
    """Runs of an experiment: rows of a CSV file, by arm and seed.

    Args:
        path: A CSV file, one row a run. It need not exist.
        *columns: Columns of accuracies, as shares, that it must have beside
            `arm`, `seed` and `parameters`.

    Returns:
        A dictionary of dictionaries of dictionaries from `parameters` and
        `columns` to numbers.

    Raises:
        ValueError: if the file is not as it must be.
    """
    path = pathlib.Path(path)
    arms = {}
    if not path.exists():
        return arms
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        needed = ("arm", "seed", "parameters", *columns)
        has = rows.fieldnames or ()  # None of an empty file
        missing = [name for name in needed if name not in has]
        if missing:
            raise ValueError(
                f"Runs must have the columns {', '.join(needed)}. Received: "
                f"{path} without {', '.join(missing)}."
            )
        for row in rows:
            if row["seed"] in arms.setdefault(row["arm"], {}):
                raise ValueError(
                    "Each arm must have one run of each seed. Received: "
                    f"{path} with another of arm={row['arm']}, "
                    f"seed={row['seed']}."
                )
            arms[row["arm"]][row["seed"]] = {
                "parameters": _number(path, row, "parameters", int, 1),
                **{c: _number(path, row, c, float, 0, 1) for c in columns},
            }
    if BASELINE not in arms:
        raise ValueError(
            f"One of the arms must be {BASELINE!r}. Received: {path} with "
            f"{', '.join(arms) or 'no run'}."
        )
    return arms


def _number(path, row, column, kind, minimum, maximum=math.inf):
    """A cell of a row as a number of this kind, within bounds."""
    try:
        value = kind(row[column])
        # False for NaN, too.
        if minimum <= value <= maximum:
            return value
    except (TypeError, ValueError):
        pass
    number = {int: "a positive integer", float: "a number from 0 to 1"}[kind]
    raise ValueError(
        f"`{column}` of a run must be {number}. Received: {row[column]!r} in "
        f"{path}, arm={row['arm']}, seed={row['seed']}."
    )


def percent(arms, arm, column, error):
    """Test accuracies of an arm in %, or errors, by seed."""
    found = {seed: 100 * row[column] for seed, row in arms.get(arm, {}).items()}
    return {s: 100 - v if error else v for s, v in found.items()}


def by_seed(arms, rows, error):
    """The same in several rows of a table, of seeds that all of them have.

    Args:
        arms: What `read` returns.
        rows: As of `table`.
        error: Whether to return errors, or accuracies.

    Returns:
        A list of lists, `(seeds, rows)`. Empty if there is no such seed.
    """
    found = [percent(arms, *row[1:], error) for row in rows]
    return [
        [values[seed] for values in found]
        for seed in found[0]
        if all(seed in values for values in found)
    ]


def table(arms, rows, error):
    """What arms reach, and what that is beside the baseline, as Markdown.

    Args:
        arms: What `read` returns.
        rows: List of tuples: what stands at the row's start, the arm, and the
            column with its accuracy, a share.
        error: Whether errors are shown, or accuracies.

    Returns:
        A string.
    """
    kind = "error" if error else "accuracy"
    lines = [
        f"| | parameters | seeds | test {kind} (%) | minus baseline "
        "| 95 % interval | error cut by |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for label, arm, column in rows:
        cells = [label, *_cells(arms, arm, column, error)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(arms, arm, column, error):
    values = percent(arms, arm, column, error)
    if not values:
        return ["–", "–", NOT_MEASURED, "–", "–", "–"]
    parameters = next(iter(arms[arm].values()))["parameters"]
    start = [
        f"{parameters:,}",
        str(len(values)),
        _spread([*values.values()]),
    ]
    baseline = percent(arms, BASELINE, column, error)
    paired = [seed for seed in values if seed in baseline]
    if arm == BASELINE or not paired:
        return [*start, "–", "–", "–"]
    differences = [values[seed] - baseline[seed] for seed in paired]
    base = runs.spread([baseline[seed] for seed in paired])["mean"]
    less = runs.spread(differences)["mean"]
    wrong, fewer = (base, -less) if error else (100 - base, less)
    ends = None
    if len(differences) > 1:
        freedom = len(differences) - 1
        half = stats.t.ppf(0.975, freedom) * stats.sem(differences)
        ends = less - half, less + half
    return [
        *start,
        _spread(differences, "+z"),
        " to ".join(f"{end:+z.2f}" for end in ends) if ends else "–",
        f"{100 * fewer / wrong:z.0f} %" if wrong else "–",
    ]


def _spread(values, sign=""):
    """Mean and standard deviation."""
    found = runs.spread(values)
    std = "" if found["std"] is None else f" ± {found['std']:.2f}"
    return f"{found['mean']:{sign}.2f}{std}"
