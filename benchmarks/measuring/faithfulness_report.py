"""What the maps of several models say together: numbers, tables, figures."""

import numpy as np
import pandas as pd
from scipy import stats

from keras_warn.explanation import overlays
from keras_warn.reporting import figures
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
    values, curves = (
        {
            name: {
                key: np.array([seed[kind][name][key] for seed in of_seeds])
                for key in of_map
            }
            for name, of_map in of_seeds[0][kind].items()
        }
        for kind in ("measures", "curves")
    )

    def differences(ours, other):
        pair = values[ours], values[other]
        return {m: difference(*(of[m] for of in pair)) for m in MEASURES}

    return {
        "accuracy": {
            name: tables.summary([s["accuracy"][name] for s in of_seeds])
            for name in ("backbone", "output")
        },
        "changed": tables.summary([s["changed"] for s in of_seeds]),
        "random_baseline": of_seeds[0]["random_baseline"],
        "measures": {
            name: {
                measure: tables.summary(found.mean(axis=1))
                for measure, found in of_map.items()
            }
            for name, of_map in values.items()
        },
        "differences": {
            ours: {x: differences(ours, x) for x in values if x != ours}
            for ours in OURS
        },
        "curves": {
            name: {
                curve: found.mean(axis=0).round(4).tolist()
                for curve, found in of_map.items()
            }
            for name, of_map in curves.items()
        },
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
    lines = [
        "# Faithfulness of masks and evidence",
        "",
        f"`{machine['command']}`",
        "",
        f"{settings['images']} test images of each; mean ± standard deviation "
        f"over models. {machine['cpu']}, {machine['cores']} cores, "
        f"TensorFlow {machine['tensorflow']}, Keras {machine['keras']}, "
        f"{machine['date']}.",
    ]
    for data, found in result["summary"].items():
        accuracy = found["accuracy"]
        lines += [
            "",
            f"## {data.capitalize()}",
            "",
            f"Accuracy on these images: backbone {_cell(accuracy['backbone'])} "
            f"%, output {_cell(accuracy['output'])} %; prediction changed in "
            f"{_cell(found['changed'])} %. The box is "
            f"{100 * found['random_baseline']:.1f} % of the image.",
            "",
            _table("map", found["measures"], _cell),
        ]
        for ours, others in found["differences"].items():
            lines += ["", _table(f"{ours} less", others, _difference_cell)]
    return "\n".join(lines) + "\n"


def to_csv(found):
    """One row for each data set, model and map."""
    rows = [
        [data, seed, name, *(np.mean(of_map[m]) for m in MEASURES)]
        for data, of_seeds in found.items()
        for seed, of_seed in enumerate(of_seeds)
        for name, of_map in of_seed["measures"].items()
    ]
    table = pd.DataFrame(rows, columns=["data", "seed", "map", *MEASURES])
    return table.to_csv(index=False, float_format="%.5f", lineterminator="\n")


def curves_figure(summaries):
    """Insertion and deletion of all maps: a row for each data set."""
    figure = figures.new_figure(6.6, 2.4 * len(summaries))
    axes = figure.subplots(len(summaries), 2, squeeze=False, sharex=True)
    for row, (data, found) in zip(axes, summaries.items(), strict=True):
        for cell, curve in zip(row, ("insertion", "deletion"), strict=True):
            for i, (name, of_map) in enumerate(found["curves"].items()):
                cell.plot(
                    100 * saliency.FRACTIONS,
                    of_map[curve],
                    color=figures.COLORS[i % len(figures.COLORS)],
                    linestyle=("-", "--")[i // len(figures.COLORS)],
                    linewidth=1.8 if name in OURS else 1,
                    label=name,
                )
            cell.set_title(f"{data}: {curve}", size=figures.FONT + 1)
            cell.tick_params(labelsize=figures.FONT)
            cell.grid(alpha=0.3, linewidth=0.5)
            cell.spines[["top", "right"]].set_visible(False)
            cell.set_ylim(0, 1)
        row[0].set_ylabel("probability", size=figures.FONT + 1)
    for cell, verb in zip(axes[-1], ("inserted", "deleted"), strict=True):
        cell.set_xlabel(f"pixels {verb} (%)", size=figures.FONT + 1)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside right upper",
        fontsize=figures.FONT,
        frameon=False,
    )
    return figure


def examples_figure(rows):
    """Images with their boxes, and maps of them: `faithfulness.examples`."""
    columns = 1 + len(SHOWN)
    side = figures.CELL
    figure = figures.new_figure(
        side * columns + 0.2, (side + 0.02) * len(rows) + 0.2
    )
    cells = figure.subplots(len(rows), columns, squeeze=False)
    for of_row, row in zip(cells, rows, strict=True):
        image = overlays.displayable(row["image"][None])
        drawn = [image]
        for name in SHOWN:
            draw = overlays.mask_overlay
            if name == "evidence":
                draw = overlays.attribution_overlay
            drawn.append(draw(image, row["maps"][name][None]))
        top, left, bottom, right = (int(n) for n in row["box"])
        for cell, shown in zip(of_row, drawn, strict=True):
            cell.imshow(shown[0], interpolation="nearest")
            # From border to border of the pixels.
            cell.plot(
                np.array([left, right, right, left, left]) - 0.5,
                np.array([top, top, bottom, bottom, top]) - 0.5,
                color=figures.COLORS[2],
                linewidth=0.8,
            )
            cell.set(xticks=[], yticks=[])
        of_row[0].set_ylabel(row["label"], size=figures.FONT)
        texts = {0: f"output: {row['output']}"}
        texts[1 + SHOWN.index("evidence")] = f"not {row['against']}"
        for column, text in texts.items():
            of_row[column].set_xlabel(text, size=figures.FONT, labelpad=2)
    for cell, head in zip(cells[0], ("image", *SHOWN), strict=True):
        cell.set_title(head, size=figures.FONT, pad=3)
    return figure


def _table(head, rows, form):
    titles = [title for title, *_ in MEASURES.values()]
    lines = []
    for name, of_map in rows.items():
        cells = [form(of_map[m], *how) for m, (_, *how) in MEASURES.items()]
        lines.append([name, *cells])
    return tables.markdown([head, *titles], lines)


def _cell(value, scale=100, digits=1):
    text = f"{scale * value['mean']:.{digits}f}"
    if value["std"] is None:
        return text
    return f"{text} ± {scale * value['std']:.{digits}f}"


def _difference_cell(value, scale, digits):
    """Mean, half width, and in how many seeds it has the same sign."""
    same = sum(v * value["mean"] > 0 for v in value["values"])
    return (
        f"{scale * value['mean']:+.{digits}f} ± "
        f"{scale * value['half_width_95']:.{digits}f} "
        f"({same}/{len(value['values'])})"
    )
