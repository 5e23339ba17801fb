"""Tables of the rows of `certainty.py`: means over seeds."""

import pandas as pd

from measuring import tables

TABLES = ("calibration", "answered", "unknown", "exits", "zoom")
# The row that others are compared with, and by which measure.
AHEAD = {"zoom": ("and what masks show", "test accuracy (%)")}


def table(path, name):
    """One of `TABLES` as Markdown."""
    rows = pd.read_csv(path)
    rows = rows[rows["table"] == name]
    rows = rows.assign(
        what=rows["data"] + ", " + rows["backbone"] + ": " + rows["row"]
    )
    cells = rows.groupby(["what", "measure"], sort=False)["value"].agg(
        lambda values: tables.mean_and_std(values, ".2f")
    )
    wide = cells.unstack("measure", fill_value="–")
    wide = wide.loc[rows["what"].unique(), rows["measure"].unique()]
    if name in AHEAD:
        row, measure = AHEAD[name]
        wide.insert(1, f"{row}: ahead by", "–")
        rows = rows[rows["measure"] == measure]
        for _, group in rows.groupby(["data", "backbone"]):
            seeds = group.pivot(index="seed", columns="what", values="value")
            chosen = group.loc[group["row"] == row, "what"].iloc[0]
            ahead = seeds.rsub(seeds[chosen], axis=0).drop(columns=chosen)
            wide.update(ahead.agg(_interval).to_frame(wide.columns[1]))
    return tables.markdown(["", *wide.columns], wide.reset_index().to_numpy())


def _interval(differences):
    """Such as "+1.3 (+0.4 to +2.3)": Student's t over seeds."""
    mean, half = differences.mean(), tables.half_interval(differences)
    return f"{mean:+.1f} ({mean - half:+.1f} to {mean + half:+.1f})"
