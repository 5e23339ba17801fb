"""Tables of heads on frozen backbones, from the rows of `frozen.py`."""

import numpy as np
import pandas as pd

OURS = "attention"
RESAMPLES = 2000


def interval(differences):
    """A 95 % confidence interval of a mean, by the bootstrap.

    Seeds and images are both drawn with replacement: other seeds *and* other
    test images would give other differences.

    Args:
        differences: Array `(seeds, images)`, of two heads: 1 where the first
            alone is right, -1 where the second alone is, else 0.
    """
    random = np.random.default_rng(0)
    seeds, images = differences.shape
    means = []
    for _ in range(RESAMPLES):
        rows = random.integers(seeds, size=seeds)
        columns = random.integers(images, size=images)
        means.append(differences[rows].sum(axis=0)[columns].sum())
    return np.quantile(means, [0.025, 0.975]) / differences.size


def right(rows):
    """Which images a head predicts correctly, `(seeds, images)`, 0 or 1."""
    rows = rows.sort_values("seed")
    bits = [
        np.unpackbits(np.frombuffer(bytes.fromhex(correct), "uint8"))[:images]
        for correct, images in zip(
            rows["correct"], rows["images"].astype(int), strict=True
        )
    ]
    return np.stack(bits).astype(int)


def table(path):
    """All heads on all data and backbones, as Markdown.

    Args:
        path: The file that `frozen.py` writes.
    """
    rows = pd.read_csv(path, dtype={"correct": str})
    rows = rows[rows["part"] == "test"]
    lines = []
    for (data, backbone), group in rows.groupby(
        ["data", "backbone"], sort=False
    ):
        heads = {name: of for name, of in group.groupby("head", sort=False)}
        ours = right(heads[OURS])
        for name, of_head in heads.items():
            its = right(of_head)
            low, high = 100 * interval(ours - its)
            accuracies = 100 * its.mean(axis=1)
            line = {
                "data, backbone": f"{data}, {backbone}",
                "head": name,
                "parameters": f"{of_head['parameters'].iloc[0]:,.0f}",
                "ms": f"{of_head['milliseconds'].median():.2f}",
                "rate, decay": f"{of_head['rate'].iloc[0]:g}, "
                f"{of_head['decay'].iloc[0]:g}",
                "seeds": len(its),
                "test accuracy (%)": f"{accuracies.mean():.1f} ± "
                f"{accuracies.std(ddof=1):.1f}",
                "attention minus it": f"{100 * (ours - its).mean():+.1f}",
                "95 % interval": f"{low:+.1f} to {high:+.1f}",
            }
            if name == OURS:
                line["attention minus it"] = line["95 % interval"] = "–"
            lines.append(line)
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)
