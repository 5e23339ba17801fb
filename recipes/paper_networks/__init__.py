"""Networks of the paper, and those that it compares itself with."""

from paper_networks.densenet import DenseNetBC
from paper_networks.reference_weights import load_reference_weights
from paper_networks.resnext import ResNeXt
from paper_networks.spatial_transformer import SpatialTransformer
from paper_networks.wide_resnet import WideResNet
from paper_networks.wide_resnet_50 import WideResNet50
from paper_networks.wide_resnet_50 import load_torchvision_weights
from paper_networks.wide_resnet_att2 import WideResNetAtt2

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
