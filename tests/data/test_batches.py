"""Batches that do not depend on when, where and beside what they are made."""

import dataclasses

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


def numbered(count=23, classes=5, size=(7, 7), boxes=None):
    """Images that tell which they are by the brightness of all pixels."""
    pixels = np.zeros((count, *size, 3), "uint8")
    pixels[:] = np.arange(count)[:, None, None, None]
    return ImageDataset(
        "numbers",
        [f"{i}" for i in range(count)],
        np.arange(count) % classes,
        [f"class {k}" for k in range(classes)],
        splits={},
        boxes=boxes,
        contents=pixels,
    )


def noise(count=11, classes=3, size=(8, 8)):
    pixels = np.random.default_rng(0).integers(
        0, 256, (count, *size, 3), "uint8"
    )
    labels = np.random.default_rng(1).integers(0, classes, count)
    return ImageDataset(
        "noise",
        [f"{i}" for i in range(count)],
        labels,
        [f"class {k}" for k in range(classes)],
        splits={},
        contents=pixels,
    )


def brightness(images):
    return images[:, 0, 0, 0].astype(int).tolist()


def shown(batches, epoch):
    """Which images an epoch has, in their order."""
    return sum(
        (brightness(batches.batch(epoch, i)[0]) for i in range(len(batches))),
        [],
    )


def unequal(image, random):
    """A view that tells what was drawn for it."""
    return (image + random.integers(256)).astype("uint8")


def test_an_epoch_has_each_image_once():
    batches = TrainingBatches(numbered(23), transforms.Identity(), 4)
    assert len(batches) == 5
    for epoch in (0, 1, 7):
        found = shown(batches, epoch)
        # Less those that would make a smaller batch.
        assert len(found) == len(set(found)) == 20
        assert set(found) < set(range(23))
    assert set(
        shown(TrainingBatches(numbered(20), transforms.Identity(), 4), 0)
    ) == (set(range(20)))


def test_each_epoch_has_an_order_of_its_own():
    batches = TrainingBatches(numbered(23), transforms.Identity(), 4)
    orders = {tuple(shown(batches, epoch)) for epoch in range(6)}
    assert len(orders) == 6
    # Whoever is omitted differs, too.
    assert len({frozenset(order) for order in orders}) > 1


@pytest.mark.parametrize("mix", [None, Mix(mixup=0.4, cutmix=1.0)])
def test_a_batch_is_the_same_whenever_it_is_asked_for(mix):
    def make():
        return TrainingBatches(noise(), transforms.PadAndCrop(2), 4, 3, mix=mix)

    batches = make()
    expected = {
        (epoch, step): batches.batch(epoch, step)
        for epoch in range(3)
        for step in range(2)
    }
    for place in [(2, 1), (0, 0), (1, 1), (0, 1)]:
        for other in (batches, make()):
            for one, same in zip(
                other.batch(*place), expected[place], strict=True
            ):
                np.testing.assert_array_equal(one, same)


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
        np.testing.assert_array_equal(images, expected[0])
        np.testing.assert_array_equal(labels, expected[1])
        step += 1
        if step == len(batches):
            epoch, step = epoch + 1, 0
    assert (epoch, step) != start


def test_data_set_does_not_end():
    batches = TrainingBatches(numbered(4), transforms.Identity(), 4)
    assert len(list(batches.dataset().take(9))) == 9


def test_static_shapes():
    """Without which Keras would build nothing for several devices."""
    batches = TrainingBatches(noise(), transforms.PadAndCrop(2), 4)
    images, labels = batches.dataset().element_spec
    assert images.shape == (4, 8, 8, 3)
    assert labels.shape == (4, 3)
    assert TestBatches(
        noise(), transforms.Identity(), 4
    ).dataset.element_spec.shape == ((4, 8, 8, 3))


def test_each_image_of_each_epoch_is_seen_in_its_own_way():
    listing = numbered(16, size=(2, 2))
    # All the same: what differs was drawn.
    listing = dataclasses.replace(
        listing, contents=np.zeros_like(listing.contents)
    )
    batches = TrainingBatches(listing, unequal, 16)
    drawn = [sorted(shown(batches, epoch)) for epoch in range(2)]
    # Sixteen numbers out of 256 are hardly ever the same.
    for found in drawn:
        assert len(set(found)) > 10
    assert drawn[0] != drawn[1]


def test_an_image_is_seen_alike_wherever_it_comes():
    """In batches of another size, in the same epoch."""
    listing = noise(12)
    views_of = []
    for size in (3, 4):
        batches = TrainingBatches(listing, unequal, size, seed=5)
        views_of.append(
            {
                image.tobytes()
                for i in range(len(batches))
                for image in batches.batch(1, i)[0]
            }
        )
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
    orders = {
        tuple(
            shown(
                TrainingBatches(numbered(), transforms.Identity(), 4, seed), 0
            )
        )
        for seed in range(5)
    }
    assert len(orders) == 5
    seen = [
        {
            image.tobytes()
            for image in TrainingBatches(noise(4), unequal, 4, seed).batch(
                0, 0
            )[0]
        }
        for seed in range(2)
    ]
    assert not seen[0] & seen[1]


@pytest.mark.parametrize("mix", [None, Mix(mixup=0.4), Mix(cutmix=1.0)])
def test_parts_are_the_whole_batch(mix):
    whole = TrainingBatches(noise(), transforms.PadAndCrop(2), 6, 3, mix=mix)
    parts = [
        TrainingBatches(
            noise(), transforms.PadAndCrop(2), 6, 3, mix=mix, part=(i, 3)
        )
        for i in range(3)
    ]
    for epoch in range(2):
        images, labels = zip(
            *(part.batch(epoch, 0) for part in parts), strict=True
        )
        assert [len(x) for x in images] == [2, 2, 2]
        expected = whole.batch(epoch, 0)
        np.testing.assert_array_equal(np.concatenate(images), expected[0])
        np.testing.assert_array_equal(np.concatenate(labels), expected[1])


def test_labels_are_one_hot_and_of_their_images():
    images, labels = TrainingBatches(
        numbered(), transforms.Identity(), 8
    ).batch(0, 1)
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(
        labels, np.eye(5)[np.array(brightness(images)) % 5]
    )


@pytest.mark.parametrize("kind", ["training", "test"])
def test_cropped_to_boxes(kind):
    boxes = [(1, 2, 4, 7)] * 6
    listing = numbered(6, boxes=boxes)
    found = {}
    for cropped in (False, True):
        if kind == "training":
            batches = TrainingBatches(
                listing, transforms.Identity(), 3, cropped=cropped
            )
            found[cropped] = batches.batch(0, 0)[0].shape
        else:
            batches = TestBatches(listing, transforms.Identity(), 3, cropped)
            found[cropped] = batches.batch(0).shape
    assert found == {False: (3, 7, 7, 3), True: (3, 3, 5, 3)}


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
        (
            {"part": (0, 3)},
            ValueError,
            "`batch_size` must be divisible by .* processes, 3. .*=4",
        ),
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
    found = [brightness(batches.batch(i)) for i in range(3)]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 10]]
    found = [brightness(x) for x in batches.dataset.as_numpy_iterator()]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 10]]


@pytest.mark.parametrize("batch_size", [1, 4, 11, 30])
def test_predictions_are_those_of_single_images(batch_size):
    listing, model = noise(11), small_model()
    found = TestBatches(listing, transforms.Identity(), batch_size).predict(
        model
    )
    assert found.shape == (11, 3)
    for i, one in enumerate(found):
        image = listing.read(i)[None].astype("float32")
        np.testing.assert_allclose(one, to_numpy(model(image))[0], atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 30])
def test_arrays_are_predicted_and_evaluated_alike(batch_size):
    listing, model = noise(11), small_model()
    batches = ArrayBatches(
        listing.contents.astype("float32"), listing.labels, 3, batch_size
    )
    images = TestBatches(listing, transforms.Identity(), 4)
    np.testing.assert_allclose(
        batches.predict(model), images.predict(model), atol=1e-6
    )
    assert evaluate(model, batches) == pytest.approx(evaluate(model, images))


def test_predicting_twice():
    """The data set is kept; it begins anew."""
    batches, model = (
        TestBatches(noise(), transforms.Identity(), 4),
        small_model(),
    )
    np.testing.assert_array_equal(
        batches.predict(model), batches.predict(model)
    )


@pytest.mark.parametrize("count", [8, 9, 11])
def test_evaluated_by_hand(count):
    """With a last batch that is smaller, too."""
    listing, model = noise(count), small_model()
    found = evaluate(model, TestBatches(listing, transforms.Identity(), 4))
    losses, correct = [], 0
    for i, label in enumerate(listing.labels):
        image = listing.read(i)[None].astype("float32")
        probabilities = to_numpy(model(image))[0]
        losses.append(-np.log(probabilities[label]))
        correct += probabilities.argmax() == label
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert found["accuracy"] == correct / count


def mix_inputs(count=32, classes=4):
    """Each image has one value, and so has its label."""
    values = np.random.default_rng(0).permutation(count)
    images = np.zeros((count, 6, 6, 3), "uint8")
    images[:] = values[:, None, None, None]
    return images, np.eye(classes, dtype="float32")[values % classes], values


@pytest.mark.parametrize(
    "mix", [Mix(mixup=0.4), Mix(cutmix=1.0), Mix(mixup=0.4, cutmix=1.0)]
)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_mix_keeps_types_and_sums(mix, policy):
    keras.config.set_dtype_policy(policy)
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
    for i, one in enumerate(mixed[..., 0]):
        others = one[one != values[i]]
        if others.size:
            (partner,) = set(others.tolist())
            assert partner in values
            # The label knows the area, but for pixels cut through.
            own = values[i] % 4
            if partner % 4 != own:
                share = 1 - others.size / one.size
                assert abs(shares[i, own] - share) < 0.35
                pasted += 1
    assert pasted > 5


@pytest.mark.parametrize("mix", [Mix(mixup=0.4), Mix(cutmix=1.0)])
def test_mix_is_drawn_by_the_generator(mix):
    images, labels, _ = mix_inputs()
    first, same, other = (
        mix(images, labels, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first[0], same[0])
    np.testing.assert_array_equal(first[1], same[1])
    assert (first[0] != other[0]).any()


def test_with_both_each_batch_gets_one_of_them():
    """Values that are of no image are MixUp's."""
    images, labels, _ = mix_inputs()
    mix = Mix(mixup=0.4, cutmix=1.0)
    broken = [
        bool((mixed % 1 != 0).any())
        for mixed, _ in (
            mix(images, labels, np.random.default_rng(seed))
            for seed in range(20)
        )
    ]
    assert 3 < sum(broken) < 17


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
