"""The cost of attention as Markdown."""

from measuring import tables
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
