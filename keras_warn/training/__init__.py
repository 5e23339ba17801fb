"""The training kit of the recipes, which is useful alone."""

from keras_warn.training.evaluation import evaluate
from keras_warn.training.experiment import Experiment
from keras_warn.training.fitting import Trained
from keras_warn.training.fitting import fit
from keras_warn.training.networks import build_network
from keras_warn.training.recipe import SMOKE
from keras_warn.training.recipe import Recipe
from keras_warn.training.recipe import check_size
from keras_warn.training.recipe import crops
from keras_warn.training.recipe import shifts
from keras_warn.training.settings import Settings

__all__ = [
    "Experiment",
    "SMOKE",
    "Recipe",
    "Settings",
    "Trained",
    "build_network",
    "check_size",
    "crops",
    "evaluate",
    "fit",
    "shifts",
]
