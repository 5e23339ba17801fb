"""Where the dots of a search lie in its plots, in units of their drawings."""

import math
import statistics
import zlib

from keras_warn import runs
from searching.front import front

# Left of the y axis are its numbers, below the x axis its numbers and name.
WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 66, 16, 30, 62

# A trial further below the median of the others than this many times the
# median is below the best, such as one that diverged, is drawn at the edge: it
# would press all others together.
FAR_BELOW = 2

# How far dots of one value lie apart, as a share of the room for the value.
JITTER = 0.4

# Labels nearer than this to another one are left out.
LABEL_WIDTH, LABEL_HEIGHT = 34, 15


class Axis:
    """Numbers as places along an axis.

    Args:
        low: The number at its start.
        high: The number at its end, a larger one.
        start: Place of its start.
        end: Place of its end.
    """

    def __init__(self, low, high, start, end):
        self.low, self.high = low, high
        self.start, self.end = start, end

    def __call__(self, value):
        """The place of a number, or of the end that it lies beyond."""
        return self.beyond(min(max(value, self.low), self.high))

    def beyond(self, value):
        """The place of a number, on the axis or not."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count=5):
        """About so many round numbers along the axis, as places and texts."""
        rough = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [
            (self(i * step), f"{i * step:z.{digits}f}".replace("-", "−"))
            for i in range(first, last + 1)
        ]


def accuracy_axis(trials, arms):
    """The y axis of all plots, in percent: equal heights are equal accuracies.

    Args:
        trials: List of trials with an accuracy, as `page` has them.
        arms: List of the means and deviations of retrained arms, as `spread`
            of `keras_warn.runs` returns them.

    Returns:
        An `Axis`; `None` without trials and arms.
    """
    values = [100 * trial["accuracy"] for trial in trials]
    if len(values) > 2:
        middle, best = statistics.median(values), max(values)
        lowest = middle - FAR_BELOW * (best - middle)
        values = [value for value in values if value >= lowest]
    for arm in arms:
        for sign in (-1, 1):
            values.append(100 * (arm["mean"] + sign * (arm["std"] or 0)))
    if not values:
        return None
    low, high = min(values), max(values)
    # Of one value, too, there is something above and below.
    margin = max(0.06 * (high - low), 0.25)
    return Axis(low - margin, high + margin, HEIGHT - BOTTOM, TOP)


def cost_plot(trials, full, best, arms, limit, y):
    """Accuracy against operations added.

    Args:
        trials: List of trials with an accuracy and a cost.
        full: Function of a trial, whether it was trained as long as asked for.
        best: Number of the best trial, or `None`.
        arms: List of dictionaries of retrained arms with `name`, `kind`,
            `operations_added` and `validation`, mean and deviation.
        limit: The most operations that may be added, as a share, or `None`.
        y: Axis of accuracies.

    Returns:
        A dictionary of what to draw.
    """
    costs = [100 * trial["cost"]["operations_added"] for trial in trials]
    costs += [100 * arm["operations_added"] for arm in arms]
    if limit is not None:
        costs.append(100 * limit)
    high = max([*costs, 0]) or 1
    x = Axis(-0.04 * high, 1.05 * high, LEFT, WIDTH - RIGHT)
    whole = [trial for trial in trials if full(trial)]
    on_front = [
        whole[i]
        for i in front(
            [(t["cost"]["operations_added"], t["accuracy"]) for t in whole]
        )
    ]
    names = [trial["trial"] for trial in on_front]
    dots = [
        {
            **_dot(trial, full, best, y),
            "x": x(100 * trial["cost"]["operations_added"]),
            "front": trial["trial"] in names,
        }
        for trial in trials
    ]
    # What matters most is drawn last, over the others.
    dots.sort(key=lambda dot: (dot["best"], dot["front"], not dot["short"]))
    return {
        "dots": dots,
        "labels": _labels([dot for dot in dots if dot["front"]]),
        "front": on_front,
        "path": _steps(on_front, x, y),
        "arms": [
            {
                **arm,
                "x": x(100 * arm["operations_added"]),
                "y": y(100 * arm["validation"]["mean"]),
                "ends": _ends(arm["validation"], y),
            }
            for arm in arms
        ],
        "limit": None if limit is None else x(100 * limit),
        "x_ticks": x.ticks(6),
        "y_ticks": y.ticks(),
    }


def effect_plot(name, trials, full, best, y):
    """Accuracy by the values of one hyperparameter.

    Args:
        name: Of the hyperparameter.
        trials: List of trials with an accuracy and a value of it.
        full: As of `cost_plot`.
        best: As of `cost_plot`.
        y: Axis of accuracies.

    Returns:
        A dictionary of what to draw, with a row of numbers for each value.
    """
    values = sorted({trial["values"][name] for trial in trials})
    room = (WIDTH - LEFT - RIGHT) / len(values)
    rows, dots = [], []
    for i, value in enumerate(values):
        middle = LEFT + (i + 0.5) * room
        here = [t for t in trials if t["values"][name] == value]
        whole = [t["accuracy"] for t in here if full(t)]
        rows.append(
            {
                "value": value,
                "x": middle,
                "count": len(whole),
                "accuracy": runs.spread(whole) if whole else None,
                "best": max(whole, default=None),
                # The line leaves the plot rather than lie at its edge.
                "y": y.beyond(100 * statistics.mean(whole)) if whole else None,
            }
        )
        dots += [
            {
                **_dot(trial, full, best, y),
                "x": middle + JITTER * room * _jitter(trial["trial"]),
                "front": False,
            }
            for trial in here
        ]
    dots.sort(key=lambda dot: (dot["best"], not dot["short"]))
    means = [row for row in rows if row["count"]]
    return {
        "name": name,
        "dots": dots,
        "rows": rows,
        "path": _path([(row["x"], row["y"]) for row in means]),
        "below": any(row["y"] > y.start for row in means),
        "y_ticks": y.ticks(),
    }


def _dot(trial, full, best, y):
    return {
        "trial": trial["trial"],
        "y": y(100 * trial["accuracy"]),
        "below": 100 * trial["accuracy"] < y.low,
        "short": not full(trial),
        "best": trial["trial"] == best,
    }


def _jitter(name):
    """From -1/2 to 1/2, always the same of a trial, and apart of the next."""
    number = int(name) if name.isdecimal() else zlib.crc32(name.encode())
    return (number * (math.sqrt(5) - 1) / 2 + 0.5) % 1 - 0.5


def _labels(dots):
    """Dots whose names have room, the best first.

    Names stand above and left of dots of a front, where no other dot of a
    trial as long can be.
    """
    shown = []
    for dot in sorted(dots, key=lambda dot: (not dot["best"], dot["y"])):
        if all(
            abs(dot["x"] - other["x"]) > LABEL_WIDTH
            or abs(dot["y"] - other["y"]) > LABEL_HEIGHT
            for other in shown
        ):
            shown.append(dot)
    return shown


def _steps(trials, x, y):
    """The best accuracy up to each cost, as a line of steps."""
    if not trials:
        return ""
    points = []
    for trial in trials:
        right = x(100 * trial["cost"]["operations_added"])
        if points:
            points.append((right, points[-1][1]))
        points.append((right, y(100 * trial["accuracy"])))
    points.append((x.end, points[-1][1]))
    return _path(points)


def _path(points):
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _ends(spread, y):
    """Places of a standard deviation below and above a mean."""
    if spread["std"] is None:
        return None
    return [
        y(100 * (spread["mean"] + sign * spread["std"])) for sign in (-1, 1)
    ]
