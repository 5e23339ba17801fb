"""Table and plot of the rows of `frozen.py` and `fine_tuned.py`."""

import numpy as np
import pandas as pd

from keras_warn.reporting import figures
from measuring import plots
from measuring import rows
from measuring import tables as cells

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
    found = rows.read(path)
    found = found[found["part"] == "test"].sort_values("seed", kind="stable")
    return {
        ", ".join(place): dict([*of_place.groupby("head")])
        for place, of_place in found.groupby(["data", "backbone"], sort=False)
    }


def correct(found):
    """Which images, a column each, a head predicts correctly, by seed."""
    bits = [np.frombuffer(bytes.fromhex(x), "uint8") for x in found["correct"]]
    images = int(found["images"].iloc[0])
    right = np.unpackbits(np.stack(bits), axis=1, count=images)
    return pd.DataFrame(right, found["seed"], dtype=int)


def difference(found, others):
    """What heads predict correctly and others do not, of seeds of both.

    `(seeds, images)`: 1, 0, or -1 where the others alone are correct.
    """
    return (correct(found) - correct(others)).dropna().to_numpy()


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


def tables(path):
    """What heads reach, how much attention is ahead, and what heads cost.

    Beside some of them it is another head that is ahead, of `BESIDE`.
    """
    texts, ahead, costs = {}, {}, {}
    for place, heads in read(path).items():
        texts[place], ahead[place], costs[place] = {}, {}, {}
        for name, found in heads.items():
            accuracies = 100 * correct(found).mean(axis=1)
            text = cells.mean_and_std(accuracies, ".1f")
            if name != OURS:
                less = difference(heads[BESIDE.get(name, OURS)], found)
                low, high = 100 * interval(less)
                mean = ahead[place][name] = 100 * less.mean()
                text += f"; {mean:+.1f} ({low:+.1f} to {high:+.1f})"
            texts[place][name] = text
            parameters = found["parameters"].iloc[0]
            cost = f"{parameters:,.0f}; {found['milliseconds'].median():.2f}"
            costs[place][name] = cost
    means = pd.DataFrame(ahead).mean(axis=1).map("{:+.1f}".format)
    return (
        f"{_markdown({**texts, 'mean': means})}\n\nParameters that are "
        "trained, and milliseconds of a training step, an image:\n\n"
        f"{_markdown(costs)}"
    )


def _markdown(columns):
    table = pd.DataFrame(columns).reindex(HEADS)
    return cells.markdown(table.dropna(how="all"))


def plot(path):
    """Accuracy of every seed, a panel for each data set and backbone."""
    found = read(path)
    names = [x for x in HEADS if any(x in heads for heads in found.values())]
    across = min(3, len(found))
    down = -(-len(found) // across)
    height = 0.8 + 0.2 * len(names)
    figure = figures.new_figure(3.4 * across + 1, height * down)
    for i, (place, heads) in enumerate(found.items()):
        axes = figure.add_subplot(down, across, i + 1)
        for name, of_head in heads.items():
            accuracies = 100 * correct(of_head).mean(axis=1)
            color = figures.COLORS[1 if name == OURS else 0]
            y = names.index(name)
            axes.plot(accuracies, [y] * len(accuracies), "o", ms=3, color=color)
            axes.plot(accuracies.mean(), y, "|", ms=12, color=color)
        plots.label(axes, "test accuracy (%)", title=place, grid="x")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(labelleft=i % across == 0)
    return figure
