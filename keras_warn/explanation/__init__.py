"""What a prediction is made of, and where in the image it comes from."""

from keras_warn.explanation import masks as masks
from keras_warn.explanation import overlays as overlays
from keras_warn.explanation.decomposition import Explanation as Explanation
from keras_warn.explanation.decomposition import contributions as contributions
from keras_warn.explanation.decomposition import explain as explain
from keras_warn.explanation.decomposition import outcomes as outcomes
from keras_warn.explanation.intermediates import inspect as inspect
