"""Tables as Markdown: what stands in the document, in which order."""

from keras_warn import runs
from keras_warn.tables import cells
from keras_warn.tables import published
from keras_warn.tables.differences import said
from keras_warn.tables.lines import average
from keras_warn.tables.reading import ARMS
from keras_warn.tables.wording import counted

INTRODUCTION = """\
Accuracies are of the test set, after the last epoch: mean ± standard deviation
over seeds. With cross-validation, the value of a seed is the mean over its
five folds. Differences are attention − baseline, paired by seed, with the 95 %
interval of Student's t over seeds."""

TABLE_3_IS = """\
The paper's figures are of a WRN-50-4 pretrained on ImageNet (WRN), and of the
same with attention (WARN)."""

TABLE_4_IS = """\
WRN and baseline: accuracy per million of their parameters. WARN and attention:
the difference per million of parameters added."""

CIFAR_IS = """\
The paper's figures are from its Table 2, where WRN 40, WARN 28 and WARN 40 have
{} M, {} M and {} M parameters; its difference is WARN 40 − WRN 40."""

# The settings that say most about what was trained.
TRAINED = ("backbone", "weights", "image_size", "epochs")


def document(tables):
    """All of a `Tables`."""
    parts = [
        *_beginning(tables),
        *_table_3_and_4(tables.lines),
        *_cifar(tables.lines),
        *_others(tables.lines),
        *_list("Notes", tables.notes),
        *_list("Files that cannot be read", tables.found.failed),
        *_list("Machines", _machines(tables.found.runs)),
    ]
    return "\n\n".join(parts) + "\n"


def _beginning(tables):
    found = tables.found
    by = f" by `{tables.command}`" if tables.command else ""
    left_out = [
        (len(tables.uncounted), "not counted, see the notes"),
        (found.smoke, "left out, as smoke tests"),
        (found.others, f"{runs.RESULTS} of another kind ignored"),
        (len(found.failed), "could not be read, see below"),
    ]
    counts = [f"{number} {what}" for number, what in left_out if number]
    counts = "; ".join([counted(len(found.runs), "run"), *counts])
    yield "# Finished trainings beside the paper"
    yield f"Made {tables.date}{by}. {counts}."
    yield INTRODUCTION


def _table_3_and_4(lines):
    """Both are of the same runs."""
    lines = [line for line in lines if line.recipe in published.TABLE_3]
    yield "## Table 3: accuracy (%)"
    yield TABLE_3_IS
    yield from _trained(lines)
    header = [
        "data set",
        "WRN, paper",
        "baseline, ours",
        "WARN, paper",
        "attention, ours",
        "difference, paper",
        "difference, ours",
        "95 % interval",
    ]
    yield _table(header, map(cells.table_3, lines))
    yield from _best(lines)

    yield "## Table 4: accuracy (%) per million of parameters"
    yield TABLE_4_IS
    header = [
        "data set",
        "WRN, paper",
        "baseline, ours",
        "WARN, paper",
        "attention, ours",
        "parameters of the baseline, ours",
        "added, ours",
    ]
    # Of two lines of a data set, none is the one for the average.
    measured = all(line.values(arm) for line in lines for arm in ARMS)
    ours = [cells.figure(one, measured) for one in average(lines)]
    last = ["Average", *cells.in_turn(published.TABLE_4_AVERAGE, ours), "", ""]
    yield _table(header, [*map(cells.table_4, lines), last])


def _cifar(lines):
    lines = [line for line in lines if line.recipe in published.TABLE_2]
    yield "## CIFAR: error (%)"
    yield CIFAR_IS.format(*published.TABLE_2_PARAMETERS)
    yield from _trained(lines)
    header = [
        "data set",
        "WRN 40, paper",
        "baseline, ours",
        "WARN 28 / 40, paper",
        "attention, ours",
        "difference, paper",
        "difference, ours",
        "95 % interval",
        "parameters, ours",
        "added, ours",
    ]
    yield _table(header, map(cells.cifar, lines))
    yield from _best(lines, error=True)


def _others(lines):
    lines = [line for line in lines if line.recipe not in published.PUBLISHED]
    if not lines:
        return
    yield "## Other data: accuracy (%)"
    yield from _trained(lines)
    header = [
        "recipe",
        "data",
        "classes",
        "baseline",
        "attention",
        "difference",
        "95 % interval",
    ]
    rows = [
        [line.title, *map(str, line.data), *cells.ours(line)] for line in lines
    ]
    yield _table(header, rows)
    yield from _best(lines)


def _best(lines, error=False):
    """The table of epochs that were chosen on the validation part, if any."""
    epoch = "best_by_validation"
    lines = [
        line for line in lines if any(line.values(arm, epoch) for arm in ARMS)
    ]
    if not lines:
        return
    yield "### The same, after the epoch that is best on the validation part"
    yield _table(
        ["data set", "baseline", "attention", "difference", "95 % interval"],
        [[line.title, *cells.ours(line, epoch, error)] for line in lines],
    )


def _trained(lines):
    """What ours are of, if there are any."""
    arms = [arm for line in lines for arm in line.arms.values()]
    settings = [run.settings for arm in arms for run in arm.runs]
    found = []
    for name in TRAINED:
        values = [said(name, one) for one in settings if name in one]
        found += [" or ".join(dict.fromkeys(values))] if values else []
    if found:
        yield (
            f"Ours are trained with {', '.join(found)}. All settings stand in "
            "`runs.csv`."
        )


def _machines(found):
    """What runs ran on, and when, a string each."""
    machines = {}
    for run in found:
        environment = run.environment
        cores = environment.get("cores")
        parts = [
            environment.get("cpu"),
            cores and f"{cores} cores",
            " ".join(map(str, environment.get("devices") or [])),
            *(
                environment.get(name) and f"{name} {environment[name]}"
                for name in ("keras_warn", "keras", environment.get("backend"))
            ),
        ]
        text = ", ".join(part for part in parts if part) or "unknown"
        machines.setdefault(text, []).append(environment.get("date"))
    for text, dates in machines.items():
        days = sorted({str(date)[:10] for date in dates if date})
        when = " to ".join(dict.fromkeys([*days[:1], *days[-1:]]))
        ran = [counted(len(dates), "run"), *([when] if when else [])]
        yield f"{text}: {', '.join(ran)}"


def _list(title, items):
    """A part that lists strings, if there are any."""
    items = [f"- {_one_line(item)}" for item in items]
    return [f"## {title}", "\n".join(items)] if items else []


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(_one_line(cell, '|') for cell in line)} |"
        for line in lines
    )


def _one_line(text, escaped=""):
    """Text without line breaks, and with one character escaped."""
    text = " ".join(text.split())
    return text.replace(escaped, f"\\{escaped}") if escaped else text
