"""How figures are measured, one idea a file."""

import importlib
import pathlib
import sys

# What benchmarks measure and read lies beside the recipes.
sys.path.append(str(pathlib.Path(__file__).parents[2] / "recipes"))


def recipe_module(name):
    """A file of that folder."""
    return importlib.import_module(name)


def recipe_of(name):
    """The `Recipe` in it."""
    return recipe_module(name).RECIPE
