"""The result as Markdown."""

from measuring.timing import ONE_ROUND_IN

HEADER = (
    "measure",
    "backbone",
    "ours",
    "ours / backbone",
    "direct",
    "direct / ours",
)


def markdown(result):
    """The whole result."""
    settings, machine = result["settings"], result["environment"]
    devices = ", ".join(machine["gpus"]) or machine["cpu"]
    lines = [
        f"# {settings['backbone']} at {settings['image_size']} px, "
        f"{settings['classes']} classes, {settings['depth']} modules of "
        f"{settings['width']} heads",
        "",
        f"`KERAS_BACKEND={machine['backend']} {machine['command']}`",
        "",
        f"{machine['backend']} on {devices}, {machine['cores']} cores, "
        f"{machine['date']}. Medians, in brackets quartiles. A ratio is the "
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
            *table(measures),
            "",
            "Largest difference between ours and direct: "
            f"{measures['difference']:.1e} of the largest output.",
        ]
    return "\n".join(lines) + "\n"


def table(measures):
    """The measures of one kernel size, as lines."""
    rows = [HEADER, ("---",) + ("---:",) * (len(HEADER) - 1)]
    for name, values in measures.items():
        if name == "difference":
            continue
        cells = [f"{values['title']} ({values['unit']})"]
        for column in HEADER[1:]:
            if "/" in column:
                cells.append(_cell(values, "ratio", column, "{:.3f}".format))
            else:
                cells.append(_cell(values, "median", column, _number))
        rows.append(cells)
    return ["| " + " | ".join(row) + " |" for row in rows]


def _cell(values, kind, column, form):
    if column not in values[kind]:
        return "–"
    text = form(values[kind][column])
    quartiles = "ratio_quartiles" if kind == "ratio" else "quartiles"
    low, high = values[quartiles][column]
    return text if low == high else f"{text} ({form(low)}–{form(high)})"


def _number(value):
    """Four digits, and never an exponent."""
    if value >= 1000:
        return f"{value:.0f}"
    return f"{float(f'{value:.4g}'):g}"
