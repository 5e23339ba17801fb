"""Which trials are worth their cost."""


def front(points):
    """Points that no other one beats: cheaper and better, or equal in one.

    Args:
        points: List of pairs `(cost, value)`: less is better of the first,
            more of the second.

    Returns:
        Indices of the points of the Pareto front, the cheapest first. Equal
        points are all on it, or none of them.

    Example:

    >>> front([(3, 0.9), (1, 0.7), (2, 0.6)])
    [1, 0]
    """
    order = sorted(
        range(len(points)), key=lambda i: (points[i][0], -points[i][1])
    )
    found = []
    for i in order:
        if (
            not found
            or points[i][1] > points[found[-1]][1]
            or points[i] == points[found[-1]]
        ):
            found.append(i)
    return found
