"""Table and plot of heads on frozen backbones, from the rows of `frozen.py`."""

import numpy as np
import pandas as pd

from keras_warn.reporting import figures
from measuring import tables

OURS = "attention"
HEADS = (
    "linear",
    "linear, all maps",
    "MLP",
    "MLP, all maps",
    "uniform masks",
    "Efficient Probing",
    "Efficient Probing, all maps",
    "paper",
    "reference's loss",
    OURS,
)
RESAMPLES = 2000


def read(path):
    """Test rows, by data and backbone and then by head.

    Args:
        path: The file that `frozen.py` writes.

    Returns:
        A dictionary from `"data, backbone"` to dictionaries from the name of
        a head to a `pandas.DataFrame` with a row for each seed.
    """
    rows = pd.read_csv(path, dtype={"correct": str})
    rows = rows[rows["part"] == "test"].sort_values("seed")
    return {
        ", ".join(place): {
            head: group[group["head"] == head]
            for head in HEADS
            if head in set(group["head"])
        }
        for place, group in rows.groupby(["data", "backbone"], sort=False)
    }


def correct(rows):
    """Which images a head predicts correctly, `(seeds, images)`, 0 or 1."""
    return np.stack(
        [
            np.unpackbits(np.frombuffer(bytes.fromhex(bits), "uint8"))[
                : int(images)
            ].astype(int)
            for bits, images in zip(
                rows["correct"], rows["images"], strict=True
            )
        ]
    )


def interval(differences):
    """A 95 % confidence interval of a mean, by the bootstrap.

    Seeds and images are both drawn with replacement: other seeds *and* other
    test images would give other differences.

    Args:
        differences: Array `(seeds, images)`, of two heads: 1 where the first
            alone is correct, -1 where the second alone is, else 0.
    """
    random = np.random.default_rng(0)
    seeds, images = differences.shape
    sums = []
    for _ in range(RESAMPLES):
        rows = random.integers(seeds, size=seeds)
        columns = random.integers(images, size=images)
        sums.append(differences[rows].sum(axis=0)[columns].sum())
    return np.quantile(sums, [0.025, 0.975]) / differences.size


def table(path):
    """Each head beside the one with attention, as Markdown."""
    lines = []
    for place, heads in read(path).items():
        ours = correct(heads[OURS])
        for name, rows in heads.items():
            its = correct(rows)
            first = rows.iloc[0]
            line = [
                f"{place}: {name}",
                f"{first['parameters']:,.0f}",
                f"{rows['milliseconds'].median():.2f}",
                f"{first['rate']:g}, {first['decay']:g}",
                str(len(its)),
                tables.mean_and_std(100 * its.mean(axis=1), ".1f"),
                "–",
                "–",
            ]
            if name != OURS:
                low, high = 100 * interval(ours - its)
                line[-2] = f"{100 * (ours - its).mean():+.1f}"
                line[-1] = f"{low:+.1f} to {high:+.1f}"
            lines.append(line)
    return tables.markdown(
        [
            "",
            "parameters",
            "ms",
            "rate, decay",
            "seeds",
            "test accuracy (%)",
            "attention minus it",
            "95 % interval",
        ],
        lines,
    )


def plot(path):
    """Accuracy of every seed, a panel for each data set and backbone."""
    found = read(path)
    figure = figures.new_figure(3.4 * len(found) + 1, 2.8)
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, (place, heads) in zip(panels, found.items(), strict=True):
        for name, rows in heads.items():
            accuracies = 100 * correct(rows).mean(axis=1)
            color = figures.COLORS[1 if name == OURS else 0]
            y = HEADS.index(name)
            axes.plot(accuracies, [y] * len(accuracies), "o", ms=3, color=color)
            axes.plot(accuracies.mean(), y, "|", ms=12, color=color)
        axes.set_title(place, size=figures.FONT + 2)
        axes.set_xlabel("test accuracy (%)", size=figures.FONT + 2)
        axes.tick_params(labelsize=figures.FONT + 1)
        axes.grid(axis="x", alpha=0.3, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(HEADS)), HEADS)
    panels[0].invert_yaxis()
    return figure
