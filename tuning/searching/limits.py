"""How much attention may cost: trials that cost more never begin."""

import itertools
import math

# What a limit can be on: shares of the network's own.
LIMITED = ("operations", "parameters")


def parse(texts):
    """Limits that a command line sets.

    Args:
        texts: Strings such as `"5%"`, of the operations, or
            `"parameters=20%"`.

    Returns:
        A dictionary from `"operations"` or `"parameters"` to shares.

    Raises:
        ValueError: if a text is no such limit.

    Example:

    >>> parse(["5%", "parameters=20%"])
    {'operations': 0.05, 'parameters': 0.2}
    """
    limits = {}
    for text in texts:
        name, _, share = text.rpartition("=")
        name = name or "operations"
        number = _number(share.removesuffix("%"))
        known = name in LIMITED and name not in limits
        if not known or not share.endswith("%") or not 0 < number < math.inf:
            raise ValueError(
                "`max_overhead` must be positive percentages, such as 5% (of "
                "the operations) or parameters=20%, each once. Received: "
                f"{text!r}."
            )
        limits[name] = number / 100
    return limits


class Limits:
    """Tells which settings may be tried.

    Args:
        space: A `Space`.
        costs: `Costs`.
        limits: Dictionary from `LIMITED` to shares of the network's own.

    Raises:
        ValueError: if nothing in the space is within the limits.
    """

    def __init__(self, space, costs, limits):
        self.space = space
        self.costs = costs
        self.limits = limits
        if limits:
            self._check()

    def accept(self, values):
        """Whether a trial with these values may begin.

        Args:
            values: Dictionary from names of hyperparameters; those that are
                left out have their defaults.
        """
        if not self.space.fits(values):
            return False
        try:
            cost = self.costs.of(self.space.setting(values).attention)
        except ValueError:
            return False  # of values that contradict each other
        return self._within(cost)

    def _within(self, cost):
        return all(
            getattr(cost, f"{name}_added") <= limit
            for name, limit in self.limits.items()
        )

    def _check(self):
        """Tries what may be cheapest."""
        few = {}
        for one in self.space.varying:
            if one.name in ("depth", "width", "kernel_size"):
                few[one.name] = (min(one.values),)
            elif one.name in ("gates", "projection", "skip"):
                few[one.name] = one.values
        cheapest = None
        for chosen in itertools.product(*few.values()):
            values = dict(zip(few, chosen, strict=True))
            if not self.space.fits(values):
                continue
            cost = self.costs.of(self.space.setting(values).attention)
            if self._within(cost):
                return
            if cheapest is None or cost.operations < cheapest[0].operations:
                cheapest = cost, values
        cost, values = cheapest
        named = ", ".join(f"{name}={value}" for name, value in values.items())
        raise ValueError(
            "`max_overhead` must leave something of the space to try. "
            f"Received: {self}, but the cheapest setting ({named}) adds "
            f"{100 * cost.operations_added:.2f} % of operations and "
            f"{100 * cost.parameters_added:.2f} % of parameters."
        )

    def __str__(self):
        return ", ".join(
            f"{name}={100 * limit:g}%" for name, limit in self.limits.items()
        )


def _number(text):
    try:
        return float(text)
    except ValueError:
        return math.nan
