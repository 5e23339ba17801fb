"""Networks of the paper, and those that it compares itself with."""

from keras_warn.models.densenet import DenseNetBC
from keras_warn.models.reference_weights import load_reference_weights
from keras_warn.models.resnext import ResNeXt
from keras_warn.models.spatial_transformer import SpatialTransformer
from keras_warn.models.wide_resnet import WideResNet
from keras_warn.models.wide_resnet_50 import WideResNet50
from keras_warn.models.wide_resnet_50 import load_torchvision_weights
from keras_warn.models.wide_resnet_att2 import WideResNetAtt2

__all__ = [
    "DenseNetBC",
    "ResNeXt",
    "SpatialTransformer",
    "WideResNet",
    "WideResNet50",
    "WideResNetAtt2",
    "load_reference_weights",
    "load_torchvision_weights",
]
