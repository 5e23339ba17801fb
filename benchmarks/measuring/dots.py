"""Variants as dots with error bars, one below the other."""

from keras_warn.reporting import figures
from keras_warn.training import runs


def figure(values, label):
    """Mean ± standard deviation, and below it every seed.

    A line stands at the mean of the first variant, to compare the others with.

    Args:
        values: Dictionary from the name of a variant to an array `(seeds, 1)`.
        label: What the numbers are.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = figures.new_figure(4.4, 0.6 + 0.26 * len(values))
    axes = figure.subplots()
    for place, of_arm in enumerate(values.values()):
        numbers = [number for (number,) in of_arm]
        found = runs.mean_and_std(numbers)
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
