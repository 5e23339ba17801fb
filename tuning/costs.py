"""What attention adds to a backbone, and whether that is allowed."""

import itertools
import math
import statistics
import time

import keras
import numpy as np

from keras_warn.operations import operations

# What a limit can be on: shares of the backbone's own.
LIMITED = ("operations", "parameters")
# Arguments of `augment` that change the training alone, and cost nothing.
FREE = ("agreement_weight", "diversity_weight", "gradient_scale")
# Both models are timed in turns: a machine that slows down slows both.
ROUNDS, BATCH = 15, 8


def parse(texts):
    """Limits that a command line sets.

    >>> parse(["5%", "parameters=20%"])
    {'operations': 0.05, 'parameters': 0.2}
    """
    limits = {}
    for text in texts:
        name, _, share = text.rpartition("=")
        name = name or "operations"
        try:
            number = float(share.removesuffix("%")) / 100
        except ValueError:
            number = math.nan
        known = name in LIMITED and name not in limits
        if not known or not share.endswith("%") or not 0 < number < math.inf:
            raise ValueError(
                "`max_overhead` must be positive percentages, such as 5% (of "
                "the operations) or parameters=20%, each once. Received: "
                f"{text!r}."
            )
        limits[name] = number
    return limits


class Costs:
    """What settings cost, counted once each, and which may be tried.

    `attended` makes the backbone with arguments of `keras_warn.augment`;
    `limits` has shares of the backbone's own for some of `LIMITED`.
    """

    def __init__(self, backbone, attended, space, limits):
        self.backbone, self.attended = backbone, attended
        self.space, self.limits = space, limits
        self.alone = _count(backbone)
        self._known = {}

    def of(self, attention):
        """What attention, or `None`, adds for an image; `_added` are shares."""
        given = repr(attention and sorted(attention.items()))
        if given not in self._known:
            model, paid = self.backbone, attention
            if attention is not None:  # built, for `augment` to look at it all
                model = self.attended(attention)
                paid = {k: v for k, v in attention.items() if k not in FREE}
            key = repr(paid and sorted(paid.items()))
            if key not in self._known:
                count = _count(model)
                added = {n: count[n] - self.alone[n] for n in LIMITED}
                shares = {f"{n}_added": added[n] / self.alone[n] for n in added}
                self._known[key] = {**added, **shares}
            self._known[given] = self._known[key]
        return self._known[given]

    def latency_added(self, attention):
        """How much longer 8 images take, as a share of the backbone's time."""
        models = (self.backbone, self.attended(attention))
        images = np.zeros((BATCH, *self.backbone.input_shape[1:]), "float32")
        ratios = []
        for _ in range(1 + ROUNDS):  # the first compiles
            seconds = []
            for model in models:
                begun = time.perf_counter()
                keras.ops.convert_to_numpy(model.predict_on_batch(images))
                seconds.append(time.perf_counter() - begun)
            ratios.append(seconds[1] / seconds[0])
        return round(statistics.median(ratios[1:]) - 1, 4)

    def accept(self, values):
        """Whether a trial with these hyperparameters may begin."""
        if not self.space.fits(values):
            return False
        try:
            cost = self.of(self.space.setting(values).attention)
        except ValueError:
            return False  # of values that contradict each other
        return all(cost[f"{n}_added"] <= x for n, x in self.limits.items())

    def check(self, chosen):
        """Raises `ValueError` of a wrong value, or if none may be tried.

        `chosen` names the hyperparameters whose values were asked for.
        """
        of = self.space.values
        self.of(self.space.own.attention)  # or says what is wrong with it
        for name, value in ((n, v) for n in chosen for v in of[n]):
            values = {name: value}
            try:
                if self.space.fits(values):
                    self.of(self.space.setting(values).attention)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"`space` cannot have {name}={value}: {error}"
                ) from error
        # What may be cheapest.
        few = {n: [min(of[n])] for n in ("depth", "width", "kernel_size")}
        names = ("gates", "rank", "projection", "skip")
        few |= {name: of[name] for name in names}
        tried = (
            dict(zip(few, values, strict=True))
            for values in itertools.product(*few.values())
        )
        if self.limits and not any(map(self.accept, tried)):
            limits = [f"{n}={100 * x:g}%" for n, x in self.limits.items()]
            raise ValueError(
                "`max_overhead` must leave something of the space to try. "
                f"Received: {', '.join(limits)}, but the cheapest adds more."
            )


def _count(model):
    return {
        "operations": sum(operations(model).values()),
        "parameters": model.count_params(),
    }
