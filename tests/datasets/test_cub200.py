"""CUB-200-2011's files: what they say, and what is wrong with them."""

import dataclasses

import numpy as np
import pytest

from keras_warn.datasets import load_cub200

# Two classes, in files that are in no order. Numbers need not be dense.
FILES = {
    "classes.txt": "7 007.Parakeet_Auklet\n2 002.Laysan_Albatross\n",
    "images.txt": (
        "3 007.Parakeet_Auklet/c.jpg\n"
        "1 002.Laysan_Albatross/a b.jpg\n"
        "12 002.Laysan_Albatross/d.jpg\n"
    ),
    "image_class_labels.txt": "12 2\n1 2\n3 7\n",
    "train_test_split.txt": "1 1\n3 0\n12 1\n",
    "bounding_boxes.txt": (
        "3 5 7 11 13\n12 0.5 0 2.0 3.25\n1 60.0 27.0 325 304\n"
    ),
}


@pytest.fixture
def folder(tmp_path):
    """The folder of a tiny data set. Pictures are not read: empty files."""
    for name, text in FILES.items():
        (tmp_path / name).write_bytes(text.encode())
    for line in FILES["images.txt"].splitlines():
        path = tmp_path / "images" / line.split(" ", 1)[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def check(birds, folder):
    names = ["002.Laysan_Albatross/a b.jpg", "007.Parakeet_Auklet/c.jpg"]
    names += ["002.Laysan_Albatross/d.jpg"]
    assert birds.paths == tuple(folder / "images" / name for name in names)
    assert birds.labels.tolist() == [0, 1, 0]
    assert birds.names == ("Laysan Albatross", "Parakeet Auklet")
    assert birds.splits["train"].tolist() == [0, 2]
    assert birds.splits["test"].tolist() == [1]
    # x, y, width, height become top, left, bottom, right.
    assert birds.boxes.tolist() == [
        [27, 60, 331, 385],
        [7, 5, 20, 16],
        [0, 0.5, 3.25, 2.5],
    ]
    assert len(birds) == 3


def test_in_the_order_of_the_pictures_numbers(folder):
    birds = load_cub200(folder)
    check(birds, folder)
    assert birds.labels.dtype == np.int32
    assert birds.boxes.dtype == np.float32
    check(load_cub200(str(folder)), folder)


def test_files_of_other_editors(folder):
    """A byte order mark, CRLF, trailing spaces and empty lines."""
    for name, text in FILES.items():
        text = "\ufeff\n" + text.replace("\n", " \r\n") + "\r\n\r\n"
        (folder / name).write_bytes(text.encode())
    check(load_cub200(folder), folder)


def test_without_a_line_break_at_the_end(folder):
    for name, text in FILES.items():
        (folder / name).write_text(text.rstrip())
    check(load_cub200(folder), folder)


def test_is_frozen(folder):
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_cub200(folder).labels = None


@pytest.mark.parametrize(
    "name, old, new, message",
    [
        # What cannot be read.
        ("classes.txt", "7 007.P", "x 007.P", "line 1: numbers must be posit"),
        ("classes.txt", "7 007.", "0 007.", "line 1: numbers must be posit"),
        ("images.txt", "1 002", "1.5 002", "line 2: numbers must be positive"),
        ("images.txt", "2 002.Laysan_Albatross/d.jpg", "2", "line 3: a number"),
        ("image_class_labels.txt", "1 2\n", "1 two\n", "line 2: numbers must"),
        ("train_test_split.txt", "3 0", "3 2", "line 2: 1 .training. or 0"),
        ("train_test_split.txt", "3 0", "3", r"line 2: .* Received: '3'"),
        ("bounding_boxes.txt", "0.5 0 2.0", "0.5 2.0", "line 2: x, y, a posi"),
        ("bounding_boxes.txt", "3.25", "3.25 1", "line 2: x, y, a positive"),
        ("bounding_boxes.txt", "3.25", "0", "line 2: x, y, a positive width"),
        ("bounding_boxes.txt", "60.0", "nan", "line 3: x, y, a positive"),
        ("bounding_boxes.txt", "325", "inf", "line 3: x, y, a positive"),
        # What is missing.
        (
            "image_class_labels.txt",
            "1 2\n",
            "",
            r"none for 1, of .*txt, line 2",
        ),
        ("train_test_split.txt", "3 0\n", "", "split.txt must .* none for 3"),
        ("bounding_boxes.txt", "3 5 7 11 13\n", "", "boxes.txt must .* for 3"),
        ("images.txt", "12 002.Laysan_Albatross/d.jpg\n", "", "Received: 12"),
        ("classes.txt", "7 007.Parakeet_Auklet\n", "", "labels.txt, line 3"),
        # What contradicts something else.
        ("images.txt", "12 ", "1 ", "line 3: a number .* after .*, line 2"),
        ("image_class_labels.txt", "3 7", "1 7", "line 3: a number .* line 2"),
        ("image_class_labels.txt", "3 7", "3 8", "line 3: the class .*: 8"),
        ("image_class_labels.txt", "3 7", "3 2", "line 3: .* for 007.Parakeet"),
        ("images.txt", "d.jpg", "a b.jpg", "line 3: a picture .*txt, line 2"),
        ("classes.txt", "007.Parakeet_Auklet", "002.Laysan_Albatross", "once"),
    ],
)
def test_wrong_lines_are_named(folder, name, old, new, message):
    assert FILES[name].count(old) == 1
    (folder / name).write_text(FILES[name].replace(old, new))
    with pytest.raises(ValueError, match=message) as error:
        load_cub200(folder)
    assert str(folder) in str(error.value)


def test_pictures_that_do_not_exist(folder):
    gone = folder / "images" / "007.Parakeet_Auklet" / "c.jpg"
    gone.unlink()
    birds = load_cub200(folder)
    assert "exist" in dict(birds.problems(verbose=0))[gone]
    for path in birds.paths:
        path.unlink(missing_ok=True)
    with pytest.raises(
        FileNotFoundError, match="none of the 3 that are listed"
    ):
        load_cub200(folder)


def test_a_file_of_another_kind(folder):
    (folder / "classes.txt").write_bytes(b"1 \xff\xfe")
    with pytest.raises(ValueError, match="classes.txt must be a text file"):
        load_cub200(folder)


def test_an_empty_file(folder):
    (folder / "images.txt").write_text("\n")
    with pytest.raises(ValueError, match="images.txt must have lines"):
        load_cub200(folder)


def test_another_folder(folder, tmp_path_factory):
    (folder / "classes.txt").unlink()
    (folder / "images").rename(folder / "pictures")
    with pytest.raises(FileNotFoundError, match="classes.txt.*images/"):
        load_cub200(folder)
    with pytest.raises(FileNotFoundError, match="existing folder"):
        load_cub200(tmp_path_factory.mktemp("empty") / "nothing")
