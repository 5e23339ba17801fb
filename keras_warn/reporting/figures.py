"""Figures: what attention did, and curves of several seeds.

matplotlib is imported when a figure is made. Figures are made without pyplot,
so no window is needed or left open: save them with `figure.savefig(path)`.
"""

from typing import TYPE_CHECKING

import numpy as np

from keras_warn.explanation import overlays
from keras_warn.explanation.intermediates import outputs_of
from keras_warn.layers import feature_maps
from keras_warn.reporting.lettering import Lettering

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision; line styles and
# markers tell curves apart in print without colours.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vP"

# In inches and points, for the text width of a page.
CELL = 1.2
BARS = 2.0
FONT = 7
# From line to line, in inches, and how much of its column a text may fill.
LINE = (FONT + 1.5) / 72
FILLED = 0.9


def explanation_figure(
    images, explanation, titles=None, names=None
) -> "Figure":
    """A table of images, one a row: where attention looked and what it did.

    From left to right:

    - the image, and below it the classes and probabilities that the backbone
      by itself, the modules by themselves and the model predict;
    - the evidence: places that speak for the predicted class are orange,
      those that speak for the class it is compared with blue;
    - the masks of each module, lit where it looks, with its gate and the
      class it predicts by itself;
    - what the backbone and each module contribute to the score of the one
      class less the other, and their sum.

    Args:
        images: What `explanation` was made of: array `(b, height, width, c)`,
            or channels first, with 1 or 3 channels, as the model takes them.
            `displayable` of `keras_warn.explanation.overlays` says how they
            are shown.
        explanation: What `keras_warn.explain(model, images)` returns.
        titles: Strings, one an image, that stand beside its row, such as its
            true class.
        names: Names of the classes, of all of them. Defaults to their
            numbers.

    Returns:
        A `matplotlib.figure.Figure`. Saved as `.pdf` or `.svg`, all but the
        images is vector graphics. Long names are wrapped. Letters that the
        font of `matplotlib.rcParams` has not are taken from other installed
        fonts; a warning names those that none of them has.

    Example:

    >>> from keras_warn.reporting.figures import explanation_figure
    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=2, width=3)
    >>> images = keras.random.uniform((2, 96, 96, 3))
    >>> figure = explanation_figure(images, keras_warn.explain(model, images))
    >>> len(figure.axes)  # of 2: image, evidence, 2 modules, contributions
    10

    Reference:
        [Rodríguez et al., 2018](https://arxiv.org/abs/1807.07320), Figure 6
    """
    displayed = overlays.displayable(images, explanation.data_format)
    count, modules = explanation.modules.shape[:2]
    classes = explanation.scores.shape[1]
    if displayed.shape[:3] != (count, *explanation.size):
        raise ValueError(
            "`images` must be those that `explanation` was made of, "
            f"{count} of {explanation.size}. Received: images of shape "
            f"{tuple(images.shape)}."
        )
    names = list(map(_text, range(classes) if names is None else names))
    titles = [] if titles is None else list(map(_text, titles))
    # Of tokens that form no grid, there is no image.
    drawn = [None] * (1 + modules)
    if explanation.attribution is not None:
        columns_of_masks = explanation.masks.swapaxes(0, 1)
        drawn = [
            overlays.attribution_overlay(displayed, explanation.attribution),
            *(
                overlays.mask_overlay(displayed, masks)
                for masks in columns_of_masks
            ),
        ]
    texts = [
        _what_was_said(explanation, names),
        [
            f"for {names[target]}\nagainst {names[other]}"
            for target, other in zip(
                explanation.targets, explanation.contrast, strict=True
            )
        ],
        *_what_modules_said(explanation, names),
    ]
    heads = ["image", "evidence"]
    of_modules = outputs_of(explanation.intermediates).modules
    for i, outputs in enumerate(of_modules, start=1):
        shape = feature_maps.spatial_shape(
            outputs.masks.shape, explanation.data_format
        )
        places = "×".join(map(str, shape))
        heads.append(f"module {i} ({places})")

    height, width = explanation.size
    tall = CELL * max(1, min(height / width, 2))
    # Below the first two are the longest lines.
    widths = [1.5 * CELL, 1.25 * CELL, *[CELL] * modules, BARS]
    figure = new_figure(1, 1)
    lettering = Lettering("".join([*names, *titles]), FONT)
    texts = [
        [lettering.wrapped(text, FILLED * column) for text in below]
        for below, column in zip(texts, widths[:-1], strict=True)
    ]
    titles = [lettering.wrapped(title, FILLED * tall) for title in titles]
    lines = max(_lines(text) for below in texts for text in below)
    widths[0] += LINE * max(map(_lines, titles), default=0)
    figure.set_size_inches(sum(widths), (tall + LINE * lines) * count + 0.25)
    cells = figure.subplots(
        count, len(widths), squeeze=False, width_ratios=widths
    )
    # Names are text, even with dollars, which would begin formulas.
    style = {"size": FONT, "family": lettering.families, "parse_math": False}
    for column, (overlay, below) in enumerate(
        zip([displayed, *drawn], texts, strict=True)
    ):
        for row in range(count):
            axes = cells[row, column]
            if overlay is None:
                axes.axis("off")
                continue
            _show(axes, overlay[row])
            axes.set_xlabel(below[row], labelpad=2, **style)
    for row, contributions in enumerate(explanation.contributions):
        _show_contributions(cells[row, -1], contributions)
    cells[-1, -1].set_xlabel(f"difference in {explanation.scale}", size=FONT)
    for cell, head in zip(cells[0], [*heads, "contributions"], strict=True):
        cell.set_title(head, size=FONT + 1, pad=3)
    for row, title in enumerate(titles):
        cells[row, 0].set_ylabel(title, **style)
    return figure


def curves_figure(x, curves, x_label, y_label, log2=False) -> "Figure":
    """Curves: mean and standard deviation over seeds.

    A line is the mean, its band one standard deviation on either side; every
    seed is a marker.

    Args:
        x: The points on the horizontal axis.
        curves: Dictionary from a name to an array `(seeds, len(x))`.
        x_label: What `x` is.
        y_label: What the curves are.
        log2: Whether the horizontal axis is logarithmic, for points that
            double.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> curves = {"baseline": [[0.9, 0.5], [0.8, 0.6]]}
    >>> figure = curves_figure([8, 32], curves, "distractors", "accuracy")
    >>> len(figure.axes)
    1
    """
    figure = new_figure(3.6, 2.8)
    axes = figure.subplots()
    for i, (name, values) in enumerate(curves.items()):
        values = np.asarray(values, "float64")
        style = {**_style(i), "markerfacecolor": "none"}
        mean = values.mean(axis=0)
        if len(values) > 1:
            std = values.std(axis=0, ddof=1)
            band = {"color": style["color"], "alpha": 0.2, "linewidth": 0}
            axes.fill_between(x, mean - std, mean + std, **band)
        # In the legend only: on the line, a marker would hide the seeds.
        axes.plot(x, mean, markevery=[], label=name, **style)
        style |= {"linestyle": "none", "markeredgewidth": 0.8}
        axes.plot(x, values.T, **style)
    if log2:
        axes.set_xscale("log", base=2)
        axes.minorticks_off()
    axes.set_xticks(x, [f"{value:g}" for value in x])
    _label(axes, x_label, y_label)
    axes.legend(fontsize=FONT + 1, frameon=False)
    return figure


def exits_figure(curves) -> "Figure":
    """Accuracy against operations, along thresholds of early exits.

    A marker is the whole model, from which nobody leaves early.

    Args:
        curves: Dictionary from a name to a pair of arrays `(t,)`: the mean
            operations of an image as shares of the whole model's, and
            accuracies, from the strictest threshold on.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> figure = exits_figure({"birds": ([1.0, 0.7, 0.5], [0.8, 0.8, 0.6])})
    >>> len(figure.axes)
    1
    """
    figure = new_figure(3.6, 2.6 + 0.18 * len(curves))
    axes = figure.subplots()
    for i, (name, curve) in enumerate(curves.items()):
        axes.plot(
            *(100 * np.asarray(values, "float64") for values in curve),
            markevery=[0],
            label=name,
            **_style(i),
        )
    _label(axes, "operations (%)", "accuracy (%)")
    # Curves may be anywhere.
    figure.legend(loc="outside upper left", fontsize=FONT + 1, frameon=False)
    return figure


def _style(i):
    """Of a curve. More than six share colours, but differ in line style."""
    return {
        "color": COLORS[i % len(COLORS)],
        "linestyle": ("-", "--", ":")[i // len(COLORS) % 3],
        "linewidth": 1.2,
        "marker": MARKERS[i % len(MARKERS)],
        "markersize": 3.5,
    }


def _label(axes, x_label, y_label):
    axes.set_xlabel(x_label, size=FONT + 2)
    axes.set_ylabel(y_label, size=FONT + 2)
    axes.tick_params(labelsize=FONT + 1)
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def new_figure(width, height) -> "Figure":
    """An empty figure, of a size in inches, for saving.

    Also a way to know before a long training that matplotlib is there.

    Args:
        width: In inches.
        height: In inches.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:

    >>> new_figure(3, 2).get_size_inches().tolist()
    [3.0, 2.0]
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Figures need the package matplotlib: `pip install matplotlib`."
        ) from error
    return Figure(figsize=(width, height), dpi=200, layout="constrained")


def _what_was_said(explanation, names):
    """Who predicts which class of an image, with what probability."""
    said = {
        "backbone": explanation.backbone_probabilities,
        "attention": explanation.attention_probabilities,
        "output": explanation.probabilities,
    }
    return [
        "\n".join(
            # The probability stays beside the last word.
            f"{who}: {names[of[i].argmax()]}\u00a0{of[i].max():.2f}"
            for who, of in said.items()
        )
        for i in range(len(explanation))
    ]


def _what_modules_said(explanation, names):
    """For each module and image, its gate and the class it predicts."""
    texts = []
    modules = outputs_of(explanation.intermediates).modules
    for i, outputs in enumerate(modules, start=1):
        classes = outputs.prediction.argmax(axis=1)
        said = [f"says {names[j]}" for j in classes]
        if explanation.gates is not None:
            gates = [f"gate {gate:.2f}\n" for gate in explanation.gates[:, i]]
            said = map("".join, zip(gates, said, strict=True))
        texts.append([*said])
    return texts


def _show(axes, image):
    """Draws an image `(height, width, 3)`."""
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_linewidth(0.4)


def _show_contributions(axes, contributions):
    """Draws bars of what the backbone and each module contribute, and all."""
    modules = [f"module {i}" for i in range(1, len(contributions))]
    labels = ["backbone", *modules, "sum"]
    values = [*contributions, contributions.sum()]
    places = range(len(values))
    # The sum, apart from its parts, is outlined.
    bars = axes.barh(
        places,
        values,
        height=0.7,
        color=[
            overlays.FOR if value > 0 else overlays.AGAINST for value in values
        ],
    )
    bars[-1].set_edgecolor("black")
    bars[-1].set_linewidth(0.8)
    axes.bar_label(
        bars, [f"{value:+.2f}" for value in values], size=FONT - 1, padding=2
    )
    axes.margins(x=0.35)
    axes.axvline(0, color="black", linewidth=0.5)
    axes.set_yticks(places, labels, size=FONT)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=FONT - 1)
    # Apart from the axis, a factor is easily missed.
    axes.ticklabel_format(axis="x", useOffset=False, scilimits=(-3, 4))
    axes.xaxis.offsetText.set_size(FONT - 1)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _text(name):
    """A name that can be drawn: file names may be no Unicode."""
    return str(name).encode("utf-8", "replace").decode()


def _lines(text):
    return text.count("\n") + 1
