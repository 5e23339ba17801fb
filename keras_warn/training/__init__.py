"""The training kit of the recipes, which is useful alone."""

from keras_warn.training.backbones import build_network as build_network
from keras_warn.training.evaluation import evaluate as evaluate
from keras_warn.training.experiment import Experiment as Experiment
from keras_warn.training.feature_cache import FeatureCache as FeatureCache
from keras_warn.training.fitting import Trained as Trained
from keras_warn.training.fitting import fit as fit
from keras_warn.training.settings import Settings as Settings
