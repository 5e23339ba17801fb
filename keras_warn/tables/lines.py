"""Lines of tables, and the numbers in them."""

import dataclasses

from keras_warn import runs
from keras_warn.tables.arms import Arm
from keras_warn.tables.published import PUBLISHED
from keras_warn.tables.published import TABLE_4
from keras_warn.tables.reading import ARMS


@dataclasses.dataclass(frozen=True)
class Line:
    """What one line of a table is about.

    Attributes:
        recipe: String.
        label: Which settings tell it from other lines of the recipe; empty
            if there are none.
        data: Name and number of classes of the data, a tuple, or `None`.
        baseline: `Arm`, or `None`.
        attention: `Arm`, or `None`.
        paired: Tuple of the seeds of which both arms have runs on the same
            data.
        not_comparable: Why it must not stand beside the paper's figures, or
            `None`.
        notes: Strings: what is not paired, and why.
    """

    recipe: str
    label: str = ""
    data: tuple | None = None
    baseline: Arm | None = None
    attention: Arm | None = None
    paired: tuple = ()
    not_comparable: str | None = None
    notes: list | tuple = ()

    @property
    def title(self):
        """What it is called in tables."""
        published = PUBLISHED.get(self.recipe)
        title = published.title if published else self.recipe
        if self.label:
            title += f", {self.label}"
        if self.not_comparable:
            title += f" (not comparable: {self.not_comparable})"
        return title

    @property
    def arms(self):
        """Dictionary of each `Arm` that there is, by what it is called."""
        arms = {name: getattr(self, name) for name in ARMS}
        return {name: arm for name, arm in arms.items() if arm}

    def values(self, arm, epoch="last_epoch", error=False):
        """Accuracies (%) of an arm, or errors, as a dictionary by seed."""
        found = self.arms[arm].accuracy[epoch] if arm in self.arms else {}
        return {s: 100 - v if error else v for s, v in sorted(found.items())}

    def differences(self, epoch="last_epoch", error=False):
        """What attention adds, as a dictionary by seed, paired ones alone."""
        baseline, attention = (self.values(arm, epoch, error) for arm in ARMS)
        return {
            seed: attention[seed] - baseline[seed]
            for seed in self.paired
            if seed in baseline and seed in attention
        }

    def per_million(self):
        """The two figures of the paper's Table 4, `None` where there is none.

        Returns:
            A tuple: accuracy (%) of the baseline per million of its
            parameters; and the paired difference per million of parameters
            that attention adds.
        """
        baseline = added = None
        accuracies = [*self.values("baseline").values()]
        if accuracies and self.baseline.parameters:
            mean = runs.spread(accuracies)["mean"]
            baseline = mean / (self.baseline.parameters / 1e6)
        differences = [*self.differences().values()]
        more = self.added_parameters()
        if differences and more is not None and more > 0:
            added = runs.spread(differences)["mean"] / (more / 1e6)
        return baseline, added

    def added_parameters(self):
        """How many parameters attention adds, or `None`."""
        counts = [
            arm and arm.parameters for arm in (self.baseline, self.attention)
        ]
        return None if None in counts else counts[1] - counts[0]


def average(lines):
    """Averages of our Table 4, if each data set has one figure, else `None`."""
    found = [
        line.per_million()
        for line in lines
        if line.recipe in TABLE_4 and not line.not_comparable
    ]
    if len(found) != len(TABLE_4):
        return None, None
    return tuple(
        None if None in column else runs.spread(column)["mean"]
        for column in zip(*found, strict=True)
    )
