"""A table on disk, to which rows are added until all are there."""

import numpy as np
import pandas as pd

from keras_warn import files


def read(path):
    return pd.read_csv(path, dtype={"correct": str})


def matching(path, wanted):
    """The rows that have these values; none where there is no table yet."""
    if not path.exists():
        return pd.DataFrame()
    table = read(path)
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def add(path, new):
    """Adds rows, all or none of them."""
    table = [read(path)] if path.exists() else []
    table = pd.concat([*table, pd.DataFrame(new)])
    with files.replacing(path) as unfinished:
        table.to_csv(unfinished, index=False)


def add_tables(path, about, seeds, wanted, tables, of=""):
    """Adds the tables of all seeds of which no row has what is wanted.

    `tables(seed)` has numbers by their measures, by rows, by name of a table.
    A row of the table on disk has one of the numbers, and what it is `about`.
    """
    for seed in seeds:
        known = {**about, "seed": seed}
        if len(matching(path, {**known, **wanted})):
            continue
        add(
            path,
            [
                {**known, "table": t, "row": of + row, "measure": x, "value": y}
                for t, numbers in tables(seed).items()
                for row, measures in numbers.items()
                for x, y in measures.items()
            ],
        )
        print(f"Seed {seed} is done: {wanted}.", flush=True)


def tested(correct):
    """Columns of a test: which images were predicted correctly, as bits."""
    return {
        "accuracy": correct.mean(),
        "images": correct.size,
        "correct": np.packbits(correct).tobytes().hex(),
    }


def tune_and_test(path, run, grid, heads, seeds, measured):
    """Adds the rows of a `run` that are missing, each when it is known.

    Heads, by name, are validated with each of the settings in the grid and
    seed 0, and then tested with the best of these and with each of the seeds.
    `measured(part, heads, seed, **settings)` yields the columns of each head.
    """

    def add_missing(heads, part, seed, settings, wanted):
        found = matching(path, {**run, "part": part, **wanted})
        heads = [x for x in heads if x not in set(found.get("head", ()))]
        if not heads:
            return
        columns = measured(part, heads, seed, **settings)
        for head, of_head in zip(heads, columns, strict=True):
            row = {**run, "part": part, **settings, "head": head, "seed": seed}
            add(path, [{**row, **of_head}])
            how = ", ".join(f"{k} {value:g}" for k, value in settings.items())
            share = f"{of_head['accuracy']:.3f} of {part}"
            print(f"{head}, seed {seed}, {how}: {share}", flush=True)

    for settings in grid:
        add_missing(heads, "validation", 0, settings, settings)
    found = matching(path, {**run, "part": "validation"})
    # The first of equals.
    best = found.loc[found.groupby("head", sort=False)["accuracy"].idxmax()]
    for seed in seeds:
        for values, of_best in best.groupby([*grid[0]]):
            settings = dict(zip(grid[0], values, strict=True))
            wanted = {"seed": seed}
            add_missing(of_best["head"], "test", seed, settings, wanted)
