"""Hyperparameters of a search, and the arguments that they stand for."""

import contextlib
import dataclasses
import inspect
import math

import keras_tuner

import keras_warn
from keras_warn.augmenting import PRESETS
from keras_warn.augmenting import with_preset

# Learning rates are searched from a tenth of the recipe's to ten times it.
RATE_RANGE = 10

# Each hyperparameter is the argument of `keras_warn.augment` of its name, but
# for `skip`, how many of the deepest attachment points are omitted, and
# `learning_rate`, the recipe's.
VALUES = {
    "depth": (),  # 1 to the number of attachment points
    "width": (1, 2, 4, 8, 16),
    "kernel_size": (1, 3),
    "rank": (0, 16, 64),  # 0: full
    "projection": (0, 32, 128),  # 0: none
    "skip": (0, 1),
    "mask_activation": ("softmax", "sigmoid"),
    "diversity_weight": (0.0, 0.01, 0.1, 1.0),
    "gates": ("softmax", "sigmoid", "average"),
    "gate_score_activation": ("tanh", "none"),
    "gate_batch_norm": (False, True),
    "agreement_weight": (0.0, 1.0),
    "gradient_scale": (0.0, 1.0),
    "learning_rate": (),  # a range
}

# Values that `augment` writes otherwise: KerasTuner's are of one type.
WRITTEN = {
    "rank": (0, "full"),
    "projection": (0, None),
    "gate_score_activation": ("none", None),
}

# They mean something only where gates are learned.
OF_LEARNED_GATES = ("gate_score_activation", "gate_batch_norm")
LEARNED_GATES = ("softmax", "sigmoid")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a trial trains with; `attention` are arguments of `augment`."""

    attention: dict | None
    learning_rate: float


class Space:
    """Hyperparameters of a search around a recipe's `own` setting.

    Args:
        own: `Setting`.
        points: How many attachment points there are.
        named: Their names, from shallow to deep, if the recipe attends to
            layers by name; `None` for those that `augment` finds.
        chosen: Dictionary from names of hyperparameters to values, `()` for
            those of `VALUES`. The others stay as in the recipe. Defaults to
            all of them.

    Attributes:
        values: Dictionary from each hyperparameter to the list of its values.
        rates: The lowest and highest learning rate, or `None` for a list.
        own_values: The recipe's own value of each hyperparameter.
        default: The value of each hyperparameter in the first trial.
    """

    def __init__(self, own, points, named=None, chosen=None):
        self.own, self.points, self.named = own, points, named
        self.own_values = self._read(own)
        chosen = dict.fromkeys(VALUES, ()) if chosen is None else chosen
        for name in chosen:
            if name not in VALUES:
                _fail(f"name hyperparameters: {', '.join(VALUES)}", repr(name))
        self.rates, rate = None, own.learning_rate
        if "learning_rate" in chosen and not chosen["learning_rate"]:
            self.rates = (rate / RATE_RANGE, rate * RATE_RANGE)
        self.values = {name: self._values(name, chosen) for name in VALUES}
        if not set(self.values["gates"]) & set(LEARNED_GATES):
            for name in OF_LEARNED_GATES:
                self.values[name] = [self.own_values[name]]
        self.default = {}
        for name, values in self.values.items():
            own_value = self.own_values[name]
            self.default[name] = own_value if own_value in values else values[0]
        self.varying = [
            name
            for name, values in self.values.items()
            if len(values) > 1 or (name == "learning_rate" and self.rates)
        ]
        depth, skip = (min(self.values[name]) for name in ("depth", "skip"))
        if depth + skip > points:
            _fail(
                "have a depth and a skip that are together at most "
                f"{points}, the number of attachment points",
                f"at least depth={depth} and skip={skip}",
            )
        if not self.varying:
            _fail("leave something to choose", "one value of each")

    def describe(self, name):
        """The values of a hyperparameter in words."""
        if name == "learning_rate" and self.rates:
            return f"{self.rates[0]:g} to {self.rates[1]:g}, log"
        return ", ".join(map(str, self.values[name]))

    def table(self):
        """What varies, in words, and the recipe's own values."""
        return [
            {
                "name": x,
                "values": self.describe(x),
                "default": self.own_values[x],
            }
            for x in self.varying
        ]

    def hyperparameters(self):
        """The space as `keras_tuner.HyperParameters`."""
        hp = keras_tuner.HyperParameters()
        learned = [v for v in self.values["gates"] if v in LEARNED_GATES]
        for name in self.varying:
            default = self.default[name]
            with contextlib.ExitStack() as stack:
                if name in OF_LEARNED_GATES and "gates" in self.varying:
                    stack.enter_context(hp.conditional_scope("gates", learned))
                if name == "learning_rate" and self.rates:
                    hp.Float(name, *self.rates, sampling="log", default=default)
                elif isinstance(default, bool):
                    hp.Boolean(name, default)
                else:
                    hp.Choice(name, self.values[name], default=default)
        return hp

    def read(self, found):
        """The values of a trial as they are meant, without a tuner's own."""
        values = {name: found[name] for name in self.varying if name in found}
        for name, value in values.items():
            known = (self.own_values[name], *self.values[name])
            if isinstance(value, float) and value not in known:
                values[name] = float(f"{value:.3g}")  # drawn from a range
        return values

    def fits(self, found):
        """Whether there are as many attachment points as values ask for."""
        of = {**self.default, **self.read(found)}
        return of["depth"] + of["skip"] <= self.points

    def setting(self, found):
        """The `Setting` that values stand for.

        What is as in the recipe stays as the recipe writes it, so that the
        recipe's own values give its own setting.
        """
        of, own = {**self.default, **self.read(found)}, self.own_values
        attention = dict(self.own.attention)
        if (of["depth"], of["skip"]) != (own["depth"], 0):
            attention["depth"] = of["depth"]
            if of["skip"] or "attend_at" in attention:
                end = self.points - of["skip"]
                chosen = range(end - of["depth"], end)
                attention["attend_at"] = (
                    [self.named[i] for i in chosen]
                    if self.named is not None
                    else [i - self.points for i in chosen]
                )
        for name, value in of.items():
            # What a preset brings gives way to them, and this must not.
            contradicts = (
                value
                and name == "agreement_weight"
                and name in self.varying
                and of["gates"] == "linear"
            )
            known = name in ("depth", "skip", "learning_rate")
            if known or (value == own[name] and not contradicts):
                continue
            ours, written = WRITTEN.get(name, (value, value))
            attention[name] = written if value == ours else value
        return Setting(attention, of["learning_rate"])

    def _read(self, own):
        """The recipe's value of each hyperparameter."""
        parameters = inspect.signature(keras_warn.augment).parameters
        of = {name: one.default for name, one in parameters.items()}
        of |= {**own.attention, "skip": 0, "learning_rate": own.learning_rate}
        given = {name: of[name] for name in PRESETS[of["preset"]]}
        of |= with_preset(of["preset"], of["combination"], **given)
        if of["depth"] is None:
            named = "attend_at" in own.attention
            of["depth"] = self.points if named else min(3, self.points)
        for name, (ours, written) in WRITTEN.items():
            of[name] = ours if of[name] == written else of[name]
        for name in ("diversity_weight", "agreement_weight", "gradient_scale"):
            of[name] = float(of[name])
        return {name: of[name] for name in VALUES}

    def _values(self, name, chosen):
        own = self.own_values[name]
        if name not in chosen or (name == "learning_rate" and self.rates):
            return [own]
        if chosen[name]:
            values = [_typed(name, value, own) for value in chosen[name]]
        else:
            values = list(VALUES[name]) or list(range(1, self.points + 1))
            values += [own] * (own not in values)
            if not isinstance(own, str):
                values.sort()
        received = ", ".join(map(str, values))
        if name == "learning_rate" and not min(values) > 0:
            _fail("have positive numbers as learning_rate", received)
        if name in ("depth", "skip"):
            low = int(name == "depth")
            high = self.points - 1 + low
            if not low <= min(values) <= max(values) <= high:
                _fail(
                    f"have a {name} of {low} to {high} here, for "
                    f"{self.points} attachment points",
                    received,
                )
        return list(dict.fromkeys(values))


def parse(texts):
    """The argument `chosen` of `Space` that a command line asks for.

    >>> parse(["depth", "width=1,4", "gates=softmax,average"])
    {'depth': (), 'width': ('1', '4'), 'gates': ('softmax', 'average')}
    """
    chosen = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if name in chosen or (equals and not values.strip(",")):
            _fail(
                "name hyperparameters, each once, alone or with values, such "
                "as width=1,4,16",
                repr(text),
            )
        chosen[name] = tuple(filter(None, values.split(",")))
    return chosen


def _typed(name, value, own):
    """A value of a command line, of the type of the recipe's own."""
    if not isinstance(value, str) or isinstance(own, str):
        return value
    kind = {bool: "False or True", int: "an integer", float: "a number"}
    try:
        if isinstance(own, bool):
            return {"False": False, "True": True}[value]
        typed = type(own)(value)
    except (KeyError, ValueError):
        typed = math.nan
    if not math.isfinite(typed):
        _fail(f"have {kind[type(own)]} as {name}", repr(value))
    return typed


def _fail(rule, received):
    raise ValueError(f"`space` must {rule}. Received: {received}.")
