"""Backbones of KerasHub, where it is installed."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_warn
from keras_warn import graph
from keras_warn.attachment import attachment_points

keras_hub = pytest.importorskip("keras_hub", reason="needs keras-hub")
models = keras_hub.models

BACKBONES = {
    "ResNet": lambda: models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64],
        stackwise_num_blocks=[2, 2, 2],
        stackwise_num_strides=[1, 2, 2],
        block_type="basic_block",
        use_pre_activation=True,
        image_shape=(56, 56, 3),
    ),
    "MiT": lambda: models.MiTBackbone(
        layerwise_depths=[2, 2, 2, 2],
        layerwise_num_heads=[1, 2, 2, 2],
        layerwise_sr_ratios=[8, 4, 2, 1],
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
        hidden_dims=[8, 16, 32, 64],
        num_layers=4,
        max_drop_path_rate=0.1,
        image_shape=(64, 64, 3),
    ),
    "ViT": lambda: models.ViTBackbone(
        patch_size=14,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
        image_shape=(56, 56, 3),
    ),
    "DeiT": lambda: models.DeiTBackbone(
        image_shape=(64, 64, 3),
        patch_size=16,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
    ),
    "Swin": lambda: models.SwinTransformerBackbone(
        image_shape=(64, 64, 3),
        patch_size=4,
        embed_dim=16,
        depths=(2, 2),
        num_heads=(2, 2),
        window_size=4,
    ),
    "DINOV2": lambda: models.DINOV2Backbone(
        patch_size=14,
        num_layers=2,
        hidden_dim=16,
        num_heads=2,
        intermediate_dim=32,
        num_register_tokens=4,
        image_shape=(56, 56, 3),
        position_embedding_shape=(56, 56),
    ),
}
# What the layers of these save is not what they take (KerasHub 0.32).
REFUSED = {
    "MiT": "'hierarchical_encoder_0_0'",
    "ViT": "'vit_patching_and_embedding'",
    "DeiT": "'deit_patching_and_embedding'",
    "Swin": "'patch_embedding'",
}
POINTS = {"ResNet": 3, "DINOV2": 1}


@pytest.mark.parametrize("name", REFUSED)
def test_backbones_that_cannot_be_loaded(name):
    with pytest.raises(ValueError, match=f"`from_config`.*{REFUSED[name]}"):
        keras_warn.augment(BACKBONES[name](), classes=5, depth=1)


def test_side_outputs_are_no_feature_maps():
    flat = graph.flatten(BACKBONES["DeiT"]())
    (point,) = attachment_points(flat)
    assert point is flat.output


@pytest.mark.parametrize("name", POINTS)
def test_backbone(name, tmp_path):
    backbone = BACKBONES[name]()
    model = keras_warn.augment(backbone, classes=5, depth=POINTS[name])
    shape = keras.tree.flatten(backbone.input)[0].shape[1:]
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2, *shape)).astype("float32")
    if isinstance(backbone.input, dict):
        inputs = {key: inputs for key in backbone.input}
    intermediates = keras_warn.inspect(model)(inputs)
    np.testing.assert_allclose(
        ops.convert_to_numpy(intermediates["prediction"]).sum(-1), 1, atol=1e-5
    )
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras_warn.inspect(keras.saving.load_model(path))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(again(inputs)["prediction"]),
        ops.convert_to_numpy(intermediates["prediction"]),
    )
