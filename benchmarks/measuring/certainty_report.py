"""Tables of the rows of `certainty.py`: means over seeds."""

import pandas as pd

from measuring import tables

TABLES = ("calibration", "answered", "unknown", "zoom")
# What is compared over seeds: name of a column, measure, and from the name of a
# row those of two: how much the first has more than the second.
FIXED = "and what masks show"


def _before(row):
    """A calibrated row, and the same that is not."""
    return row, row.partition(",")[0]


COMPARED = {
    "zoom": [
        (f"{FIXED}: ahead by", "test accuracy (%)", lambda row: (FIXED, row))
    ],
    "calibration": [
        ("change of the error", "calibration error (%)", _before),
        ("change of the likelihood", "negative log-likelihood", _before),
    ],
}


def table(path, name):
    """A table of these rows as Markdown, such as one of `TABLES`."""
    rows = pd.read_csv(path)
    rows = rows[rows["table"] == name]
    rows["place"] = rows["data"] + ", " + rows["backbone"]
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
    cells.index = cells.index.map(": ".join)
    return tables.markdown(cells)


def _difference(one, other):
    """Such as "+1.30 (+0.40 to +2.30)": Student's t over seeds."""
    less = one - other
    if not less.any():
        return None  # of a row and itself
    low, high = tables.interval(less)
    return f"{less.mean():+.2f} ({low:+.2f} to {high:+.2f})"
