"""The spatial transformer reads where its affine map says."""

import keras
import numpy as np
import pytest
from keras import ops
from paper_networks import SpatialTransformer
from support import call
from support import gradients
from support import to_numpy

pytestmark = pytest.mark.usefixtures("eager")

B, H, W, C, F = 2, 5, 7, 3, 11
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(B, H, W, C)).astype("float32")
FOUND = RNG.normal(size=(B, F)).astype("float32")
IDENTITY = np.array([1, 0, 0, 0, 1, 0], "float32")
ROTATED = np.array([0.7, -0.6, 0.1, 0.5, 0.8, -0.2], "float32")


def transformer(bias, kernel=0.0):
    layer = SpatialTransformer()
    layer.build(IMAGES.shape, FOUND.shape)
    layer.set_weights([np.broadcast_to(kernel, (F, 6)), bias])
    return layer


def expected(images, theta):
    """Equations 1 and 5 of Jaderberg et al., place by place."""
    batch, height, width, _ = images.shape
    output = np.zeros(images.shape)
    for b, i, j in np.ndindex(batch, height, width):
        place = [(2 * j + 1) / width - 1, (2 * i + 1) / height - 1, 1]
        x, y = theta[b].reshape(2, 3) @ place
        x, y = ((x + 1) * width - 1) / 2, ((y + 1) * height - 1) / 2
        for n, m in np.ndindex(height, width):
            share = max(0, 1 - abs(x - m)) * max(0, 1 - abs(y - n))
            output[b, i, j] += share * images[b, n, m]
    return output


def test_reads_by_the_equations():
    """Another map for each image; corners lie outside."""
    kernel = RNG.normal(0, 0.2, (F, 6))
    found = transformer(ROTATED, kernel)(IMAGES, FOUND)
    theta = FOUND @ kernel + ROTATED
    np.testing.assert_allclose(
        to_numpy(found), expected(IMAGES, theta), atol=1e-5
    )


@pytest.mark.parametrize("direction, far", [(2, 3.0), (5, -1e30)])
def test_zero_far_outside(direction, far):
    bias = IDENTITY.copy()
    bias[direction] = far
    found = to_numpy(transformer(bias)(IMAGES, FOUND))
    np.testing.assert_array_equal(found, np.zeros_like(IMAGES))


def test_gradients():
    """Of the map, which has to learn where to look."""
    weights = RNG.normal(size=IMAGES.shape)
    layer = transformer(ROTATED)

    def loss(bias):
        outputs = call(layer, [layer.kernel, bias], IMAGES, FOUND)
        return ops.sum(outputs * ops.convert_to_tensor(weights, "float32"))

    def reference(theta):
        return np.sum(expected(IMAGES, [theta] * B) * weights)

    (found,) = gradients(loss, [ROTATED])
    step = 1e-6
    right = [reference(ROTATED + step * unit) for unit in np.eye(6)]
    right = (np.array(right) - reference(ROTATED)) / step
    np.testing.assert_allclose(found, right, rtol=1e-3)


def network(size):
    """A localisation network of one layer, which turns each image its way."""
    images = keras.Input(size)
    found = keras.layers.GlobalAveragePooling2D()(images)
    return keras.Model(images, SpatialTransformer()(images, found))


def test_batches_and_sizes_that_are_not_known(tmp_path):
    known, unknown = network((H, W, C)), network((None, None, C))
    known.set_weights([RNG.normal(size=(C, 6)), ROTATED])
    path = tmp_path / "model.keras"
    known.save(path)
    unknown.set_weights(keras.saving.load_model(path).get_weights())
    assert unknown.output_shape == (None, None, None, C)
    for images in (IMAGES, IMAGES[:1], np.concatenate([IMAGES] * 3)):
        np.testing.assert_allclose(
            unknown.predict(images, verbose=0),
            to_numpy(known(images)),
            atol=1e-5,
        )
    assert unknown.predict(IMAGES[:, 1:, :4], verbose=0).shape == (B, 4, 4, C)


@pytest.mark.parametrize("found, kernel, bias", [(0.7, 1, 0), (0, 0, 0.7)])
def test_half_precision_does_not_round_the_map(found, kernel, bias):
    """A shift by 105 of 300 pixels, which bfloat16 rounds to 104.88."""
    images = np.arange(300, dtype="float32").reshape(1, 1, 300, 1) % 7
    layer = SpatialTransformer(dtype="mixed_bfloat16")
    layer.build(images.shape, (1, 1))
    shift = np.eye(6)[2]
    layer.set_weights([kernel * shift[None], IDENTITY + bias * shift])
    seen = layer(images, ops.array([[found]], "float32"))
    np.testing.assert_allclose(
        to_numpy(ops.cast(seen, "float32"))[:, :, :195],
        images[:, :, 105:],
        atol=1e-2,
    )


def test_integer_images_are_interpolated():
    """And not cut to integers, neither their values nor what is promised."""
    images = (10 * np.abs(IMAGES)).astype("uint8")
    layer = transformer(ROTATED)
    found = to_numpy(layer(images, FOUND))
    assert found.dtype == "float32"
    np.testing.assert_allclose(
        found, expected(images, [ROTATED] * B), atol=1e-5
    )
    symbolic = layer(keras.Input((H, W, C), dtype="uint8"), keras.Input((F,)))
    assert symbolic.dtype == "float32"
