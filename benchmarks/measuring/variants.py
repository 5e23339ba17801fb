"""Variants of an experiment, seed by seed, beside the baseline."""

import pandas as pd
from scipy import stats

from measuring.tables import markdown
from measuring.tables import mean_and_std

NOT_MEASURED = "not yet measured"
BASELINE = "baseline"


def read(path, *columns):
    """Runs of an experiment, of a CSV file with a row for each.

    Args:
        path: `pathlib.Path` of the file. It need not exist.
        *columns: Columns of accuracies, as shares, that it must have beside
            `arm`, `seed` and `parameters`.

    Returns:
        A `pandas.DataFrame` of `parameters` and `columns`, indexed by `arm`
        and `seed`.

    Raises:
        ValueError: if the file is not as it must be.
    """
    needed = ["parameters", *columns]
    if not path.exists():
        nothing = pd.DataFrame(columns=["arm", "seed", *needed])
        return nothing.set_index(["arm", "seed"])
    try:
        found = pd.read_csv(path)
        found = found.set_index(["arm", "seed"], verify_integrity=True)
        found = found[needed].astype({"parameters": "int64"})
        shares = found[[*columns]].astype("float64")
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"Runs must have the columns arm, seed, {', '.join(needed)}, and "
            f"one row for each arm and seed. Received: {path}: {error}"
        ) from error
    # False for NaN, too.
    wrong = shares[~((shares >= 0) & (shares <= 1)).all(axis=1)]
    for (arm, seed), row in wrong.iterrows():
        raise ValueError(
            f"Accuracies must be numbers from 0 to 1. Received: {path}, "
            f"arm={arm}, seed={seed}: {row.to_dict()}."
        )
    if BASELINE not in found.index.unique("arm"):
        raise ValueError(
            f"One of the arms must be {BASELINE!r}. Received: {path} with "
            f"{', '.join(found.index.unique('arm')) or 'no run'}."
        )
    return found


def percent(found, arm, column, error):
    """Test accuracies of a variant in %, or errors, by seed."""
    of_arm = found.index.get_level_values("arm") == arm
    values = 100 * found.loc[of_arm, column].droplevel("arm")
    return 100 - values if error else values


def by_seed(found, rows, error):
    """The same in several rows of a table, of seeds that all of them have.

    Args:
        found: What `read` returns.
        rows: As of `table`.
        error: Whether to return errors, or accuracies.

    Returns:
        A list of lists, `(seeds, rows)`. Empty if there is no such seed.
    """
    columns = [percent(found, *row[1:], error) for row in rows]
    return pd.concat(columns, axis=1, join="inner").to_numpy().tolist()


def table(found, rows, error):
    """What variants reach, and what that is beside the baseline, as Markdown.

    Args:
        found: What `read` returns.
        rows: List of tuples: what stands at the row's start, the variant, and
            the column with its accuracy, a share.
        error: Whether errors are shown, or accuracies.

    Returns:
        A string.
    """
    header = (
        "",
        "parameters",
        "seeds",
        f"test {'error' if error else 'accuracy'} (%)",
        "minus baseline",
        "95 % confidence interval",
        "error cut by",
    )
    return markdown(
        header, [[label, *_cells(found, *row, error)] for label, *row in rows]
    )


def _cells(found, arm, column, error):
    values = percent(found, arm, column, error)
    if values.empty:
        return ["–", "–", NOT_MEASURED, "–", "–", "–"]
    parameters = found.parameters.loc[arm].iloc[0]
    start = [f"{parameters:,}", str(len(values)), mean_and_std(values)]
    baseline = percent(found, BASELINE, column, error)
    differences = (values - baseline).dropna()
    if arm == BASELINE or differences.empty:
        return [*start, "–", "–", "–"]
    base, less = baseline[differences.index].mean(), differences.mean()
    wrong, fewer = (base, -less) if error else (100 - base, less)
    interval = "–"
    if len(differences) > 1:
        half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
        interval = f"{less - half:+z.2f} to {less + half:+z.2f}"
    return [
        *start,
        mean_and_std(differences, "+z.2f"),
        interval,
        f"{100 * fewer / wrong:z.0f} %" if wrong else "–",
    ]
