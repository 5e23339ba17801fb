"""Data to train on: your own images, in batches of views."""

from keras_warn.datasets import synthetic
from keras_warn.datasets import views
from keras_warn.datasets.batches import ArrayBatches
from keras_warn.datasets.batches import Mix
from keras_warn.datasets.batches import TestBatches
from keras_warn.datasets.batches import TrainingBatches
from keras_warn.datasets.cluttered_digits import Canvases
from keras_warn.datasets.cluttered_digits import ClutteredDigits
from keras_warn.datasets.cluttered_digits import Digits
from keras_warn.datasets.cluttered_digits import Split
from keras_warn.datasets.cluttered_digits import cluttered
from keras_warn.datasets.cluttered_digits import load_digits
from keras_warn.datasets.image_folder import load_image_folder
from keras_warn.datasets.listing import Listing

__all__ = [
    "ArrayBatches",
    "Canvases",
    "ClutteredDigits",
    "Digits",
    "Listing",
    "Mix",
    "Split",
    "TestBatches",
    "TrainingBatches",
    "cluttered",
    "load_digits",
    "load_image_folder",
    "synthetic",
    "views",
]
