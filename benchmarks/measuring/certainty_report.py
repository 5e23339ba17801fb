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
    names = ["data", "backbone", "row"]
    cells = rows.groupby([*names, "measure"], sort=False)["value"].agg(
        lambda values: tables.mean_and_std(values, ".2f")
    )
    wide = cells.unstack("measure", fill_value="–")
    wide = wide.loc[
        list(rows[names].drop_duplicates().itertuples(index=False, name=None)),
        rows["measure"].unique(),
    ]
    values = rows.set_index([*names, "measure", "seed"])["value"].sort_index()
    for column, measure, pair in COMPARED.get(name, ()):
        wide[column] = [
            "–"
            if first == second
            else _interval(
                values[data, net, first, measure]
                - values[data, net, second, measure]
            )
            for data, net, row in wide.index
            for first, second in [pair(row)]
        ]
    wide.insert(
        0, "", [f"{data}, {net}: {row}" for data, net, row in wide.index]
    )
    return tables.markdown(wide.columns, wide.to_numpy())


def _interval(differences):
    """Such as "+1.30 (+0.40 to +2.30)": Student's t over seeds."""
    mean, half = differences.mean(), tables.half_interval(differences)
    return f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})"
