"""The mechanism, one idea a file."""

from keras_warn.layers.attended_features import AttendedFeatures
from keras_warn.layers.attention_heads import AttentionHeads
from keras_warn.layers.gated_sum import GatedSum
from keras_warn.layers.global_gate import GlobalGate
from keras_warn.layers.gradient_scale import GradientScale
from keras_warn.layers.head_gate import HeadGate
from keras_warn.layers.output_heads import OutputHeads
from keras_warn.layers.uniform_gate import UniformGate

__all__ = [
    "AttendedFeatures",
    "AttentionHeads",
    "GatedSum",
    "GlobalGate",
    "GradientScale",
    "HeadGate",
    "OutputHeads",
    "UniformGate",
]
