"""Adience's folds: as published, in small, and what is wrong with them."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_warn.datasets.adience import load_adience

COLUMNS = (
    "user_id original_image face_id age gender x y dx dy tilt_ang "
    "fiducial_yaw_angle fiducial_score"
).split()
# User, picture, face, age, gender. A user is in one fold.
FACES = [
    [
        ("30601258@N03", "1.jpg", 1, "(25, 32)", "f"),
        ("30601258@N03", "1.jpg", 2, "None", "m"),
        ("30601258@N03", "2.jpg", 1, "(0, 2)", "u"),
    ],
    [("7@N00", "1.jpg", 3, "35", ""), ("7@N00", "4.jpg", 3, "13", "m")],
    [("8@N00", "5.jpg", 5, "(8, 12)", "f")],
    [("9@N00", "6.jpg", 7, "(60, 100)", "m")],
    [
        ("10@N00", "7.jpg", 11, "(38, 48)", "f"),
        ("11@N00", "8.jpg", 13, "(8, 23)", "f"),
        # The line before, again: published so, 117 times.
        ("11@N00", "8.jpg", 13, "(8, 23)", "f"),
    ],
]
REAL = Path(
    os.environ.get("KERAS_WARN_SHARED", Path(__file__).parents[3] / "shared"),
    "data",
    "adience_folds",
)


def fold_file(rows, columns=COLUMNS, end="\n"):
    lines = ["\t".join(columns)]
    for user, image, face, age, gender in rows:
        values = dict.fromkeys(COLUMNS, "5")
        values.update(user_id=user, original_image=image, face_id=str(face))
        values.update(age=age, gender=gender)
        lines.append("\t".join(values[column] for column in columns))
    return end.join([*lines, ""])


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "visages à voir"
    folder.mkdir()
    for i, rows in enumerate(FACES):
        (folder / f"fold_{i}_data.txt").write_text(fold_file(rows))
        for user, image, face, *_ in rows:
            for kind, start in (
                ("aligned", "landmark_aligned_face"),
                ("faces", "coarse_tilt_aligned_face"),
            ):
                path = folder / kind / user / f"{start}.{face}.{image}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (23, 29)).save(path)
    return folder


def check_gender(faces, folder, kind="aligned", start="landmark_aligned_face"):
    names = ["30601258@N03/X.1.1.jpg", "30601258@N03/X.2.1.jpg"]
    names += ["7@N00/X.3.4.jpg", "8@N00/X.5.5.jpg", "9@N00/X.7.6.jpg"]
    names += ["10@N00/X.11.7.jpg", "11@N00/X.13.8.jpg"]
    paths = [folder / kind / name.replace("X", start) for name in names]
    assert list(faces.paths) == paths
    assert faces.names == ("female", "male")
    assert faces.labels.tolist() == [0, 1, 1, 0, 1, 0, 0]
    folds = {name: indices.tolist() for name, indices in faces.splits.items()}
    assert folds == {
        "fold_0": [0, 1],
        "fold_1": [2],
        "fold_2": [3],
        "fold_3": [4],
        "fold_4": [5, 6],
    }
    assert faces.left_out == {
        "gender u": 1,
        "gender empty": 1,
        "listed again": 1,
    }


def test_gender(folder):
    faces = load_adience(folder, "gender")
    check_gender(faces, folder)
    faces.check(verbose=0)
    # The users, of which the first has two faces here.
    assert faces.groups[0] == faces.groups[1]
    assert len(set(faces.groups)) == 6


def test_age(folder):
    faces = load_adience(str(folder), "age")
    assert faces.names == (
        "0-2",
        "4-6",
        "8-13",
        "15-20",
        "25-32",
        "38-43",
        "48-53",
        "60-100",
    )
    found = [faces.names[label] for label in faces.labels]
    assert found == ["25-32", "0-2", "8-13", "8-13", "60-100", "38-43"]
    assert faces.left_out == {
        "age None": 1,
        "age in no class": 1,
        "age in two classes alike": 1,
        "listed again": 1,
    }


@pytest.mark.parametrize(
    "age, expected",
    [
        ("(0, 2)", "0-2"),
        ("(4, 6)", "4-6"),
        ("(8, 12)", "8-13"),
        ("(8, 13)", "8-13"),
        ("(15, 20)", "15-20"),
        ("(25, 32)", "25-32"),
        ("(38, 43)", "38-43"),
        ("(48, 53)", "48-53"),
        ("(60, 100)", "60-100"),
        # One year.
        ("0", "0-2"),
        ("2", "0-2"),
        ("13", "8-13"),
        ("29", "25-32"),
        ("42", "38-43"),
        ("100", "60-100"),
        # Odd pairs, of years in common: 6, 2 at the turn, 5, 6 against 1.
        ("(27, 32)", "25-32"),
        ("(25, 23)", "25-32"),
        ("(38,42)", "38-43"),
        ("(38, 48)", "38-43"),
        ("(10, 16)", "8-13"),
        # Nothing, or two classes alike.
        ("3", "age in no class"),
        ("22", "age in no class"),
        ("35", "age in no class"),
        ("58", "age in no class"),
        ("101", "age in no class"),
        ("(33, 37)", "age in no class"),
        ("(8, 23)", "age in two classes alike"),
        ("None", "age None"),
        ("", "age empty"),
    ],
)
def test_rule_of_ages(folder, age, expected):
    before = load_adience(folder, "age").left_out
    rows = [("8@N00", "5.jpg", 5, age, "f")]
    (folder / "fold_2_data.txt").write_text(fold_file(rows))
    faces = load_adience(folder, "age")
    labels = faces.labels[faces.splits["fold_2"]]
    if expected in faces.names:
        assert [faces.names[label] for label in labels] == [expected]
        assert faces.left_out == before
    else:
        assert not labels.size
        count = before.get(expected, 0) + 1
        assert faces.left_out == {**before, expected: count}


def test_faces_where_there_are_no_aligned_ones(folder):
    (folder / "aligned").rename(folder / "elsewhere")
    faces = load_adience(folder, "gender")
    check_gender(faces, folder, "faces", "coarse_tilt_aligned_face")


def test_files_of_other_editors(folder):
    """A byte order mark, CRLF, an empty line; columns in another order."""
    for i, rows in enumerate(FACES):
        text = "\ufeff" + fold_file(rows, COLUMNS[::-1], "\r\n") + "\r\n"
        (folder / f"fold_{i}_data.txt").write_bytes(text.encode())
    check_gender(load_adience(folder, "gender"), folder)


def test_a_missing_face_is_in_the_list_of_problems(folder):
    next((folder / "aligned" / "9@N00").iterdir()).unlink()
    found = load_adience(folder, "gender").problems(verbose=0)
    assert [path.name for path, _ in found] == ["landmark_aligned_face.7.6.jpg"]


@pytest.mark.parametrize(
    "task, row, message",
    [
        ("gender", ("8@N00", "5.jpg", 6, "3", "w"), "gender must be f, m, u"),
        ("age", ("8@N00", "5.jpg", 6, "old", "f"), "age must be a year, a pa"),
        ("age", ("8@N00", "5.jpg", 6, "(3, 4, 5)", "f"), "age must be a year"),
        ("age", ("8@N00", "5.jpg", 6, "-3", "f"), "age must be a year, a pair"),
        (
            "age",
            ("8@N00", "5.jpg", "x", "3", "f"),
            "face_id must be a positive",
        ),
        ("age", ("", "5.jpg", 6, "3", "f"), "user_id must be a name"),
        (
            "age",
            ("8@N00", "a/5.jpg", 6, "3", "f"),
            "original_image must be a n",
        ),
        # What contradicts another line, in this fold or another.
        (
            "gender",
            ("8@N00", "5.jpg", 5, "3", "m"),
            "contradicts .*2.*, line 2",
        ),
        (
            "gender",
            ("8@N00", "5.jpg", 5, "3", "u"),
            "contradicts .*2.*, line 2",
        ),
        ("age", ("8@N00", "5.jpg", 5, "3", "f"), "contradicts .*2.*, line 2"),
        ("age", FACES[0][0], "contradicts .*fold_0_data.txt, line 2"),
    ],
)
def test_wrong_lines_are_named(folder, task, row, message):
    path = folder / "fold_2_data.txt"
    path.write_text(fold_file([*FACES[2], row]))
    with pytest.raises(ValueError, match=f"line 3: .*{message}") as error:
        load_adience(folder, task)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "must have lines"),
        ("\t".join(COLUMNS), "must list faces"),
        (fold_file(FACES[2]).split("\n", 1)[1], "line 1: the first line must"),
        (fold_file(FACES[2]).replace("gender", "sex"), "without gender"),
        (fold_file(FACES[2]).replace("\t", " "), "with tabs between"),
        (
            fold_file(FACES[2]).replace("\tf\t", "\t"),
            "line 2: 12 columns .* 11",
        ),
    ],
)
def test_wrong_files_are_named(folder, text, message):
    (folder / "fold_2_data.txt").write_text(text)
    with pytest.raises(ValueError, match=f"fold_2_data.txt.*{message}"):
        load_adience(folder, "gender")


def test_a_task_that_is_none(folder):
    with pytest.raises(ValueError, match="`task` must be one of 'gender', 'a"):
        load_adience(folder, "both")


def test_another_data_sets_folder(folder, tmp_path):
    (folder / "fold_3_data.txt").unlink()
    message = (
        "of Adience. .* without fold_3_data.txt. It holds aligned/, faces/"
    )
    with pytest.raises(FileNotFoundError, match=message):
        load_adience(folder, "age")
    food = tmp_path / "food"
    (food / "1").mkdir(parents=True)
    (food / "1" / "bb_info.txt").touch()
    with pytest.raises(FileNotFoundError, match="looks like that of UEC Food"):
        load_adience(food, "age")


def test_without_pictures(folder):
    (folder / "aligned").rename(folder / "a")
    (folder / "faces").rename(folder / "b")
    with pytest.raises(FileNotFoundError, match="without aligned/ or faces/"):
        load_adience(folder, "age")
    (folder / "aligned").mkdir()
    with pytest.raises(FileNotFoundError, match="with none of the 6 that are"):
        load_adience(folder, "age")


@pytest.fixture
def published(tmp_path):
    """The published files, and one empty picture for the reader to find."""
    if not REAL.is_dir():
        pytest.skip(
            f"Adience's published fold files are not at {REAL}: put the "
            "folder above data/ into KERAS_WARN_SHARED."
        )
    for path in sorted(REAL.glob("fold_*_data.txt")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    user = tmp_path / "aligned" / "30601258@N03"
    user.mkdir(parents=True)
    (user / "landmark_aligned_face.1.10399646885_67c7d20df9_o.jpg").touch()
    (user / "landmark_aligned_face.2.10424815813_e94629b1ec_o.jpg").touch()
    return tmp_path


@pytest.mark.parametrize(
    "task, counts, folds, left_out",
    [
        (
            "gender",
            [9368, 8124],
            [3995, 3609, 3137, 3306, 3445],
            {"gender empty": 779, "gender u": 1099, "listed again": 117},
        ),
        (
            "age",
            [2491, 2140, 2292, 1642, 5095, 2346, 830, 872],
            [4381, 3274, 3300, 3069, 3684],
            {
                "age None": 748,
                "age in no class": 913,
                "age in two classes alike": 1,
                "listed again": 117,
            },
        ),
    ],
)
def test_published_files(published, task, counts, folds, left_out):
    """Every one of their lines is an example, or is counted."""
    faces = load_adience(published, task)
    assert np.bincount(faces.labels).tolist() == counts
    assert [len(indices) for indices in faces.splits.values()] == folds
    assert faces.left_out == left_out
    assert len(faces) + sum(left_out.values()) == 19487
    assert len(set(faces.paths)) == len(faces)


@pytest.mark.parametrize("task", ["gender", "age"])
def test_no_user_is_in_two_published_folds(published, task):
    """Nor in training and validation data, when these are parted."""
    faces = load_adience(published, task)
    users = [set(faces.split(fold).groups) for fold in faces.splits]
    assert sum(map(len, users)) == len(set.union(*users))
    rest = faces.split("fold_0", "fold_1", "fold_2", "fold_3")
    training, validation = rest.hold_out(0.1, seed=0)
    assert not set(training.groups) & set(validation.groups)
    assert 0.08 < len(validation) / len(rest) < 0.13
