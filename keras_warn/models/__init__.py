"""Networks of the paper."""

from keras_warn.models.reference_weights import load_reference_weights
from keras_warn.models.wide_resnet import WideResNet

__all__ = ["WideResNet", "load_reference_weights"]
