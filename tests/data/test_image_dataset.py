"""Lists of images: parting them, and finding those that are broken."""

import dataclasses
import unicodedata
from pathlib import Path

import numpy as np
import odd_images
import pytest
from PIL import Image

from keras_warn.data.image_dataset import ImageDataset
from keras_warn.data.images import ImageError
from keras_warn.data.stratified import folds


def listed(counts, splits=(), **arguments):
    """So many examples of each class, mixed."""
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.random.default_rng(0).permutation(labels)
    return ImageDataset(
        name="things",
        paths=[Path("data", f"{i}.jpg") for i in range(len(labels))],
        labels=labels,
        names=[f"class {i}" for i in range(len(counts))],
        splits=dict(splits),
        **arguments,
    )


def names(dataset):
    return [path.name for path in dataset.paths]


def pixels_of(count, channels=3):
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, 13, 17, channels), "uint8")


def png(pixels, **arguments):
    return odd_images.encoded(Image.fromarray(pixels), "PNG", **arguments)


def test_some_of_the_examples_keep_all_that_is_known_of_them():
    dataset = listed(
        [3, 4],
        splits={"train": [5, 0, 2], "test": [1, 6]},
        boxes=np.arange(28).reshape(7, 4),
        groups=range(100, 107),
        skipped={"no box": 3},
    )
    train = dataset.split("train")
    assert names(train) == ["0.jpg", "2.jpg", "5.jpg"]
    assert train.labels.tolist() == dataset.labels[[0, 2, 5]].tolist()
    assert train.boxes[:, 0].tolist() == [0, 8, 20]
    assert train.groups.tolist() == [100, 102, 105]
    assert train.names == ("class 0", "class 1")
    assert train.skipped == {"no box": 3}
    assert set(train.splits) == {"train"}
    assert train.splits["train"].tolist() == [0, 1, 2]
    # Whatever was given.
    arrays = train.labels, train.boxes, train.groups
    assert [x.dtype for x in arrays] == ["int32", "float32", "int64"]
    both = dataset.split("test", "train")
    assert names(both) == ["0.jpg", "1.jpg", "2.jpg", "5.jpg", "6.jpg"]
    assert both.splits["test"].tolist() == [1, 4]
    # In the order asked for.
    chosen = dataset.select([6, 1, 4, 2])
    assert names(chosen) == ["6.jpg", "1.jpg", "4.jpg", "2.jpg"]
    assert chosen.splits["test"].tolist() == [0, 1]
    assert len(dataset.select([])) == 0


def changed(**arguments):
    return lambda dataset: dataclasses.replace(dataset, **arguments)


def holding(pixels):
    return changed(contents=pixels)


def split(*arguments):
    return lambda dataset: dataset.split("train").hold_out(*arguments)


@pytest.mark.parametrize(
    "do, message",
    [
        (changed(labels=[0, 1]), r"`labels` must have shape \(5,\)"),
        (changed(labels=[0, 1, 2, 0, 0]), "`labels` .* 0 to 1. Received: 2"),
        (changed(labels=[0, 1, 0.5, 0, 0]), "float64.* to .*int32"),
        (changed(boxes=np.ones((5, 3))), r"`boxes` must have shape \(5, 4\)"),
        (changed(splits={"a": [0, 5]}), "`splits` must be from 0 to 4"),
        (changed(splits={"a": [0, -1]}), "`splits` must .* Received: -1"),
        (changed(splits={"a": [0], "b": [1, 0]}), "`splits` .* 0 twice"),
        (changed(splits={"a": [True] * 5}), "`splits` .* integers.* bool in"),
        (changed(splits={"a": [0.5]}), "`splits` must have integers.* float64"),
        (holding(pixels_of(4)), "`contents` .* as the paths, 5. Received: 4"),
        (holding(pixels_of(5)[..., 0]), r"uint8 \(h, w, c\) .* \(13, 17\)"),
        (holding(pixels_of(5, channels=4)), r"Received: .* \(13, 17, 4\)"),
        (holding(pixels_of(5).astype("float32")), "Received: .* float32"),
        (holding([*pixels_of(4), pixels_of(1)[0, :0]]), r"shape \(0, 17, 3\)"),
        (lambda dataset: dataset.select([2, 2]), "`indices` .* 2 twice"),
        (lambda dataset: dataset.without(["x.jpg"]), "`paths` .*: x.jpg"),
        (lambda dataset: dataset.hold_out(0.5, 0), "must not see test images"),
        (split(1.5, 0), "`share` must be finite, at least 0 and at most 1"),
        (split(0.2, -1), "`seed` must be a non-negative integer"),
        (split(0.01, 0), "examples to validate with. .*=0.01 of 4 examples"),
    ],
)
def test_what_is_refused(do, message):
    dataset = listed([2, 3], splits={"train": range(4), "test": [4]})
    with pytest.raises((TypeError, ValueError), match=message):
        do(dataset)


def test_hold_out_parts_every_class_alike():
    dataset = listed([101, 31, 59, 4, 1])
    training, validation = dataset.hold_out(0.2, seed=3)
    together = names(training) + names(validation)
    assert sorted(together) == sorted(names(dataset))
    assert len(validation) == round(0.2 * len(dataset))
    held = np.bincount(validation.labels, minlength=5)
    expected = 0.2 * np.bincount(dataset.labels)
    assert (np.abs(held - expected) < 1).all()
    # A class with one example keeps it to train with.
    assert held[4] == 0


def test_hold_out_of_many_small_classes():
    """None has enough for one example, and all together do."""
    dataset, drawn = listed([4] * 50), set()
    for seed in range(5):
        _, validation = dataset.hold_out(0.1, seed)
        assert len(validation) == 20
        assert np.bincount(validation.labels).max() == 1
        drawn.add(frozenset(validation.labels))
    # Which classes give one is drawn, too.
    assert len(drawn) == 5


def test_hold_out_is_the_same_everywhere():
    """Written down once: no library's random numbers are in it."""
    labels = [0, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0]
    dataset = dataclasses.replace(listed([7, 5]), labels=labels)
    moved = [Path("/mnt/other place", name) for name in names(dataset)]
    for same in (
        dataset,
        dataclasses.replace(dataset, paths=moved),
        dataset.select(np.arange(12)[::-1]),
    ):
        _, validation = same.hold_out(0.25, seed=1)
        assert set(names(validation)) == {"3.jpg", "7.jpg", "9.jpg"}
    # Archives of some systems write "é" as two characters.
    held = []
    for form in ("NFC", "NFD"):
        letter = unicodedata.normalize(form, "é")
        paths = [f"{letter}{i}.jpg" for i in range(12)]
        same = dataclasses.replace(dataset, paths=paths)
        _, validation = same.hold_out(0.25, seed=1)
        held.append([name.removeprefix(letter) for name in names(validation)])
    assert held[0] == held[1]


def test_hold_out_keeps_groups_together():
    dataset = listed([100, 140, 160, 20])
    groups = np.random.default_rng(0).integers(0, 80, 420)
    # Of a class that is one group, nothing is held out.
    groups[dataset.labels == 3] = 80
    dataset = dataclasses.replace(dataset, groups=groups)
    for seed in range(5):
        training, validation = dataset.hold_out(0.25, seed)
        assert not set(training.groups) & set(validation.groups)
        held = np.bincount(validation.labels, minlength=4)
        assert (np.abs(held - [25, 35, 40, 0]) <= [8, 8, 8, 0]).all()
        # Nor is all of it where most is to be held out.
        assert 3 in dataset.hold_out(0.75, seed)[0].labels


def test_large_groups_are_not_preferred():
    """Nor those of many members: each has the same chance."""
    groups = np.repeat(np.arange(20), [40] + [10] * 19)
    dataset = listed([len(groups)], groups=groups)
    seeds = 60
    held = sum(0 in dataset.hold_out(0.5, s)[1].groups for s in range(seeds))
    assert 0.3 * seeds < held < 0.7 * seeds


def test_folds_part_everything_once():
    dataset = listed([53, 29, 3])
    parts = folds(dataset, 5)
    assert list(parts) == [f"fold_{i}" for i in range(5)]
    assert sorted(np.concatenate(list(parts.values()))) == list(range(85))
    for indices in parts.values():
        assert len(indices) == 17
        held = np.bincount(dataset.labels[indices], minlength=3)
        assert (np.abs(held - [53 / 5, 29 / 5, 3 / 5]) <= 1.5).all()


GOOD = png(pixels_of(1)[0])
PHOTOS = {
    "plain.png": (GOOD, ""),
    "Äpfel 寿司.jpg": (GOOD, ""),
    "empty.jpg": (b"", "is not an image"),
    "short.jpg": (GOOD[: len(GOOD) // 2], "is broken"),
    "text.jpg": (b"<html>404 Not Found</html>", "is not an image"),
}


@pytest.mark.parametrize("in_files", [True, False])
def test_problems_are_found_all_at_once(tmp_path, capsys, in_files):
    """An image may be there more than once, of several boxes."""
    bad = {name: reason for name, (_, reason) in PHOTOS.items() if reason}
    contents = [content for content, _ in PHOTOS.values()]
    photos = [tmp_path / name for name in PHOTOS]
    if in_files:
        for path, content in zip(photos, contents, strict=True):
            path.write_bytes(content)
        photos.append(tmp_path / "gone.jpg")
        bad["gone.jpg"] = "does not exist"
    count = len(photos)
    dataset = ImageDataset(
        "photos",
        photos * 2,
        [0, 1] * count,
        ["a", "b"],
        {"train": range(2 * count)},
        skipped={"no label": 2},
        contents=None if in_files else contents * 2,
    )
    found = dataset.problems(verbose=0)
    assert capsys.readouterr().out == ""
    assert [path.name for path, _ in found] == list(bad)
    for path, reason in found:
        assert bad[path.name] in reason and str(path) not in reason
    assert dataset.problems(workers=1) == found
    assert f"{2 * count}/{2 * count}" in capsys.readouterr().out
    summary = f"{len(bad)} of the {count} images of photos"
    with pytest.raises(ValueError, match=summary) as error:
        dataset.check(verbose=0)
    lines = str(error.value).splitlines()[1:]
    assert lines == [f"  {path}: {reason}" for path, reason in found]

    rest = dataset.without(path for path, _ in found)
    rest.check(verbose=0)
    assert len(rest) == len(rest.splits["train"]) == 4
    assert rest.skipped == {"no label": 2, "cannot be read": 2 * len(bad)}
    assert dataset.skipped == {"no label": 2}
    assert rest.without([]).skipped == rest.skipped
    again = rest.without(rest.paths[:1])
    assert again.skipped["cannot be read"] == 2 * len(bad) + 2


def test_images_that_are_not_in_files():
    pixels, splits = pixels_of(5), {"train": [3, 1, 4]}
    dataset = listed([2, 3], splits, contents=pixels)
    dataset.check(verbose=0)
    train = dataset.split("train")
    # An array stays an array: lists of small ones would cost memory and time.
    assert isinstance(train.contents, np.ndarray)
    mixed = listed(
        [2, 3], splits, contents=[*map(png, pixels[:3]), *pixels[3:]]
    )
    for i, expected in enumerate(pixels[[1, 3, 4]]):
        for one in (train, mixed.split("train")):
            np.testing.assert_array_equal(one.read(i), expected)
    # What is read may be drawn on.
    dataset.read(1)[:] = 0
    np.testing.assert_array_equal(dataset.contents, pixels_of(5))


@pytest.mark.parametrize(
    "box, rows, columns",
    # Of 13 rows and 17 columns: top, left, bottom, right.
    [
        ((2, 3, 5, 7), slice(2, 5), slice(3, 7)),
        ((2.6, 3.9, 5.1, 6.4), slice(2, 6), slice(3, 7)),
        ((-3, -0.5, 99, 17.5), slice(0, 13), slice(0, 17)),
        ((12.5, 16.9, 13, 17), slice(12, 13), slice(16, 17)),
        ((13, 0, 15, 5), None, None),
        ((0, 17, 5, 19), None, None),
        ((-5, 0, 0, 5), None, None),
        ((0, -5, 5, 0), None, None),
    ],
)
def test_a_box_is_cut_out_of_the_image_as_it_is_stored(
    tmp_path, box, rows, columns
):
    """Published so, though viewers show a photo turned."""
    pixels = pixels_of(1)[0]
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels, exif=odd_images.exif(6)))
    turned, stored = (17, 13, 3), (13, 17, 3)
    for contents, shape in (
        (None, turned),
        ([path.read_bytes()], turned),
        ([pixels], stored),
    ):
        dataset = ImageDataset(
            "photos", [path], [0], ["a"], {}, [box], contents=contents
        )
        assert dataset.read(0).shape == shape
        problems = dataset.problems(verbose=0)
        if rows:
            assert problems == []
            found = dataset.read(0, cropped=True)
            np.testing.assert_array_equal(found, pixels[rows, columns])
        else:
            ((_, reason),) = problems
            assert reason.startswith("of 13 rows and 17 columns, shows nothing")
            with pytest.raises(ImageError, match="a.png of 13 rows .* nothing"):
                dataset.read(0, cropped=True)
