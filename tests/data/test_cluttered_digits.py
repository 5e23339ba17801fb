"""The rules of Cluttered Translated MNIST, and what streams promise."""

import itertools
import sys
import types

import keras
import numpy as np
import pytest
from scipy import stats
from support import assert_all_equal

from keras_warn.data import ClutteredDigits
from keras_warn.data import cluttered
from keras_warn.data import load_digits

# Chance alone fails a fair generator this rarely; seeds are fixed besides.
UNLIKELY = 1e-4


def flat(n, value=1):
    """Digits of one brightness, told apart by their labels."""
    return np.full((n, 28, 28), value, np.uint8), np.arange(n)


def noise(n, low=1):
    random = np.random.default_rng(0)
    images = random.integers(low, 256, (n, 28, 28), np.uint8)
    return images, np.arange(n)


def pixels(canvases):
    """Canvases as whole numbers up to 255, without the channel axis."""
    return np.rint(canvases.images[..., 0] * 255).astype(int)


def corner(images):
    """Row and column of the first pixel above zero of each image."""
    lit = images > 0
    return lit.any(axis=2).argmax(axis=1), lit.any(axis=1).argmax(axis=1)


def patches_alone(images, labels, count, **options):
    """Canvases with one distractor, from which the digit is taken away."""
    bare = cluttered(images, labels, count, distractors=0, **options)
    full = cluttered(images, labels, count, distractors=1, **options)
    return pixels(full) - pixels(bare)


def assert_uniform(values, size):
    counts = np.bincount(values, minlength=size)
    assert len(counts) == size and counts.min() > 0
    assert stats.chisquare(counts).pvalue > UNLIKELY


# The rules.


def test_without_distractors_there_is_the_digit_on_black():
    images, numbers = noise(7, low=60)
    canvases = cluttered(images, 6 - numbers, 31, distractors=0)
    for canvas, label, box in zip(
        pixels(canvases), canvases.labels, canvases.boxes, strict=True
    ):
        expected = np.zeros((40, 40), int)
        expected[box[0] : box[2], box[1] : box[3]] = images[6 - label]
        np.testing.assert_array_equal(canvas, expected)


def test_distractors_are_squares_that_are_placed_uniformly():
    patches = patches_alone(*flat(1), 21 * 21 * 12, canvas=30, patch=10)
    for axis in (1, 2):
        assert set(patches.any(axis=axis).sum(axis=1)) == {10}
    assert set(patches.sum(axis=(1, 2))) == {10**2}
    top, left = corner(patches)
    # 0 to 30 - 10 inclusive.
    assert_uniform(top * 21 + left, 21 * 21)


def test_distractors_are_cut_uniformly():
    rows = np.repeat(np.arange(1, 29, dtype=np.uint8)[:, None], 28, axis=1)
    tops, lefts = [], []
    for image, found in ((rows, tops), (rows.T, lefts)):
        patches = patches_alone(image[None], np.zeros(1, int), 21 * 21 * 12)
        # The smallest number on a patch is that of its first row or column.
        smallest = np.where(patches > 0, patches, 255).min(axis=(1, 2))
        found.append(smallest - 1)
    # 0 to 28 - 8 inclusive; the seed is one, so the canvases are the same.
    assert_uniform(tops[0] * 21 + lefts[0], 21 * 21)


def test_distractors_come_from_any_digit_even_the_same():
    images, labels = flat(5)
    images += np.arange(5, dtype=np.uint8)[:, None, None]
    count = 5 * 5 * 40
    patches = patches_alone(images, labels, count)
    source = patches.max(axis=(1, 2)) - 1
    placed = cluttered(images, labels, count).labels
    assert_uniform(source * 5 + placed, 25)


def test_boxes_hold_all_ink_and_no_more():
    images = np.zeros((1, 28, 28), np.uint8)
    images[0, 3:20, 5:16] = 51  # a rim as bright as the threshold: no ink
    images[0, 4:19, 7:14] = 52
    canvases = cluttered(images, np.zeros(1, int), 23, distractors=0)
    top, left, bottom, right = canvases.boxes.T
    assert set(bottom - top) == {15} and set(right - left) == {7}
    for canvas, box in zip(pixels(canvases), canvases.boxes, strict=True):
        inside = canvas[box[0] : box[2], box[1] : box[3]]
        assert (inside == 52).all() and (canvas == 52).sum() == 15 * 7
    # Without ink, that is all of it.
    boxes = cluttered(0 * images, np.zeros(1, int), 5).boxes
    np.testing.assert_array_equal(boxes[:, 2:] - boxes[:, :2], 28)


def test_every_digit_is_used_once_a_pass():
    images, labels = flat(11)
    orders = cluttered(images, labels, 55).labels.reshape(5, 11)
    for order in orders:
        assert sorted(order) == list(range(11))
    assert len({tuple(order) for order in orders}) == 5


# Streams.


def test_any_part_of_a_stream_can_be_made_on_its_own():
    digits = noise(5)
    whole = cluttered(*digits, 60, seed=3)
    for start, count in ((0, 1), (4, 3), (13, 47)):
        part = cluttered(*digits, count, start=start, seed=3)
        expected = [array[start : start + count] for array in whole]
        assert_all_equal(part, expected)
    other = cluttered(*digits, 60, seed=4)
    assert (other.images != whole.images).any(axis=(1, 2, 3)).all()
    assert (other.boxes != whole.boxes).any()
    assert (other.labels != whole.labels).any()


def test_more_distractors_are_added_to_the_same_canvas():
    few, many = (cluttered(*flat(5), 9, distractors=d) for d in (8, 64))
    np.testing.assert_array_equal(few.labels, many.labels)
    np.testing.assert_array_equal(few.boxes, many.boxes)
    added = pixels(many) - pixels(few)
    assert added.min() == 0
    np.testing.assert_array_equal(added.sum(axis=(1, 2)), (64 - 8) * 8**2)


def test_streams_outlast_versions():
    # What this seed gave when it was first made. A change here changes
    # everyone's data: it should be meant.
    canvases = cluttered(*flat(10, value=255), 4, start=8, seed=5)
    assert canvases.labels.tolist() == [8, 1, 2, 9]
    corners = [[5, 10], [0, 3], [7, 5], [8, 10]]
    assert canvases.boxes[:, :2].tolist() == corners
    areas = (canvases.images > 0).sum(axis=(1, 2, 3))
    assert areas.tolist() == [917, 994, 928, 922]
    # Sums are clamped.
    assert set(np.unique(canvases.images)) == {0, 1}


# The dataset.


def test_batches_are_parts_of_the_stream():
    digits = noise(7)
    dataset = ClutteredDigits(*digits, batch_size=3, count=10, distractors=2)
    for epoch in (0, 1, 5):
        dataset.set_epoch(epoch)
        expected = cluttered(*digits, 10, start=epoch * 10, distractors=2)
        batches = list(dataset)
        assert [len(labels) for _, labels in batches] == [3, 3, 3, 1]
        found = map(np.concatenate, zip(*batches, strict=True))
        assert_all_equal(found, expected[:2])
    model = keras.Sequential([keras.layers.Flatten()])
    found = model.predict(dataset, verbose=0)
    np.testing.assert_array_equal(found, expected.images.reshape(10, -1))
    dataset = ClutteredDigits(*digits, batch_size=3, drop_remainder=True)
    assert [len(labels) for _, labels in dataset] == [3, 3]


@pytest.mark.parametrize("fresh, different", [(True, 3), (False, 1)])
def test_clutter_is_fresh_in_every_epoch_of_keras(fresh, different):
    dataset = ClutteredDigits(*flat(4), fresh=fresh)
    seen = set()
    for _ in range(3):
        seen.add(dataset[0][0].tobytes())
        dataset.on_epoch_end()
    assert len(seen) == different


def test_the_batches_of_all_epochs_begin_anywhere():
    """As `fit` takes them: what Keras does between epochs does not count."""
    digits = noise(7)
    dataset = ClutteredDigits(*digits, batch_size=3)
    found = []
    for batch in itertools.islice(dataset.dataset(epoch=1, step=2), 4):
        found.append(batch)
        dataset.on_epoch_end()
    expected = cluttered(*digits, 14, start=7)
    for array, batches in zip(expected, zip(*found, strict=True), strict=False):
        np.testing.assert_array_equal(np.concatenate(batches), array[6:])


# Arguments.


@pytest.mark.parametrize("make", [cluttered, ClutteredDigits])
@pytest.mark.parametrize(
    "settings, message",
    [
        ({"distractors": 8.0}, "`distractors` must be a non-negative integer"),
        ({"canvas": 27}, "`canvas` must be .*at least 28.*canvas=27"),
        ({"patch": 29}, "`patch` must be .*at most 28.*patch=29"),
        ({"seed": -2}, "`seed` must be a non-negative.*seed=-2"),
        ({"count": 0}, "`count` must be a positive.*count=0"),
        ({"images": np.zeros((2, 28, 28))}, "`images`.*float64"),
        ({"labels": np.arange(3)}, "`labels` must be 2 integers"),
        ({"labels": np.zeros(2)}, "`labels` must be .* float64"),
    ],
)
def test_bad_arguments(make, settings, message):
    images, labels = flat(2)
    with pytest.raises((TypeError, ValueError), match=message):
        make(**({"images": images, "labels": labels} | settings))


# Sources.


def test_digits_of_sklearn():
    digits = load_digits()
    assert [len(split.labels) for split in digits] == [1197, 200, 400]
    seen = set()
    train = digits.train
    means = [train.images[train.labels == k].mean(axis=0) for k in range(10)]
    for images, labels in digits:
        assert images.shape == (len(labels), 28, 28)
        assert images.dtype == np.uint8 and labels.dtype == np.int32
        # The frame that MNIST leaves around its digits, too.
        assert not images[:, :4].any() and not images[:, :, 24:].any()
        assert images.max() == 255
        # Every class has its share.
        shares = np.bincount(labels, minlength=10) / len(labels)
        np.testing.assert_allclose(shares, 0.1, atol=0.01)
        # Labels stay with their images.
        distances = np.square(images[:, None] - means).sum(axis=(2, 3))
        assert np.mean(distances.argmin(axis=1) == labels) > 0.85
        seen |= {image.tobytes() for image in images}
    # No two of the 1,797 are alike, so none is in two parts.
    assert len(seen) == 1797


def published():
    """Arrays as MNIST's."""
    images, labels = noise(12)
    return {
        "x_train": images,
        "y_train": (labels % 2).astype(np.uint8),
        "x_test": images[:3],
        "y_test": labels[:3].astype(np.uint8),
    }


class Builder:
    """Of TensorFlow Datasets, with the same arrays."""

    def is_prepared(self):
        return True

    def as_dataset(self, split, batch_size):
        assert batch_size == -1  # all at once
        images, labels = (published()[f"{x}_{split}"] for x in "xy")
        return {"image": images[..., None], "label": labels}


@pytest.mark.parametrize("source", ["digits.npz", "mnist"])
def test_a_sixth_is_split_off_to_validate(tmp_path, monkeypatch, source):
    module = types.SimpleNamespace(
        builder=lambda name, data_dir: Builder(), as_numpy=lambda x: x
    )
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    monkeypatch.chdir(tmp_path)
    np.savez_compressed("digits.npz", **published())
    train, validation, test = load_digits(source)
    # A sixth of 12, one of each of the two classes.
    assert sorted(validation.labels) == [0, 1]
    arrays = [published()[name] for name in ("x_test", "y_test")]
    assert_all_equal(test, arrays)
    found = [
        (image.tobytes(), label)
        for part in (train, validation)
        for image, label in zip(*part, strict=True)
    ]
    images, labels = (published()[name] for name in ("x_train", "y_train"))
    expected = zip([x.tobytes() for x in images], labels, strict=True)
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    "change, kept, message",
    [
        ({}, 0.5, "and whole.*digits.npz"),
        # Of pickled objects, which could run code.
        ({"y_test": np.array([{}, {}])}, 1, "and whole.*digits.npz"),
        ({"x_test": np.zeros((3, 28))}, 1, "digits.npz .*`images` must be"),
        ({"x_test": None}, 1, "digits.npz .*x_test"),
    ],
)
def test_files_of_other_arrays(tmp_path, change, kept, message):
    path = tmp_path / "digits.npz"
    arrays = published() | change
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ValueError, match=message):
        load_digits(path)


def test_unknown_source():
    with pytest.raises(ValueError, match="`source` must be 'sklearn', 'mnist'"):
        load_digits("emnist")


@pytest.mark.parametrize(
    "source, module, package",
    [
        ("sklearn", "sklearn", "scikit-learn"),
        ("mnist", "tensorflow_datasets", "tensorflow-datasets"),
    ],
)
def test_missing_packages_are_named(monkeypatch, source, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        load_digits(source)
