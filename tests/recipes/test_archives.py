"""Archives in their published layouts, in small, and what is wrong in them."""

import io

import archive_files
import archives
import numpy as np
import pytest

from keras_warn.data import synthetic


def splits(data):
    return {name: indices.tolist() for name, indices in data.splits.items()}


def boxes(data):
    """Left, top, right, bottom."""
    return data.boxes[:, [1, 0, 3, 2]].tolist()


@pytest.mark.parametrize(
    "name, names, labels, train, test",
    [
        ("cub200", ("Ring 1", "Disc 2"), [0, 0, 1, 1], [0, 2], [1, 3]),
        ("stanford_dogs", ("Ring 1", "Disc 2"), [0, 0, 1, 1], [0, 2], [1, 3]),
        ("stanford_cars", ("Ring_1", "Disc_2"), [0, 1, 0, 1], [0, 1], [2, 3]),
    ],
)
def test_published_splits_and_boxes(tmp_path, name, names, labels, train, test):
    """A box of dogs holds all of its image."""
    expected = getattr(archive_files, name)(tmp_path)
    found = getattr(archives, name)(tmp_path)
    assert found.names == names and found.labels.tolist() == labels
    assert splits(found) == {"train": train, "test": test}
    assert boxes(found) == np.array(expected, float).tolist()
    found.check(verbose=0)


def test_uec_food100(tmp_path):
    """An example a box; a photo of two classes stays in one fold."""
    archive_files.uec_food100(tmp_path)
    food = archives.uec_food100(tmp_path)
    assert food.names == ("rice", "eels on rice")
    assert food.labels.tolist() == [0, 0, 0, 1, 1]
    assert food.groups.tolist() == [3, 7, 9, 7, 11]
    assert food.skipped == {"box given again": 2, "box without area": 2}
    folds = [set(indices) for indices in splits(food).values()]
    assert len(folds) == 5 and sum(map(len, folds)) == 5
    assert any({1, 3} <= fold for fold in folds)
    food.check(verbose=0)


@pytest.mark.parametrize(
    "task, names, labels, skipped",
    [
        (
            "gender",
            ("female", "male"),
            [0, 1, 1, 0, 1, 0, 0],
            {"gender u": 1, "gender empty": 1, "listed again": 1},
        ),
        (
            "age",
            tuple("0-2 4-6 8-13 15-20 25-32 38-43 48-53 60-100".split()),
            [4, 0, 2, 2, 7, 5],
            {"age None": 1, "age 35": 1, "age (8, 23)": 1, "listed again": 1},
        ),
    ],
)
def test_adience(tmp_path, task, names, labels, skipped):
    archive_files.adience(tmp_path)
    faces = archives.adience(tmp_path, task)
    assert faces.names == names and faces.labels.tolist() == labels
    assert faces.skipped == skipped
    assert list(faces.splits) == [f"fold_{i}" for i in range(5)]
    # The same user is in one group.
    assert faces.groups[0] == faces.groups[1] or task == "gender"
    faces.check(verbose=0)


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar(tmp_path, classes):
    pixels, labels = archive_files.cifar(tmp_path, classes)
    images = archives.cifar(tmp_path, classes)
    np.testing.assert_array_equal(images.contents, pixels)
    assert images.labels.tolist() == labels.tolist()
    assert len(images.names) == classes
    assert len(images.splits["test"]) == 2


@pytest.mark.parametrize(
    "name, arguments, file",
    [
        ("cub200", [], "classes.txt"),
        ("stanford_dogs", [], "train_list.mat"),
        ("stanford_cars", [], "devkit/cars_meta.mat"),
        ("uec_food100", [], "1/bb_info.txt"),
        ("adience", ["age"], "fold_3_data.txt"),
        ("cifar", [10], "test_batch.bin"),
    ],
)
def test_a_file_that_is_missing(tmp_path, name, arguments, file):
    getattr(archive_files, name)(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(FileNotFoundError, match=file):
        getattr(archives, name)(tmp_path, *arguments)


def test_from_tfds(monkeypatch):
    """Files as they are stored, with boxes in pixels."""
    tfds = pytest.importorskip("tensorflow_datasets")
    image = synthetic.draw(0, size=(20, 10))
    file = io.BytesIO()
    image.save(file, "PNG")

    class Builder:
        is_prepared = staticmethod(lambda: True)

        class info:
            features = tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(),
                    "label": tfds.features.ClassLabel(
                        names=["001.Black_bird", "n0208-red_wolf"]
                    ),
                }
            )

        @staticmethod
        def as_dataset(split, decoders):
            return [
                {
                    "image": file.getvalue(),
                    "label": 1,
                    "image/filename": b"a/1.png",
                    "bbox": np.array([0.5, 0.25, 1, 0.75], "float32"),
                }
            ]

    monkeypatch.setattr(tfds, "builder", lambda name, data_dir: Builder)
    monkeypatch.setattr(tfds, "as_numpy", iter)
    birds = archives.from_tfds("caltech_birds2011", "Give the folder.")
    assert birds.names == ("Black bird", "red wolf")
    assert splits(birds) == {"test": [0], "train": [1]}
    assert boxes(birds) == [[5, 5, 15, 10]] * 2
    np.testing.assert_array_equal(birds.read(0), np.asarray(image))
