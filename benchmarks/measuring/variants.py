"""Variants of an experiment, seed by seed, beside the baseline."""

import pandas as pd

from keras_warn.reporting import figures
from measuring import tables

NOT_MEASURED = "not yet measured"
BASELINE = "baseline"


def read(path, *columns):
    """A table of runs, by variant (`arm`) and seed; `columns` have shares."""
    found = pd.read_csv(path).rename(columns={"arm": "variant"})
    found = found.set_index(["variant", "seed"])
    shares = found[[*columns]]
    in_range = ((shares >= 0) & (shares <= 1)).all(axis=None)
    if not (in_range and found.index.is_unique):
        raise ValueError(
            "Each variant and seed must stand once, with numbers from 0 to 1 "
            f"as {', '.join(columns)}. Received: {path}."
        )
    return found


def percent(found, variant, column, error):
    """Test accuracies of a variant in %, or errors, by seed."""
    of_variant = found.index.get_level_values("variant") == variant
    values = 100 * found.loc[of_variant, column].droplevel("variant")
    return 100 - values if error else values


def by_seed(found, rows, error):
    """The same in several rows, of seeds that all have: `(seeds, rows)`."""
    columns = [percent(found, *row[1:], error) for row in rows]
    return pd.concat(columns, axis=1, join="inner").to_numpy().tolist()


def table(found, rows, error):
    """What variants reach, and what that is beside the baseline, as Markdown.

    Each of `rows` is a label, the variant, and the column with its accuracy.
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
    cells = [[label, *_cells(found, *row, error)] for label, *row in rows]
    return tables.markdown(header, cells)


def _cells(found, variant, column, error):
    values = percent(found, variant, column, error)
    if values.empty:
        return ["–", "–", NOT_MEASURED, "–", "–", "–"]
    parameters = found.parameters.loc[variant].iloc[0]
    start = [f"{parameters:,}", str(len(values)), tables.mean_and_std(values)]
    baseline = percent(found, BASELINE, column, error)
    differences = (values - baseline).dropna()
    if variant == BASELINE or differences.empty:
        return [*start, "–", "–", "–"]
    base, less = baseline[differences.index].mean(), differences.mean()
    wrong, fewer = (base, -less) if error else (100 - base, less)
    interval = "–"
    if len(differences) > 1:
        half = tables.half_interval(differences)
        interval = f"{less - half:+z.2f} to {less + half:+z.2f}"
    return [
        *start,
        tables.mean_and_std(differences, "+z.2f"),
        interval,
        f"{100 * fewer / wrong:z.0f} %" if wrong else "–",
    ]


def dots(values, label):
    """Mean ± standard deviation, and below it every seed.

    `values` has an array `(seeds, 1)` for each variant by name. A line stands
    at the mean of the first.
    """
    figure = figures.new_figure(4.4, 0.6 + 0.26 * len(values))
    axes = figure.subplots()
    for place, of_variant in enumerate(values.values()):
        numbers = [number for (number,) in of_variant]
        mean, std, _ = tables.summary(numbers).values()
        color = figures.COLORS[1 if place else 0]
        of_bar = {"ms": 3.5, "lw": 1.2, "capsize": 2.5, "color": color}
        axes.errorbar(mean, place, xerr=std, fmt="o", **of_bar)
        of_seed = {"ms": 3, "mfc": "none", "mew": 0.7, "color": color}
        axes.plot(numbers, [place + 0.3] * len(numbers), "o", **of_seed)
        if not place:
            axes.axvline(mean, color=color, lw=0.7, ls="--")
    axes.set_yticks(range(len(values)), [*values], size=figures.FONT + 1)
    axes.set_ylim(len(values) - 0.4, -0.5)
    axes.set_xlabel(label, size=figures.FONT + 2)
    axes.tick_params(labelsize=figures.FONT + 1)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure
