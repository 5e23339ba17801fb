"""The reference has every name that a user may use."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "keras_warn",
    "keras_warn.data",
    "keras_warn.layers",
    "keras_warn.training",
)
resolved = pkgutil.resolve_name


def origin(value):
    """Where a function or class is defined."""
    return f"{value.__module__}.{value.__qualname__}"


def is_code(value):
    return inspect.isfunction(value) or inspect.isclass(value)


def documented():
    """Where the functions and classes of the reference are defined."""
    found = set()
    for page in (ROOT / "docs" / "api").glob("*.md"):
        for path in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE):
            value = resolved(path)
            members = vars(value).values() if inspect.ismodule(value) else ()
            found |= {
                origin(one)
                for one in [value, *members]
                if is_code(one) and (one is value or one.__module__ == path)
            }
    return found


def missing(paths):
    """Of functions and classes, those that the reference does not have."""
    there = documented()
    values = {path: resolved(path) for path in paths}
    return sorted(
        path
        for path, value in values.items()
        if is_code(value) and origin(value) not in there
    )


def test_names_of_packages():
    paths = [
        f"{package}.{name}"
        for package in PACKAGES
        for name in dir(importlib.import_module(package))
        if not name.startswith("_")
    ]
    assert {"keras_warn.augment", "keras_warn.AttentionHeads"} <= set(paths)
    assert missing(paths) == []


def used(path):
    """What a file uses of keras_warn, as paths."""
    modules = {}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full.startswith("keras_warn."):
                    modules[alias.asname or alias.name] = full
                    yield full
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            if module and hasattr(resolved(module), node.attr):
                yield f"{module}.{node.attr}"


def test_names_that_recipes_use():
    """Recipes, benchmarks and searches may be copied: what they use is public.

    Functions and classes.
    """
    paths = {
        name
        for folder in ("recipes", "benchmarks", "tuning")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in used(path)
    }
    assert "keras_warn.training.fit" in paths
    assert missing(paths) == []
