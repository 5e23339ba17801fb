"""How figures are measured, one idea a file."""

import importlib
import os
import pathlib
import sys

# Before TensorFlow is imported: its start-up lines are not ours to explain.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What benchmarks measure and read lies beside the recipes.
sys.path.append(str(pathlib.Path(__file__).parents[2] / "recipes"))


def recipe_of(name):
    """The `Recipe` in a file of that folder."""
    return importlib.import_module(name).RECIPE
