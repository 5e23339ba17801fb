"""What many rounds say about one quantity: medians, quartiles and ratios."""

import numpy as np

PAIRS = (("ours", "backbone"), ("direct", "ours"), ("direct", "backbone"))


def summary(title, unit, rounds):
    """One quantity of all models.

    Args:
        title: What the quantity is called.
        unit: What it is measured in.
        rounds: List of dictionaries from models to numbers. What is counted
            and not measured has one round; a model may miss rounds.

    Returns:
        A dictionary for JSON. A ratio is the median of the ratios within
        each round.
    """
    samples, ratios = {}, {}
    for found in rounds:
        for name, value in found.items():
            samples.setdefault(name, []).append(value)
        for name, base in PAIRS:
            if name in found and base in found:
                ratio = found[name] / found[base]
                ratios.setdefault(f"{name} / {base}", []).append(ratio)
    return {
        "title": title,
        "unit": unit,
        "median": {k: float(np.median(v)) for k, v in samples.items()},
        "quartiles": {k: _quartiles(v) for k, v in samples.items()},
        "ratio": {k: float(np.median(v)) for k, v in ratios.items()},
        "ratio_quartiles": {k: _quartiles(v) for k, v in ratios.items()},
        "samples": samples,
    }


def _quartiles(values):
    return [float(value) for value in np.percentile(values, (25, 75))]
