"""The cost of attention, as Markdown and as figures."""

import pandas as pd

from keras_warn.reporting import figures
from measuring import tables
from measuring.environment import described

COLUMNS = ("backbone", "ours", "ours / backbone", "direct", "direct / ours")
MODELS = ["ours", "direct"]
RATIOS = {
    "parameters": "parameters",
    "operations": "operations",
    "inference": "inference\ntime",
    "training": "training\nstep time",
    "memory": "training\nmemory",
}
MEASURED = ("inference", "training", "memory")
# What stands on the axes of the settings that grow.
AXES = {"width": "heads", "image_size": "pixels of an edge", "depth": "modules"}
GROWN = {"ms": "ms of the processor, an image", "MiB": "MiB of a training step"}


def markdown(result):
    """The whole result: medians, in brackets quartiles."""
    machine = result["environment"]
    parts = [
        f"# {_network(result['settings'])}",
        f"`KERAS_BACKEND={machine['backend']} {machine['command']}`",
        f"{described(machine)} Operations: {result['counter']}.",
    ]
    for size, measures in result["kernel_sizes"].items():
        parts += [f"## Kernels of {size}x{size}", table(measures)]
    return "\n\n".join(parts) + "\n"


def _network(settings):
    return (
        f"{settings['backbone']} at {settings['image_size']} px, "
        f"{settings['classes']} classes, {settings['depth']} modules of "
        f"{settings['width']} heads"
    )


def table(measures):
    """The measures of one kernel size."""
    rows = {
        f"{values['title']} ({values['unit']})": {
            column: tables.median(values, column, _number) for column in COLUMNS
        }
        for name, found in measures.items()
        if name != "difference"
        for values in (found, found.get("wall"))
        if values
    }
    return tables.markdown(pd.DataFrame(rows).T, "measure")


def _number(value):
    """Four digits, and no exponent."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"


def plot(result):
    """Ratios to the backbone, and times of the modules, for each kernel."""
    sizes = result["kernel_sizes"]
    figure = figures.new_figure(11, 3.6 * len(sizes))
    grid = figure.subplots(len(sizes), 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), size in zip(grid, sizes, strict=True):
        measures = sizes[size]
        ratios = {
            says: measures[name]["ratio"]
            for name, says in RATIOS.items()
            if name in measures
        }
        ratios = pd.DataFrame(ratios).T[[f"{x} / backbone" for x in MODELS]]
        _plot_bars(left, ratios.set_axis(MODELS, axis=1), "×{:.2f}", bottom=1)
        left.set_title(f"{size}×{size} kernels: relative to the backbone")
        modules = {
            f"{name.rpartition('_')[2]} classes": found["median"]
            for name, found in measures.items()
            if name.startswith("modules_inference_")
        }
        _plot_bars(right, pd.DataFrame(modules).T[MODELS], "{:,.0f}")
        right.set_title(f"{size}×{size} kernels: modules alone, inference")
        right.set_yscale("log")
        right.set_ylim(top=right.get_ylim()[1] * 1.5)
        right.set_ylabel("ms per batch, log scale")
    settings = result["settings"]
    figure.suptitle(
        f"{_network(settings)}, batch {settings['batch_size']} "
        f"({result['environment']['backend']})"
    )
    return figure


def _panels(rows):
    """Measures and image sizes, and the rows that have them."""
    for measure in MEASURED:
        if measure in rows:
            found = rows.dropna(subset=measure)
            for pixels, of_size in found.groupby("pixels"):
                yield measure, pixels, of_size


def matrix_table(rows):
    """Ratios to the backbone, as Markdown: medians, in brackets quartiles."""
    keys = ["network", "width", "kernel"]
    # Counts are of the image size in the middle.
    counts = rows.groupby(keys, sort=False)[["parameters", "operations"]]
    table = counts.median()
    for column, form in (("parameters", "{:.2f}"), ("operations", "{:.3f}")):
        table[column] = table[column].map(form.format)
    for measure, pixels, found in _panels(rows):
        quartiles = [f"{measure}, {x} quartile" for x in ("lower", "upper")]
        found = found.set_index(keys)[[measure, *quartiles]]
        table[f"{measure}, {pixels} px"] = found.apply(
            lambda ratios: "{:.2f} ({:.2f}–{:.2f})".format(*ratios), axis=1
        )
    table = table.reset_index(keys[1:]).rename(columns={"width": "heads"})
    return tables.markdown(table, "network")


def matrix_figure(rows):
    """Ratios to the backbone, of networks by image size, width and kernel."""
    panels = [*_panels(rows)]
    columns = min(len(panels), 3)
    down = -(-len(panels) // columns)
    figure = figures.new_figure(5.6 * columns, 2.6 * down)
    for i, (measure, pixels, found) in enumerate(panels, start=1):
        labels = found["width"].map("{} heads, ".format) + found["kernel"]
        table = found.assign(label=labels).pivot(
            index="network", columns="label", values=measure
        )
        table = table.loc[found["network"].unique(), labels.unique()]
        axes = figure.add_subplot(down, columns, i)
        _plot_bars(axes, table, "{:.2f}", bottom=1, size=6)
        entries = axes.get_legend_handles_labels()
        axes.get_legend().remove()
        axes.set_xlabel("")
        axes.set_title(f"{RATIOS[measure].replace(chr(10), ' ')}, {pixels} px")
    where = {"loc": "outside upper center", "ncols": 4, "frameon": False}
    figure.legend(*entries, **where)
    return figure


def growth_figure(rows):
    """Time and memory of modules alone, by each setting."""
    shown = [measure for measure in GROWN if rows[measure].notna().all()]
    settings = rows.groupby("setting", sort=False)
    figure = figures.new_figure(2.8 * len(settings), 2.6 * len(shown))
    grid = figure.subplots(
        len(shown), len(settings), sharex="col", sharey="row", squeeze=False
    )
    for column, (name, found) in zip(grid.T, settings, strict=True):
        values, read = found["value"], found["map entries"]
        # More and larger maps are more to read.
        grown = read if read.nunique() > 1 else values
        for axes, measure in zip(column, shown, strict=True):
            ours = found[measure]
            linear = ours.iloc[0] * grown / grown.iloc[0]
            axes.loglog(values, linear, "k--", linewidth=0.8, label="linear")
            axes.loglog(values, ours, color=figures.COLORS[0], marker="o")
            axes.set_xticks(values, map(str, values))
            axes.minorticks_off()
            axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel(AXES.get(name, name))
    for axes, measure in zip(grid[:, 0], shown, strict=True):
        axes.set_ylabel(GROWN[measure])
    grid[0, 0].legend(frameon=False)
    return figure


def _plot_bars(axes, table, form, bottom=0, size=8):
    """Groups of bars, which start on a line that no number lies on."""
    how = {"width": 0.8, "color": figures.COLORS, "rot": 0, "bottom": bottom}
    (table - bottom).plot.bar(ax=axes, **how)
    for bars, name in zip(axes.containers, table, strict=True):
        axes.bar_label(bars, map(form.format, table[name]), fontsize=size)
    if bottom:
        axes.axhline(bottom, color="black", linewidth=0.8)
        axes.set_ylabel("ratio (backbone = 1)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    axes.legend(frameon=False)
