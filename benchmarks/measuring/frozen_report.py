"""Table and plot of the rows of `frozen.py` and `fine_tuned.py`."""

import numpy as np
import pandas as pd

from keras_warn.reporting import figures
from measuring import tables

OURS = "attention"
# What is compared with another than that.
BESIDE = {
    "uniform masks, full rank": "attention, full rank",
    "uniform masks, 64 channels": "attention, 64 channels",
}
HEADS = (
    "baseline",
    "linear",
    "linear, all maps",
    "MLP",
    "MLP, all maps",
    "uniform masks",
    "Efficient Probing",
    "Efficient Probing, all maps",
    "paper",
    "reference's loss",
    "MLP, large",
    "MLP, large, all maps",
    "uniform masks, full rank",
    "attention, full rank",
    "uniform masks, 64 channels",
    "attention, 64 channels",
    OURS,
)
RESAMPLES = 2000


def read(path):
    """Test rows of a file, a table for each head, by `"data, backbone"`."""
    rows = pd.read_csv(path, dtype={"correct": str})
    rows = rows[rows["part"] == "test"].sort_values("seed", kind="stable")
    found = {}
    for place, group in rows.groupby(["data", "backbone"], sort=False):
        found[", ".join(place)] = {
            head: group[group["head"] == head]
            for head in HEADS
            if head in set(group["head"])
        }
    return found


def correct(rows):
    """Which images a head predicts correctly, `(seeds, images)`, 0 or 1."""
    bits = [np.frombuffer(bytes.fromhex(x), "uint8") for x in rows["correct"]]
    images = int(rows["images"].iloc[0])
    return np.unpackbits(np.stack(bits), axis=1, count=images).astype(int)


def difference(rows, others):
    """What heads predict correctly and others do not, of seeds of both.

    `(seeds, images)`: 1, 0, or -1 where the others alone are correct.
    """
    seeds = set(rows["seed"]) & set(others["seed"])
    one, other = (correct(x[x["seed"].isin(seeds)]) for x in (rows, others))
    return one - other


def interval(differences):
    """A 95 % confidence interval of a mean, by the bootstrap.

    Seeds and images are both drawn with replacement: other seeds *and* other
    test images would give other ones. See `difference`.
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
    """Each head's accuracy and what attention is ahead of it, as Markdown.

    Or what the head in `BESIDE` is ahead.
    """
    found = read(path)
    lines = []
    for name in _names(found):
        line, ahead = [name], []
        for heads in found.values():
            if name not in heads:
                line.append("–")
                continue
            accuracies = 100 * correct(heads[name]).mean(axis=1)
            text = tables.mean_and_std(accuracies, ".1f")
            other = heads.get(BESIDE.get(name, OURS))
            if name != OURS and other is not None:
                less = difference(other, heads[name])
                low, high = 100 * interval(less)
                ahead.append(100 * less.mean())
                text += f"; {ahead[-1]:+.1f} ({low:+.1f} to {high:+.1f})"
            line.append(text)
        line.append(f"{np.mean(ahead):+.1f}" if ahead else "–")
        lines.append(line)
    return tables.markdown(["", *found, "mean"], lines)


def costs(path):
    """Parameters of each head, and milliseconds an image, as Markdown."""
    found = read(path)

    def cell(rows):
        if rows is None:
            return "–"
        parameters = rows["parameters"].iloc[0]
        return f"{parameters:,.0f}; {rows['milliseconds'].median():.2f}"

    lines = [
        [name, *(cell(heads.get(name)) for heads in found.values())]
        for name in _names(found)
    ]
    return tables.markdown(["", *found], lines)


def _names(found):
    return [x for x in HEADS if any(x in heads for heads in found.values())]


def plot(path):
    """Accuracy of every seed, a panel for each data set and backbone."""
    found = read(path)
    names = _names(found)
    across = min(3, len(found))
    down = -(-len(found) // across)
    height = 0.8 + 0.2 * len(names)
    figure = figures.new_figure(3.4 * across + 1, height * down)
    panels = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    for axes, (place, heads) in zip(panels, found.items(), strict=False):
        for name, rows in heads.items():
            accuracies = 100 * correct(rows).mean(axis=1)
            color = figures.COLORS[1 if name == OURS else 0]
            y = names.index(name)
            axes.plot(accuracies, [y] * len(accuracies), "o", ms=3, color=color)
            axes.plot(accuracies.mean(), y, "|", ms=12, color=color)
        axes.set_title(place, size=figures.FONT + 2)
        axes.set_xlabel("test accuracy (%)", size=figures.FONT + 2)
        axes.tick_params(labelsize=figures.FONT + 1)
        axes.grid(axis="x", alpha=0.3, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(found) :]:
        axes.remove()
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    return figure
