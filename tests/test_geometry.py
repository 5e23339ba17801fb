"""Masks and evidence lie where a bright spot of the image really is."""

import dataclasses

import keras
import numpy as np
import paper_networks
import pytest
from keras import layers
from keras import ops
from support import to_numpy
from support import without_weights

import keras_warn
from keras_warn.explanation import geometry

pytestmark = pytest.mark.usefixtures("eager")

SIZE = (64, 48)


def looking_at_brightness(end, size=SIZE, data_format="channels_last"):
    """A model whose only head looks where the map `end(images)` is bright."""
    first = data_format == "channels_first"
    inputs = keras.Input((1, *size) if first else (*size, 1))
    x = layers.Identity(name="map")(end(inputs))
    model = keras_warn.augment(
        keras.Model(inputs, x), 2, attend_at="map", width=1
    )
    for part, values in (("masks", [20.0]), ("hypotheses", [[1.0, -1.0]])):
        layer = model.get_layer(f"module_1_{part}")
        layer.kernel.assign(np.reshape(values, layer.kernel.shape))
    return model


def spot(top, left, size=SIZE):
    image = np.zeros((1, *size, 1), "float32")
    image[:, top : top + 4, left : left + 4] = 1
    return image


def middles(found):
    """Where most of it is, image by image: row and column."""
    found = np.abs(found)
    found = found * (found > found.max(axis=(1, 2), keepdims=True) / 2)
    places = np.indices(found.shape[1:]) + 0.5
    return np.stack([(places * one).sum((1, 2)) / one.sum() for one in found])


def blocks(x, size=4):
    return layers.AveragePooling2D(size)(x)


def stem(x):
    for _ in range(2):
        x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
        x = layers.AveragePooling2D(3, 2)(x)
    return x


def convolved(x, **arguments):
    arguments = {"padding": "same", "trainable": False, **arguments}
    return layers.Conv2D(1, kernel_initializer="ones", **arguments)(x)


def patches_by_reshaping(x):
    x = layers.Reshape((16, 4, 12, 4, 1))(x)
    x = layers.Permute((1, 3, 2, 4, 5))(x)
    x = layers.Reshape((192, 16))(x)
    return ops.mean(x, axis=-1, keepdims=True)


def with_class_token(x):
    tokens = layers.Reshape((192, 1))(blocks(x))
    return layers.Concatenate(axis=1)([0 * tokens[:, :1], tokens])


FRONTS = {
    "CenterCrop": lambda x: blocks(layers.CenterCrop(32, 32)(x), 2),
    "CenterCrop, odd": lambda x: blocks(layers.CenterCrop(33, 31)(x), 2),
    "CenterCrop of more": lambda x: blocks(layers.CenterCrop(96, 96)(x)),
    "Cropping2D": lambda x: blocks(layers.Cropping2D(((8, 0), (0, 16)))(x)),
    "slice": lambda x: blocks(x[:, 8:-8, 16:]),
    "slice of channels": lambda x: blocks(x[..., :1]),
    "ZeroPadding2D": lambda x: blocks(
        layers.ZeroPadding2D(((32, 0), (0, 16)))(x)
    ),
    "ops.pad": lambda x: blocks(ops.pad(x, ((0, 0), (0, 8), (16, 0), (0, 0)))),
    "Resizing": lambda x: blocks(layers.Resizing(96, 24)(x), 2),
    "Resizing, larger": layers.Resizing(128, 128),
    "Resizing, cropped": lambda x: blocks(
        layers.Resizing(40, 40, crop_to_aspect_ratio=True)(x), 2
    ),
    "Resizing, padded": lambda x: blocks(
        layers.Resizing(40, 40, pad_to_aspect_ratio=True)(x), 2
    ),
    "ops.image.resize": lambda x: blocks(
        ops.image.resize(x, (40, 40), crop_to_aspect_ratio=True), 2
    ),
    "Pipeline": lambda x: blocks(
        layers.Pipeline([layers.Rescaling(0.5), layers.CenterCrop(32, 32)])(x)
    ),
    "crop behind a stride": lambda x: layers.Cropping2D(((3, 1), (0, 4)))(
        blocks(x, 2)
    ),
    "stem of MobileNetV2": stem,
    "convolutions": lambda x: convolved(
        convolved(x, kernel_size=3, strides=2), kernel_size=3, strides=2
    ),
    "valid convolutions": lambda x: convolved(
        x, kernel_size=9, padding="valid"
    ),
    "patches with a rest": lambda x: layers.AveragePooling2D(4)(x[:, :63]),
    "up again": lambda x: layers.UpSampling2D(2)(blocks(x)),
    "transposed": lambda x: layers.Conv2DTranspose(
        1, 2, 2, kernel_initializer="ones", trainable=False
    )(blocks(x)),
    "residual": lambda x: layers.Add()(
        [
            layers.MaxPooling2D(3, 2, "same")(x),
            layers.AveragePooling2D(1, 2, "same")(x),
        ]
    ),
    "weights of channels": lambda x: (
        blocks(x) * ops.sigmoid(ops.mean(x, (1, 2), keepdims=True))
    ),
    "turned and back": lambda x: ops.transpose(
        layers.Permute((2, 3, 1))(blocks(x)), (0, 3, 1, 2)
    ),
    "tokens": lambda x: layers.Reshape((192, 1))(blocks(x)),
    "class token": with_class_token,
    "without class token": lambda x: with_class_token(x)[:, 1:],
    "class token at the end": lambda x: layers.Concatenate(axis=1)(
        [with_class_token(x), 0 * with_class_token(x)[:, :1]]
    ),
    "tokens back in a grid": lambda x: layers.Reshape((16, 12, 1))(
        layers.Reshape((192, 1))(blocks(x))
    ),
    "patches by reshaping": patches_by_reshaping,
    "patches of an operation": lambda x: ops.mean(
        ops.image.extract_patches(x, 4), axis=-1, keepdims=True
    ),
    "patches of a function": lambda x: layers.Lambda(
        lambda x: ops.reshape(blocks_of(x), (-1, 192, 1)), output_shape=(192, 1)
    )(x),
}


def blocks_of(x):
    return ops.average_pool(x, (4, 4), (4, 4))


@pytest.mark.parametrize("front", FRONTS)
def test_a_bright_spot_is_where_it_is(front):
    model = looking_at_brightness(FRONTS[front])
    ((placement,)) = geometry.placements(model, SIZE)
    steps = np.array([placement.rows.step, placement.columns.step])
    images = np.concatenate([spot(20, 20), spot(36, 24)])
    explanation = keras_warn.explain(model, images, targets=0)
    for found in (explanation.masks[:, 0], explanation.attribution):
        assert found.shape == (2, *SIZE)
        off = np.abs(middles(found) - [[22, 22], [38, 26]])
        assert (off <= np.maximum(steps / 2, 1)).all(), off


def test_what_is_cropped_away_is_not_looked_at():
    model = looking_at_brightness(FRONTS["CenterCrop"])
    explanation = keras_warn.explain(model, spot(20, 20))
    outside = np.ones(SIZE, bool)
    outside[16:48, 8:40] = False
    assert not explanation.masks[..., outside].any()
    assert not explanation.attribution[..., outside].any()
    (placement,) = geometry.placements(model, SIZE)
    assert (placement.rows.crop, placement.columns.crop) == ((16, 48), (8, 40))


def test_channels_first():
    def placement(data_format):
        of = {"data_format": data_format}
        model = looking_at_brightness(
            lambda x: layers.AveragePooling2D(2, **of)(
                layers.CenterCrop(32, 32, **of)(x)
            ),
            **of,
        )
        return geometry.placements(model, SIZE)[0]

    last, first = map(placement, ("channels_last", "channels_first"))
    assert first == dataclasses.replace(last, axes=(2, 3))


def test_images_of_any_size():
    model = looking_at_brightness(FRONTS["CenterCrop"], (None, None))
    explanation = keras_warn.explain(model, spot(20, 20, (60, 70)))
    assert (np.abs(middles(explanation.masks[:, 0]) - 22) <= 1).all()


def test_stretched_over_the_whole_image_as_keras_resizes():
    """What a backbone without crops or rests has always shown."""
    maps = np.random.default_rng(0).random((5, 7, 1), "float32")
    expected = ops.image.resize(maps, (30, 35), data_format="channels_last")
    rows = geometry.Axis.of_image(30).strided(5, 6).interpolation(30)
    columns = geometry.Axis.of_image(35).strided(7, 5).interpolation(35)
    found = rows @ maps[..., 0] @ columns.T
    np.testing.assert_allclose(found, to_numpy(expected)[..., 0], atol=1e-6)


@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50"])
def test_backbones_cover_their_images(name):
    """Middles are kept: nothing shifts by half a position."""
    with without_weights():
        backbone = getattr(keras.applications, name)(
            input_shape=(96, 64, 3), include_top=False, weights=None
        )
        model = keras_warn.augment(backbone, 3, depth=1, width=1)
    (placement,) = geometry.placements(model, (96, 64))
    for axis, length in ((placement.rows, 96), (placement.columns, 64)):
        assert axis.length * axis.step == length
        assert abs(axis.start) <= 1


UNKNOWN = {
    "flip": lambda x: ops.flip(x, axis=2),
    "lambda": layers.Lambda(lambda x: x[:, ::2], output_shape=(32, 48, 1)),
    "spatial_transformer": lambda x: paper_networks.SpatialTransformer()(
        x, layers.Flatten()(x)
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_where_it_is_not_known_it_is_said(name):
    model = looking_at_brightness(UNKNOWN[name])
    with pytest.warns(UserWarning, match=f"behind the layer '{name}"):
        explanation = keras_warn.explain(model, spot(20, 20))
    assert explanation.attribution is None
    with pytest.raises(ValueError, match=f"behind the layer '{name}"):
        _ = explanation.masks
