"""Data to train on: your own images, in batches."""

from keras_warn.data import synthetic as synthetic
from keras_warn.data import transforms as transforms
from keras_warn.data.batches import ArrayBatches as ArrayBatches
from keras_warn.data.batches import Mix as Mix
from keras_warn.data.batches import TestBatches as TestBatches
from keras_warn.data.batches import TrainingBatches as TrainingBatches
from keras_warn.data.cluttered_digits import Canvases as Canvases
from keras_warn.data.cluttered_digits import ClutteredDigits as ClutteredDigits
from keras_warn.data.cluttered_digits import Digits as Digits
from keras_warn.data.cluttered_digits import Split as Split
from keras_warn.data.cluttered_digits import cluttered as cluttered
from keras_warn.data.cluttered_digits import load_digits as load_digits
from keras_warn.data.image_dataset import ImageDataset as ImageDataset
from keras_warn.data.image_folder import load_image_folder as load_image_folder
