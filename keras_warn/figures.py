"""Figures: where a model looked, and curves with their spread over seeds.

matplotlib is imported when a figure is made. Figures are made without pyplot,
so no window is needed or left open: save them with `figure.savefig(path)`.
"""

import numpy as np
from keras import ops

from keras_warn import checks
from keras_warn.masks import module_masks

# Okabe and Ito's colours, told apart with any colour vision; line styles and
# markers tell curves apart in print without colours.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vP"

# In inches and points, for the text width of a page.
CELL = 1.1
FONT = 7

# What is left of the image's brightness outside of a mask, and the light that
# the strongest point of a mask adds: orange, so that white stays brighter.
DIMMED = 0.55
LIGHT = (0.75, 0.36, 0.0)

# How far images may leave [0, 1] by rounding.
ROUNDING = 1e-3


def masks_figure(images, seen, titles=None, names=None, data_format=None):
    """A table of images, one a row, with where the model looked.

    The first column is the image; the second, the masks of all modules
    combined; then come the masks of each module. The darkest point of a mask
    is its minimum, the brightest its maximum, however large its weight. What
    the masks weigh is written below: the gate of a module and the class that
    it predicts by itself. Below the image are the class that the network
    predicts by itself, and the one that came out.

    Args:
        images: Array of shape `(b, height, width, c)`, or channels first,
            with 1 or 3 channels: bytes, or numbers in [0, 1].
        seen: The outputs of `keras_warn.inspect(model)` for these images.
        titles: Strings, one an image, that stand beside its row, such as its
            true class.
        names: Names of the classes, of all of them. Defaults to their
            numbers.
        data_format: `"channels_last"` or `"channels_first"`, of the images
            and the masks. Defaults to `keras.config.image_data_format()`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if images, outputs and titles are not equally many, or
            names and classes are not; or if the images have another shape, or
            are not bytes and leave [0, 1].

    Example:

    >>> backbone = keras.applications.MobileNetV2(
    ...     (96, 96, 3), alpha=0.35, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=2, width=3)
    >>> images = keras.random.uniform((2, 96, 96, 3))
    >>> figure = masks_figure(images, keras_warn.inspect(model)(images))
    >>> len(figure.axes)  # of 2 images: itself, all modules, each of 2
    8

    Reference:
        [Rodríguez et al., 2018](https://arxiv.org/abs/1807.07320), Figure 6
    """
    data_format = checks.data_format(data_format)
    images = _gray(images, data_format)
    masks = module_masks(seen, images.shape[1:], data_format)
    count, modules = masks.shape[:2]
    if len(images) != count:
        raise ValueError(
            "`images` must be those that `seen` was computed from. Received: "
            f"{len(images)} images and the outputs for {count}."
        )
    if titles is not None and len(titles) != count:
        raise ValueError(
            "`titles` must be as many as `images`. Received: "
            f"{len(titles)} titles for {count} images."
        )
    classes = seen["prediction"].shape[-1]
    if names is not None and len(names) != classes:
        raise ValueError(
            "`names` must be as many as the classes. Received: "
            f"{len(names)} names for {classes} classes."
        )

    def said(key):
        """Names of the classes that an output predicts."""
        classes = ops.convert_to_numpy(seen[key]).argmax(axis=-1)
        return [str(i) if names is None else str(names[i]) for i in classes]

    network, rectified = said("network_prediction"), said("prediction")
    predicted = [said(f"module_{i}_prediction") for i in range(1, modules + 1)]
    gates = seen.get("global_gates")
    if gates is not None:
        gates = ops.convert_to_numpy(gates)

    columns = 2 + modules
    figure = new_figure(CELL * columns, (CELL + 0.17) * count + 0.2)
    cells = figure.subplots(count, columns, squeeze=False)
    for row, image in enumerate(images):
        _show(cells[row, 0], image)
        texts = [f"network: {network[row]}\noutput: {rectified[row]}", ""]
        if titles is not None:
            cells[row, 0].set_ylabel(titles[row], size=FONT + 1)
        _show(cells[row, 1], image, masks[row].sum(axis=0))
        for i in range(modules):
            _show(cells[row, 2 + i], image, masks[row, i])
            texts.append(f"says: {predicted[i][row]}")
            if gates is not None:
                texts[-1] = f"gate: {gates[row, 1 + i]:.2f}\n{texts[-1]}"
        if gates is not None:
            texts[1] = f"gates: {1 - gates[row, 0]:.2f}"
        for cell, text in zip(cells[row], texts, strict=True):
            cell.set_xlabel(text, size=FONT, labelpad=2)
    heads = ["image", "all modules"]
    for i in range(1, modules + 1):
        shape = seen[f"module_{i}_masks"].shape
        h, w = shape[1:3] if data_format == "channels_last" else shape[2:]
        heads.append(f"module {i} ({h}×{w})")
    for cell, head in zip(cells[0], heads, strict=True):
        cell.set_title(head, size=FONT + 1, pad=3)
    return figure


def curves_figure(x, curves, x_label, y_label, log2=False):
    """Curves with their spread over seeds.

    A line is the mean over seeds, its band one standard deviation on either
    side; every seed is a marker.

    Args:
        x: The points on the horizontal axis.
        curves: Dictionary from a name to an array `(seeds, len(x))`.
        x_label: What `x` is.
        y_label: What the curves are.
        log2: Whether the horizontal axis is logarithmic, for points that
            double.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if a curve has another shape.

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
        if values.ndim != 2 or values.shape[1] != len(x) or not len(values):
            raise ValueError(
                f"`curves[{name!r}]` must have shape (seeds, {len(x)}). "
                f"Received: shape {values.shape}."
            )
        # More than six curves share colours, but then differ in line style.
        color = COLORS[i % len(COLORS)]
        mean = values.mean(axis=0)
        if len(values) > 1:
            std = values.std(axis=0, ddof=1)
            axes.fill_between(
                x, mean - std, mean + std, color=color, alpha=0.2, linewidth=0
            )
        axes.plot(
            x,
            mean,
            color=color,
            linestyle=("-", "--", ":")[i // len(COLORS) % 3],
            linewidth=1.2,
            # In the legend only: on the line, it would hide the seeds.
            marker=MARKERS[i % len(MARKERS)],
            markevery=[],
            markersize=3.5,
            markerfacecolor="none",
            label=name,
        )
        for seed in values:
            axes.plot(
                x,
                seed,
                color=color,
                linestyle="none",
                marker=MARKERS[i % len(MARKERS)],
                markersize=3.5,
                markerfacecolor="none",
                markeredgewidth=0.8,
            )
    if log2:
        axes.set_xscale("log", base=2)
        axes.minorticks_off()
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.set_xlabel(x_label, size=FONT + 2)
    axes.set_ylabel(y_label, size=FONT + 2)
    axes.tick_params(labelsize=FONT + 1)
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=FONT + 1, frameon=False)
    return figure


def new_figure(width, height):
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


def _gray(images, data_format):
    """Brightness `(b, height, width)` of images, in [0, 1].

    Without their colours, the masks have one that stands out.
    """
    images = ops.convert_to_numpy(images)
    if images.ndim == 4 and data_format == "channels_first":
        images = images.transpose(0, 2, 3, 1)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "`images` must have shape (b, height, width, c), or (b, c, height, "
            "width) channels first, with 1 or 3 channels. Received: images of "
            f"shape {images.shape}, {data_format}."
        )
    if images.dtype == np.uint8:
        brightest = 255
    else:
        brightest = 1
        # Comparisons with NaN are false.
        if not np.all((-ROUNDING <= images) & (images <= 1 + ROUNDING)):
            raise ValueError(
                "`images` must be bytes (uint8), or lie in [0, 1]. Received: "
                f"images of dtype {images.dtype} in "
                f"[{float(images.min()):g}, {float(images.max()):g}]."
            )
    # Luma of Rec. 601 if there are colours.
    weights = (0.299, 0.587, 0.114) if images.shape[-1] == 3 else (1,)
    return np.clip(images @ np.array(weights) / brightest, 0, 1)


def _show(cell, image, mask=None):
    """Draws an image `(height, width)`, lit where the mask is strong."""
    pixels = np.repeat(image[..., None], 3, axis=-1)
    if mask is not None:
        low, high = mask.min(), mask.max()
        # A mask that is the same everywhere points nowhere.
        strength = (mask - low) / (high - low) if high > low else mask * 0
        lit = DIMMED + (1 - DIMMED) * strength
        pixels = pixels * lit[..., None] + strength[..., None] * LIGHT
        pixels = np.minimum(pixels, 1)
    cell.imshow(pixels, interpolation="nearest")
    cell.set_xticks([])
    cell.set_yticks([])
    for spine in cell.spines.values():
        spine.set_linewidth(0.4)
