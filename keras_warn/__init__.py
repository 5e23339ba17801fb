"""Gated attention for Keras: attend, and rectify the prediction."""

import typing as _typing

# What a saved model may name must be known, or the model would not load.
from keras_warn import models as models
from keras_warn import optimizers as optimizers
from keras_warn import schedules as schedules
from keras_warn._later import import_later as _import_later
from keras_warn._version import __version__ as __version__
from keras_warn.augment import augment as augment
from keras_warn.inspection import inspect as inspect
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

# What looks at models, and no model names, is imported when it is asked for.
if _typing.TYPE_CHECKING:
    from keras_warn.callbacks import (
        TensorBoardAttention as TensorBoardAttention,
    )
    from keras_warn.explanation import explain as explain
    from keras_warn.exporting import export as export
    from keras_warn.report import report as report
    from keras_warn.summary import summary as summary

__getattr__, __dir__ = _import_later(
    __name__,
    names={
        "TensorBoardAttention": "callbacks",
        "explain": "explanation",
        "export": "exporting",
        "report": "report",
        "summary": "summary",
    },
    modules=(
        "callbacks",
        "comparison",
        "event_files",
        "explanation",
        "exporting",
        "files",
        "images",
        "masks",
        "metadata",
        "operations",
        "overlays",
        "runs",
    ),
)
