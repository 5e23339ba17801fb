"""What rows of `certainty.py` and `exits.py` show: means over seeds."""

import pandas as pd

from keras_warn.reporting import figures
from measuring import tables

# What is compared over seeds: name of a column, measure, and from the name of a
# row those of two: how much the first has more than the second.
FIXED = "and what masks show"
COMPARED = {
    "zoom": [
        (f"{FIXED}: ahead by", "test accuracy (%)", lambda row: (FIXED, row))
    ],
    # A calibrated row, and the same that is not.
    "calibration": [
        (column, measure, lambda row: (row, row.partition(",")[0]))
        for column, measure in (
            ("change of the error", "calibration error (%)"),
            ("change of the likelihood", "negative log-likelihood"),
        )
    ],
}


def table(path, name):
    """Tables of these rows as Markdown, one of each data set and backbone."""
    rows = pd.read_csv(path)
    rows = rows[rows["table"] == name]
    rows = rows.assign(place=rows["data"] + ", " + rows["backbone"])
    rows = rows.set_index(["place", "row", "measure", "seed"])
    values = rows["value"].sort_index()
    of_seeds = values.groupby(["place", "row", "measure"])
    cells = of_seeds.agg(tables.mean_and_std).unstack("measure")
    # In the order in which they are written.
    cells = cells.reindex(
        rows.index.droplevel(["measure", "seed"]).unique(),
        columns=rows.index.unique("measure"),
    )
    for column, measure, pair in COMPARED.get(name, ()):
        cells[column] = [
            _difference(*(values[place, x, measure] for x in pair(row)))
            for place, row in cells.index
        ]
    return "\n\n".join(
        f"{place}:\n\n{tables.markdown(of_place.droplevel('place'))}"
        for place, of_place in cells.groupby("place", sort=False)
    )


def curves(path):
    """Accuracy against operations of early exits, at the same thresholds."""
    rows = pd.read_csv(path)
    rows = rows[rows["table"] == "curve"]
    ends = rows["row"].str.rsplit(", ", n=1, expand=True)
    places = rows["data"] + ", " + ends[0]
    # From the strictest on, as they are written.
    rows = rows.assign(places=places, threshold=ends[1])
    means = rows.pivot_table(
        "value", ["places", "threshold"], "measure", sort=False
    )
    return figures.exits_figure(
        {
            places: (curve["operations (%)"] / 100, curve["accuracy (%)"] / 100)
            for places, curve in means.groupby("places", sort=False)
        }
    )


def _difference(one, other):
    """Such as "+1.30 (+0.40 to +2.30)": Student's t over seeds."""
    less = one - other
    if not less.any():
        return None  # of a row and itself
    low, high = tables.interval(less)
    return f"{less.mean():+.2f} ({low:+.2f} to {high:+.2f})"
