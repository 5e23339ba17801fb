"""Stanford Cars' files, in small: as published, and what is wrong with them."""

import numpy as np
import pytest
from PIL import Image

from keras_warn.datasets.samples import write_car_boxes
from keras_warn.datasets.samples import write_car_names
from keras_warn.datasets.stanford_cars import load_stanford_cars

scipy_io = pytest.importorskip("scipy.io")

NAMES = ["Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012", "smart"]
# x1, y1, x2, y2, class, file. Both folders number their pictures from 1.
TRAIN = [
    (3, 5, 17, 11, 2, "00002.jpg"),
    (1, 2, 23, 29, 1, "00001.jpg"),
    (4, 6, 19, 13, 3, "00003.jpg"),
]
TEST = [(2, 7, 13, 19, 2, "00001.jpg"), (3, 5, 7, 11, 3, "00002.jpg")]
FIELDS = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "自動車 cars"
    (folder / "devkit").mkdir(parents=True)
    write_car_names(folder / "devkit" / "cars_meta.mat", NAMES)
    write_car_boxes(folder / "devkit" / "cars_train_annos.mat", TRAIN)
    write_car_boxes(folder / "cars_test_annos_withlabels.mat", TEST)
    # Without classes, and not to be mistaken for the one with them.
    blind = [(*entry[:4], entry[5]) for entry in TEST]
    fields = [*FIELDS[:4], "fname"]
    write_car_boxes(folder / "devkit/cars_test_annos.mat", blind, fields)
    for split, entries in (("train", TRAIN), ("test", TEST)):
        (folder / f"cars_{split}").mkdir()
        for entry in entries:
            path = folder / f"cars_{split}" / entry[-1]
            Image.new("RGB", (23, 29)).save(path)
    return folder


def test_as_published(folder):
    cars = load_stanford_cars(folder)
    names = ["cars_train/00001.jpg", "cars_train/00002.jpg"]
    names += ["cars_train/00003.jpg"]
    names += ["cars_test/00001.jpg", "cars_test/00002.jpg"]
    assert cars.paths == tuple(folder / name for name in names)
    assert cars.names == tuple(NAMES)
    assert cars.labels.tolist() == [0, 1, 2, 1, 2]
    # Top, left, bottom, right.
    assert cars.boxes.tolist() == [
        [2, 1, 29, 23],
        [5, 3, 11, 17],
        [6, 4, 13, 19],
        [7, 2, 19, 13],
        [5, 3, 11, 7],
    ]
    assert cars.splits["train"].tolist() == [0, 1, 2]
    assert cars.splits["test"].tolist() == [3, 4]
    assert cars.left_out == {}
    cars.check(verbose=0)


def test_labels_of_the_test_pictures_in_the_devkit(folder):
    path = folder / "cars_test_annos_withlabels.mat"
    path.rename(folder / "devkit" / path.name)
    assert load_stanford_cars(str(folder)).labels.tolist() == [0, 1, 2, 1, 2]


def test_missing_lines_and_pictures_are_counted(folder):
    write_car_boxes(folder / "devkit" / "cars_train_annos.mat", TRAIN[:1])
    (folder / "cars_test" / "00002.jpg").unlink()
    cars = load_stanford_cars(folder)
    assert len(cars.split("train")) == 1
    assert cars.left_out == {"not listed": 2}
    assert [path.name for path, _ in cars.problems(verbose=0)] == ["00002.jpg"]
    # All classes stay, whether there are pictures of them or not.
    assert cars.names == tuple(NAMES)


@pytest.mark.parametrize(
    "entry, message",
    [
        ((1, 2, 3, 4, 4, "a.jpg"), "class must be one of .* 1 to 3. .*: 4"),
        ((1, 2, 3, 4, 0, "a.jpg"), "class must be a positive integer"),
        ((1, 2, 3, 4, "x", "a.jpg"), "class must be a positive integer"),
        ((1, 2, 3, 4, 1, "00002.jpg"), "00002.jpg, which is entry 1, too"),
        ((1, 2, 3, 4, 1, "b/a.jpg"), "fname must be a name"),
        ((1, 2, 3, 4, 1, 5), "fname must be a name. Received: 5"),
        ((3, 2, 3, 4, 1, "a.jpg"), "first two are the smaller. .* 3, 2, 3, 4"),
        ((1, 4, 3, 2, 1, "a.jpg"), "first two are the smaller"),
        ((1, np.inf, 3, 2, 1, "a.jpg"), "must be numbers"),
        ((1, 2, "", 4, 1, "a.jpg"), "must be numbers"),
    ],
)
def test_wrong_entries_are_named(folder, entry, message):
    path = folder / "devkit" / "cars_train_annos.mat"
    write_car_boxes(path, [*TRAIN, entry])
    with pytest.raises(ValueError, match=f"entry 4: .*{message}") as error:
        load_stanford_cars(folder)
    assert str(path) in str(error.value)


def test_the_file_without_labels(folder):
    """Renamed by somebody who lacked the one with labels."""
    blind = folder / "devkit" / "cars_test_annos.mat"
    blind.replace(folder / "cars_test_annos_withlabels.mat")
    with pytest.raises(ValueError, match="withlabels.mat .* none called class"):
        load_stanford_cars(folder)
    (folder / "cars_test_annos_withlabels.mat").unlink()
    message = "without cars_test_annos_withlabels.mat, the labels of the test"
    with pytest.raises(FileNotFoundError, match=message):
        load_stanford_cars(folder)


def test_names_given_twice(folder):
    write_car_names(folder / "devkit" / "cars_meta.mat", ["a", "b", "a"])
    with pytest.raises(ValueError, match="cars_meta.mat .* 3 classes with 2 n"):
        load_stanford_cars(folder)


def test_another_data_sets_folder(folder, tmp_path):
    (folder / "cars_train").rename(folder / "train")
    (folder / "devkit" / "cars_meta.mat").unlink()
    message = "of Stanford Cars. .* without cars_train/, devkit/cars_meta.mat."
    with pytest.raises(FileNotFoundError, match=message):
        load_stanford_cars(folder)
    dogs = tmp_path / "dogs"
    (dogs / "Images").mkdir(parents=True)
    (dogs / "train_list.mat").touch()
    message = "It holds Images/, train_list.mat. .* of Stanford Dogs"
    with pytest.raises(FileNotFoundError, match=message):
        load_stanford_cars(dogs)


def test_no_picture_at_all(folder):
    for path in folder.glob("cars_*/*.jpg"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="with none of the 5 that are"):
        load_stanford_cars(folder)
