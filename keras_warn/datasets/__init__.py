"""Data of the paper's experiments, and yours."""

from keras_warn.datasets import samples
from keras_warn.datasets import views
from keras_warn.datasets.adience import load_adience
from keras_warn.datasets.batches import ArrayBatches
from keras_warn.datasets.batches import Mix
from keras_warn.datasets.batches import TestBatches
from keras_warn.datasets.batches import TrainingBatches
from keras_warn.datasets.cifar import load_cifar10
from keras_warn.datasets.cifar import load_cifar100
from keras_warn.datasets.cluttered_digits import Canvases
from keras_warn.datasets.cluttered_digits import ClutteredDigits
from keras_warn.datasets.cluttered_digits import Digits
from keras_warn.datasets.cluttered_digits import Split
from keras_warn.datasets.cluttered_digits import cluttered
from keras_warn.datasets.cluttered_digits import load_digits
from keras_warn.datasets.cub200 import load_cub200
from keras_warn.datasets.from_tfds import load_tfds
from keras_warn.datasets.image_folder import load_image_folder
from keras_warn.datasets.listing import Listing
from keras_warn.datasets.stanford_cars import load_stanford_cars
from keras_warn.datasets.stanford_dogs import load_stanford_dogs
from keras_warn.datasets.uec_food100 import load_uec_food100

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
    "load_adience",
    "load_cifar10",
    "load_cifar100",
    "load_cub200",
    "load_digits",
    "load_image_folder",
    "load_stanford_cars",
    "load_stanford_dogs",
    "load_tfds",
    "load_uec_food100",
    "samples",
    "views",
]
