"""Pages of Markdown with marked places, which commands fill in.

Such a place is what stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

import re

_PLACE = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def places(page):
    """What stands in the marked places of a page, by name."""
    found = [(match[2], match[3]) for match in _PLACE.finditer(page)]
    counts = page.count("<!-- table:"), page.count("<!-- end -->")
    if len({len(found), len(dict(found)), *counts}) > 1:
        raise ValueError(
            "Each `<!-- table: NAME -->` must have a name of its own and its "
            f"`<!-- end -->`. Received: {counts[0]} beginnings with the names "
            f"{', '.join(name for name, _ in found)}, and {counts[1]} ends."
        )
    return dict(found)


def filled(page, contents):
    """The page with other contents of its places.

    Args:
        page: A string.
        contents: Dictionary from the name of each place to a string.
    """
    names = places(page)
    if names.keys() != contents.keys():
        raise ValueError(
            f"The page must have the places {', '.join(contents)}. Received: "
            f"{', '.join(names)}."
        )
    return _PLACE.sub(lambda m: f"{m[1]}{contents[m[2]]}\n{m[4]}", page)
