"""Data of the paper's experiments."""

from keras_warn.datasets.cluttered_digits import Canvases
from keras_warn.datasets.cluttered_digits import ClutteredDigits
from keras_warn.datasets.cluttered_digits import Digits
from keras_warn.datasets.cluttered_digits import Split
from keras_warn.datasets.cluttered_digits import cluttered
from keras_warn.datasets.cluttered_digits import load_digits
from keras_warn.datasets.cub200 import CUB200
from keras_warn.datasets.cub200 import load_cub200

__all__ = [
    "CUB200",
    "Canvases",
    "ClutteredDigits",
    "Digits",
    "Split",
    "cluttered",
    "load_cub200",
    "load_digits",
]
