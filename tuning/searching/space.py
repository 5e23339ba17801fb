"""What is searched: hyperparameters, and the arguments they stand for."""

import dataclasses
import inspect
import math

import keras_tuner

import keras_warn

# Learning rates are searched from a tenth of the recipe's to ten times it.
RATE_RANGE = 10

# Each hyperparameter is the argument of `keras_warn.augment` of its name, but
# for `skip`, how many of the deepest attachment points are left out, and
# `learning_rate`, the recipe's.
VALUES = {
    "depth": (),  # 1 to the number of attachment points
    "width": (1, 2, 4, 8, 16),
    "kernel_size": (1, 3),
    "projection": (0, 32, 128),  # 0: none
    "skip": (0, 1),
    "mask_activation": ("softmax", "sigmoid"),
    "diversity": (0.0, 0.01, 0.1, 1.0),
    "gates": ("softmax", "sigmoid", "average"),
    "gate_score_activation": ("tanh", "none"),
    "gate_batch_norm": (False, True),
    "agreement": (0.0, 1.0),
    "gradient_scale": (0.0, 1.0),
    "learning_rate": (),  # a range
}

# They mean something only where gates are learned.
OF_LEARNED_GATES = ("gate_score_activation", "gate_batch_norm")
LEARNED_GATES = ("softmax", "sigmoid")


@dataclasses.dataclass(frozen=True)
class Dimension:
    """One hyperparameter.

    Attributes:
        name: A key of `VALUES`.
        values: Tuple of what it may be; empty for any number in `bounds`.
        default: What it is in the recipe, or the first of `values` if that is
            not among them.
        bounds: The lowest and the highest number, searched on a logarithmic
            scale, or `None`.
    """

    name: str
    values: tuple
    default: object
    bounds: tuple | None = None

    def __str__(self):
        if self.bounds is not None:
            return f"{self.bounds[0]:g} to {self.bounds[1]:g}, log"
        return ", ".join(map(str, self.values))

    @property
    def domain(self):
        """A list of values, or a pair of bounds."""
        return list(self.values) if self.bounds is None else self.bounds

    @property
    def varies(self):
        return self.bounds is not None or len(self.values) > 1

    def nearest(self, value):
        """The value that is meant: numbers travel as 32-bit floats."""
        if isinstance(self.default, float) and math.isclose(
            value, self.default, rel_tol=1e-6
        ):
            return self.default
        if self.bounds is not None:
            return float(f"{value:.3g}")
        if isinstance(self.default, float):
            return min(self.values, key=lambda own: abs(own - value))
        return value

    def declare(self, hp):
        """Adds it to `keras_tuner.HyperParameters`."""
        if self.bounds is not None:
            hp.Float(
                self.name, *self.bounds, sampling="log", default=self.default
            )
        elif isinstance(self.default, bool):
            hp.Boolean(self.name, self.default)
        else:
            hp.Choice(self.name, list(self.values), default=self.default)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a trial trains with.

    Attributes:
        attention: Dictionary of arguments of `keras_warn.augment`; `None` for
            no attention.
        learning_rate: Positive number.
    """

    attention: dict | None
    learning_rate: float


class Space:
    """Hyperparameters of a search around a recipe's own setting.

    Args:
        recipe: `Setting`, the recipe's own.
        points: How many attachment points there are.
        named: Their names, from shallow to deep, if the recipe attends to
            layers by name; `None` for those that `augment` finds.
        chosen: Dictionary from names of hyperparameters to tuples of values,
            empty ones for those of `VALUES`. The others stay as they are in
            the recipe. Defaults to all.

    Raises:
        ValueError: if a name is unknown, a value cannot be, or nothing varies.
    """

    def __init__(self, recipe, points, named=None, chosen=None):
        self.recipe = recipe
        self.points = points
        self.named = named
        self._own = self._own_values()
        chosen = dict.fromkeys(VALUES, ()) if chosen is None else chosen
        for name in chosen:
            if name not in VALUES:
                raise ValueError(
                    f"`space` must name hyperparameters: {', '.join(VALUES)}. "
                    f"Received: {name!r}."
                )
        dimensions = [
            self._dimension(name, chosen.get(name, (self._own[name],)))
            for name in VALUES
        ]
        self.dimensions = {one.name: one for one in dimensions}
        gates = self.dimensions["gates"].values
        if not set(gates) & set(LEARNED_GATES):
            for name in OF_LEARNED_GATES:
                self.dimensions[name] = self._dimension(
                    name, (self._own[name],)
                )
        least = [min(self.dimensions[n].values) for n in ("depth", "skip")]
        if sum(least) > points:
            raise ValueError(
                "`space` must have a depth and a skip that are together at "
                f"most {points}, the number of attachment points. Received: at "
                f"least depth={least[0]} and skip={least[1]}."
            )
        if not self.varying:
            raise ValueError(
                "`space` must leave something to choose. Received: one value "
                "of each hyperparameter."
            )

    @property
    def varying(self):
        """The dimensions with more than one value."""
        return [one for one in self.dimensions.values() if one.varies]

    def identity(self):
        """For JSON: searches of the same space can go on with each other."""
        return {one.name: str(one) for one in self.dimensions.values()}

    def hyperparameters(self):
        """The space as `keras_tuner.HyperParameters`."""
        hp = keras_tuner.HyperParameters()
        gates = self.dimensions["gates"]
        for one in self.varying:
            if one.name in OF_LEARNED_GATES and gates.varies:
                learned = [v for v in gates.values if v in LEARNED_GATES]
                with hp.conditional_scope("gates", learned):
                    one.declare(hp)
            else:
                one.declare(hp)
        return hp

    def values(self, found):
        """Values that a tuner found, as they are meant.

        Args:
            found: Dictionary from names to values. Others, such as those that
                a tuner keeps for itself, are left out.
        """
        return {
            one.name: one.nearest(found[one.name])
            for one in self.varying
            if one.name in found
        }

    def fits(self, found):
        """Whether there are as many attachment points as values ask for."""
        of = self._complete(found)
        return of["depth"] + of["skip"] <= self.points

    def words(self, found):
        """Values in words: where they differ from the recipe's own."""
        changed = {
            name: value
            for name, value in self._complete(found).items()
            if value != self._own[name]
        }
        if not changed and self.has_own:
            return "the recipe's own setting"
        return " ".join(f"{name}={value}" for name, value in changed.items())

    @property
    def has_own(self):
        """Whether the recipe's own setting is in the space."""
        return all(
            one.default == self._own[one.name]
            for one in self.dimensions.values()
        )

    def setting(self, found):
        """The `Setting` that values stand for.

        What is as in the recipe is left as the recipe writes it: default
        values give its own setting.

        Args:
            found: Dictionary from names of hyperparameters to values.
        """
        of = self._complete(found)
        attention = dict(self.recipe.attention)
        changed = {
            name: _argument(name, of[name])
            for name in VALUES
            if name not in ("depth", "skip", "learning_rate")
            and of[name] != self._own[name]
        }
        if (of["depth"], of["skip"]) != (self._own["depth"], 0):
            attention["depth"] = of["depth"]
            if of["skip"] or "attend_at" in attention:
                attention["attend_at"] = self._attend_at(of)
        return Setting({**attention, **changed}, of["learning_rate"])

    def _complete(self, found):
        fixed = {one.name: one.default for one in self.dimensions.values()}
        return {**fixed, **self.values(found)}

    def _attend_at(self, of):
        end = self.points - of["skip"]
        chosen = range(end - of["depth"], end)
        if self.named is not None:
            return [self.named[i] for i in chosen]
        return [i - self.points for i in chosen]

    def _own_values(self):
        """The recipe's value of each hyperparameter."""
        defaults = {
            name: parameter.default
            for name, parameter in inspect.signature(
                keras_warn.augment
            ).parameters.items()
        }
        own = {**defaults, **self.recipe.attention}
        own["skip"] = 0
        own["learning_rate"] = self.recipe.learning_rate
        if own["depth"] is None:
            given = "attend_at" in self.recipe.attention
            own["depth"] = self.points if given else min(3, self.points)
        own["projection"] = own["projection"] or 0
        own["gate_score_activation"] = own["gate_score_activation"] or "none"
        for name in ("diversity", "agreement", "gradient_scale"):
            own[name] = float(own[name])
        return {name: own[name] for name in VALUES}

    def _dimension(self, name, values):
        own = self._own[name]
        if values:
            values = tuple(_typed(name, value, own) for value in values)
            if len(set(values)) < len(values):
                raise ValueError(
                    f"`space` must have each value of {name} once. Received: "
                    f"{', '.join(map(str, values))}."
                )
            default = own if own in values else values[0]
            dimension = Dimension(name, values, default)
        elif name == "learning_rate":
            bounds = (own / RATE_RANGE, own * RATE_RANGE)
            return Dimension(name, (), own, bounds)
        else:
            values = VALUES[name]
            if name == "depth":
                values = tuple(range(1, self.points + 1))
            if own not in values:
                values = (*values, own)
                if not isinstance(own, str):
                    values = tuple(sorted(values))
            dimension = Dimension(name, values, own)
        if name == "learning_rate" and not min(values) > 0:
            raise ValueError(
                "`space` must have positive numbers as learning_rate. "
                f"Received: {min(values)}."
            )
        if name in ("depth", "skip"):
            least = 1 if name == "depth" else 0
            most = self.points - 1 + least
            for value in dimension.values:
                if not least <= value <= most:
                    raise ValueError(
                        f"`space` must have a {name} of {least} to {most} "
                        f"here, for {self.points} attachment points. "
                        f"Received: {value}."
                    )
        return dimension


def parse(texts):
    """What a command line says of a space.

    Args:
        texts: Strings such as `"depth"`, or `"width=1,4,16"`.

    Returns:
        The argument `chosen` of `Space`.

    Raises:
        ValueError: if a text is neither.

    Example:

    >>> parse(["depth", "width=1,4", "gates=softmax,average"])
    {'depth': (), 'width': ('1', '4'), 'gates': ('softmax', 'average')}
    """
    chosen = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if name in chosen or (equals and not values.strip(",")):
            raise ValueError(
                "`space` must name hyperparameters, each once, alone or with "
                f"values, such as width=1,4,16. Received: {text!r}."
            )
        chosen[name] = tuple(filter(None, values.split(",")))
    return chosen


def _argument(name, value):
    """The argument of `augment` for a value."""
    if name == "projection":
        return value or None
    if name == "gate_score_activation":
        return None if value == "none" else value
    return value


def _typed(name, value, own):
    """A value of a command line, of the type of the recipe's own."""
    if not isinstance(value, str) or isinstance(own, str):
        return value
    try:
        if isinstance(own, bool):
            return {"False": False, "True": True}[value]
        typed = type(own)(value)
        if isinstance(typed, float) and not math.isfinite(typed):
            raise ValueError("not finite")
        return typed
    except (KeyError, ValueError) as error:
        kind = {bool: "False or True", int: "an integer", float: "a number"}
        raise ValueError(
            f"`space` must have {kind[type(own)]} as {name}. Received: "
            f"{value!r}."
        ) from error
