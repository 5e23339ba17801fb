"""Benchmarks are imported as when `python benchmarks/overhead.py` runs."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benchmarks"))
