"""From a data set to what a training uses: splits, and images to read."""

import dataclasses

import numpy as np
import pytest

from keras_warn.data import ImageDataset
from keras_warn.data import load_image_folder
from keras_warn.data import splits
from keras_warn.data import synthetic

TRAIN, TEST = range(30), range(30, 40)


def listed(count=40, folder="data", **parts):
    """Images that are not there: splitting needs names alone."""
    return ImageDataset(
        "things",
        [f"{folder}/{i}.jpg" for i in range(count)],
        np.arange(count) % 4,
        [f"class {k}" for k in range(4)],
        splits=parts or {"train": range(count)},
    )


FOLDS = {f"fold_{i}": range(12 * i, 12 * i + 12) for i in range(5)}


def numbers(images):
    return [] if images is None else [int(path.stem) for path in images.paths]


@pytest.mark.parametrize(
    "images, share, fold, validation, test",
    [
        # What is published stays; a number is how many are split off.
        (listed(train=TRAIN, test=TEST), 0.2, None, 6, TEST),
        (listed(train=TRAIN, test=TEST), 0, None, 0, TEST),
        (listed(), 0.25, None, 8, 8),
        (listed(train=TRAIN, validation=TEST), 0.2, None, TEST, 6),
        (listed(60, **FOLDS), 0.25, 3, 12, range(36, 48)),
    ],
)
def test_published_splits_stay(images, share, fold, validation, test):
    found = splits.split(images, share, fold)
    assert found.fold == fold
    parts = [found.training, found.validation, found.test]
    assert sorted(sum(map(numbers, parts), [])) == list(range(len(images)))
    for part, expected in zip(parts[1:], (validation, test), strict=True):
        if isinstance(expected, range):
            assert numbers(part) == list(expected)
        else:
            assert len(numbers(part)) == expected
    summary = found.summary()
    assert summary["validation"] == len(numbers(found.validation))
    assert (summary["name"], summary["classes"]) == ("things", 4)


@pytest.mark.parametrize(
    "images, fold, error, message",
    [
        (listed(60, **FOLDS), 5, ValueError, "`fold` must be one of 'fold_0'"),
        (listed(60, **FOLDS), None, TypeError, "`fold` must be a non-negative"),
        (listed(test=[0]), None, KeyError, "'train'"),
    ],
)
def test_wrong_splits(images, fold, error, message):
    with pytest.raises(error, match=message):
        splits.split(images, 0.1, fold)


def test_summary_of_data_that_are_other_data():
    """By labels, names, order and splits; not by where they lie, or when."""

    def digest(dataset):
        return splits.split(dataset, 0.2).summary()["digest"]

    first = listed(train=TRAIN, test=TEST)
    renamed = [*first.paths[:39], first.paths[39].with_name("x")]
    digests = {
        digest(first),
        digest(dataclasses.replace(first, names="abcd")),
        digest(dataclasses.replace(first, paths=renamed)),
        digest(listed(train=range(29), test=range(29, 40))),
        digest(listed(train=TRAIN, test=range(31, 40))),
    }
    assert len(digests) == 5
    # Labels or names alone, with the same images in each split.
    found = splits.split(first, 0.2)
    labels = np.roll(found.training.labels, 1)
    for change in ({"labels": labels}, {"names": "abcd"}):
        training = dataclasses.replace(found.training, **change)
        other = dataclasses.replace(found, training=training)
        assert other.summary()["digest"] not in digests
    moved = listed(folder="elsewhere", train=TRAIN, test=TEST)
    assert splits.split(moved, 0.2).summary() == found.summary()


def test_a_class_without_a_good_image_is_named(tmp_path):
    """Or, with none to train with, keeps its number."""
    synthetic.write_image_folder(tmp_path, classes=2, train=6, test=2)
    for path in (tmp_path / "train" / "Disc_1").iterdir():
        path.write_bytes(b"")
    left = splits.check_images(load_image_folder(tmp_path), skip=True)
    assert left.names == ("Disc_1", "Square_2")
    assert left.skipped == {"cannot be read": 6}
    for path in (tmp_path / "test" / "Disc_1").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="Received: none of Disc_1"):
        splits.check_images(load_image_folder(tmp_path), skip=True)
