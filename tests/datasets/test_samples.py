"""Tiny data sets are read like the published ones, and can be learnt."""

import numpy as np
import pytest

from keras_warn import datasets
from keras_warn.datasets import samples

pytest.importorskip("scipy")

LOADERS = {
    "cifar10": datasets.load_cifar10,
    "cifar100": datasets.load_cifar100,
    "cub200": datasets.load_cub200,
    "image_folder": datasets.load_image_folder,
    "stanford_cars": datasets.load_stanford_cars,
    "stanford_dogs": datasets.load_stanford_dogs,
    "uec_food100": datasets.load_uec_food100,
    "adience": lambda folder: datasets.load_adience(folder, "age"),
}
SPLIT = [name for name in LOADERS if name not in ("uec_food100", "adience")]


def write(name, folder, **arguments):
    return getattr(samples, f"write_{name}")(folder, **arguments)


@pytest.mark.parametrize("name", SPLIT)
def test_every_class_has_pictures_to_train_and_to_test_with(tmp_path, name):
    listing = LOADERS[name](write(name, tmp_path / "new" / "folder"))
    assert len(listing.names) == 4
    for split, count in (("train", 12), ("test", 4)):
        labels = listing.split(split).labels
        assert np.bincount(labels).tolist() == [count] * 4
    assert listing.left_out == {}
    listing.check(verbose=0)
    small = write(name, tmp_path / "s", classes=3, train=2, test=1, seed=1)
    assert len(LOADERS[name](small)) == 9


def test_dishes_share_photos(tmp_path):
    food = LOADERS["uec_food100"](write("uec_food100", tmp_path))
    assert np.bincount(food.labels).tolist() == [20] * 4
    assert len(set(food.groups)) == 64
    assert len(food.splits) == 5
    food.check(verbose=0)


@pytest.mark.parametrize("task, classes", [("gender", 2), ("age", 8)])
def test_every_fold_of_faces_has_all_classes(tmp_path, task, classes):
    faces = datasets.load_adience(write("adience", tmp_path), task)
    assert len(faces) == 120
    assert len(set(faces.groups)) == 40
    for fold in faces.splits:
        assert set(faces.split(fold).labels) == set(range(classes))
    faces.check(verbose=0)


def colors(listing):
    """The most vivid colour of each picture: that of its shape."""
    found = []
    for i in range(len(listing)):
        cropped = listing.boxes is not None
        pixels = listing.read(i, cropped).reshape(-1, 3).astype(int)
        vivid = np.ptp(pixels, axis=1)
        found.append(pixels[vivid >= np.quantile(vivid, 0.9)].mean(axis=0))
    return np.array(found)


@pytest.mark.parametrize("name", LOADERS)
def test_classes_can_be_told_apart(tmp_path, name):
    """By the mean colours of the pictures to train with."""
    listing = LOADERS[name](write(name, tmp_path))
    first, *_, last = listing.splits
    train, test = listing.split(first), listing.split(last)
    seen = colors(train)
    means = np.array(
        [seen[train.labels == k].mean(axis=0) for k in range(len(train.names))]
    )
    distances = np.linalg.norm(colors(test)[:, None] - means, axis=-1)
    assert (distances.argmin(axis=1) == test.labels).mean() > 0.9


@pytest.mark.parametrize("name", LOADERS)
def test_a_seed_draws_the_same_pictures(tmp_path, name):
    def content(folder):
        return {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            # Those of MATLAB hold the time of writing.
            if path.is_file() and path.suffix != ".mat"
        }

    one, other, another = (
        content(write(name, tmp_path / str(i), seed=seed))
        for i, seed in enumerate((3, 3, 4))
    )
    assert one == other
    assert one.keys() == another.keys() and one != another


def test_a_box_holds_its_shape_and_nothing_more():
    pixels, boxes = samples.draw([0, 1], seed=5, size=(40, 90))
    shape = pixels.max(axis=2) >= 150
    for top, left, bottom, right in boxes:
        inside = shape[top:bottom, left:right]
        assert inside.any(axis=1).all() and inside.any(axis=0).all()
        shape[top:bottom, left:right] = False
    assert not shape.any()


@pytest.mark.parametrize(
    "name, arguments, error, message",
    [
        ("cub200", {"classes": 0}, ValueError, "`classes` must be a positive"),
        ("stanford_dogs", {"train": 1.5}, TypeError, "`train` must be a posi"),
        ("stanford_cars", {"test": 0}, ValueError, "`test` must be a positiv"),
        ("image_folder", {"seed": -1}, ValueError, "`seed` must be a non-neg"),
        (
            "cifar10",
            {"classes": 11},
            ValueError,
            "`classes` must be at most 10",
        ),
        (
            "cifar100",
            {"version": "matlab"},
            ValueError,
            "`version` must be one",
        ),
        (
            "uec_food100",
            {"classes": 101},
            ValueError,
            "`classes` must be at mo",
        ),
        ("uec_food100", {"photos": 0}, ValueError, "`photos` must be a positi"),
        ("adience", {"users": 0}, ValueError, "`users` must be a positive"),
        ("adience", {"faces": "a"}, TypeError, "`faces` must be a positive"),
    ],
)
def test_wrong_arguments(tmp_path, name, arguments, error, message):
    with pytest.raises(error, match=message):
        write(name, tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()
