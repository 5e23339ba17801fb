"""Tables of the rows of `certainty.py`: means over seeds."""

import pandas as pd

from measuring import tables

TABLES = ("calibration", "answered", "unknown", "exits", "zoom")


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
    return tables.markdown(["", *wide.columns], wide.reset_index().to_numpy())
