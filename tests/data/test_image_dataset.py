"""Lists of images: parting them, and finding those that are broken."""

import dataclasses
import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_warn.data.image_dataset import ImageDataset
from keras_warn.data.images import ImageError
from keras_warn.data.stratified import folds


def listed(counts, folder="data", **arguments):
    """So many examples of each class, mixed."""
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.random.default_rng(0).permutation(labels)
    return ImageDataset(
        name="things",
        paths=[Path(folder, f"{i}.jpg") for i in range(len(labels))],
        labels=labels,
        names=[f"class {i}" for i in range(len(counts))],
        splits=arguments.pop("splits", {}),
        **arguments,
    )


# What is held out below.
GOLDEN = ["3.jpg", "7.jpg", "9.jpg"]


def names(dataset):
    return [path.name for path in dataset.paths]


def one_image(path, contents=None, **arguments):
    contents = None if contents is None else [contents]
    return ImageDataset(
        "photos", [path], [0], ["a"], {}, contents=contents, **arguments
    )


def noise(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels_of(1)[0]).save(path)
    return path


def test_types_do_not_depend_on_the_reader():
    dataset = listed([2, 3], boxes=[(0, 0, 1, 1)] * 5, groups=[7] * 5)
    assert dataset.labels.dtype == np.int32
    assert dataset.boxes.dtype == np.float32
    assert dataset.groups.dtype == np.int64
    assert isinstance(dataset.names, tuple)
    assert all(isinstance(path, Path) for path in dataset.paths)
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.labels = None


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": [0, 1]}, r"`labels` must have shape \(5,\)"),
        ({"labels": [0, 1, 2, 0, 0]}, "`labels` .* 0 to 1. Received: 2"),
        ({"boxes": np.zeros((5, 3))}, r"`boxes` must have shape \(5, 4\)"),
        ({"groups": [0, 0]}, r"`groups` must have shape \(5,\)"),
        ({"splits": {"a": [0, 5]}}, "`splits` must be indices from 0 to 4"),
        ({"splits": {"a": [0], "b": [1, 0]}}, "`splits` .* Received: 0 twice"),
        ({"splits": {"a": [0, -1]}}, "`splits` must .* Received: -1"),
        ({"splits": {"a": [0.0]}}, "`splits` must have integers.* float64 in"),
        ({"splits": {"a": [True] * 5}}, "`splits` must .* Received: bool"),
        ({"labels": [0, 1, 0.5, 0, 0]}, "float64.* to .*int32"),
    ],
)
def test_contradictions(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        dataclasses.replace(listed([2, 3]), **change)


def test_a_split_keeps_everything_of_its_examples():
    dataset = listed(
        [3, 4],
        splits={"train": [5, 0, 2], "test": [1, 6]},
        boxes=np.arange(28).reshape(7, 4),
        groups=np.arange(7) + 100,
        skipped={"no box": 3},
    )
    train = dataset.split("train")
    assert names(train) == ["0.jpg", "2.jpg", "5.jpg"]
    assert train.labels.tolist() == dataset.labels[[0, 2, 5]].tolist()
    assert train.boxes[:, 0].tolist() == [0, 8, 20]
    assert train.groups.tolist() == [100, 102, 105]
    assert train.names == dataset.names
    assert train.skipped == {"no box": 3}
    assert set(train.splits) == {"train"}
    assert train.splits["train"].tolist() == [0, 1, 2]
    both = dataset.split("test", "train")
    assert names(both) == ["0.jpg", "1.jpg", "2.jpg", "5.jpg", "6.jpg"]
    assert both.splits["test"].tolist() == [1, 4]
    with pytest.raises(KeyError, match="val"):
        dataset.split("val")


def test_take_keeps_the_order_asked_for():
    dataset = listed([3, 4], splits={"train": [0, 1, 2], "test": [5, 6]})
    taken = dataset.select([6, 1, 4])
    assert names(taken) == ["6.jpg", "1.jpg", "4.jpg"]
    assert taken.splits["train"].tolist() == [1]
    assert taken.splits["test"].tolist() == [0]
    assert len(dataset.select([])) == 0
    with pytest.raises(ValueError, match="Received: 2 twice"):
        dataset.select([2, 2])


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
    _, validation = dataset.hold_out(0.25, seed=1)
    assert names(validation) == GOLDEN
    paths = [Path("/mnt/other place", path.name) for path in dataset.paths]
    elsewhere = dataclasses.replace(dataset, paths=paths)
    assert names(elsewhere.hold_out(0.25, seed=1)[1]) == GOLDEN
    backwards = dataset.select(np.arange(12)[::-1])
    assert sorted(names(backwards.hold_out(0.25, 1)[1])) == sorted(GOLDEN)


def test_hold_out_is_the_same_in_both_forms_of_letters():
    """Archives of some systems write "é" as two characters."""
    held = []
    for letter in ("\u00e9", "e\u0301"):
        paths = [f"{letter}{i}.jpg" for i in range(40)]
        dataset = ImageDataset("caf\u00e9s", paths, [0] * 40, ["a"], {})
        _, validation = dataset.hold_out(0.25, seed=0)
        held.append([name.removeprefix(letter) for name in names(validation)])
    assert held[0] == held[1]


def test_hold_out_keeps_groups_together():
    random = np.random.default_rng(0)
    groups = random.integers(0, 80, 400)
    dataset = listed([100, 140, 160], groups=groups)
    for seed in range(5):
        training, validation = dataset.hold_out(0.25, seed)
        assert not set(training.groups) & set(validation.groups)
        held = np.bincount(validation.labels, minlength=3)
        assert (np.abs(held - [25, 35, 40]) <= 6).all()


def test_large_groups_are_not_preferred():
    """Nor those of many members: each has the same chance."""
    groups = np.repeat(np.arange(20), [40] + [10] * 19)
    dataset = listed([len(groups)], groups=groups)
    seeds = 60
    held = sum(0 in dataset.hold_out(0.5, s)[1].groups for s in range(seeds))
    assert 0.3 * seeds < held < 0.7 * seeds


@pytest.mark.parametrize("members", [1, 20])
def test_a_class_of_one_image_or_group_stays_in_training(members):
    dataset = listed([20, members])
    groups = np.arange(20 + members)
    groups[dataset.labels == 1] = 0
    dataset = dataclasses.replace(dataset, groups=groups)
    training, validation = dataset.hold_out(0.5, seed=0)
    assert (training.labels == 1).sum() == members
    assert set(validation.labels) == {0}


def test_hold_out_never_touches_test_images():
    dataset = listed([5, 5], splits={"train": range(6), "test": range(6, 10)})
    with pytest.raises(ValueError, match=r"on\s`split\('train'\)`. .* test"):
        dataset.hold_out(0.2, seed=0)
    assert len(dataset.split("train").hold_out(0.34, seed=0)[1]) == 2


@pytest.mark.parametrize(
    "share, seed, error, message",
    [
        (0, 0, ValueError, "examples to validate with"),
        (1.5, 0, ValueError, "`share` must be finite, at least 0 and at most"),
        (0.2, -1, ValueError, "`seed` must be a non-negative integer"),
        (0.01, 0, ValueError, "examples to validate with. .*=0.01 of 10 exa"),
    ],
)
def test_hold_out_of_wrong_arguments(share, seed, error, message):
    with pytest.raises(error, match=message):
        listed([5, 5]).hold_out(share, seed)


def test_folds_part_everything_once():
    dataset = listed([53, 29, 3])
    parts = folds(dataset, 5)
    assert list(parts) == [f"fold_{i}" for i in range(5)]
    assert sorted(np.concatenate(list(parts.values()))) == list(range(85))
    for indices in parts.values():
        assert len(indices) == 17
        held = np.bincount(dataset.labels[indices], minlength=3)
        assert (np.abs(held - [53 / 5, 29 / 5, 3 / 5]) <= 1.5).all()


BAD = {
    "empty.jpg": (b"", "is not an image"),
    "short.jpg": (None, "is broken"),
    "noise.jpg": (bytes(range(256)) * 4, "is not an image"),
    "text.jpg": (b"<html>404 Not Found</html>", "is not an image"),
    "gone.jpg": (None, "does not exist"),
}


@pytest.fixture
def photos(tmp_path):
    """Images as people have them, good ones and bad ones."""
    folder = tmp_path / "ein Ordner mit Äpfeln und 寿司"
    good = [noise(folder / name) for name in ("plain.jpg", "Äpfel 寿司.jpg")]
    for name, (content, _) in BAD.items():
        if content is not None:
            (folder / name).write_bytes(content)
    whole = good[0].read_bytes()
    (folder / "short.jpg").write_bytes(whole[: len(whole) // 2])
    paths = [*good, *(folder / name for name in BAD)]
    return ImageDataset(
        "photos", paths, [0, 1, 0, 1, 0, 1, 0], ["a", "b"], {"train": range(7)}
    )


def test_problems_are_found_all_at_once(photos, capsys):
    found = photos.problems(verbose=0)
    assert capsys.readouterr().out == ""
    assert [path.name for path, _ in found] == list(BAD)
    for path, reason in found:
        assert BAD[path.name][1] in reason
        assert str(path) not in reason
    assert photos.problems(workers=1) == found
    assert "7/7" in capsys.readouterr().out
    with pytest.raises(ValueError, match="5 of the 7 images of pho") as error:
        photos.check(verbose=0)
    lines = str(error.value).splitlines()[1:]
    for line, (path, reason) in zip(lines, found, strict=True):
        assert f"{path.name}: {reason}" in line


def test_going_on_without_them_counts_them(photos):
    photos.skipped["no label"] = 2
    rest = photos.without(path for path, _ in photos.problems(verbose=0))
    rest.check(verbose=0)
    assert len(rest) == len(rest.splits["train"]) == 2
    assert rest.skipped == {"no label": 2, "cannot be read": 5}
    assert photos.skipped == {"no label": 2}
    assert rest.without([]).skipped == rest.skipped
    with pytest.raises(ValueError, match="`paths` .* Received: elsewhere"):
        rest.without([*rest.paths[:1], "elsewhere.jpg"])
    again = rest.without(rest.paths[:1])
    assert again.skipped["cannot be read"] == 6


def test_an_image_of_two_boxes_counts_twice(tmp_path):
    path = noise(tmp_path / "a.jpg")
    boxes = [(0, 0, 13, 17), (5, 5, 9, 9)]
    dataset = ImageDataset("photos", [path] * 2, [0, 1], "ab", {}, boxes=boxes)
    assert dataset.problems(verbose=0) == []
    path.write_bytes(b"")
    assert len(dataset.problems(verbose=0)) == 1
    assert dataset.without([path]).skipped == {"cannot be read": 2}


@pytest.mark.parametrize(
    "box, works",
    # Of 13 rows and 17 columns: top, left, bottom, right.
    [
        ((-3, -3, 99, 99), True),
        ((12, 16, 13, 17), True),
        ((13, 0, 15, 5), False),
        ((0, 17, 5, 19), False),
        ((-5, 0, 0, 5), False),
        ((0, -5, 5, 0), False),
    ],
)
def test_a_box_must_show_something(tmp_path, box, works):
    path = noise(tmp_path / "a.jpg")
    found = one_image(path, boxes=[box]).problems(verbose=0)
    assert not found if works else "shows nothing in its box" in found[0][1]


def png(pixels, **arguments):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", **arguments)
    return file.getvalue()


def pixels_of(count, size=(13, 17), channels=3):
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, *size, channels), "uint8")


def test_images_that_are_not_in_files():
    pixels = pixels_of(5)
    dataset = listed([2, 3], splits={"train": [3, 1, 4]}, contents=pixels)
    dataset.check(verbose=0)
    train = dataset.split("train")
    # An array stays an array: lists of small ones would cost memory and time.
    assert isinstance(train.contents, np.ndarray)
    np.testing.assert_array_equal(train.contents, pixels[[1, 3, 4]])
    mixed = (*map(png, pixels[:3]), *pixels[3:])
    others = listed([2, 3], splits={"train": [3, 1, 4]}, contents=mixed)
    others.check(verbose=0)
    for i, channels in itertools.product(range(3), (1, 3)):
        found = others.split("train").read(i, channels=channels)
        expected = train.read(i, channels=channels)
        np.testing.assert_array_equal(found, expected)
    assert others.without([others.paths[0]]).contents == mixed[1:]
    assert dataset.hold_out(0.4, seed=0)[1].contents.shape == (2, 13, 17, 3)
    # What is read may be drawn on.
    dataset.read(1)[:] = 0
    np.testing.assert_array_equal(dataset.contents, pixels_of(5))


@pytest.mark.parametrize(
    "contents, message",
    [
        (pixels_of(4), "as many as the paths, 5. Received: 4"),
        ([b""] * 6, "as many as the paths, 5. Received: 6"),
        (pixels_of(5)[..., 0], r"uint8 \(h, w, c\) .* \(13, 17\)"),
        (pixels_of(5, channels=4), r"Received: .* \(13, 17, 4\)"),
        (pixels_of(5).astype("float32"), "Received: .* float32"),
        ([*pixels_of(4), np.zeros((0, 3, 3), "uint8")], "uint8"),
    ],
)
def test_contents_that_are_no_images(contents, message):
    with pytest.raises(ValueError, match=f"`contents` must be .*{message}"):
        listed([2, 3], contents=contents)


def test_problems_of_contents_are_named_by_the_paths():
    good = png(pixels_of(1)[0])
    contents = [good, b"", good[:60], good, b"<html>404</html>"]
    dataset = listed([2, 3], contents=contents)
    found = dict(dataset.problems(verbose=0))
    assert [path.name for path in found] == ["1.jpg", "2.jpg", "4.jpg"]
    begins = ("is not an", "is broken", "is not an")
    assert all(map(str.startswith, found.values(), begins))
    dataset.without(found).check(verbose=0)
    # Two boxes of a photo, of which each has the whole of it.
    twice = ImageDataset("a", ["a"] * 2, [0, 0], "a", {}, contents=[b"", b""])
    with pytest.raises(ValueError, match="1 of the 1 images"):
        twice.check(verbose=0)


@pytest.mark.parametrize(
    "box, rows, columns",
    # Of 13 rows and 17 columns: top, left, bottom, right.
    [
        ((2, 3, 5, 7), slice(2, 5), slice(3, 7)),
        ((2.6, 3.9, 5.1, 6.4), slice(2, 6), slice(3, 7)),
        ((-3, -0.5, 99, 17.5), slice(0, 13), slice(0, 17)),
        ((12.5, 16.9, 13, 17), slice(12, 13), slice(16, 17)),
    ],
)
def test_a_box_is_cut_out(tmp_path, box, rows, columns):
    pixels = pixels_of(1)[0]
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels))
    for contents in (None, png(pixels), pixels):
        dataset = one_image(path, contents, boxes=[box])
        found = dataset.read(0, cropped=True)
        np.testing.assert_array_equal(found, pixels[rows, columns])
        np.testing.assert_array_equal(dataset.read(0), pixels)
        assert dataset.read(0, cropped=True, channels=1).shape[2] == 1


def test_boxes_are_those_of_the_image_as_it_is_stored(tmp_path):
    """Published so, though viewers show the photo turned."""
    pixels = pixels_of(1)[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels, exif=exif))
    for contents in (None, path.read_bytes()):
        dataset = one_image(path, contents, boxes=[(1, 15, 3, 17)])
        assert dataset.read(0).shape == (17, 13, 3)
        np.testing.assert_array_equal(
            dataset.read(0, cropped=True), pixels[1:3, 15:17]
        )
        # Of the turned photo it would show nothing.
        assert dataset.problems(verbose=0) == []
        wrong = dataclasses.replace(dataset, boxes=[(15, 1, 17, 3)])
        ((_, reason),) = wrong.problems(verbose=0)
        assert "of 13 rows and 17 columns, shows nothing" in reason
        with pytest.raises(ImageError, match="a.png of 13 rows .* 15 to 17"):
            wrong.read(0, cropped=True)
