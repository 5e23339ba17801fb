"""The cost of attention, as Markdown and as a figure."""

import itertools

import pandas as pd

from keras_warn.reporting import figures
from measuring import tables
from measuring.environment import described
from measuring.timing import ONE_ROUND_IN

HEADER = (
    "measure",
    "backbone",
    "ours",
    "ours / backbone",
    "direct",
    "direct / ours",
)
COLORS = dict(zip(("ours", "direct"), figures.COLORS, strict=False))
RATIOS = {
    "parameters": "parameters",
    "operations": "operations",
    "inference": "inference\ntime",
    "training": "training\nstep time",
    "memory": "training\nmemory",
}
MEASURED = ("inference", "training", "memory")
QUARTILES = ("lower", "upper")
# What stands on the axes of the settings that grow.
AXES = {"width": "heads", "image_size": "pixels of an edge", "depth": "modules"}


def markdown(result):
    """The whole result."""
    settings, machine = result["settings"], result["environment"]
    lines = [
        f"# {settings['backbone']} at {settings['image_size']} px, "
        f"{settings['classes']} classes, {settings['depth']} modules of "
        f"{settings['width']} heads",
        "",
        f"`KERAS_BACKEND={machine['backend']} {machine['command']}`",
        "",
        f"{described(machine)} Medians, in brackets quartiles. A ratio is the "
        "median of the ratios within each round. Times are of "
        f"{settings['runs']} rounds; direct takes part in one of "
        f"{ONE_ROUND_IN['direct']}.",
        f"Operations: {result['counter']}.",
    ]
    for size, measures in result["kernel_sizes"].items():
        lines += [
            "",
            f"## Kernels of {size}x{size}",
            "",
            table(measures),
            "",
            "Largest difference between ours and direct: "
            f"{measures['difference']:.1e} of the largest output.",
        ]
    return "\n".join(lines) + "\n"


def table(measures):
    """The measures of one kernel size."""
    rows = [
        [
            f"{values['title']} ({values['unit']})",
            *(tables.median(values, c, _form(c)) for c in HEADER[1:]),
        ]
        for name, found in measures.items()
        if name != "difference"
        for values in (found, found.get("wall"))
        if values
    ]
    return tables.markdown(HEADER, rows)


def _form(column):
    return "{:.3f}".format if "/" in column else _number


def _number(value):
    """Four digits, and never an exponent."""
    if value >= 1000:
        return f"{value:.0f}"
    return f"{float(f'{value:.4g}'):g}"


def plot(result):
    """Ratios to the backbone, and times of the modules, for each kernel."""
    sizes = result["kernel_sizes"]
    figure = figures.new_figure(11, 3.6 * len(sizes))
    axes = figure.subplots(len(sizes), 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), size in zip(axes, sizes, strict=True):
        _plot_ratios(left, sizes[size])
        left.set_title(f"{size}×{size} kernels: relative to the backbone")
        _plot_modules(right, sizes[size])
        right.set_title(f"{size}×{size} kernels: modules alone, inference")
    settings = result["settings"]
    figure.suptitle(
        f"{settings['backbone']}, {settings['image_size']} px, "
        f"{settings['classes']} classes, {settings['depth']} modules of "
        f"{settings['width']} heads, batch {settings['batch_size']} "
        f"({result['environment']['backend']})"
    )
    return figure


def matrix_table(rows):
    """Ratios to the backbone, as Markdown: medians, in brackets quartiles."""
    panels = _panels(rows)
    header = ["network", "heads", "kernel", "parameters", "operations"]
    header += [f"{measure}, {pixels} px" for measure, pixels in panels]
    cells = []
    for keys, found in rows.groupby(["network", "width", "kernel"], sort=False):
        by_size = found.set_index("pixels")
        cells.append([str(key) for key in keys])
        for name, form in (("parameters", ".2f"), ("operations", ".3f")):
            # Of the size in the middle.
            cells[-1].append(format(found[name].median(), form))
        for measure, pixels in panels:
            names = (measure, *(f"{measure}, {q} quartile" for q in QUARTILES))
            ratios = by_size.loc[pixels, list(names)]
            cells[-1].append(
                "{:.2f} ({:.2f}–{:.2f})".format(*ratios)
                if ratios.notna().all()
                else "–"
            )
    return tables.markdown(header, cells)


def _panels(rows):
    """What was measured, and at which image sizes."""
    return [
        (measure, pixels)
        for measure in MEASURED
        for pixels, found in rows.groupby("pixels")
        if found.get(measure, pd.Series()).notna().any()
    ]


def matrix_figure(rows, settings):
    """Ratios to the backbone, of networks by image size, width and kernel."""
    rows = rows.assign(
        label=rows["width"].map("{} heads, ".format) + rows["kernel"]
    )
    panels = _panels(rows)
    columns = min(len(panels), 3)
    figure = figures.new_figure(5.6 * columns, 2.6 * -(-len(panels) // columns))
    grid = figure.subplots(-(-len(panels) // columns), columns, squeeze=False)
    for axes, (measure, pixels) in itertools.zip_longest(
        grid.flat, panels, fillvalue=(None, None)
    ):
        if measure is None:
            axes.set_axis_off()
            continue
        table = rows[rows["pixels"] == pixels].pivot(
            index="network", columns="label", values=measure
        )
        table = table.loc[rows["network"].unique(), rows["label"].unique()]
        table = table.dropna()
        _plot_bars(axes, table, figures.COLORS, "{:.2f}", bottom=1, size=6)
        axes.get_legend().remove()
        axes.set_xlabel("")
        axes.set_title(f"{RATIOS[measure].replace(chr(10), ' ')}, {pixels} px")
    for axes in grid[:, 0]:
        axes.set_ylabel("ratio (backbone = 1)")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=4, frameon=False
    )
    return figure


def growth_figure(rows, settings):
    """Time and memory of modules alone, by each setting."""
    shown = {
        "ms": "ms of the processor, an image",
        "MiB": "MiB of a training step",
    }
    shown = {k: says for k, says in shown.items() if rows[k].notna().all()}
    names = rows["setting"].unique()
    figure = figures.new_figure(2.8 * len(names), 2.6 * len(shown))
    grid = figure.subplots(
        len(shown), len(names), sharex="col", sharey="row", squeeze=False
    )
    for of_row, (measure, says) in zip(grid, shown.items(), strict=True):
        for axes, name in zip(of_row, names, strict=True):
            found = rows[rows["setting"] == name]
            values, read = found["value"], found["map entries"]
            # More and larger maps are more to read.
            grown = read if read.nunique() > 1 else values
            linear = found[measure].iloc[0] * grown / grown.iloc[0]
            axes.loglog(values, linear, "k--", linewidth=0.8, label="linear")
            axes.loglog(
                values, found[measure], color=figures.COLORS[0], marker="o"
            )
            axes.set_xticks(values, map(str, values))
            axes.minorticks_off()
            axes.spines[["top", "right"]].set_visible(False)
        of_row[0].set_ylabel(says)
    for axes, name in zip(grid[-1], names, strict=True):
        axes.set_xlabel(AXES.get(name, name))
    grid[0, 0].legend(frameon=False)
    return figure


def _plot_ratios(axes, measures):
    names = [name for name in RATIOS if name in measures]
    bars = {
        model: [measures[k]["ratio"][f"{model} / backbone"] for k in names]
        for model in COLORS
    }
    table = pd.DataFrame(bars, index=[RATIOS[name] for name in names])
    _plot_bars(axes, table, COLORS, "×{:.2f}", bottom=1)
    axes.set_ylabel("ratio (backbone = 1)")


def _plot_modules(axes, measures):
    prefix = "modules_inference_"
    counts = [k.removeprefix(prefix) for k in measures if k.startswith(prefix)]
    medians = [measures[prefix + n]["median"] for n in counts]
    bars = {model: [m[model] for m in medians] for model in COLORS}
    table = pd.DataFrame(bars, index=[f"{n} classes" for n in counts])
    _plot_bars(axes, table, COLORS, "{:,.0f}")
    axes.set_yscale("log")
    axes.set_ylim(top=axes.get_ylim()[1] * 1.5)
    axes.set_ylabel("ms per batch, log scale")


def _plot_bars(axes, table, color, form, bottom=0, size=8):
    """Groups of bars, which start on a line that no number lies on."""
    drawn = table - bottom
    drawn.plot.bar(ax=axes, width=0.8, color=color, rot=0, bottom=bottom)
    for bars, name in zip(axes.containers, table, strict=True):
        axes.bar_label(bars, map(form.format, table[name]), fontsize=size)
    if bottom:
        axes.axhline(bottom, color="black", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    axes.legend(frameon=False)
