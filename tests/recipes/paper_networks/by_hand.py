"""Networks counted by hand, and given weights that are not constant."""

import numpy as np


class Count:
    """Parameters to train, and multiplications for one image, layer by layer.

    What papers call FLOPs is mostly the latter, of convolutions and dense
    layers: a multiplication and the addition of its result are one.
    """

    def __init__(self):
        self.parameters = 0
        self.products = 0

    def conv(self, size, before, channels, pixels, groups=1):
        weights = size * size * before * channels // groups
        self.parameters += weights
        self.products += weights * pixels

    def norm(self, channels):
        self.parameters += 2 * channels

    def dense(self, before, after, bias=True):
        self.parameters += before * after + (after if bias else 0)
        self.products += before * after


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def set_lively(model, seed=1):
    """Gives all weights, also those that start constant, random values."""
    rng = np.random.default_rng(seed)
    model.set_weights(
        [
            rng.uniform(0.5, 1.5, w.shape)
            if w.ndim == 1
            else rng.normal(0, (2 / np.prod(w.shape[:-1])) ** 0.5, w.shape)
            for w in model.get_weights()
        ]
    )
