"""What stands in the lines of the tables that people read."""

from keras_warn import runs
from keras_warn.tables import published
from keras_warn.tables.confidence import interval
from keras_warn.tables.reading import ARMS
from keras_warn.tables.rows import NOT_MEASURED


def table_3(line):
    """Cells of Table 3."""
    wrn, warn = published.TABLE_3[line.recipe]
    paper = [f"{wrn:.1f}", f"{warn:.1f}", f"{warn - wrn:+.1f}"]
    *own, ends = ours(line)
    return [line.title, *in_turn(_comparable(line, paper), own), ends]


def table_4(line):
    """Cells of Table 4."""
    paper = _comparable(line, published.TABLE_4[line.recipe])
    own = [
        figure(one, line.values(arm))
        for one, arm in zip(line.per_million(), ARMS, strict=True)
    ]
    return [line.title, *in_turn(paper, own), *_parameters(line)]


def cifar(line):
    """Cells of the errors on CIFAR."""
    wrn, *warns = published.TABLE_2[line.recipe]
    paper = [
        f"{wrn:.2f}",
        " / ".join(f"{warn:.2f}" for warn in warns),
        f"{warns[1] - wrn:+.2f}",
    ]
    *own, ends = ours(line, error=True)
    paper = _comparable(line, paper)
    return [line.title, *in_turn(paper, own), ends, *_parameters(line)]


def ours(line, epoch="last_epoch", error=False):
    """Both arms, the difference, and its interval."""
    digits = 2 if error else 1
    arms = [line.values(arm, epoch, error) for arm in ARMS]
    none = NOT_MEASURED if epoch == "last_epoch" else "–"
    found = [_plus_minus(values, digits) or none for values in arms]
    differences = line.differences(epoch, error)
    missing = "not paired" if all(arms) else "–"
    found.append(_plus_minus(differences, digits, "+z") or missing)
    ends = interval([*differences.values()])
    if ends is None:
        return [*found, "–"]
    return [*found, f"[{', '.join(f'{end:+z.{digits}f}' for end in ends)}]"]


def figure(value, measured):
    """A figure of Table 4, or why there is none."""
    if value is None:
        return "–" if measured else NOT_MEASURED
    return f"{value:.1f}"


def in_turn(paper, ours):
    """The paper's and our cells, by turns."""
    return [
        str(cell) for pair in zip(paper, ours, strict=True) for cell in pair
    ]


def _comparable(line, paper):
    """The paper's cells, or dashes, where they must not be compared with."""
    return ["–"] * len(paper) if line.not_comparable else paper


def _plus_minus(values, digits, sign=""):
    """Mean and standard deviation of values by seed; empty without any."""
    if not values:
        return ""
    spread = runs.spread(values.values())
    mean = f"{spread['mean']:{sign}.{digits}f}"
    if len(values) == 1:
        return f"{mean} (one seed)"
    return f"{mean} ± {spread['std']:.{digits}f} ({len(values)} seeds)"


def _parameters(line):
    """Parameters of the baseline, and those that attention adds."""
    baseline = line.baseline and line.baseline.parameters
    return [
        "–" if count is None else f"{count / 1e6:.2f} M"
        for count in (baseline, line.added_parameters())
    ]
