"""Every table and plot of docs/evidence.md, from the runs in docs/results/.

    python benchmarks/evidence.py
    python benchmarks/evidence.py --check

The first writes the tables into their marked places on the page, whose prose
stays as it is, and the plots to docs/images/. The second changes nothing, and
fails if the page or a plot is not that of the runs.

Those are, of trainings with a row each, whose columns are `arm`, `seed`,
`parameters` and test accuracies, as shares:

- `figure4_mnist.csv`, the `results.csv` of
  `recipes/cluttered_mnist.py --source mnist.npz` with `--ablate figure_4
  kernel_3 agreement`
- `figure4_mnist_64_epochs.csv`, the same of `--epochs 64 --attention
  preset=paper depth=4 width=8 kernel_size=3`
- `cub50_study.csv`, as the `runs.csv` of `recipes/paper_tables.py`, with one
  name for each variant
- `frozen.csv` and `fine_tuned.csv`, the rows of `benchmarks/frozen.py` and
  `benchmarks/fine_tuned.py`
- `certainty.csv`, the rows of `benchmarks/certainty.py` and
  `benchmarks/unknown_digits.py`
- `exits.csv`, the rows of `benchmarks/exits.py` and
  `benchmarks/exits_frozen.py`
- `table2.json`, the `results.json` of `benchmarks/table2.py` without `--smoke`

What there is no file of, or no variant in it, is "not yet measured".
Differences are paired by seed. Intervals are Student's t over seeds; of
`frozen.csv` and `fine_tuned.csv` they are by the bootstrap over seeds and test
images.
"""

import hashlib
import json
import pathlib
import re
import sys

from measuring import certainty_report
from measuring import command
from measuring import exits_report
from measuring import frozen_report
from measuring import table2_report
from measuring import variants
from PIL import Image

from keras_warn import files
from keras_warn.reporting import figures

DOCS = pathlib.Path(__file__).parents[1] / "docs"
FIGURE_4, BIRDS = "figure4_mnist.csv", "cub50_study.csv"
LONGER = "figure4_mnist_64_epochs.csv"
TABLE_2 = "table2.json"
CERTAINTY = "certainty.csv"
EXITS = "exits.csv"
BESIDE_CONTROLS = {"frozen": "frozen.csv", "fine_tuned": "fine_tuned.csv"}

# Figure 4: what each variant is called in its parts.
DEPTHS = {f"depth_{n}_width_1": n for n in (1, 2, 3, 4)}
WIDTHS = {
    "depth_4_width_1": 1,
    "depth_4_width_2": 2,
    "attention": 4,
    "depth_4_width_8": 8,
}
PARTS = {
    "baseline": "baseline",
    "attention": "attention, depth 4, width 4",
    "no_diversity": "without regularizer",
    "sigmoid_masks": "sigmoid masks",
    "sigmoid_gates": "sigmoid gates",
    "average": "average, no gates",
    "linear": "linear map, no gates",
    "blocked_gradient": "no gradient to the backbone",
    "agreement": "each prediction on its own",
    "kernel_3": "3x3 kernels",
}
NETWORKS = {
    "baseline": "baseline",
    "attention": "attention",
    "spatial_transformer": "spatial transformer",
}
NETWORKS_LONGER = {"baseline": "baseline", "attention": "8 heads, 3x3 kernels"}
DISTRACTORS = (4, 8, 16, 32, 64)
TRAINED_WITH = "accuracy_8"

# A place of the page, its name, and what stands in it.
PLACE = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

# Of `recipes/paper_tables.py`.
BIRDS_ACCURACY = "last_epoch_test_accuracy"


def along_depths(found):
    label, x_label = "depth {}, width 1", "modules of one head"
    return along(found, DEPTHS, label, x_label, log2=False)


def along_widths(found):
    label, x_label = "depth 4, width {}", "heads in each of 4 modules"
    return along(found, WIDTHS, label, x_label)


def parts(found):
    return side_by_side(found, PARTS, TRAINED_WITH, error=True)


def along(found, attended, label, x_label, log2=True):
    """Attention of several sizes, beside the baseline."""
    names = {"baseline": "baseline"}
    names |= {variant: label.format(size) for variant, size in attended.items()}
    rows = [(says, variant, TRAINED_WITH) for variant, says in names.items()]
    points = {"baseline": rows[:1] * len(attended), "attention": rows[1:]}
    plot = curves(found, [*attended.values()], points, x_label, log2)
    return variants.table(found, rows, error=True), plot


def more_clutter(found, networks=NETWORKS):
    """Networks among more distractors than they were trained with."""
    points = {
        says: [
            (f"{says}, {n} distractors", variant, f"accuracy_{n}")
            for n in DISTRACTORS
        ]
        for variant, says in networks.items()
    }
    rows = [
        row for of_row in zip(*points.values(), strict=True) for row in of_row
    ]
    plot = curves(found, DISTRACTORS, points, "distractors (trained with 8)")
    if plot:
        # Errors double with them. On one scale, none could be told apart.
        plot.axes[0].set_yscale("log", base=2)
        plot.axes[0].yaxis.set_major_formatter("{x:g}")
    return variants.table(found, rows, error=True), plot


def longer(found):
    return more_clutter(found, NETWORKS_LONGER)


def curves(found, x, points, x_label, log2=True):
    """Test errors along `x`, or `None` where a variant is missing."""
    values = {
        name: variants.by_seed(found, of_name, error=True)
        for name, of_name in points.items()
    }
    if not all(values.values()):
        return None
    return figures.curves_figure(x, values, x_label, "test error (%)", log2)


def side_by_side(found, labels, column, error):
    """Variants one below the other."""
    rows = [(says, variant, column) for variant, says in labels.items()]
    values = {row[0]: variants.by_seed(found, [row], error) for row in rows}
    kind = "error" if error else "accuracy"
    drawn = all(values.values())
    plot = variants.dots(values, f"test {kind} (%)") if drawn else None
    return variants.table(found, rows, error), plot


def of_digits(show):
    """What a part of Figure 4 shows of its file."""
    columns = [f"accuracy_{n}" for n in DISTRACTORS]
    return lambda path: show(variants.read(path, *columns))


def birds(path):
    """Table and plot of variants of attention on birds."""
    found = variants.read(path, BIRDS_ACCURACY)
    names = {
        variant: variant.replace("_", " ")
        for variant in found.index.unique("variant")
    }
    return side_by_side(found, names, BIRDS_ACCURACY, error=False)


def table_2(path):
    """Tables and plot of what the paper's networks cost."""
    result = json.loads(path.read_text("utf-8"))
    if result["settings"]["smoke"]:
        raise ValueError(
            f"{TABLE_2} must be the results.json of benchmarks/table2.py, "
            f"without --smoke. Received: {path}, one of a smoke test."
        )
    return table2_report.tables(result), table2_report.plot(result)


def beside_controls(path):
    """Table and plot of attention beside heads of equal size."""
    table = (
        f"{frozen_report.table(path)}\n\nParameters that are trained, and "
        "milliseconds of a training step, an image:\n\n"
        f"{frozen_report.costs(path)}"
    )
    return table, frozen_report.plot(path)


def certainty(name):
    """One of the tables of what predictions know of themselves."""
    return lambda path: (certainty_report.table(path, name), None)


def exits(path):
    """Tables and plot of early exits."""
    return exits_report.tables(path), exits_report.plot(path)


# For each place the file of its runs, and what shows them.
SHOWN = {
    "figure4b": (FIGURE_4, of_digits(along_depths)),
    "figure4c": (FIGURE_4, of_digits(along_widths)),
    "figure4d": (FIGURE_4, of_digits(parts)),
    "figure4e": (FIGURE_4, of_digits(more_clutter)),
    "figure4_longer": (LONGER, of_digits(longer)),
    "birds": (BIRDS, birds),
    **{name: (file, beside_controls) for name, file in BESIDE_CONTROLS.items()},
    **{name: (CERTAINTY, certainty(name)) for name in certainty_report.TABLES},
    "exits": (EXITS, exits),
    "table2": (TABLE_2, table_2),
}


def evidence(results):
    """For each place its table, its plot or `None`, and their source."""
    found = {}
    for name, (file, show) in SHOWN.items():
        path = results / file
        shown = show(path) if path.exists() else (variants.NOT_MEASURED, None)
        found[name] = (*shown, path)
    return found


def places(page):
    """What stands in the marked places of a page, by name."""
    return {match[2]: match[3] for match in PLACE.finditer(page)}


def filled(page, contents):
    """The page with other contents, by the names of its places."""
    names = [match[2] for match in PLACE.finditer(page)]
    if sorted(names) != sorted(contents):
        raise ValueError(
            f"The page must have the places {', '.join(contents)}, each once "
            f"and with its end. Received: {', '.join(names)}."
        )
    return PLACE.sub(lambda m: f"{m[1]}{contents[m[2]]}\n{m[4]}", page)


def digest(path):
    """Tells files from each other; kept in plots, to know them again."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_drawn(path, source):
    """Whether the plot at `path` is of the runs in `source`."""
    if not path.exists():
        return False
    with Image.open(path) as image:
        return image.info.get("Source") == digest(source)


def main(argv=None):
    parser = command.plain_parser(__doc__)
    add = parser.add_argument
    add("--check", action="store_true", help="change nothing, say what differs")
    add("--docs", type=pathlib.Path, default=DOCS, help="folder of the page")
    s = parser.parse_args(argv)
    page = s.docs / "evidence.md"
    try:
        old = page.read_text("utf-8")
        shown = evidence(s.docs / "results")
        contents = {
            name: f"{table}\n\n![The same, drawn](images/{name}.png)"
            if plot
            else table
            for name, (table, plot, _) in shown.items()
        }
        new = filled(old, contents)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    plots = {
        s.docs / f"images/{name}.png": (plot, source)
        for name, (_, plot, source) in shown.items()
        if plot
    }
    if s.check:
        was, now = places(old), places(new)
        differ = [f"{page}: {name}" for name in now if was[name] != now[name]]
        differ += [
            x for x, (_, source) in plots.items() if not is_drawn(x, source)
        ]
        for name in differ:
            print(f"Not of the runs in {s.docs / 'results'}: {name}")
        return 1 if differ else 0
    for path, (plot, source) in plots.items():
        with files.replacing(path) as unfinished:
            plot.savefig(unfinished, metadata={"Source": digest(source)})
    with files.replacing(page) as unfinished:
        unfinished.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
