"""A test set with and without attention: in numbers, figures and as a page."""

from keras_warn.reporting import comparison as comparison
from keras_warn.reporting import figures as figures
from keras_warn.reporting import pages as pages
