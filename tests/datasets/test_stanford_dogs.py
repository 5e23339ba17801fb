"""Stanford Dogs' files, in small: as published, and what is wrong with them."""

import numpy as np
import pytest
from PIL import Image

from keras_warn.datasets import samples
from keras_warn.datasets.stanford_dogs import load_stanford_dogs

scipy_io = pytest.importorskip("scipy.io")

CHIHUAHUA = "n02085620-Chihuahua"
TERRIER = "n02094258-Norwich_terrier"
TRAIN = [
    (f"{TERRIER}/n02094258_72.jpg", 2),
    (f"{CHIHUAHUA}/n02085620_7.jpg", 1),
    (f"{CHIHUAHUA}/n02085620_10131.jpg", 1),
]
TEST = [
    (f"{TERRIER}/n02094258_1004.jpg", 2),
    (f"{CHIHUAHUA}/n02085620_1271.jpg", 1),
]
# Top, left, bottom, right.
BOXES = {name: [(5, 3, 11, 17)] for name, _ in TRAIN + TEST}
# Two dogs in a picture.
BOXES[TRAIN[0][0]] = [(5, 3, 11, 17), (7, 1, 19, 13)]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "Hunde aus 犬"
    folder.mkdir()
    samples.write_dog_list(folder / "train_list.mat", TRAIN)
    samples.write_dog_list(folder / "test_list.mat", TEST)
    samples.write_dog_list(folder / "file_list.mat", TRAIN + TEST)
    for name, _ in TRAIN + TEST:
        path = folder / "Images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (23, 29)).save(path)
        samples.write_dog_boxes(folder, name, BOXES[name], (29, 23))
    return folder


def test_as_published(folder):
    dogs = load_stanford_dogs(folder)
    expected = sorted(name for name, _ in TRAIN + TEST)
    assert dogs.paths == tuple(folder / "Images" / name for name in expected)
    assert dogs.names == ("Chihuahua", "Norwich terrier")
    assert dogs.labels.tolist() == [0, 0, 0, 1, 1]
    for split, entries in (("train", TRAIN), ("test", TEST)):
        found = {path.name for path in dogs.split(split).paths}
        assert found == {name.split("/")[1] for name, _ in entries}
    # Top, left, bottom, right; of both dogs where there are two.
    assert dogs.boxes.tolist() == [[5, 3, 11, 17]] * 4 + [[5, 1, 19, 17]]
    assert dogs.left_out == {}
    dogs.check(verbose=0)


def test_without_boxes(folder):
    (folder / "Annotation").rename(folder / "elsewhere")
    dogs = load_stanford_dogs(str(folder))
    assert dogs.boxes is None
    assert len(dogs) == 5


def test_lists_in_any_order_and_of_one_entry(folder):
    samples.write_dog_list(folder / "train_list.mat", TRAIN[::-1])
    samples.write_dog_list(folder / "test_list.mat", TEST[:1])
    dogs = load_stanford_dogs(folder)
    assert len(dogs.split("train")) == 3
    assert len(dogs.split("test")) == 1
    # The picture of the missing line is not forgotten.
    assert dogs.left_out == {"in neither list": 1}


def test_a_missing_picture_is_in_the_list_of_problems(folder):
    (folder / "Images" / TRAIN[0][0]).unlink()
    found = load_stanford_dogs(folder).problems(verbose=0)
    assert [(path.name, reason) for path, reason in found] == [
        ("n02094258_72.jpg", "does not exist.")
    ]


def test_no_picture_at_all(folder):
    (folder / "Images").rename(folder / "pictures")
    (folder / "Images").mkdir()
    with pytest.raises(FileNotFoundError, match="with none of the 5 that are"):
        load_stanford_dogs(folder)


@pytest.mark.parametrize(
    "entries, message",
    [
        ([*TEST, TRAIN[0]], "test_list.mat, entry 3: .*train_list.mat, entry"),
        ([*TEST, TEST[0]], "entry 3: a picture must be listed once"),
        ([(TEST[0][0], 1)], "entry 1: a class must have one folder"),
        ([(TEST[0][0], 3)], "entry 1: a folder must be of one class"),
        ([(TEST[0][0], 0)], "entry 1: a label must be a positive integer"),
        ([(TEST[0][0], 1.5)], "entry 1: a label must be a positive integer"),
        ([(TEST[0][0], np.nan)], "entry 1: a label must be a positive"),
        ([("a.jpg", 1)], "entry 1: a file must be a name. Received: ''"),
        ([(f"a/{TEST[0][0]}", 1)], "entry 1: a file must be a name"),
    ],
)
def test_wrong_entries_are_named(folder, entries, message):
    samples.write_dog_list(folder / "test_list.mat", entries)
    with pytest.raises(ValueError, match=message) as error:
        load_stanford_dogs(folder)
    assert str(folder) in str(error.value)


def test_labels_that_do_not_match_the_files(folder):
    content = scipy_io.loadmat(folder / "test_list.mat")
    content = {k: v for k, v in content.items() if not k.startswith("__")}
    content["labels"] = content["labels"][:1]
    scipy_io.savemat(folder / "test_list.mat", content)
    with pytest.raises(ValueError, match="2 files, 1 labels"):
        load_stanford_dogs(folder)
    del content["labels"]
    scipy_io.savemat(folder / "test_list.mat", content)
    with pytest.raises(ValueError, match="none called labels"):
        load_stanford_dogs(folder)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("<xmin>3<", "<xmin>three<", "Received: three, 5, 17, 11"),
        ("<xmin>3<", "<xmin>17<", "first two are the smaller"),
        ("<ymax>11<", "<ymax>nan<", "must be numbers"),
        ("<xmax>17</xmax>", "", "Received: 3, 5, None, 11"),
        ("bndbox", "polygon", "must have a bndbox. Received: none"),
        ("</annotation>", "", "must be XML"),
    ],
)
def test_wrong_boxes_are_named(folder, old, new, message):
    path = folder / "Annotation" / TRAIN[1][0][:-4]
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message) as error:
        load_stanford_dogs(folder)
    assert str(path) in str(error.value)


def test_a_box_that_does_not_exist(folder):
    (folder / "Annotation" / TRAIN[1][0][:-4]).unlink()
    with pytest.raises(FileNotFoundError, match="none for .*n02085620_7.jpg"):
        load_stanford_dogs(folder)


def test_another_data_sets_folder(folder, tmp_path):
    (folder / "train_list.mat").unlink()
    with pytest.raises(
        FileNotFoundError, match="without train_list.mat. It ho"
    ):
        load_stanford_dogs(folder)
    cars = tmp_path / "cars"
    (cars / "cars_train").mkdir(parents=True)
    message = "without Images/, .* It holds cars_train/. .* of Stanford Cars"
    with pytest.raises(FileNotFoundError, match=message):
        load_stanford_dogs(cars)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="It holds nothing"):
        load_stanford_dogs(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="an existing folder"):
        load_stanford_dogs(tmp_path / "none")
