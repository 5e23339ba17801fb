"""Networks of the paper, and those that it compares itself with."""

from paper_networks.densenet import DenseNetBC as DenseNetBC
from paper_networks.reference_weights import (
    load_reference_weights as load_reference_weights,
)
from paper_networks.resnext import ResNeXt as ResNeXt
from paper_networks.spatial_transformer import (
    SpatialTransformer as SpatialTransformer,
)
from paper_networks.wide_resnet import WideResNet as WideResNet
from paper_networks.wide_resnet_50 import WideResNet50 as WideResNet50
from paper_networks.wide_resnet_50 import (
    load_torchvision_weights as load_torchvision_weights,
)
from paper_networks.wide_resnet_att2 import WideResNetAtt2 as WideResNetAtt2
