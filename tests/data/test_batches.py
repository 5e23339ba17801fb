"""Batches that do not depend on when, where and beside what they are made."""

import itertools

import keras
import numpy as np
import odd_images
import PIL.Image
import pytest
from support import to_numpy

from keras_warn.data import ArrayBatches
from keras_warn.data import ImageDataset
from keras_warn.data import Mix
from keras_warn.data import TestBatches
from keras_warn.data import TrainingBatches
from keras_warn.data import transforms
from keras_warn.data.batches import VIEW
from keras_warn.training import evaluate

pytestmark = pytest.mark.usefixtures("eager")


def listed(pixels, labels):
    paths = [f"{i}" for i in range(len(pixels))]
    return ImageDataset("some", paths, labels, "abcde", {}, contents=pixels)


def numbered(count):
    """Images that tell which they are by the brightness of all pixels."""
    pixels = np.zeros((count, 7, 7, 3), "uint8")
    pixels[:] = np.arange(count)[:, None, None, None]
    return listed(pixels, np.arange(count) % 5)


def noise():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (11, 8, 8, 3), "uint8")
    return listed(pixels, random.integers(0, 5, 11))


def shifted(batch_size=4, **options):
    return TrainingBatches(
        noise(), transforms.PadAndCrop(2), batch_size, **options
    )


def of_arrays(labels):
    return ArrayBatches(np.zeros((2, 8, 8, 1)), labels, classes=2)


def assert_same(found, expected):
    """The images of two batches, and their labels."""
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def brightness(images):
    return images[:, 0, 0, 0].astype(int).tolist()


def epoch_of(batches, epoch):
    """Brightness and labels of the images of an epoch, in their order."""
    found = [batches.batch(epoch, i) for i in range(len(batches))]
    images, labels = map(np.concatenate, zip(*found, strict=True))
    return brightness(images), labels


def test_an_epoch_has_each_image_once_in_an_order_of_its_own():
    """And of the seed."""
    orders = set()
    for seed, epoch in itertools.product(range(2), range(3)):
        batches = TrainingBatches(numbered(23), transforms.Identity(), 4, seed)
        order, labels = epoch_of(batches, epoch)
        # Less those that would make a smaller batch.
        assert len(order) == len(set(order)) == 20
        assert labels.dtype == np.float32
        np.testing.assert_array_equal(labels, np.eye(5)[np.array(order) % 5])
        orders.add(tuple(order))
    assert len(orders) == 6
    # Whoever is omitted differs, too.
    assert len(set(map(frozenset, orders))) > 1


def test_what_is_drawn_for_an_image_depends_on_seed_and_epoch_alone():
    """Not on the batch that it is in."""

    def drawn(batch_size, epoch, seed=0):
        # All the same: what differs was drawn.
        black = listed(np.zeros((12, 2, 2, 3), "uint8"), [0] * 12)
        batches = TrainingBatches(
            black,
            lambda image, random: np.asarray(image) + random.integers(256),
            batch_size,
            seed,
        )
        return sorted(epoch_of(batches, epoch)[0])

    first = drawn(3, 0)
    assert drawn(4, 0) == first
    # Twelve numbers out of 256 are hardly ever the same.
    assert len(set(first)) > 7
    assert first != drawn(3, 1) != drawn(3, 1, seed=1)


@pytest.mark.parametrize("mix", [None, Mix(mixup=0.4, cutmix=1.0)])
def test_a_data_set_has_the_same_batches_wherever_it_begins(mix):
    """It works in parallel; the order of the batches stays."""
    places = [divmod(i, 2) for i in range(6)]
    # Each of an object of its own, which has made no other.
    options = {"seed": 3, "mix": mix}
    expected = [shifted(**options).batch(*place) for place in places]
    for start in (0, 1, 4, 3):
        dataset = shifted(**options).dataset(*places[start])
        # Without which Keras would build nothing for several devices.
        shapes = [one.shape for one in dataset.element_spec]
        assert shapes == [(4, 8, 8, 3), (4, 5)]
        found = dataset.take(6 - start).as_numpy_iterator()
        for batch, other in zip(found, expected[start:], strict=True):
            assert_same(batch, other)


@pytest.mark.parametrize("mix", [None, Mix(mixup=0.4), Mix(cutmix=1.0)])
def test_parts_are_the_whole_batch(mix):
    whole, *parts = (
        shifted(batch_size=6, seed=3, mix=mix, part=part)
        for part in ((0, 1), (0, 3), (1, 3), (2, 3))
    )
    batches = [part.batch(1, 0) for part in parts]
    assert [len(images) for images, _ in batches] == [2, 2, 2]
    found = [np.concatenate(x) for x in zip(*batches, strict=True)]
    assert_same(found, whole.batch(1, 0))


@pytest.mark.parametrize("cropped", [False, True])
def test_files_are_seen_as_the_arrays_that_are_read_of_them(tmp_path, cropped):
    """What was decoded is cut and shrunk before it becomes an array."""
    paths = [tmp_path / "color.png", tmp_path / "gray.png"]
    for path, shape in zip(paths, [(53, 71, 3), (71, 53)], strict=True):
        pixels = np.random.default_rng(0).integers(0, 256, shape, "uint8")
        PIL.Image.fromarray(pixels).save(path, exif=odd_images.exif(6))
    boxes = [(3.5, 5, 40, 44.5)] * 2
    images = ImageDataset("noise", paths, [0, 1], "ab", {}, boxes=boxes)
    for kind, transform in (
        (TrainingBatches, transforms.RandomCrop(11, 13)),
        (TestBatches, transforms.CenterCrop(11, 13)),
    ):
        batches = kind(images, transform, batch_size=2, cropped=cropped)
        for epoch, i in itertools.product(range(3), range(2)):
            random = np.random.default_rng((VIEW, 0, epoch, i))
            np.testing.assert_array_equal(
                batches.see(epoch, i),
                transform(images.read(i, cropped), random),
            )


def test_test_batches_are_in_order_and_filled_up():
    batches = TestBatches(numbered(11), transforms.Identity(), 4)
    assert len(batches) == 3
    assert batches.dataset.element_spec.shape == (4, 7, 7, 3)
    expected = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 10]]
    assert [brightness(batches.batch(i)) for i in range(3)] == expected
    for _ in range(2):  # it is kept, and begins anew
        found = [brightness(x) for x in batches.dataset.as_numpy_iterator()]
        assert found == expected


@pytest.mark.parametrize("batch_size", [4, 30])
def test_predictions_are_those_of_single_images(batch_size):
    """Of listed images, and of arrays."""
    dataset = noise()
    model = keras.Sequential(
        [
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(5, "softmax"),
        ]
    )
    pixels = dataset.contents.astype("float32")
    expected = [to_numpy(model(image[None]))[0] for image in pixels]
    images = TestBatches(dataset, transforms.Identity(), batch_size)
    arrays = ArrayBatches(pixels, dataset.labels, 5, batch_size)
    for batches in (images, arrays):
        found = batches.predict(model)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert evaluate(model, arrays) == pytest.approx(evaluate(model, images))


@pytest.mark.parametrize(
    "mix, blended",
    [
        (Mix(mixup=1.0), range(20, 21)),
        (Mix(cutmix=1.0), range(0, 1)),
        # Each batch gets one of them.
        (Mix(mixup=1.0, cutmix=1.0), range(4, 17)),
    ],
)
def test_images_and_labels_are_mixed_by_the_same_share(mix, blended):
    """Labels tell of an image's mean here: both are linear in its value."""
    values = np.random.default_rng(0).permutation(32).astype("uint8")
    images = np.tile(values[:, None, None, None], (1, 6, 6, 3))
    labels = np.stack([values, 31 - values], axis=1) / 31
    blends = 0
    for seed in range(20):
        mixed, shares = mix(images, labels, np.random.default_rng(seed))
        assert mixed.dtype == shares.dtype == np.float32
        means = mixed.mean(axis=(1, 2, 3)) / 31
        wanted = np.stack([means, 1 - means], axis=1)
        np.testing.assert_allclose(shares, wanted, atol=1e-5)
        assert (np.abs(means - values / 31) > 1e-3).mean() > 0.5
        # CutMix pastes pixels of one other image, as they are.
        blends += bool((mixed % 1).any())
        assert all(len(np.unique(one)) <= 2 for one in mixed)
    assert blends in blended


@pytest.mark.parametrize(
    "make, arguments, message",
    [
        (
            shifted,
            {"batch_size": 12},
            "at most the number .* 11 of some. .*=12",
        ),
        (shifted, {"batch_size": 2.0}, "`batch_size` must be a positive integ"),
        (shifted, {"seed": -1}, "`seed` must be a non-negative integer"),
        (shifted, {"cropped": 1}, "`cropped` must be True or False"),
        (shifted, {"part": (0, 3)}, "`batch_size` must be divisible .*=4"),
        (shifted, {"part": (2, 2)}, r"`part` must be .*\(2, 2\)"),
        (shifted, {"part": (-1, 2)}, r"`part` must be .*\(-1, 2\)"),
        (Mix, {}, "`mixup` or `cutmix` must be more than 0"),
        (Mix, {"mixup": -1}, "`mixup` must be finite, at least 0"),
        (Mix, {"cutmix": 1.5}, "`cutmix` must be .* at most 1"),
        (of_arrays, {"labels": [0, -1]}, "`labels` .* 0 to 1.* the label -1"),
    ],
)
def test_wrong_arguments(make, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make(**arguments)
