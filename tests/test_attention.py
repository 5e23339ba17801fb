"""The layers that `augment` adds, by what they do."""

import keras
import numpy as np
import pytest
from keras import layers
from support import needs_tensorflow

import keras_warn
from keras_warn import metadata
from keras_warn.attention import attention_of
from keras_warn.reporting.comparison import compare


def backbone():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(5, 3, 2, activation="relu")(inputs)
    return keras.Model(inputs, layers.Conv2D(7, 3, 2, activation="relu")(x))


@pytest.mark.parametrize("gates", ["softmax", "sigmoid", "average", "linear"])
def test_every_layer_that_augment_adds_has_its_place(gates):
    network = backbone()
    model = keras_warn.augment(
        network, 11, width=2, gates=gates, projection=3, gradient_scale=0.5
    )
    own = {layer.name for layer in network.layers}
    for one in (model, keras.models.clone_model(model)):
        attention = attention_of(one)
        assert attention.gates == gates
        found = [attention.global_gates.name, attention.rectified.name]
        if gates == "linear":
            found += [attention.combined.name, "predictions_stacked"]
        for module in attention.modules:
            assert module.source.shape[-1] in (5, 7)
            assert module.features.shape[-1] == 3
            found += [layer.name for layer in module.layers]
        rest = {"network_logits", "pooled_features"}
        if gates in ("softmax", "sigmoid"):
            rest.add("global_gradient")
            assert one.get_layer("global_gradient").factor == 0.5
        # Cloning names the input anew.
        added = [x.name for x in one.layers[1:] if x.name not in own]
        assert sorted(added) == sorted([*found, *rest])


@pytest.mark.parametrize(
    "use",
    [
        attention_of,
        keras_warn.inspect,
        keras_warn.summary,
        keras_warn.optimizers.attention_factors,
        lambda model: keras_warn.explain(model, np.zeros((1, 16, 16, 3))),
        lambda model: metadata.attach(model, metadata.Metadata()),
        lambda model: compare(model, (np.zeros((1, 16, 16, 3)), [0])),
        pytest.param(
            lambda model: keras_warn.export(model, "model"),
            marks=needs_tensorflow,
        ),
    ],
)
def test_of_a_model_without_attention(use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="made by `keras_warn.augment`"):
        use(backbone())
    with pytest.raises(TypeError, match="must be a `keras.Model`"):
        use("model.keras")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({}, True),
        ({"width": 3, "kernel_size": 3}, True),
        ({"gates": "softmax"}, False),
        ({"agreement_weight": 0.0}, False),
        ({"gradient_scale": 1.0}, False),
        ({"preset": "paper"}, False),
    ],
)
def test_whether_modules_leave_the_backbone_alone(arguments, expected):
    model = keras_warn.augment(backbone(), 11, **arguments)
    assert attention_of(model).side_by_side is expected
