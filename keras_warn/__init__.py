"""Gated attention for Keras: attend, and rectify the prediction."""

from keras_warn.layers import AttendedFeatures
from keras_warn.layers import AttentionHeads
from keras_warn.layers import GatedSum
from keras_warn.layers import GlobalGate
from keras_warn.layers import GradientScale
from keras_warn.layers import HeadGate
from keras_warn.layers import OutputHeads
from keras_warn.layers import UniformGate
from keras_warn.losses import GatedLogLikelihood
from keras_warn.regularizers import MaskDiversity

from keras_warn._version import __version__ as __version__
