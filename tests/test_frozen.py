"""A model in two: frozen layers, and what is trained on their outputs."""

import keras
import numpy as np
import pytest
from keras import layers
from support import to_numpy

import keras_warn


def backbone(dropout=0.0):
    """A small one with what real ones have between convolutions."""
    x = inputs = keras.Input((16, 16, 3))
    for filters in (5, 6):
        x = layers.Conv2D(filters, 3, 2, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, x)


def frozen_backbone(**options):
    model = backbone(**options)
    model.trainable = False
    return model


def attended(inner, **options):
    return keras_warn.augment(inner, 3, depth=2, width=2, **options)


def frozen(**options):
    return attended(frozen_backbone(**options))


PIXELS = np.random.default_rng(0).random((6, 16, 16, 3), "float32")


def nested(dropout=0.0):
    """As in Keras's guide to transfer learning."""
    inner = frozen_backbone(dropout=dropout)
    inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(2.0)(inputs)
    x = layers.GlobalAveragePooling2D()(inner(x, training=False))
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


def sequential():
    parts = [frozen_backbone(), layers.Flatten(), layers.Dense(3)]
    return keras.Sequential([keras.Input((16, 16, 3)), *parts])


def gated():
    penalties = {"diversity_weight": 0.1, "agreement_weight": 1.0}
    return attended(frozen_backbone(), gates="softmax", **penalties)


@pytest.mark.parametrize("build", [frozen, gated, nested, sequential])
def test_head_of_features_is_the_model(build):
    model = build()
    features, head = keras_warn.split(model)
    np.testing.assert_array_equal(
        to_numpy(head(features(PIXELS))), to_numpy(model(PIXELS))
    )
    assert not features.trainable_variables
    wanted = {id(variable) for variable in model.trainable_variables}
    assert {id(variable) for variable in head.trainable_variables} == wanted


def test_training_the_head_trains_the_model():
    """With the same losses, so that both end with the same weights."""
    labels = np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2]]
    ended = []
    for whole in (True, False):
        keras.utils.set_random_seed(0)
        model = gated()
        features, head = keras_warn.split(model)
        trained, x = (model, PIXELS) if whole else (head, features(PIXELS))
        trained.compile("sgd", "categorical_crossentropy", run_eagerly=True)
        for _ in range(3):
            trained.train_on_batch(x, labels)
        ended.append(model.get_weights())
    for one, other in zip(*ended, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_what_follows_from_the_maps_is_not_among_the_features():
    """Of pooled vectors and equal gates, the head makes its own."""
    features, _ = keras_warn.split(frozen())
    shapes = sorted(x.shape[1:] for x in features.outputs)
    assert shapes == [(4, 4, 6), (8, 8, 5)]


def moving():
    model = frozen()
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = True
    return model


def whole():
    model = frozen()
    model.trainable = False
    return model


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: frozen(dropout=0.5), r"must not change .*\(Dropout\) before"),
        # Which `fit` of Keras 3.15 overrules.
        (lambda: nested(dropout=0.5), r"must not change .*\(Dropout\) before"),
        (moving, r"must not change .*\(BatchNormalization\) before"),
        (lambda: attended(backbone()), "must begin with frozen layers"),
        (whole, "must have a layer to train"),
    ],
)
def test_errors(build, message):
    with pytest.raises(ValueError, match=message):
        keras_warn.split(build())
