"""Tables and plot of the rows of `exits.py`: means over seeds."""

import pandas as pd

from keras_warn.reporting import figures
from measuring import certainty_report


def tables(path):
    """What exits are, and what leaving by them saves, as Markdown."""
    return "\n\n".join(
        certainty_report.table(path, name) for name in ("exits", "left")
    )


def plot(path):
    """Accuracy against operations, at the same thresholds of all seeds."""
    rows = pd.read_csv(path)
    rows = rows[rows["table"] == "curve"]
    rows[["places", "threshold"]] = rows["row"].str.rsplit(
        ", ", n=1, expand=True
    )
    # From the strictest on, as they are written.
    means = (
        rows.groupby(["data", "places", "threshold", "measure"], sort=False)[
            "value"
        ]
        .mean()
        .unstack("measure")
    )
    return figures.exits_figure(
        {
            ", ".join(name): (
                curve["operations (%)"] / 100,
                curve["accuracy (%)"] / 100,
            )
            for name, curve in means.groupby(["data", "places"], sort=False)
        }
    )
