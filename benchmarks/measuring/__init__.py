"""How figures are measured, one idea a file."""

import pathlib
import sys

# What benchmarks measure and read lies beside the recipes.
sys.path.append(str(pathlib.Path(__file__).parents[2] / "recipes"))
