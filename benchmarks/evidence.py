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

Differences are paired by seed. Intervals are Student's t over seeds; of
`frozen.csv` and `fine_tuned.csv` they are by the bootstrap over seeds and test
images.
"""

import functools
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

# Of `recipes/paper_tables.py`.
BIRDS_ACCURACY = "last_epoch_test_accuracy"

# A place of the page, its name, and what stands in it.
PLACE = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def along(path, attended, label, x_label, log2=True):
    """Table and plot of attention of several sizes, beside the baseline."""
    names = {"baseline": "baseline"}
    names |= {variant: label.format(size) for variant, size in attended.items()}
    rows = [(says, variant, TRAINED_WITH) for variant, says in names.items()]
    points = {"baseline": rows[:1] * len(attended), "attention": rows[1:]}
    return curves(path, rows, [*attended.values()], points, x_label, log2)


def more_clutter(path, networks):
    """The same of networks among more distractors than in training."""
    points = {
        says: [
            (f"{says}, {n} distractors", variant, f"accuracy_{n}")
            for n in DISTRACTORS
        ]
        for variant, says in networks.items()
    }
    rows = [row for at_n in zip(*points.values(), strict=True) for row in at_n]
    x_label = "distractors (trained with 8)"
    table, plot = curves(path, rows, DISTRACTORS, points, x_label)
    # Errors double with them. On one scale, none could be told apart.
    plot.axes[0].set_yscale("log", base=2)
    plot.axes[0].yaxis.set_major_formatter("{x:g}")
    return table, plot


def curves(path, rows, x, points, x_label, log2=True):
    """A table of all rows, and a plot of those of `points` by name."""
    found = variants.read(path)
    values = {
        name: variants.by_seed(found, of_name, error=True)
        for name, of_name in points.items()
    }
    plot = figures.curves_figure(x, values, x_label, "test error (%)", log2)
    return variants.table(found, rows, error=True), plot


def side_by_side(path, column, error, labels=None):
    """Table and plot of variants one below the other."""
    found = variants.read(path)
    if labels is None:
        names = found.index.unique("variant")
        labels = {name: name.replace("_", " ") for name in names}
    rows = [(says, variant, column) for variant, says in labels.items()]
    values = {
        says: variants.percent(found, variant, column, error)
        for says, variant, _ in rows
    }
    plot = variants.dots(values, f"test {'error' if error else 'accuracy'} (%)")
    return variants.table(found, rows, error), plot


def table_2(path):
    """Tables and plot of what the paper's networks cost."""
    result = json.loads(path.read_text("utf-8"))
    return table2_report.tables(result), table2_report.plot(result)


def beside_controls(path):
    """Table and plot of attention beside heads of equal size."""
    table = (
        f"{frozen_report.table(path)}\n\nParameters that are trained, and "
        "milliseconds of a training step, an image:\n\n"
        f"{frozen_report.costs(path)}"
    )
    return table, frozen_report.plot(path)


def certainty(path, name):
    """One of the tables of what predictions know of themselves."""
    return certainty_report.table(path, name), None


def exits(path):
    """Tables and plot of early exits."""
    return exits_report.tables(path), exits_report.plot(path)


def shown(file, function, **arguments):
    return file, functools.partial(function, **arguments)


# For each place the file of its runs, and what shows them.
SHOWN = {
    "figure4b": shown(
        "figure4_mnist.csv",
        along,
        attended=DEPTHS,
        label="depth {}, width 1",
        x_label="modules of one head",
        log2=False,
    ),
    "figure4c": shown(
        "figure4_mnist.csv",
        along,
        attended=WIDTHS,
        label="depth 4, width {}",
        x_label="heads in each of 4 modules",
    ),
    "figure4d": shown(
        "figure4_mnist.csv",
        side_by_side,
        column=TRAINED_WITH,
        error=True,
        labels=PARTS,
    ),
    "figure4e": shown("figure4_mnist.csv", more_clutter, networks=NETWORKS),
    "figure4_longer": shown(
        "figure4_mnist_64_epochs.csv", more_clutter, networks=NETWORKS_LONGER
    ),
    "birds": shown(
        "cub50_study.csv", side_by_side, column=BIRDS_ACCURACY, error=False
    ),
    "frozen": shown("frozen.csv", beside_controls),
    "fine_tuned": shown("fine_tuned.csv", beside_controls),
    **{
        name: shown("certainty.csv", certainty, name=name)
        for name in certainty_report.TABLES
    },
    "exits": shown("exits.csv", exits),
    "table2": shown("table2.json", table_2),
}


def places(page):
    """What stands in the marked places of a page, by name."""
    return {match[2]: match[3] for match in PLACE.finditer(page)}


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
    old = page.read_text("utf-8")
    if places(old).keys() != SHOWN.keys():
        parser.error(f"{page} must have the places {', '.join(SHOWN)}.")
    contents, plots = {}, {}
    for name, (file, show) in SHOWN.items():
        source = s.docs / "results" / file
        contents[name], plot = show(source)
        if plot:
            contents[name] += f"\n\n![The same, drawn](images/{name}.png)"
            plots[s.docs / f"images/{name}.png"] = plot, source
    if s.check:
        was = places(old)
        differ = [
            f"{page}: {name}"
            for name, content in contents.items()
            if was[name] != f"{content}\n"
        ]
        differ += [
            x for x, (_, source) in plots.items() if not is_drawn(x, source)
        ]
        for name in differ:
            print(f"Not of the runs in {s.docs / 'results'}: {name}")
        return 1 if differ else 0
    for path, (plot, source) in plots.items():
        with files.replacing(path) as unfinished:
            plot.savefig(unfinished, metadata={"Source": digest(source)})
    new = PLACE.sub(lambda m: f"{m[1]}{contents[m[2]]}\n{m[4]}", old)
    with files.replacing(page) as unfinished:
        unfinished.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
