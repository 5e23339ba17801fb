"""Every table and plot of docs/evidence.md and docs/certainty.md.

    python benchmarks/evidence.py
    python benchmarks/evidence.py --check

The first writes the tables into their marked places on these pages, whose prose
stays as it is, and the plots to docs/images/. The second changes nothing, and
fails if a page or a plot is not that of the runs in docs/results/.

The columns of trainings are `arm`, `seed`, `parameters` and test accuracies:

- `figure4_mnist.csv`, the `results.csv` of
  `recipes/cluttered_mnist.py --source mnist.npz` with `--ablate figure_4
  kernel_3 agreement`; `figure4_mnist_64_epochs.csv`, that of `--epochs 64
  --attention preset=paper depth=4 width=8 kernel_size=3`
- `cub50_study.csv`, as the `runs.csv` of `recipes/paper_tables.py`, with one
  name for each variant

All else is written by `benchmarks/`: `frozen.csv` and `fine_tuned.csv`,
`certainty.csv` also by `unknown_digits.py`, `exits.csv` also by
`exits_frozen.py`, and `table2.json`, the `results.json` of `table2.py`.

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
from measuring import frozen_report
from measuring import table2_report
from measuring import variants
from PIL import Image

from keras_warn import files
from keras_warn.reporting import figures

DOCS = pathlib.Path(__file__).parents[1] / "docs"

FIGURE_4, TRAINED_WITH = "figure4_mnist.csv", "accuracy_8"
DISTRACTORS = (4, 8, 16, 32, 64)
# Variants by what they are called in each part of Figure 4, and their sizes.
DEPTHS = {
    f"depth {n}, width 1": (f"depth_{n}_width_1", n) for n in (1, 2, 3, 4)
}
WIDTHS = {
    "depth 4, width 1": ("depth_4_width_1", 1),
    "depth 4, width 2": ("depth_4_width_2", 2),
    "depth 4, width 4": ("attention", 4),
    "depth 4, width 8": ("depth_4_width_8", 8),
}
PARTS = {
    "baseline": "baseline",
    "attention, depth 4, width 4": "attention",
    "without regularizer": "no_diversity",
    "sigmoid masks": "sigmoid_masks",
    "sigmoid gates": "sigmoid_gates",
    "average, no gates": "average",
    "linear map, no gates": "linear",
    "no gradient to the backbone": "blocked_gradient",
    "each prediction on its own": "agreement",
    "3x3 kernels": "kernel_3",
}
NETWORKS = {
    "baseline": "baseline",
    "attention": "attention",
    "spatial transformer": "spatial_transformer",
}
NETWORKS_LONGER = {"baseline": "baseline", "8 heads, 3x3 kernels": "attention"}

# A place of a page, its name, and what stands in it.
PLACE = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def along(path, sizes, x_label, log2=True):
    """Table and plot of attention of several sizes, beside the baseline."""
    rows = [("baseline", "baseline", TRAINED_WITH)]
    rows += [(says, name, TRAINED_WITH) for says, (name, _) in sizes.items()]
    points = {"baseline": rows[:1] * len(sizes), "attention": rows[1:]}
    x = [size for _, size in sizes.values()]
    return curves(path, rows, x, points, x_label, log2)


def more_clutter(path, networks):
    """The same of networks among more distractors than in training."""
    points = {
        says: [
            (f"{says}, {n} distractors", variant, f"accuracy_{n}")
            for n in DISTRACTORS
        ]
        for says, variant in networks.items()
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


def side_by_side(path, column, labels=None):
    """Table and plot of variants one below the other."""
    found = variants.read(path)
    error = labels is not None
    if labels is None:
        names = found.index.unique("variant")
        labels = {name.replace("_", " "): name for name in names}
    rows = [(says, variant, column) for says, variant in labels.items()]
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


def certainty(path, *names):
    """Tables of what predictions know of themselves, and of early exits."""
    tables = (certainty_report.table(path, name) for name in names)
    plot = certainty_report.curves(path) if "exits" in names else None
    return "\n\n".join(tables), plot


def beside_controls(path):
    """Tables and plot of attention beside heads of equal size."""
    return frozen_report.tables(path), frozen_report.plot(path)


# For each place the file of its runs, what shows them, and arguments.
SHOWN = {
    "figure4b": (FIGURE_4, along, DEPTHS, "modules of one head", False),
    "figure4c": (FIGURE_4, along, WIDTHS, "heads in each of 4 modules"),
    "figure4d": (FIGURE_4, side_by_side, TRAINED_WITH, PARTS),
    "figure4e": (FIGURE_4, more_clutter, NETWORKS),
    "figure4_longer": (
        "figure4_mnist_64_epochs.csv",
        more_clutter,
        NETWORKS_LONGER,
    ),
    "birds": ("cub50_study.csv", side_by_side, "last_epoch_test_accuracy"),
    "frozen": ("frozen.csv", beside_controls),
    "fine_tuned": ("fine_tuned.csv", beside_controls),
    "calibration": ("certainty.csv", certainty, "calibration"),
    "answered": ("certainty.csv", certainty, "answered"),
    "unknown": ("certainty.csv", certainty, "unknown"),
    "zoom": ("certainty.csv", certainty, "zoom"),
    "exits": ("exits.csv", certainty, "exits", "left"),
    "table2": ("table2.json", table_2),
}


def digest(path):
    """Tells files from each other; kept in plots, to know them again."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def drawn_of(path):
    """The digest of the runs that the plot at `path` is of, if it is there."""
    if not path.exists():
        return None
    with Image.open(path) as image:
        return image.info.get("Source")


def main(argv=None):
    parser = command.plain_parser(__doc__)
    add = parser.add_argument
    add("--check", action="store_true", help="change nothing, say what differs")
    add("--docs", type=pathlib.Path, default=DOCS, help="folder of the pages")
    s = parser.parse_args(argv)
    pages = {page: page.read_text("utf-8") for page in s.docs.glob("*.md")}
    was = {
        match[2]: (page, match[3])
        for page, text in pages.items()
        for match in PLACE.finditer(text)
    }
    if was.keys() != SHOWN.keys():
        parser.error(f"{s.docs} must have the places {', '.join(SHOWN)}.")
    contents, plots = {}, {}
    for name, (file, show, *arguments) in SHOWN.items():
        source = s.docs / "results" / file
        contents[name], plot = show(source, *arguments)
        if plot:
            contents[name] += f"\n\n![The same, drawn](images/{name}.png)"
            plots[s.docs / f"images/{name}.png"] = plot, digest(source)
    if s.check:
        differ = [
            f"{was[name][0]}: {name}"
            for name, content in contents.items()
            if was[name][1] != f"{content}\n"
        ]
        differ += [x for x, (_, known) in plots.items() if drawn_of(x) != known]
        for name in differ:
            print(f"Not of the runs in {s.docs / 'results'}: {name}")
        return 1 if differ else 0
    for path, (plot, known) in plots.items():
        with files.replacing(path) as unfinished:
            plot.savefig(unfinished, metadata={"Source": known})
    for page in {page for page, _ in was.values()}:
        new = PLACE.sub(
            lambda m: f"{m[1]}{contents[m[2]]}\n{m[4]}", pages[page]
        )
        with files.replacing(page) as unfinished:
            unfinished.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
