"""Data to train on: your own images, in batches."""

from keras_warn.data import synthetic
from keras_warn.data import transforms
from keras_warn.data.batches import ArrayBatches
from keras_warn.data.batches import Mix
from keras_warn.data.batches import TestBatches
from keras_warn.data.batches import TrainingBatches
from keras_warn.data.cluttered_digits import Canvases
from keras_warn.data.cluttered_digits import ClutteredDigits
from keras_warn.data.cluttered_digits import Digits
from keras_warn.data.cluttered_digits import Split
from keras_warn.data.cluttered_digits import cluttered
from keras_warn.data.cluttered_digits import load_digits
from keras_warn.data.image_dataset import ImageDataset
from keras_warn.data.image_folder import load_image_folder

__all__ = [
    "ArrayBatches",
    "Canvases",
    "ClutteredDigits",
    "Digits",
    "ImageDataset",
    "Mix",
    "Split",
    "TestBatches",
    "TrainingBatches",
    "cluttered",
    "load_digits",
    "load_image_folder",
    "synthetic",
    "transforms",
]
