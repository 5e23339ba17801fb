"""The cost of attention, as Markdown and as a figure."""

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
        for name, values in measures.items()
        if name != "difference"
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


def matrix_figure(rows, settings):
    """Inference over the backbone's, of networks by width and kernel."""
    rows = rows.assign(
        label=rows["width"].map("{} heads, ".format) + rows["kernel"]
    )
    table = rows.pivot(index="network", columns="label", values="inference")
    table = table.loc[rows["network"].unique(), rows["label"].unique()]
    figure = figures.new_figure(8, 3.2)
    axes = figure.subplots()
    table.plot.bar(ax=axes, width=0.8, color=figures.COLORS, rot=0)
    for drawn in axes.containers:
        axes.bar_label(drawn, fmt="{:.2f}", fontsize=6)
    axes.axhline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set_ylabel("inference time (backbone = 1)")
    axes.set_xlabel("")
    axes.spines[["top", "right"]].set_visible(False)
    axes.get_legend().remove()
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return figure


def growth_figure(rows, settings):
    """Times of modules alone, relative to the smallest of each setting."""
    figure = figures.new_figure(5, 3.8)
    axes = figure.subplots()
    most = 1
    for i, (name, found) in enumerate(rows.groupby("setting", sort=False)):
        # Maps have as many positions as images have pixels.
        pixels = name == "image_size"
        values = found["value"] ** (2 if pixels else 1)
        values = values / values.iloc[0]
        first, *_, last = map("{}²".format if pixels else str, found["value"])
        most = max(most, values.max())
        axes.loglog(
            values,
            found["ms"] / found["ms"].iloc[0],
            color=figures.COLORS[i],
            marker=figures.MARKERS[i],
            label=f"{'pixels' if pixels else name} from {first} to {last}",
        )
    axes.loglog([1, most], [1, most], "k--", linewidth=0.8, label="linear")
    axes.set_xlabel("times the smallest value")
    axes.set_ylabel("times its time, modules alone")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def _plot_ratios(axes, measures):
    names = [name for name in RATIOS if name in measures]
    bars = {
        model: [measures[k]["ratio"][f"{model} / backbone"] for k in names]
        for model in COLORS
    }
    _plot_bars(axes, [RATIOS[name] for name in names], bars, "×{:.2f}")
    axes.axhline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set_ylabel("ratio (backbone = 1)")


def _plot_modules(axes, measures):
    prefix = "modules_inference_"
    counts = [k.removeprefix(prefix) for k in measures if k.startswith(prefix)]
    medians = [measures[prefix + n]["median"] for n in counts]
    bars = {model: [m[model] for m in medians] for model in COLORS}
    _plot_bars(axes, [f"{n} classes" for n in counts], bars, "{:,.0f}")
    axes.set_yscale("log")
    axes.set_ylim(top=axes.get_ylim()[1] * 1.5)
    axes.set_ylabel("ms per batch, log scale")


def _plot_bars(axes, labels, bars, form):
    """Groups of bars, one color a model."""
    table = pd.DataFrame(bars, index=labels)
    table.plot.bar(ax=axes, width=0.8, color=COLORS, rot=0)
    for drawn in axes.containers:
        axes.bar_label(drawn, fmt=form, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    axes.legend(frameon=False)
