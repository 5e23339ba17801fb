"""Tables as rows of numbers, and as CSV."""

import csv
import io

from keras_warn import runs
from keras_warn.tables import published
from keras_warn.tables.confidence import interval
from keras_warn.tables.differences import key
from keras_warn.tables.lines import Line
from keras_warn.tables.lines import average
from keras_warn.tables.reading import ARMS
from keras_warn.tables.reading import EPOCHS

NOT_MEASURED = "not yet measured"


def csv_files(lines, found, uncounted):
    """Contents of CSV files, by name.

    Args:
        lines: List of `Line`.
        found: List of `Run`.
        uncounted: Dictionary from paths of runs to why they are not counted.
    """
    return {
        "table3.csv": _csv(_table_3(lines)),
        "table4.csv": _csv(_table_4(lines)),
        "cifar.csv": _csv(_cifar(lines)),
        "others.csv": _csv(_others(lines), header=next(_rows(Line("other")))),
        "runs.csv": _csv(_runs(lines, found, uncounted)),
    }


def _table_3(lines):
    for line in lines:
        if line.recipe in published.TABLE_3:
            wrn, warn = published.TABLE_3[line.recipe]
            yield from _rows(
                line,
                ("baseline", "attention", "difference"),
                (wrn, warn, round(warn - wrn, 1)),
            )


def _cifar(lines):
    for line in lines:
        if line.recipe in published.TABLE_2:
            yield from _rows(
                line,
                ("wrn_40", "warn_28", "warn_40"),
                published.TABLE_2[line.recipe],
                error=True,
            )


def _others(lines):
    for line in lines:
        if line.recipe not in published.PUBLISHED:
            yield from _rows(line)


def _rows(line, columns=(), figures=(), error=False):
    """Rows of one line: of the last epoch, and of the best by validation."""
    for epoch in EPOCHS:
        # The paper's figures stand where they can be compared with, once.
        beside = epoch == EPOCHS[0] and not line.not_comparable
        row = {
            **_start(line),
            "epoch": epoch,
            "unit": "error (%)" if error else "accuracy (%)",
            **{
                f"{name}_paper": figure if beside else None
                for name, figure in zip(columns, figures, strict=True)
            },
        }
        values = {arm: line.values(arm, epoch, error) for arm in ARMS}
        row["measured"] = _measured(values)
        for arm in ARMS:
            row.update(_spread_cells(arm, values[arm]))
            held = getattr(line, arm)
            row[f"{arm}_parameters"] = held and held.parameters
        differences = line.differences(epoch, error)
        row.update(_spread_cells("difference", differences))
        ends = interval([*differences.values()])
        for name, end in zip(("low", "high"), ends or [None] * 2, strict=True):
            row[f"difference_{name}"] = _rounded(end)
        yield row


def _table_4(lines):
    for line in lines:
        if line.recipe in published.TABLE_4:
            figures = published.TABLE_4[line.recipe]
            if line.not_comparable:
                figures = None, None
            ours = line.per_million()
            values = {arm: line.values(arm) for arm in ARMS}
            yield {
                **_start(line),
                "baseline_paper": figures[0],
                "attention_paper": figures[1],
                "measured": _measured(values),
                "baseline": _rounded(ours[0]),
                "attention": _rounded(ours[1]),
                "baseline_parameters": line.baseline
                and line.baseline.parameters,
                "added_parameters": line.added_parameters(),
                "paired_seeds": _seeds(line.differences()),
            }
    ours = average(lines)
    yield {
        **_start(Line("average")),
        "data_set": "Average",
        "baseline_paper": published.TABLE_4_AVERAGE[0],
        "attention_paper": published.TABLE_4_AVERAGE[1],
        "measured": _measured(dict(zip(ARMS, ours, strict=True))),
        "baseline": _rounded(ours[0]),
        "attention": _rounded(ours[1]),
    }


def _runs(lines, found, uncounted):
    titles = {}
    for line in lines:
        for arm in line.arms.values():
            for run in arm.runs:
                titles.setdefault(run.path, []).append(line.title)
    for run in found:
        environment, data = run.environment, run.data
        row = {
            "recipe": run.recipe,
            "arm": run.arm,
            "seed": run.seed,
            "fold": run.fold,
            "lines": "; ".join(titles.get(run.path, [])),
            "not_counted": uncounted.get(run.path),
            "data": data["name"],
            "classes": data["classes"],
            "training": data.get("training"),
            "validation": data.get("validation"),
            "test": data.get("test"),
            "left_out": key(data.get("left_out")),
            "parameters": run.parameters,
            "epochs": run.epochs,
            "training_seconds": run.training_seconds,
        }
        for epoch in EPOCHS:
            metrics = run.metrics[epoch] or {}
            row[epoch] = metrics.get("epoch")
            for part in ("validation", "test"):
                for name in ("loss", "accuracy"):
                    value = (metrics.get(part) or {}).get(name)
                    row[f"{epoch}_{part}_{name}"] = value
        for name in ("date", "command", "cpu", "cores", "devices"):
            row[name] = environment.get(name)
        row["devices"] = " ".join(map(str, row["devices"] or []))
        for name in ("keras_warn", "keras", "backend"):
            row[name] = environment.get(name)
        row["backend_version"] = environment.get(row["backend"])
        row["settings"] = key(run.settings)
        row["file"] = str(run.path)
        yield row


def _start(line):
    """The first cells of a row."""
    known = published.PUBLISHED.get(line.recipe)
    name, classes = line.data or (None, None)
    return {
        "recipe": line.recipe,
        "data_set": known.title if known else None,
        "data": name,
        "classes": classes,
        "line": line.label,
        "not_comparable": line.not_comparable,
    }


def _spread_cells(start, values):
    """Mean, standard deviation and seeds of values by seed."""
    spread = runs.spread(values.values()) if values else {}
    return {
        f"{start}_mean": _rounded(spread.get("mean")),
        f"{start}_std": _rounded(spread.get("std")),
        f"{start}_seeds": _seeds(values),
    }


def _rounded(value):
    """Without the noise of sums of floats."""
    return None if value is None else round(value, 6)


def _seeds(values):
    return " ".join(map(str, values))


def _measured(values):
    """Which arms there is a value of."""
    there = [arm for arm in ARMS if values[arm] not in (None, {})]
    if len(there) == 1:
        missing = ARMS[1 - ARMS.index(there[0])]
        return f"{missing} {NOT_MEASURED}"
    return "yes" if there else NOT_MEASURED


def _csv(rows, header=()):
    """The text of a CSV file.

    Args:
        rows: Dictionaries of the same keys.
        header: These keys, for where there are no rows.
    """
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(
        text, rows[0] if rows else header, lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
