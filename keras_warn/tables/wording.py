"""Numbers and the words beside them."""


def counted(number, word):
    """`"1 run"`, `"2 runs"`."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def listed(word, numbers):
    """`"seed 1"`, `"seeds 1 and 2"`."""
    *most, last = map(str, numbers)
    joined = f"{', '.join(most)} and {last}" if most else last
    return f"{word}{'s' if most else ''} {joined}"
