"""Batches that do not depend on when, where and beside what they are made."""

import keras
import numpy as np
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


def listed(name, pixels, labels, classes, boxes=None):
    return ImageDataset(
        name,
        [f"{i}" for i in range(len(pixels))],
        labels,
        [f"class {k}" for k in range(classes)],
        splits={},
        boxes=boxes,
        contents=pixels,
    )


def numbered(count=23, classes=5, size=(7, 7), boxes=None):
    """Images that tell which they are by the brightness of all pixels."""
    pixels = np.zeros((count, *size, 3), "uint8")
    pixels[:] = np.arange(count)[:, None, None, None]
    return listed("numbers", pixels, np.arange(count) % classes, classes, boxes)


def noise(count=11, classes=3, size=(8, 8)):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, *size, 3), "uint8")
    return listed("noise", pixels, random.integers(0, classes, count), classes)


def of_numbers(count=23, batch_size=4, seed=0):
    return TrainingBatches(
        numbered(count), transforms.Identity(), batch_size, seed
    )


def assert_same(found, expected):
    """The images of two batches, and their labels."""
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def brightness(images):
    return images[:, 0, 0, 0].astype(int).tolist()


def shown(batches, epoch):
    """Which images an epoch has, in their order."""
    found = [batches.batch(epoch, i)[0] for i in range(len(batches))]
    return brightness(np.concatenate(found))


def unequal(image, random):
    """A view that tells what was drawn for it."""
    return (np.asarray(image) + random.integers(256)).astype("uint8")


def test_an_epoch_has_each_image_once():
    batches = of_numbers(23)
    assert len(batches) == 5
    for epoch in (0, 1, 7):
        found = shown(batches, epoch)
        # Less those that would make a smaller batch.
        assert len(found) == len(set(found)) == 20
        assert set(found) < set(range(23))
    assert set(shown(of_numbers(20), 0)) == set(range(20))


def test_each_epoch_has_an_order_of_its_own():
    batches = of_numbers()
    orders = {tuple(shown(batches, epoch)) for epoch in range(6)}
    assert len(orders) == 6
    # Whoever is omitted differs, too.
    assert len({frozenset(order) for order in orders}) > 1


@pytest.mark.parametrize("mix", [None, Mix(mixup=0.4, cutmix=1.0)])
def test_a_batch_is_the_same_whenever_it_is_asked_for(mix):
    def make():
        return TrainingBatches(noise(), transforms.PadAndCrop(2), 4, 3, mix=mix)

    batches = make()
    places = [(epoch, step) for epoch in range(3) for step in range(2)]
    expected = {place: batches.batch(*place) for place in places}
    for place in [(2, 1), (0, 0), (1, 1), (0, 1)]:
        for other in (batches, make()):
            assert_same(other.batch(*place), expected[place])


@pytest.mark.parametrize("start", [(0, 0), (0, 1), (2, 0), (1, 1)])
@pytest.mark.parametrize("mix", [None, Mix(mixup=0.4, cutmix=1.0)])
def test_data_set_begins_anywhere_and_has_the_same_batches(start, mix):
    """It works in parallel; the order of the batches stays."""
    batches = TrainingBatches(noise(), transforms.PadAndCrop(2), 4, 3, mix=mix)
    epoch, step = start
    dataset = batches.dataset(epoch, step)
    for images, labels in dataset.take(7).as_numpy_iterator():
        expected = batches.batch(epoch, step)
        assert images.dtype == expected[0].dtype
        assert_same((images, labels), expected)
        step += 1
        if step == len(batches):
            epoch, step = epoch + 1, 0
    assert (epoch, step) != start


def test_static_shapes():
    """Without which Keras would build nothing for several devices."""
    batches = TrainingBatches(noise(), transforms.PadAndCrop(2), 4)
    images, labels = batches.dataset().element_spec
    assert (images.shape, labels.shape) == ((4, 8, 8, 3), (4, 3))
    test = TestBatches(noise(), transforms.Identity(), 4)
    assert test.dataset.element_spec.shape == (4, 8, 8, 3)


def test_each_image_of_each_epoch_is_seen_in_its_own_way():
    # All the same: what differs was drawn.
    black = listed("black", np.zeros((16, 2, 2, 3), "uint8"), [0] * 16, 1)
    batches = TrainingBatches(black, unequal, 16)
    drawn = [sorted(shown(batches, epoch)) for epoch in range(2)]
    # Sixteen numbers out of 256 are hardly ever the same.
    for found in drawn:
        assert len(set(found)) > 10
    assert drawn[0] != drawn[1]


def test_an_image_is_seen_alike_wherever_it_comes():
    """In batches of another size, in the same epoch."""
    views_of = []
    for size in (3, 4):
        batches = TrainingBatches(noise(12), unequal, size, seed=5)
        images = [batches.batch(1, i)[0] for i in range(len(batches))]
        views_of.append({x.tobytes() for x in np.concatenate(images)})
    assert views_of[0] == views_of[1]
    assert len(views_of[0]) == 12


@pytest.mark.parametrize("cropped", [False, True])
def test_files_are_seen_as_the_arrays_that_are_read_of_them(tmp_path, cropped):
    """What was decoded is cut and shrunk before it becomes an array."""
    random = np.random.default_rng(0)
    paths = []
    for mode, shape in (("RGB", (47, 61, 3)), ("L", (61, 47))):
        exif = PIL.Image.Exif()
        exif[0x0112] = 6  # to be turned
        paths.append(tmp_path / f"{mode}.png")
        pixels = random.integers(0, 256, shape, "uint8")
        PIL.Image.fromarray(pixels).save(paths[-1], exif=exif)
    boxes = [(3.5, 5, 40, 44.5)] * 2
    images = ImageDataset("noise", paths, [0, 1], "ab", {}, boxes=boxes)
    for kind, transform in (
        (TrainingBatches, transforms.RandomCrop(11, 13)),
        (TestBatches, transforms.CenterCrop(11, 13)),
    ):
        batches = kind(images, transform, batch_size=2, cropped=cropped)
        for epoch in range(4 if kind is TrainingBatches else 1):
            for i in range(2):
                random = np.random.default_rng((VIEW, 0, epoch, i))
                read = images.read(i, cropped)
                np.testing.assert_array_equal(
                    batches.see(epoch, i), transform(read, random)
                )


def test_seeds_change_order_and_views():
    orders = {tuple(shown(of_numbers(seed=seed), 0)) for seed in range(5)}
    assert len(orders) == 5
    one, other = (
        TrainingBatches(noise(4), unequal, 4, seed).batch(0, 0)[0]
        for seed in range(2)
    )
    assert not {x.tobytes() for x in one} & {x.tobytes() for x in other}


@pytest.mark.parametrize("mix", [None, Mix(mixup=0.4), Mix(cutmix=1.0)])
def test_parts_are_the_whole_batch(mix):
    whole, *parts = (
        TrainingBatches(
            noise(), transforms.PadAndCrop(2), 6, 3, mix=mix, part=part
        )
        for part in ((0, 1), (0, 3), (1, 3), (2, 3))
    )
    for epoch in range(2):
        batches = [part.batch(epoch, 0) for part in parts]
        assert [len(images) for images, _ in batches] == [2, 2, 2]
        found = [np.concatenate(x) for x in zip(*batches, strict=True)]
        assert_same(found, whole.batch(epoch, 0))


def test_labels_are_one_hot_and_of_their_images():
    images, labels = of_numbers(batch_size=8).batch(0, 1)
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(
        labels, np.eye(5)[np.array(brightness(images)) % 5]
    )


@pytest.mark.parametrize("cropped, size", [(False, (7, 7)), (True, (3, 5))])
def test_cropped_to_boxes(cropped, size):
    images = numbered(6, boxes=[(1, 2, 4, 7)] * 6)
    options = (images, transforms.Identity(), 3)
    training = TrainingBatches(*options, cropped=cropped).batch(0, 0)[0]
    test = TestBatches(*options, cropped).batch(0)
    assert training.shape == test.shape == (3, *size, 3)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (
            {"batch_size": 12},
            ValueError,
            "`batch_size` must be at most .* 11 of noise. .* batch_size=12",
        ),
        ({"batch_size": 0}, ValueError, "`batch_size` must be a positive"),
        ({"batch_size": 2.0}, TypeError, "`batch_size` must be a positive"),
        ({"seed": -1}, ValueError, "`seed` must be a non-negative integer"),
        ({"cropped": 1}, TypeError, "`cropped` must be True or False"),
        ({"part": (0, 3)}, ValueError, "`batch_size` must be divisible .*=4"),
        ({"part": (2, 2)}, ValueError, r"`part` must be .*\(2, 2\)"),
        ({"part": (-1, 2)}, ValueError, r"`part` must be .*\(-1, 2\)"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        TrainingBatches(noise(), None, **{"batch_size": 4, **arguments})


def small_model(classes=3, size=(8, 8)):
    """A network of which each image's prediction is its own."""
    return keras.Sequential(
        [
            keras.Input((*size, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(
                classes, "softmax", kernel_initializer="random_normal"
            ),
        ]
    )


def test_test_batches_are_in_order_and_filled_up():
    batches = TestBatches(numbered(11), transforms.Identity(), 4)
    assert len(batches) == 3
    expected = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 10]]
    assert [brightness(batches.batch(i)) for i in range(3)] == expected
    for _ in range(2):  # it is kept, and begins anew
        found = [brightness(x) for x in batches.dataset.as_numpy_iterator()]
        assert found == expected


@pytest.mark.parametrize("batch_size", [1, 4, 11, 30])
def test_predictions_are_those_of_single_images(batch_size):
    """Of listed images, and of arrays."""
    dataset, model = noise(11), small_model()
    pixels = dataset.contents.astype("float32")
    expected = [to_numpy(model(image[None]))[0] for image in pixels]
    images = TestBatches(dataset, transforms.Identity(), batch_size)
    arrays = ArrayBatches(pixels, dataset.labels, 3, batch_size)
    for batches in (images, arrays):
        found = batches.predict(model)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert evaluate(model, arrays) == pytest.approx(evaluate(model, images))


def mix_inputs(count=32, classes=4):
    """Each image has one value, and so has its label."""
    values = np.random.default_rng(0).permutation(count)
    images = np.zeros((count, 6, 6, 3), "uint8")
    images[:] = values[:, None, None, None]
    return images, np.eye(classes, dtype="float32")[values % classes], values


@pytest.mark.parametrize(
    "mix", [Mix(mixup=0.4), Mix(cutmix=1.0), Mix(mixup=0.4, cutmix=1.0)]
)
def test_mix_keeps_types_and_sums(mix):
    images, labels, _ = mix_inputs()
    for seed in range(3):
        random = np.random.default_rng(seed)
        mixed, shares = mix(images, labels, random)
        assert mixed.dtype == shares.dtype == np.float32
        assert mixed.shape == images.shape
        assert shares.shape == labels.shape
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
        assert shares.min() >= 0


def test_mixup_mixes_images_and_labels_by_the_same_share():
    """`labels` tell of `images` here: both are linear in the value."""
    values = np.random.default_rng(0).permutation(32).astype("float32")
    images = np.tile(values[:, None, None, None], (1, 6, 6, 3))
    labels = np.stack([values, 31 - values], axis=1) / 31
    mixed, shares = Mix(mixup=1.0)(images, labels, np.random.default_rng(0))
    np.testing.assert_allclose(mixed[:, 0, 0, 0] / 31, shares[:, 0], atol=1e-5)
    changed = np.abs(mixed[:, 0, 0, 0] - values) > 1e-3
    assert changed.mean() > 0.8


def test_cutmix_pastes_a_part_of_a_partner():
    images, labels, values = mix_inputs()
    mixed, shares = Mix(cutmix=1.0)(images, labels, np.random.default_rng(1))
    pasted = 0
    for own, one, share in zip(values, mixed[..., 0], shares, strict=True):
        others = one[one != own]
        if others.size:
            (partner,) = set(others.tolist())
            assert partner in values
            area = others.size / one.size
            expected = np.zeros(4)
            np.add.at(expected, [own % 4, int(partner) % 4], [1 - area, area])
            np.testing.assert_allclose(share, expected, atol=1e-6)
            pasted += 1
    assert pasted > 5


def test_with_both_each_batch_gets_one_of_them():
    """Values that are of no image are MixUp's."""
    images, labels, _ = mix_inputs()
    mix = Mix(mixup=0.4, cutmix=1.0)
    mixed = [
        mix(images, labels, np.random.default_rng(seed))[0]
        for seed in range(20)
    ]
    assert 3 < sum((one % 1 != 0).any() for one in mixed) < 17


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({}, ValueError, "`mixup` or `cutmix` must be more than 0"),
        ({"mixup": -1}, ValueError, "`mixup` must be finite, at least 0"),
        ({"cutmix": 1.5}, ValueError, "`cutmix` must be .* at most 1"),
        ({"mixup": "0.2"}, TypeError, "`mixup` must be a number"),
    ],
)
def test_wrong_mix(arguments, error, message):
    with pytest.raises(error, match=message):
        Mix(**arguments)


def test_labels_of_arrays_are_classes():
    images = np.zeros((3, 8, 8, 1))
    found = ArrayBatches(images, [[0], [1], [1]], 2)
    assert found.labels.tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match="`labels` .* 0 to 1.* label -1"):
        ArrayBatches(images, [0, 1, -1], 2)
