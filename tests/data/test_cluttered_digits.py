"""The rules of Cluttered Translated MNIST, and what streams promise."""

import copy
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy import stats

from keras_warn.data import ClutteredDigits
from keras_warn.data import cluttered
from keras_warn.data import load_digits

pytestmark = pytest.mark.usefixtures("eager")

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist.npz"

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
    labels = 6 - numbers
    canvases = cluttered(images, labels, 31, distractors=0)
    for canvas, label, box in zip(
        pixels(canvases), canvases.labels, canvases.boxes, strict=True
    ):
        top, left, bottom, right = box
        np.testing.assert_array_equal(
            canvas[top:bottom, left:right], images[6 - label]
        )
        canvas[top:bottom, left:right] = 0
        assert not canvas.any()


@pytest.mark.parametrize("distractors", [1, 8, 64])
def test_sums_are_clamped_to_one(distractors):
    images, labels = flat(3, value=200)
    canvases = cluttered(images, labels, 29, distractors=distractors)
    assert canvases.images.min() == 0.0
    # 200 + 200 of 255 is clamped wherever a patch meets the digit.
    assert canvases.images.max() == 1.0


def test_digits_are_placed_uniformly():
    images, labels = flat(3, value=255)
    canvases = cluttered(images, labels, 13 * 13 * 40, distractors=0)
    top, left = corner(pixels(canvases))
    np.testing.assert_array_equal(canvases.boxes[:, :2].T, [top, left])
    # 0 to 40 - 28 inclusive, rows and columns independently.
    assert_uniform(top * 13 + left, 13 * 13)


def test_distractors_are_placed_uniformly():
    images, labels = flat(1)
    # 0 to 30 - 8 inclusive.
    patches = patches_alone(images, labels, 23 * 23 * 12, canvas=30)
    top, left = corner(patches)
    assert_uniform(top * 23 + left, 23 * 23)


@pytest.mark.parametrize("patch", [1, 5, 8, 28])
def test_distractors_are_square_patches(patch):
    difference = patches_alone(*flat(2), 11, patch=patch)
    np.testing.assert_array_equal(difference.sum(axis=(1, 2)), patch**2)
    for canvas, y, x in zip(difference, *corner(difference), strict=True):
        assert canvas[y : y + patch, x : x + patch].all()


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


def test_the_same_seed_gives_the_same_bytes():
    digits = noise(5)
    first, again = cluttered(*digits, 9, seed=3), cluttered(*digits, 9, seed=3)
    for one, two in zip(first, again, strict=True):
        assert one.tobytes() == two.tobytes()
    other = cluttered(*digits, 9, seed=4)
    assert (first.images != other.images).any(axis=(1, 2, 3)).all()
    assert (first.boxes != other.boxes).any()
    assert (first.labels != other.labels).any()


def test_any_part_of_a_stream_can_be_made_on_its_own():
    digits = noise(5)
    # More than one of the pieces in which canvases are made internally.
    whole = cluttered(*digits, 600)
    for start, count in ((0, 1), (4, 3), (250, 13), (13, 587)):
        part = cluttered(*digits, count, start=start)
        for one, all_of_them in zip(part, whole, strict=True):
            np.testing.assert_array_equal(
                one, all_of_them[start : start + count]
            )


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


# The dataset.


def test_batches_are_parts_of_the_stream():
    digits = noise(7)
    dataset = ClutteredDigits(*digits, batch_size=3, count=10, distractors=2)
    assert len(dataset) == 4
    for epoch in (0, 1, 5):
        dataset.set_epoch(epoch)
        expected = cluttered(*digits, 10, start=epoch * 10, distractors=2)
        images, labels = map(np.concatenate, zip(*dataset, strict=True))
        np.testing.assert_array_equal(images, expected.images)
        np.testing.assert_array_equal(labels, expected.labels)


def test_an_epoch_is_one_of_each_digit_unless_told():
    dataset = ClutteredDigits(*noise(7), batch_size=3)
    labels = [labels for _, labels in dataset]
    assert list(map(len, labels)) == [3, 3, 1]
    assert sorted(np.concatenate(labels)) == list(range(7))
    for index in (-1, 3):
        with pytest.raises(IndexError, match=str(index)):
            dataset[index]
    dataset = ClutteredDigits(*noise(7), batch_size=3, drop_remainder=True)
    assert [len(labels) for _, labels in dataset] == [3, 3]


@pytest.mark.parametrize("fresh, different", [(True, 3), (False, 1)])
def test_clutter_is_fresh_every_epoch_without_the_callback(fresh, different):
    dataset = ClutteredDigits(*flat(4), fresh=fresh)
    seen = set()
    for _ in range(3):
        seen.add(dataset[0][0].tobytes())
        dataset.on_epoch_end()
    assert len(seen) == different


def test_a_copied_callback_still_reaches_the_dataset():
    dataset = ClutteredDigits(*noise(4))
    copy.deepcopy(dataset.epoch_callback()).on_epoch_begin(7)
    expected = cluttered(*noise(4), start=4 * 7)
    np.testing.assert_array_equal(dataset[0][0], expected.images)


def small_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.AveragePooling2D(8),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    return model


def weights(model):
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


def fit(model, dataset, **kwargs):
    model.fit(
        dataset,
        shuffle=False,
        verbose=0,
        callbacks=[dataset.epoch_callback()],
        validation_data=ClutteredDigits(*noise(10), fresh=False),
        **kwargs,
    )


def test_fit_sees_epoch_after_epoch_of_the_stream():
    digits = noise(10)
    model = small_model()
    fit(model, ClutteredDigits(*digits, batch_size=5), epochs=3)

    expected = small_model()
    stream = cluttered(*digits, 30)
    expected.fit(
        stream.images, stream.labels, batch_size=5, shuffle=False, verbose=0
    )
    np.testing.assert_array_equal(weights(model), weights(expected))


# Arguments.

BAD_SETTINGS = [
    ({"distractors": -1}, ValueError, "`distractors` must be a non-negative"),
    ({"distractors": 8.0}, TypeError, "`distractors` must be a non-negative"),
    ({"canvas": 27}, ValueError, "`canvas` must be .*at least 28.*canvas=27"),
    ({"patch": 0}, ValueError, "`patch` must be a positive.*patch=0"),
    ({"patch": 29}, ValueError, "`patch` must be .*at most 28.*patch=29"),
    ({"seed": -2}, ValueError, "`seed` must be a non-negative.*seed=-2"),
    ({"count": 0}, ValueError, "`count` must be a positive.*count=0"),
    ({"images": np.zeros((2, 28, 28))}, ValueError, "`images`.*float64"),
    ({"labels": np.arange(3)}, ValueError, "`labels` must be 2 integers"),
    ({"labels": np.zeros(2)}, ValueError, "`labels` must be .* float64"),
]


@pytest.mark.parametrize("make", [cluttered, ClutteredDigits])
@pytest.mark.parametrize("settings, error, message", BAD_SETTINGS)
def test_bad_arguments(make, settings, error, message):
    images, labels = flat(2)
    with pytest.raises(error, match=message):
        make(**({"images": images, "labels": labels} | settings))


# Sources.


def test_digits_of_sklearn():
    digits = load_digits()
    assert [len(split.labels) for split in digits] == [1197, 200, 400]
    seen = set()
    for images, labels in digits:
        assert images.shape == (len(labels), 28, 28)
        assert images.dtype == np.uint8 and labels.dtype == np.int32
        # The frame that MNIST leaves around its digits, too.
        assert not images[:, :4].any() and not images[:, :, 24:].any()
        assert images.max() == 255
        # Every class has its share.
        shares = np.bincount(labels, minlength=10) / len(labels)
        np.testing.assert_allclose(shares, 0.1, atol=0.01)
        seen |= {image.tobytes() for image in images}
    # No two of the 1,797 are alike, so none is in two parts.
    assert len(seen) == 1797


def test_labels_stay_with_their_images():
    from sklearn import datasets

    small, labels = datasets.load_digits(return_X_y=True)
    train = load_digits().train
    chosen = slice(None, None, 5)
    # Undone by taking means over what became of each pixel, more or less.
    blocks = train.images[chosen, 4:24, 4:24].reshape(-1, 4, 5, 4, 5)
    ours = blocks.mean(axis=(2, 4)).reshape(-1, 16)
    theirs = small.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    distances = np.square(ours[:, None] / 255 - theirs / 16).sum(axis=2)
    nearest = distances.argmin(axis=1)
    assert np.mean(labels[nearest] == train.labels[chosen]) > 0.99


def npz_arrays():
    images, labels = noise(12)
    return {
        "x_train": images,
        "y_train": (labels % 2).astype(np.uint8),
        "x_test": images[:3],
        "y_test": labels[:3].astype(np.uint8),
    }


def test_digits_of_a_file(tmp_path):
    path = tmp_path / "digits.npz"
    np.savez_compressed(path, **npz_arrays())
    train, validation, test = load_digits(str(path))
    # A sixth of 12, one of each of the two classes.
    assert sorted(validation.labels) == [0, 1]
    assert len(train.labels) == 10 and len(test.labels) == 3
    found = {
        image.tobytes(): label
        for part in (train, validation)
        for image, label in zip(*part, strict=True)
    }
    arrays = npz_arrays()
    assert found == {
        image.tobytes(): label
        for image, label in zip(
            arrays["x_train"], arrays["y_train"], strict=True
        )
    }


@pytest.mark.parametrize("source", ["emnist", "mnist.npy", "", None, 3])
def test_unknown_source(source):
    with pytest.raises(ValueError, match="`source` must be 'sklearn', 'mnist'"):
        load_digits(source)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_file_cut_off(tmp_path, kept):
    path = tmp_path / "digits.npz"
    np.savez_compressed(path, **npz_arrays())
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ValueError, match="and whole.*digits.npz"):
        load_digits(path)


@pytest.mark.parametrize(
    "arrays, message",
    [
        # Of pickled objects, which could run code.
        ({"y_test": np.array([{}, {}])}, "and whole.*digits.npz"),
        ({"x_test": None}, "digits.npz .*x_test"),
    ],
)
def test_files_of_other_arrays(tmp_path, arrays, message):
    arrays = npz_arrays() | arrays
    arrays = {k: v for k, v in arrays.items() if v is not None}
    np.savez(tmp_path / "digits.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_digits(tmp_path / "digits.npz")


def test_digits_of_mnist(monkeypatch):
    """Those of TensorFlow Datasets, in two batches, neither of them empty."""

    def as_dataset(split, batch_size):
        images, labels = (npz_arrays()[f"{x}_{split}"] for x in "xy")
        return [
            {"image": images[part][..., None], "label": labels[part]}
            for part in (slice(2), slice(2, None))
        ]

    builder = types.SimpleNamespace(
        is_prepared=lambda: True, as_dataset=as_dataset
    )
    module = types.SimpleNamespace(
        builder=lambda name, data_dir: builder, as_numpy=lambda x: x
    )
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    train, validation, test = load_digits("mnist")
    assert train.images.shape == (10, 28, 28)
    assert len(validation.labels) == 2 and len(test.labels) == 3


@pytest.mark.parametrize(
    "source, package",
    [("sklearn", "scikit-learn"), ("mnist", "tensorflow-datasets")],
)
def test_missing_packages_are_named(monkeypatch, source, package):
    module = {"sklearn": "sklearn", "mnist": "tensorflow_datasets"}[source]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        load_digits(source)


@pytest.mark.skipif(not MNIST.is_file(), reason=f"{MNIST} is not here")
def test_all_of_mnist():
    digits = load_digits(MNIST)
    assert [len(split.labels) for split in digits] == [50000, 10000, 10000]
    canvases = cluttered(*digits.test, 1000)
    # MNIST fits its digits into 20 by 20 pixels.
    sizes = canvases.boxes[:, 2:] - canvases.boxes[:, :2]
    assert sizes.max() <= 20 and sizes.max(axis=1).min() >= 10
