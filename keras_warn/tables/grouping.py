"""Which runs belong together in one line of a table."""

import dataclasses
import json

from keras_warn.tables.arms import Arm
from keras_warn.tables.arms import make_arm
from keras_warn.tables.differences import flat
from keras_warn.tables.differences import key
from keras_warn.tables.differences import labels
from keras_warn.tables.lines import Line
from keras_warn.tables.pairing import pair
from keras_warn.tables.pairing import why_alone
from keras_warn.tables.published import PUBLISHED


@dataclasses.dataclass(frozen=True)
class _Group:
    """Runs of one line, before it has a label.

    Attributes:
        shared: Flat dictionary: the settings and data that its arms share.
        data: Dictionary: of the data what is the same for all runs.
        settings: Flat dictionary, the settings of attention, or `None`.
        baseline: `Arm`, or `None`. It is in as many groups as there are
            attentions of its settings.
        attention: `Arm`, or `None`.
    """

    shared: dict
    data: dict
    settings: dict | None
    baseline: Arm | None
    attention: Arm | None


def make_lines(recipe, found):
    """The lines of one recipe, those beside the paper's figures first.

    Args:
        recipe: String.
        found: List of its `Run`.

    Returns:
        A list of `Line`.
    """
    groups = list(_groups(found))
    published = PUBLISHED.get(recipe)
    baselines = [group.shared for group in groups if group.baseline]
    names = labels(
        [group.shared for group in groups],
        [group.settings for group in groups],
    )
    lines = []
    for label, group in zip(names, groups, strict=True):
        paired, notes = pair(group.baseline, group.attention)
        if baselines and not group.baseline:
            notes.append(why_alone(group.shared, baselines))
        lines.append(
            Line(
                recipe,
                label,
                (group.data["name"], group.data["classes"]),
                group.baseline,
                group.attention,
                paired,
                published
                and published.reasons_against(
                    group.data, group.shared["cross-validation"]
                ),
                notes,
            )
        )
    return sorted(lines, key=lambda line: line.not_comparable is not None)


def _groups(found):
    """Groups runs by all that they depend on but seed and fold."""
    groups = {}
    for run in found:
        settings = dict(run.settings)
        attention = settings.pop("attention")
        # How many images there are differs by fold, and is compared by fold.
        data = run.data
        if run.fold is not None:
            data = {name: data[name] for name in ("name", "classes")}
        shared = {"settings": settings, "data": data}
        shared = flat({**shared, "cross-validation": run.fold is not None})
        _, _, arms = groups.setdefault(key(shared), (shared, data, {}))
        arms.setdefault(key(attention), []).append(run)
    for shared, data, arms in groups.values():
        arms = {name: make_arm(members) for name, members in arms.items()}
        baseline = arms.pop(key(None), None)
        for name, arm in arms.items():
            settings = flat({"attention": json.loads(name)})
            yield _Group(shared, data, settings, baseline, arm)
        if not arms:
            yield _Group(shared, data, None, baseline, None)
