"""Models for where neither this package nor Keras is installed."""

from keras_warn.exporting.command import FORMATS as FORMATS
from keras_warn.exporting.command import MASKS as MASKS
from keras_warn.exporting.command import export as export
