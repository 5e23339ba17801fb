"""What the maps of several models say together: numbers, tables, figures."""

import numpy as np
import pandas as pd
from scipy import stats

from keras_warn.explanation import overlays
from keras_warn.reporting import figures
from measuring import plots
from measuring import saliency
from measuring import tables

# What each measure is called, and how it is written.
MEASURES = {
    "pointing": ("pointing (%)", 100, 1),
    "energy": ("energy in the box (%)", 100, 1),
    "insertion": ("insertion ↑", 1, 3),
    "deletion": ("deletion ↓", 1, 3),
    "insertion, margin": ("insertion, margin ↑", 1, 2),
    "deletion, margin": ("deletion, margin ↓", 1, 2),
}
OURS = ("masks", "evidence")
SHOWN = ("masks", "evidence", "Grad-CAM, backbone", "Grad-CAM, output")


def summary(of_seeds):
    """Means over images and seeds, and differences image by image, for JSON."""

    def each(kind, function):
        """Of arrays `(seeds, ...)` of one kind, of each map."""
        found = [of[kind] for of in of_seeds]
        return {
            name: {
                key: function(np.array([of[name][key] for of in found]))
                for key in of_map
            }
            for name, of_map in found[0].items()
        }

    values = each("measures", np.asarray)
    return {
        "accuracy": {
            name: tables.summary([of["accuracy"][name] for of in of_seeds])
            for name in ("backbone", "output")
        },
        "changed": tables.summary([of["changed"] for of in of_seeds]),
        "random_baseline": of_seeds[0]["random_baseline"],
        "measures": each(
            "measures", lambda found: tables.summary(found.mean(axis=1))
        ),
        "differences": {
            ours: {
                name: {m: difference(values[ours][m], of[m]) for m in MEASURES}
                for name, of in values.items()
                if name != ours
            }
            for ours in OURS
        },
        "curves": each(
            "curves", lambda found: found.mean(axis=0).round(4).tolist()
        ),
    }


def difference(ours, other):
    """How much larger a measure is, of arrays `(seeds, b)`.

    With the half width of its 95 % confidence interval over images, each of
    which counts by its mean over models.
    """
    differences = np.asarray(ours) - np.asarray(other)
    of_images = differences.mean(axis=0)
    half_width = stats.norm.ppf(0.975) * stats.sem(of_images)
    return {
        "mean": float(of_images.mean()),
        "half_width_95": float(half_width),
        "values": differences.mean(axis=1).tolist(),
    }


def markdown(result):
    """Tables of the whole result."""
    settings, machine = result["settings"], result["environment"]
    parts = [
        "# Faithfulness of masks and evidence",
        f"`{machine['command']}`",
        f"{settings['images']} test images of each; mean ± standard deviation "
        f"over models. {machine['cpu']}, {machine['cores']} cores, "
        f"TensorFlow {machine['tensorflow']}, Keras {machine['keras']}, "
        f"{machine['date']}.",
    ]
    for data, found in result["summary"].items():
        backbone, output, changed = (
            _cell(x, 100, 1)
            for x in (*found["accuracy"].values(), found["changed"])
        )
        parts += [
            f"## {data.capitalize()}",
            f"Accuracy on these images: backbone {backbone} %, output {output} "
            f"%; prediction changed in {changed} %. The box is "
            f"{100 * found['random_baseline']:.1f} % of the image.",
            _table("map", found["measures"], _cell),
            *(
                _table(f"{ours} less", others, _difference_cell)
                for ours, others in found["differences"].items()
            ),
        ]
    return "\n\n".join(parts) + "\n"


def _table(corner, rows, form):
    table = {
        title: {name: form(of_map[m], *how) for name, of_map in rows.items()}
        for m, (title, *how) in MEASURES.items()
    }
    return tables.markdown(pd.DataFrame(table), corner)


def _cell(found, scale, digits):
    values = scale * np.array(found["values"])
    return tables.mean_and_std(values, f".{digits}f", f".{digits}f")


def _difference_cell(found, scale, digits):
    """Mean, half width, and in how many seeds it has the same sign."""
    same = sum(v * found["mean"] > 0 for v in found["values"])
    return (
        f"{scale * found['mean']:+.{digits}f} ± "
        f"{scale * found['half_width_95']:.{digits}f} "
        f"({same}/{len(found['values'])})"
    )


def to_csv(found):
    """One row for each data set, model and map."""
    rows = [
        {"data": data, "seed": seed, "map": name}
        | {measure: np.mean(of_map[measure]) for measure in MEASURES}
        for data, of_seeds in found.items()
        for seed, of_seed in enumerate(of_seeds)
        for name, of_map in of_seed["measures"].items()
    ]
    how = {"float_format": "%.5f", "lineterminator": "\n"}
    return pd.DataFrame(rows).to_csv(index=False, **how)


def curves_figure(summaries):
    """Insertion and deletion of all maps: a row for each data set."""
    figure = figures.new_figure(6.6, 2.4 * len(summaries))
    grid = figure.subplots(len(summaries), 2, squeeze=False, sharex=True)
    kinds = {"insertion": "inserted", "deletion": "deleted"}
    lines = {"color": figures.COLORS, "style": ["-"] * 6 + ["--"] * 6}
    for row, (data, found) in zip(grid, summaries.items(), strict=True):
        for axes, (curve, verb) in zip(row, kinds.items(), strict=True):
            curves = {name: of[curve] for name, of in found["curves"].items()}
            table = pd.DataFrame(curves, 100 * saliency.FRACTIONS)
            table.plot(ax=axes, legend=False, linewidth=1, **lines)
            for line in axes.lines[: len(OURS)]:
                line.set_linewidth(1.8)
            x_label, title = f"pixels {verb} (%)", f"{data}: {curve}"
            plots.label(axes, x_label, "probability", title)
            axes.label_outer()
            axes.set_ylim(0, 1)
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside right upper",
        fontsize=figures.FONT,
        frameon=False,
    )
    return figure


def examples_figure(rows):
    """Images with their boxes, and maps of them: `faithfulness.examples`."""
    side, size = figures.CELL, {"size": figures.FONT}
    width = side * (1 + len(SHOWN)) + 0.2
    figure = figures.new_figure(width, (side + 0.02) * len(rows) + 0.2)
    grid = figure.subplots(len(rows), 1 + len(SHOWN), squeeze=False)
    for cells, row in zip(grid, rows, strict=True):
        image = overlays.displayable(row["image"][None])
        maps = {name: row["maps"][name][None] for name in SHOWN}
        drawn = {"image": image}
        drawn |= {k: overlays.mask_overlay(image, x) for k, x in maps.items()}
        drawn["evidence"] = overlays.attribution_overlay(
            image, maps["evidence"]
        )
        # From border to border of the pixels.
        top, left, bottom, right = row["box"] - 0.5
        x, y = [left, right, right, left, left], [top, top, bottom, bottom, top]
        for axes, shown in zip(cells, drawn.values(), strict=True):
            axes.imshow(shown[0], interpolation="nearest")
            axes.plot(x, y, color=figures.COLORS[2], linewidth=0.8)
            axes.set(xticks=[], yticks=[])
        cells[0].set_ylabel(row["label"], **size)
        cells[0].set_xlabel(f"output: {row['output']}", labelpad=2, **size)
        cells[2].set_xlabel(f"not {row['against']}", labelpad=2, **size)
    for axes, head in zip(grid[0], drawn, strict=True):
        axes.set_title(head, pad=3, **size)
    return figure
