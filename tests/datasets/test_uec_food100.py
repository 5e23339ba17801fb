"""UEC Food-100's files, in small: as published, and what is wrong with them."""

import numpy as np
import pytest
from PIL import Image

from keras_warn.datasets.uec_food100 import load_uec_food100

# Photo 7 shows rice twice, and soup; it lies in both folders.
FILES = {
    "category.txt": "id\tname\n1\trice\n36\tmiso soup\n10\ttempura bowl \n",
    "1/bb_info.txt": (
        "img x1 y1 x2 y2\n7 0 1 13 17\n5 2 3 19 23\n7 11 0 23 29\n"
    ),
    "10/bb_info.txt": "img x1 y1 x2 y2\n900 1 1 5 7\n",
    "36/bb_info.txt": "img x1 y1 x2 y2\n7 3 5 17 11\n8 0 0 23 29\n",
}


def write_photos(folder, classes):
    for key, photos in classes.items():
        for photo in photos:
            path = folder / f"{key}" / f"{photo}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (23, 29)).save(path)


def write_files(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "料理 UECFOOD100"
    write_files(folder, FILES)
    write_photos(folder, {1: (5, 7), 10: (900,), 36: (7, 8)})
    return folder


def check(food, folder):
    names = ["1/5.jpg", "1/7.jpg", "1/7.jpg", "10/900.jpg"]
    names += ["36/7.jpg", "36/8.jpg"]
    assert food.paths == tuple(folder / name for name in names)
    assert food.names == ("rice", "tempura bowl", "miso soup")
    assert food.labels.tolist() == [0, 0, 0, 1, 2, 2]
    # Top, left, bottom, right.
    assert food.boxes.tolist() == [
        [3, 2, 23, 19],
        [1, 0, 17, 13],
        [0, 11, 29, 23],
        [1, 1, 7, 5],
        [5, 3, 11, 17],
        [0, 0, 29, 23],
    ]
    assert food.groups.tolist() == [5, 7, 7, 900, 7, 8]


def test_one_example_a_box(folder):
    food = load_uec_food100(folder)
    check(food, folder)
    assert food.left_out == {}
    food.check(verbose=0)
    check(load_uec_food100(str(folder)), folder)


def test_files_of_other_editors(folder):
    """A byte order mark, CRLF, blanks and empty lines, and another order."""
    for name, text in FILES.items():
        header, *lines = text.splitlines()
        text = "\r\n\r\n".join([header, *lines[::-1]])
        write_files(folder, {name: f"\ufeff\r\n{text} \r\n"})
    check(load_uec_food100(folder), folder)


def test_without_headers(folder):
    for name, text in FILES.items():
        write_files(folder, {name: text.split("\n", 1)[1]})
    check(load_uec_food100(folder), folder)


def large(folder):
    """Photos of up to three of seven classes, and their numbers of boxes."""
    random = np.random.default_rng(0)
    rows = {key: [] for key in range(1, 8)}
    for photo in range(1, 401):
        for key in random.choice(range(1, 8), random.integers(1, 4), False):
            for _ in range(random.integers(1, 3)):
                left, top = random.integers(0, 5, 2)
                rows[key].append(f"{photo} {left} {top} {left + 9} {top + 9}")
    names = "".join(f"{key}\tdish {key}\n" for key in rows)
    write_files(folder, {"category.txt": names})
    for key, lines in rows.items():
        write_files(folder, {f"{key}/bb_info.txt": "\n".join(lines)})
    # Only one is opened, to see that there are any.
    (folder / "1" / f"{rows[1][0].split()[0]}.jpg").touch()
    return load_uec_food100(folder)


def test_no_photo_is_in_two_folds(tmp_path):
    food = large(tmp_path)
    assert len(food) > len(set(food.groups))
    assert list(food.splits) == [f"fold_{i}" for i in range(5)]
    everything = np.concatenate(list(food.splits.values()))
    assert sorted(everything) == list(range(len(food)))
    photos = [set(food.split(name).groups) for name in food.splits]
    assert sum(map(len, photos)) == len(set.union(*photos))
    # Every fold has about a fifth of every class.
    expected = np.bincount(food.labels) / 5
    for name in food.splits:
        held = np.bincount(food.split(name).labels, minlength=7)
        np.testing.assert_allclose(held, expected, atol=3)


def test_no_photo_is_trained_and_validated_with(tmp_path):
    food = large(tmp_path)
    rest = food.split("fold_1", "fold_2", "fold_3", "fold_4")
    training, validation = rest.hold_out(0.1, seed=0)
    testing = food.split("fold_0")
    for one, other in (
        (training, validation),
        (training, testing),
        (validation, testing),
    ):
        assert not {p.name for p in one.paths} & {p.name for p in other.paths}


def test_folds_are_everybodys(tmp_path):
    one = large(tmp_path / "here")
    other = large(tmp_path / "there")
    for name in one.splits:
        np.testing.assert_array_equal(one.splits[name], other.splits[name])


def test_what_is_left_out_is_counted(folder):
    # The same box again, boxes without area, and a photo without a line.
    text = FILES["1/bb_info.txt"]
    text += "7 0 1 13 17\n5 9 3 9 23\n5 2 8 19 3\n"
    write_files(folder, {"1/bb_info.txt": text})
    write_photos(folder, {36: (9,)})
    food = load_uec_food100(folder)
    check(food, folder)
    assert food.left_out == {
        "box given again": 1,
        "box without area": 2,
        "photo without a box": 1,
    }


def test_a_missing_photo_is_in_the_list_of_problems(folder):
    (folder / "1" / "7.jpg").unlink()
    food = load_uec_food100(folder)
    found = food.problems(verbose=0)
    assert [path.name for path, _ in found] == ["7.jpg"]
    rest = food.without(path for path, _ in found)
    # Both of its boxes of rice; its soup is another file.
    assert rest.left_out == {"cannot be read": 2}
    assert len(rest) == 4


@pytest.mark.parametrize(
    "name, old, new, message",
    [
        ("1/bb_info.txt", "5 2 3 19 23", "5 2 3 19", "line 3: img, x1, y1, x2"),
        ("1/bb_info.txt", "5 2 3 19 23", "5 2 3 19 23 1", "line 3: img, x1"),
        ("1/bb_info.txt", "5 2 3", "5 2 x", "line 3: img, x1, .* 'x|x 19 23'"),
        ("1/bb_info.txt", "5 2 3", "5 2.5 3", "line 3: img, x1, y1, x2 and y2"),
        ("1/bb_info.txt", "5 2 3", "0 2 3", "line 3: img, x1, y1, x2 and y2"),
        ("1/bb_info.txt", "x1 y1 x2 y2", "x1 x2 y1 y2", "line 1: img, x1, y1"),
        ("10/bb_info.txt", "900 1 1 5 7\n", "", "bb_info.txt must list photos"),
        ("category.txt", "36\t", "x\t", "line 3: the first word must be a po"),
        ("category.txt", "36\t", "101\t", "line 3: UEC Food-100 has .*: 101"),
        ("category.txt", "36\tmiso soup", "36", "line 3: every class must"),
        ("category.txt", "36\t", "1\t", "line 3: every class must"),
        ("category.txt", "miso soup", "rice", "3 classes with 2 names"),
        ("category.txt", "36\tmiso soup\n", "", "none for the folder 36"),
    ],
)
def test_wrong_lines_are_named(folder, name, old, new, message):
    assert FILES[name].count(old) == 1
    write_files(folder, {name: FILES[name].replace(old, new)})
    with pytest.raises(ValueError, match=message) as error:
        load_uec_food100(folder)
    assert str(folder) in str(error.value)


def test_files_that_are_no_text(folder):
    (folder / "36" / "bb_info.txt").write_bytes(b"7 \xff\xfe")
    with pytest.raises(ValueError, match="bb_info.txt must be a text file"):
        load_uec_food100(folder)
    (folder / "category.txt").write_bytes(b"\n")
    with pytest.raises(ValueError, match="category.txt must have lines"):
        load_uec_food100(folder)


def test_another_data_sets_folder(folder, tmp_path):
    (folder / "36" / "bb_info.txt").unlink()
    message = "of UEC Food-100. .* without 36/bb_info.txt. It holds 1/, 10/"
    with pytest.raises(FileNotFoundError, match=message):
        load_uec_food100(folder)
    names = "".join(f"{key}\tdish {key}\n" for key in range(1, 101))
    (folder / "category.txt").write_text(names)
    message = "without 2/bb_info.txt, .*, 7/bb_info.txt and 92 more. It holds"
    with pytest.raises(FileNotFoundError, match=message) as error:
        load_uec_food100(folder)
    assert "looks like" not in str(error.value)
    birds = tmp_path / "CUB_200_2011"
    birds.mkdir()
    (birds / "image_class_labels.txt").touch()
    message = "without category.txt. .* looks like that of CUB-200-2011"
    with pytest.raises(FileNotFoundError, match=message):
        load_uec_food100(birds)


def test_no_photo_at_all(folder):
    for path in folder.glob("*/*.jpg"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="with none of the 6 that are"):
        load_uec_food100(folder)
