"""What settings and data have in common, and how to say what they have not.

They are compared as flat dictionaries, whose keys are paths with dots, such as
`"settings.attention.depth"`.
"""

import json


def key(value):
    """What equal values have in common, and others do not."""
    return json.dumps(value, sort_keys=True)


def flat(content, start=""):
    """Nested dictionaries as one. Empty ones are as good as none.

    Example:

    >>> flat({"data": {"test": 8, "left_out": {}}})
    {'data.test': 8}
    """
    found = {}
    for name, value in content.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{start}{name}."))
        else:
            found[f"{start}{name}"] = value
    return found


def differing(dictionaries):
    """The keys by which flat dictionaries differ, in their order."""
    names = {name: None for one in dictionaries for name in one}
    return [name for name in names if _kinds(dictionaries, [name]) > 1]


def said(name, dictionary):
    """A setting and its value.

    Example:

    >>> said("settings.epochs", {"settings.epochs": 30})
    '`epochs=30`'
    >>> said("data.test", {})
    'no `data.test`'
    """
    short = name.removeprefix("settings.")
    if name not in dictionary:
        return f"no `{short}`"
    return f"`{short}={json.dumps(dictionary[name], ensure_ascii=False)}`"


def between_arms(attention, baseline):
    """Says what differs between the arms; empty if nothing does."""
    names = differing([attention, baseline])
    data = [name for name in names if name.startswith("data.")]
    if len(data) > 1 and "data.digest" in data:
        # Which nobody can read. It differs whenever others do.
        names.remove("data.digest")
    return ", ".join(
        f"{', '.join(said(name, one) for name in names)} {arm}"
        for one, arm in ((attention, "with attention"), (baseline, "without"))
        if names
    )


def labels(shared, attentions):
    """What tells each line from the others of its recipe.

    Args:
        shared: List of flat dictionaries, a line each: what its arms share.
        attentions: List of flat dictionaries of the settings of attention
            alone, `None` for a line of a baseline.

    Returns:
        A list of strings.

    Example:

    >>> labels([{"settings.rate": 0.1}] * 2, [{"depth": 2}, {"depth": 3}])
    ['`depth=2`', '`depth=3`']
    """
    names = []
    for name in differing(shared):
        # All settings, but of the data only what tells more lines apart: with
        # other classes, all numbers of images are others, too.
        if name.startswith("settings.") or _kinds(
            shared, [*names, name]
        ) > _kinds(shared, names):
            names.append(name)
    # A line of a baseline alone says nothing about attention.
    own = differing([one for one in attentions if one is not None])
    return [
        ", ".join(
            [said(name, about) for name in names]
            + [said(name, one) for name in own if one is not None]
        )
        for about, one in zip(shared, attentions, strict=True)
    ]


def _kinds(dictionaries, names):
    """How many differ in the values of these keys."""
    return len({tuple(said(n, one) for n in names) for one in dictionaries})
