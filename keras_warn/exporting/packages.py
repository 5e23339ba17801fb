"""Packages that a format needs, and what to install for them."""

import importlib.util


def check(extra, *names) -> None:
    """Checks that packages are installed.

    Args:
        extra: The extra of this package that brings them.
        *names: Names of modules.

    Raises:
        ImportError: if one is missing.
    """
    missing = [name for name in names if not importlib.util.find_spec(name)]
    if missing:
        raise ImportError(
            f"format={extra!r} needs {' and '.join(missing)}: `pip install "
            f"'keras-warn[{extra}]'`."
        )
