"""How far a mean over few seeds can be trusted."""

import math

from keras_warn import checks
from keras_warn import runs


def interval(values):
    """The 95 % interval of a mean, by Student's t.

    Args:
        values: Numbers, one a seed.

    Returns:
        Its lower and upper end; `None` of fewer than two values.

    Example:

    >>> low, high = interval([1.0, 3.0])  # 2 -+ 12.706 * sqrt(2) / sqrt(2)
    >>> round(low, 3), round(high, 3)
    (-10.706, 14.706)
    """
    count = len(values)
    if count < 2:
        return None
    spread = runs.spread(values)
    half = student_t(count - 1) * spread["std"] / math.sqrt(count)
    return spread["mean"] - half, spread["mean"] + half


def student_t(freedom):
    """What Student's t stays below in 95 of 100 cases, in absolute value.

    Args:
        freedom: Positive integer, degrees of freedom.

    Returns:
        A float.

    Example:

    >>> round(student_t(4), 3)
    2.776

    Reference:

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and
    26.7.4.
    """
    freedom = checks.integer("freedom", freedom)
    # The angle whose tangent is t / sqrt(freedom), halved down to.
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _within(middle, freedom) < 0.95:
            low = middle
        else:
            high = middle
    return math.tan(low) * math.sqrt(freedom)


def _within(angle, freedom):
    """The chance that |t| is below `tan(angle) * sqrt(freedom)`."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = cosine if odd else 1.0, 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    if odd:
        return 2 / math.pi * (angle + sine * total)
    return sine * total
