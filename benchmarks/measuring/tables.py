"""Tables as Markdown, and what stands in their cells."""

import statistics

from scipy import stats

from measuring import timing


def markdown(table, corner=""):
    """A `DataFrame` of strings: its index left, all else right."""
    table = table.astype(object).fillna("–").rename_axis(corner)
    return table.to_markdown(
        colalign=("left", *["right"] * table.shape[1]), disable_numparse=True
    )


def summary(values):
    """Mean, standard deviation (of a sample) and values, for JSON."""
    values = [float(value) for value in values]
    return {
        "mean": statistics.mean(values),  # exact, so that halves round alike
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "values": values,
    }


def mean_and_std(values, form=".2f", of_std=".2f"):
    """Such as "66.11 ± 0.48"; of a single value without its deviation."""
    mean, std, _ = summary(values).values()
    return f"{mean:{form}}" + (f" ± {std:{of_std}}" if std is not None else "")


def interval(values):
    """The 95 % confidence interval of a mean, by Student's t."""
    mean, error = values.mean(), stats.sem(values)
    return stats.t.interval(0.95, len(values) - 1, mean, error)


def median(measure, column, form=str):
    """Such as "1.010 (1.002–1.017)", with the quartiles if they differ."""
    found = timing.quartiles(measure, column)
    if found is None:
        return None
    text, low, high = map(form, found)
    return text if low == high else f"{text} ({low}–{high})"
