"""The training kit of the recipes, which is useful alone."""

from keras_warn.training.backbones import build_network
from keras_warn.training.evaluation import evaluate
from keras_warn.training.experiment import Experiment
from keras_warn.training.feature_cache import FeatureCache
from keras_warn.training.fitting import Trained
from keras_warn.training.fitting import fit
from keras_warn.training.settings import Settings

__all__ = [
    "Experiment",
    "FeatureCache",
    "Settings",
    "Trained",
    "build_network",
    "evaluate",
    "fit",
]
