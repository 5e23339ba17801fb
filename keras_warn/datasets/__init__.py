"""Data of the paper's experiments."""

from keras_warn.datasets.cluttered_digits import Canvases
from keras_warn.datasets.cluttered_digits import ClutteredDigits
from keras_warn.datasets.cluttered_digits import Digits
from keras_warn.datasets.cluttered_digits import Split
from keras_warn.datasets.cluttered_digits import cluttered
from keras_warn.datasets.cluttered_digits import load_digits

__all__ = [
    "Canvases",
    "ClutteredDigits",
    "Digits",
    "Split",
    "cluttered",
    "load_digits",
]
