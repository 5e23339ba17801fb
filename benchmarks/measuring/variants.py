"""Variants of an experiment, seed by seed, beside the baseline."""

import pandas as pd

from keras_warn.reporting import figures
from measuring import plots
from measuring import tables

BASELINE = "baseline"


def read(path):
    """A table of runs, by variant (`arm`) and seed."""
    found = pd.read_csv(path).rename(columns={"arm": "variant"})
    return found.set_index(["variant", "seed"])


def percent(found, variant, column, error):
    """Test accuracies of a variant in %, or errors, by seed."""
    values = 100 * found.loc[variant, column]
    return 100 - values if error else values


def by_seed(found, rows, error):
    """The same in several rows, of seeds that all have: `(seeds, rows)`."""
    columns = [percent(found, *row[1:], error) for row in rows]
    return pd.concat(columns, axis=1, join="inner").to_numpy()


def table(found, rows, error):
    """What variants reach, and what that is beside the baseline, as Markdown.

    Each of `rows` is a label, the variant, and the column with its accuracy.
    """
    cells = {label: _cells(found, *row, error) for label, *row in rows}
    return tables.markdown(pd.DataFrame.from_dict(cells, "index"))


def _cells(found, variant, column, error):
    values = percent(found, variant, column, error)
    what = "error" if error else "accuracy"
    cells = {
        "parameters": f"{found.loc[variant, 'parameters'].iloc[0]:,}",
        "seeds": str(len(values)),
        f"test {what} (%)": tables.mean_and_std(values),
    }
    if variant == BASELINE:
        return cells
    baseline = percent(found, BASELINE, column, error)
    less = (values - baseline).dropna()
    low, high = tables.interval(less)
    base = baseline[less.index].mean()
    cut = -less.mean() / base if error else less.mean() / (100 - base)
    return cells | {
        "minus baseline": tables.mean_and_std(less, "+z.2f"),
        "95 % confidence interval": f"{low:+z.2f} to {high:+z.2f}",
        "error cut by": f"{100 * cut:z.0f} %",
    }


def dots(values, label):
    """Mean ± standard deviation, and below it every seed.

    `values` has those of each variant by name. A line stands at the mean of
    the first.
    """
    figure = figures.new_figure(4.4, 0.6 + 0.26 * len(values))
    axes = figure.subplots()
    for place, of_variant in enumerate(values.values()):
        mean, std, numbers = tables.summary(of_variant).values()
        color = figures.COLORS[1 if place else 0]
        of_bar = {"ms": 3.5, "lw": 1.2, "capsize": 2.5, "color": color}
        axes.errorbar(mean, place, xerr=std, fmt="o", **of_bar)
        of_seed = {"ms": 3, "mfc": "none", "mew": 0.7, "color": color}
        axes.plot(numbers, [place + 0.3] * len(numbers), "o", **of_seed)
        if not place:
            axes.axvline(mean, color=color, lw=0.7, ls="--")
    plots.label(axes, label, grid="x")
    axes.set_yticks(range(len(values)), [*values])
    axes.invert_yaxis()
    return figure
