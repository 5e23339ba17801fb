"""Gated attention for Keras: attend, and rectify the prediction.

Public are the names below, and what else docs/api names.
"""

from keras_warn import callbacks as callbacks
from keras_warn import confidence as confidence
from keras_warn import data as data
from keras_warn import exits as exits
from keras_warn import explanation as explanation
from keras_warn import files as files
from keras_warn import layers as layers
from keras_warn import losses as losses
from keras_warn import metadata as metadata
from keras_warn import operations as operations
from keras_warn import optimizers as optimizers
from keras_warn import regularizers as regularizers
from keras_warn import reporting as reporting
from keras_warn import schedules as schedules
from keras_warn import training as training
from keras_warn._frozen import split as split
from keras_warn._summary import summary as summary
from keras_warn._version import __version__ as __version__
from keras_warn.augmenting import augment as augment
from keras_warn.callbacks import TensorBoardAttention as TensorBoardAttention
from keras_warn.explanation import explain as explain
from keras_warn.explanation import inspect as inspect
from keras_warn.exporting import export as export
from keras_warn.layers import AttendedFeatures as AttendedFeatures
from keras_warn.layers import AttentionHeads as AttentionHeads
from keras_warn.layers import GatedSum as GatedSum
from keras_warn.layers import GlobalGate as GlobalGate
from keras_warn.layers import GradientScale as GradientScale
from keras_warn.layers import HeadGate as HeadGate
from keras_warn.layers import OutputHeads as OutputHeads
from keras_warn.layers import UniformGate as UniformGate
from keras_warn.losses import GatedLogLikelihood as GatedLogLikelihood
from keras_warn.regularizers import MaskDiversity as MaskDiversity
from keras_warn.reporting.calibration import calibrate as calibrate
from keras_warn.reporting.early_exits import early_exits as early_exits
from keras_warn.reporting.report import report as report
from keras_warn.staging import stages as stages
