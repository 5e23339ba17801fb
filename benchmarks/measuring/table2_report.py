"""Table 2 and Figure 5, the paper's numbers beside those measured here."""

import pandas as pd

from keras_warn.reporting import figures
from measuring import plots
from measuring import table2_networks as networks
from measuring import tables as cells
from measuring.environment import described

COLUMNS = (
    "million parameters",
    "billion products",
    "seconds",
    f"time / {networks.BASE}",
)


def markdown(result):
    """The whole result, as a page."""
    title = "# Table 2 of the paper, and the same networks here"
    return f"{title}\n\n{tables(result)}\n"


def tables(result):
    """Table 2, what attention adds, and how both were measured."""
    settings, machine = result["settings"], result["environment"]
    here = pd.DataFrame.from_dict(
        {name: _row(name, result) for name in result["networks"]},
        "index",
        columns=[x for column in COLUMNS for x in (f"{column}: paper", "here")],
    )
    pairs = pd.DataFrame(
        {
            f"{attended} / {pair['names'][0]}": {
                "rounds": str(len(pair["time"]["samples"]["ours"])),
                "parameters": f"{pair['parameters']:.4f}",
                "products": f"{pair['products']:.4f}",
                "time": _ratio(pair["time"]),
            }
            for attended, pair in result["pairs"].items()
        }
    )
    smoke = "**A smoke test, of tiny networks under these names.**\n\n"
    return (
        f"{smoke * settings['smoke']}"
        f"`KERAS_BACKEND={machine['backend']} {machine['command']}`\n\n"
        f"Here: {described(machine)} {scaling(settings)}\n"
        f"Paper: {networks.HARDWARE}, batches of {networks.BATCH_SIZE}.\n"
        "Products are multiplications, each with its addition, for one image "
        'of 32x32; the paper calls them "Flop". Seconds and ratios are '
        "medians, in brackets quartiles; a ratio is taken within each round."
        f"\n\n{cells.markdown(here, 'network')}\n\n{doubt()}\n\n"
        "What attention adds, measured in turns by themselves:"
        f"\n\n{cells.markdown(pairs.T)}"
    )


def scaling(settings):
    """What was forwarded, and how seconds were made from that."""
    rounds = settings["rounds"]
    forwarded = rounds * settings["batch_size"]
    return (
        f"Each network forwarded {forwarded:,} images, {rounds} batches of "
        f"{settings['batch_size']} of noise; seconds are for "
        f"{networks.IMAGES:,} images, as in the paper: those of the median "
        "batch times "
        f"{networks.IMAGES / settings['batch_size']:g}."
    )


def doubt():
    """Why the paper's seconds are not to be compared with."""
    rates = [
        2 * paper.products * networks.IMAGES / paper.seconds / 1e3
        for paper in networks.PUBLISHED.values()
    ]
    return (
        f"The paper's seconds cannot be those of {networks.IMAGES:,} images on "
        f"its GPU: they would take {min(rates):.0f} to {max(rates):.0f} "
        "trillion operations a second, by the paper's own counts. The GPU's "
        f"peak is {networks.OPERATIONS_PER_SECOND / 1e12:g}."
    )


def _row(name, result):
    found = result["networks"][name]
    paper = networks.PUBLISHED.get(name)
    per_batch = networks.IMAGES / result["settings"]["batch_size"] / 1e3

    def seconds(milliseconds):
        found = milliseconds * per_batch
        return f"{found:,.0f}" if found >= 100 else f"{found:.3g}"

    theirs = [None] * len(COLUMNS)
    if paper is not None:
        ratio = paper.seconds / networks.PUBLISHED[networks.BASE].seconds
        theirs = [*map(str, paper[:3]), f"{ratio:.2f}"]
    ours = [
        f"{found['parameters'] / 1e6:.2f}",
        f"{found['products'] / 1e9:.3f}",
        cells.median(found["time"], "ours", seconds),
        _ratio(found["time"]),
    ]
    return [x for pair in zip(theirs, ours, strict=True) for x in pair]


def _ratio(time):
    return cells.median(time, "ours / backbone", "{:.3f}".format)


def plot(result):
    """Figure 5: errors, which are the paper's, against products."""
    figure = figures.new_figure(11, 3.8)
    x_label = "billion products an image, counted here"
    y_label = "error (%), as the paper reports it"
    for i, data in enumerate(("CIFAR-10", "CIFAR-100")):
        axes = figure.add_subplot(1, 2, i + 1)
        plots.label(axes, x_label, y_label, data)
        axes.margins(0.12)
        for j, (name, paper) in enumerate(networks.PUBLISHED.items()):
            axes.plot(
                result["networks"][name]["products"] / 1e9,
                paper.errors[i],
                figures.MARKERS[j],
                color=figures.COLORS[j],
                label=name,
            )
    entries = axes.get_legend_handles_labels()
    figure.legend(*entries, loc="outside right center", frameon=False)
    figure.suptitle(
        "Figure 5 of the paper: its errors; none of these was trained here"
        + " (a smoke test: products of tiny networks)"
        * result["settings"]["smoke"]
    )
    return figure
