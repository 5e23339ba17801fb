"""The reference has every name that a user may use."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import keras_warn

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "keras_warn.data",
    "keras_warn.layers",
    "keras_warn.training",
)


def resolved(path):
    """The module or object that a dotted path names."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(path)


def origin(value):
    """Where a function or class is defined."""
    return f"{value.__module__}.{value.__qualname__}"


def is_code(value):
    return inspect.isfunction(value) or inspect.isclass(value)


def documented():
    """Origins of functions and classes, and paths of constants."""
    found = set()
    for page in (ROOT / "docs" / "api").glob("*.md"):
        for path in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE):
            value = resolved(path)
            if inspect.ismodule(value):
                found |= {
                    origin(member)
                    for name, member in vars(value).items()
                    if is_code(member)
                    and member.__module__ == path
                    and not name.startswith("_")
                }
            else:
                found.add(origin(value) if is_code(value) else path)
    return found


def missing(names):
    """Of paths, those that the reference does not have."""
    there = documented()
    values = {name: resolved(name) for name in names}
    return sorted(
        name
        for name, value in values.items()
        if not inspect.ismodule(value)
        and name not in there
        and not (is_code(value) and origin(value) in there)
    )


def test_names_of_the_package():
    found = {
        name: getattr(keras_warn, name)
        for name in dir(keras_warn)
        if not name.startswith("_")
    }
    found = {name: value for name, value in found.items() if is_code(value)}
    assert {"augment", "explain", "report", "AttentionHeads"} <= set(found)
    there = documented()
    assert [n for n, value in found.items() if origin(value) not in there] == []


def test_names_of_its_packages():
    names = [
        f"{package}.{name}"
        for package in PACKAGES
        for name, value in vars(importlib.import_module(package)).items()
        if is_code(value) and not name.startswith("_")
    ]
    assert missing(names) == []


def used(path):
    """Functions and classes of keras_warn that a file uses, as paths."""
    tree = ast.parse(path.read_text("utf-8"))
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module.split(".")[0] != "keras_warn":
                continue
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if inspect.ismodule(resolved(full)):
                    modules[alias.asname or alias.name] = full
                else:
                    yield full
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in modules:
                full = f"{modules[node.value.id]}.{node.attr}"
                if hasattr(resolved(modules[node.value.id]), node.attr):
                    yield full


def test_names_that_recipes_use():
    """Recipes, benchmarks and searches may be copied: what they use is public.

    Functions and classes; of constants, those of packages, see above.
    """
    names = {
        name
        for folder in ("recipes", "benchmarks", "tuning")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in used(path)
    }
    assert "keras_warn.training.fit" in names
    assert missing(n for n in names if is_code(resolved(n))) == []
