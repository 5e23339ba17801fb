"""Variants of an experiment, seed by seed, beside the baseline."""

import pandas as pd
from scipy import stats

from keras_warn.reporting import figures
from measuring import tables
from measuring.tables import markdown
from measuring.tables import mean_and_std

NOT_MEASURED = "not yet measured"
BASELINE = "baseline"


def read(path, *columns):
    """Runs of an experiment, by `arm` and `seed`.

    Of a CSV file with a row for each, with `parameters` and with `columns`,
    accuracies as shares. It need not exist; another file is a `ValueError`.
    """
    needed = ["parameters", *columns]
    if not path.exists():
        nothing = pd.DataFrame(columns=["arm", "seed", *needed])
        return nothing.set_index(["arm", "seed"])
    try:
        found = pd.read_csv(path).set_index(["arm", "seed"])
        if not found.index.is_unique:
            raise ValueError("an arm and seed are duplicate")
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

    A list of lists, `(seeds, rows)`. Empty if there is no such seed.
    """
    columns = [percent(found, *row[1:], error) for row in rows]
    return pd.concat(columns, axis=1, join="inner").to_numpy().tolist()


def table(found, rows, error):
    """What variants reach, and what that is beside the baseline, as Markdown.

    Each of `rows` is what stands at its start, the variant, and the column
    with its accuracy, a share. Errors are shown, or accuracies.
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


def dots(values, label):
    """Mean ± standard deviation, and below it every seed.

    A line stands at the mean of the first variant, to compare the others with.
    `values` has an array `(seeds, 1)` for each variant by name.
    """
    figure = figures.new_figure(4.4, 0.6 + 0.26 * len(values))
    axes = figure.subplots()
    for place, of_arm in enumerate(values.values()):
        numbers = [number for (number,) in of_arm]
        found = tables.spread(numbers)
        color = figures.COLORS[1 if place else 0]
        axes.errorbar(
            found["mean"],
            place,
            xerr=found["std"],
            color=color,
            marker="o",
            markersize=3.5,
            linewidth=1.2,
            capsize=2.5,
        )
        axes.plot(
            numbers,
            [place + 0.3] * len(numbers),
            color=color,
            linestyle="none",
            marker="o",
            markersize=3,
            markerfacecolor="none",
            markeredgewidth=0.7,
        )
        if not place:
            axes.axvline(
                found["mean"], color=color, linewidth=0.7, linestyle="--"
            )
    axes.set_yticks(range(len(values)), [*values], size=figures.FONT + 1)
    axes.set_ylim(len(values) - 0.4, -0.5)
    axes.set_xlabel(label, size=figures.FONT + 2)
    axes.tick_params(labelsize=figures.FONT + 1)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure
