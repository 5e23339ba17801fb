"""Combined masks against their formula; pointing at its borders."""

import numpy as np
import pytest
from support import to_numpy
from support import two_maps

import keras_warn
from keras_warn.explanation.geometry import Axis
from keras_warn.explanation.geometry import Placement
from keras_warn.explanation.masks import combined_mask
from keras_warn.explanation.masks import masks_of
from keras_warn.explanation.masks import pointing_accuracy
from keras_warn.explanation.masks import random_baseline

pytestmark = pytest.mark.usefixtures("eager")


def outputs(shapes=((5, 7), (11, 3)), b=2, k=3):
    """What `inspect` returns for modules with masks of these shapes."""
    random = np.random.default_rng(0)

    def drawn(shape, axes):
        x = random.random(shape, "float32")
        return x / x.sum(axes, keepdims=True)

    found = {"global_gates": drawn((b, len(shapes) + 1), 1)}
    for i, (h, w) in enumerate(shapes, start=1):
        found[f"module_{i}_masks"] = drawn((b, h, w, k), (1, 2))
        found[f"module_{i}_head_gates"] = drawn((b, k), 1)
    return found


def modules_in_pixels(intermediates, size=(22, 21), axes=(1, 2)):
    """The masks of all modules, each stretched over the whole image."""
    placements = [
        Placement(
            *(
                Axis.of_image(pixels).resized(masks.shape[axis])
                for axis, pixels in zip(axes, size, strict=True)
            ),
            axes,
        )
        for name, masks in intermediates.items()
        if name.endswith("_masks")
    ]
    return to_numpy(masks_of(intermediates, placements, size))


def test_gate_weighted_sum_at_the_masks_own_size():
    intermediates = outputs(((5, 7), (5, 7)))
    found = modules_in_pixels(intermediates, (5, 7))
    for i in (1, 2):
        expected = np.einsum(
            "b,bhwk,bk->bhw",
            intermediates["global_gates"][:, i],
            intermediates[f"module_{i}_masks"],
            intermediates[f"module_{i}_head_gates"],
        )
        np.testing.assert_allclose(found[:, i - 1], expected, rtol=1e-5)


def test_coarse_and_fine_masks_weigh_as_their_gates():
    intermediates = outputs()
    found = modules_in_pixels(intermediates)
    assert found.shape == (2, 2, 22, 21)
    np.testing.assert_allclose(
        found.sum(axis=(2, 3)), intermediates["global_gates"][:, 1:], rtol=1e-4
    )


def test_sigmoid_masks_are_brought_to_the_same_sum():
    intermediates = outputs()
    expected = modules_in_pixels(intermediates)
    intermediates["module_1_masks"] *= 13
    intermediates["module_2_masks"] *= 0  # which stay zero
    found = modules_in_pixels(intermediates)
    np.testing.assert_allclose(found[:, 0], expected[:, 0], rtol=1e-4)
    np.testing.assert_array_equal(found[:, 1], 0)


def test_channels_first_masks():
    intermediates = outputs()
    expected = modules_in_pixels(intermediates)
    for i in (1, 2):
        masks = intermediates[f"module_{i}_masks"]
        intermediates[f"module_{i}_masks"] = masks.transpose(0, 3, 1, 2)
    found = modules_in_pixels(intermediates, axes=(2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("gates", ["softmax", "average", "linear"])
def test_of_two_maps(gates):
    model = two_maps(gates=gates)
    images = np.random.default_rng(0).random((2, 24, 20, 1), "float32")
    found = combined_mask(model, keras_warn.inspect(model)(images), (24, 20))
    assert found.shape == (2, 24, 20)
    explained = keras_warn.explain(model, images).masks
    np.testing.assert_array_equal(found, explained.sum(axis=1))
    assert (found.sum(axis=(1, 2)) < 1).all()
    if gates != "softmax":
        np.testing.assert_allclose(found.sum(axis=(1, 2)), 2 / 3, rtol=1e-4)


@pytest.mark.parametrize(
    "size, error, message",
    [(5, TypeError, "size=5"), ((5, 0), ValueError, "size=0")],
)
def test_errors_of_masks(size, error, message):
    with pytest.raises(error, match=message):
        combined_mask(None, {}, size)


@pytest.mark.parametrize(
    "box, inside",
    [
        ([2, 3, 3, 4], 1),  # the point itself
        ([0, 0, 2, 7], 0),  # ends above
        ([3, 0, 5, 7], 0),  # starts below
        ([0, 0, 5, 3], 0),  # ends left of it
        ([0, 4, 5, 7], 0),  # starts right of it
        ([0, 0, 5, 7], 1),
    ],
)
def test_boxes_are_half_open(box, inside):
    mask = np.zeros((1, 5, 7))
    mask[0, 2, 3] = 1
    assert pointing_accuracy(mask, np.array([box])) == inside


def test_equally_strong_points_count_in_parts():
    mask = np.zeros((1, 5, 7), "float32")
    mask[0, 2, 3:7] = 0.1
    # Rounding does not break the tie.
    mask[0, 2, 3] = np.nextafter(np.float32(0.1), np.float32(1))
    assert pointing_accuracy(mask, np.array([[0, 0, 5, 6]])) == 0.75


def test_a_mask_that_is_the_same_everywhere_scores_chance():
    boxes = np.array([[0, 1, 2, 4], [1, 1, 5, 2], [0, 0, 5, 7]])
    chance = random_baseline(boxes, (5, 7))
    assert chance == pytest.approx((6 + 4 + 35) / 3 / 35)
    for masks in (np.zeros((3, 5, 7)), np.ones((3, 5, 7))):
        assert pointing_accuracy(masks, boxes) == pytest.approx(chance)


@pytest.mark.parametrize(
    "box, error, message",
    [
        ([0.0, 0, 1, 1], TypeError, "float64"),
        ([0, 0, 0, 1], ValueError, r"box \[0, 0, 0, 1\]"),
        ([0, 0, 6, 1], ValueError, "in images of 5 by 7"),
        ([-1, 0, 5, 1], ValueError, r"box \[-1"),
    ],
)
def test_errors_of_pointing(box, error, message):
    with pytest.raises(error, match=message):
        pointing_accuracy(np.zeros((1, 5, 7)), np.array([box]))
    with pytest.raises(ValueError, match="each of the 2 masks.*1 rows"):
        pointing_accuracy(np.zeros((2, 5, 7)), np.array([[0, 0, 1, 1]]))
