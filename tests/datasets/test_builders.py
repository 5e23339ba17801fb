"""Our builders for TensorFlow Datasets hold what our readers read."""

import os
from pathlib import Path

import fresh
import numpy as np
import pytest
from PIL import Image

from keras_warn.datasets import load_adience
from keras_warn.datasets import load_tfds
from keras_warn.datasets import load_uec_food100
from keras_warn.datasets import samples

tfds = pytest.importorskip("tensorflow_datasets")

REAL = Path(
    os.environ.get("KERAS_WARN_SHARED", Path(__file__).parents[3] / "shared"),
    "data",
    "adience_folds",
)


@pytest.fixture
def manual(tmp_path):
    """Where TFDS looks for what it does not download."""
    return tmp_path / "downloads" / "manual"


def assert_same(found, folder, root):
    assert found.names == folder.names
    assert found.name == folder.name
    names = [path.relative_to(root) for path in folder.paths]
    assert list(found.paths) == names
    np.testing.assert_array_equal(found.labels, folder.labels)
    assert list(found.splits) == list(folder.splits)
    for split, indices in folder.splits.items():
        np.testing.assert_array_equal(found.splits[split], indices)
    np.testing.assert_array_equal(found.groups, folder.groups)
    for i in range(len(folder)):
        np.testing.assert_array_equal(found.read(i), folder.read(i))
        if folder.boxes is not None:
            np.testing.assert_array_equal(
                found.read(i, cropped=True), folder.read(i, cropped=True)
            )
    # As published: not decoded, and encoded again.
    assert found.contents[0] == folder.paths[0].read_bytes()
    found.check(verbose=0)


def test_uec_food100(tmp_path, manual):
    folder = samples.write_uec_food100(manual / "UECFOOD100")
    food = load_tfds("uec_food100", tmp_path, verbose=0)
    expected = load_uec_food100(folder)
    assert_same(food, expected, folder)
    np.testing.assert_array_equal(food.boxes, expected.boxes)
    # No photo is trained and tested with.
    photos = [set(food.split(fold).groups) for fold in food.splits]
    assert sum(map(len, photos)) == len(set.union(*photos)) == 64


def test_odd_photos(tmp_path, manual):
    """A box beyond the photo, and a photo that its EXIF data turn."""
    folder = samples.write_uec_food100(manual / "UECFOOD100")
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels, _ = samples.draw([0], size=(33, 60))
    Image.fromarray(pixels).save(folder / "1" / "2.jpg", exif=exif)
    (folder / "1" / "bb_info.txt").write_text(
        "img x1 y1 x2 y2\n1 -3 5 2000 17\n2 40 1 47 31\n3 1 2 30 31\n"
    )
    food = load_tfds("uec_food100", tmp_path, verbose=0)
    expected = load_uec_food100(folder)
    assert_same(food, expected, folder)
    width = Image.open(folder / "1" / "1.jpg").width
    # As far as the photo reaches: TFDS has no other boxes.
    assert food.boxes[0].tolist() == [5, 0, 17, width]
    assert food.boxes[1].tolist() == [1, 40, 31, 47]


def test_what_cannot_be_used_is_left_out_and_said(tmp_path, manual):
    folder = samples.write_uec_food100(manual / "UECFOOD100")
    (folder / "1" / "2.jpg").write_bytes(b"<html>404</html>")
    (folder / "3" / "33.jpg").unlink()
    with pytest.warns(UserWarning, match="^2 pictures .*2.jpg: is not an im"):
        food = load_tfds("uec_food100", tmp_path, verbose=0)
    expected = load_uec_food100(folder)
    expected = expected.without(p for p, _ in expected.problems(verbose=0))
    assert len(expected) == 78
    assert_same(food, expected, folder)


@pytest.mark.parametrize("task", ["gender", "age"])
def test_adience(tmp_path, manual, task):
    folder = samples.write_adience(manual / "Adience")
    faces = load_tfds(f"adience/{task}", tmp_path, verbose=0)
    assert_same(faces, load_adience(folder, task), folder)
    users = [set(faces.split(fold).groups) for fold in faces.splits]
    assert sum(map(len, users)) == len(set.union(*users)) == 40


@pytest.mark.parametrize("task", ["gender", "age"])
def test_lines_of_the_published_files(tmp_path, manual, task):
    """The first of each fold, with pictures of our own."""
    if not REAL.is_dir():
        pytest.skip(
            f"Adience's published fold files are not at {REAL}: put the "
            "folder above data/ into KERAS_WARN_SHARED."
        )
    folder = manual / "Adience"
    folder.mkdir(parents=True)
    for path in sorted(REAL.glob("fold_?_data.txt")):
        lines = path.read_text().splitlines(keepends=True)[:41]
        (folder / path.name).write_text("".join(lines))
        for i, line in enumerate(lines[1:]):
            user, image, face, *_ = line.split("\t")
            name = f"landmark_aligned_face.{face}.{image}"
            picture = folder / "aligned" / user / name
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (13, 17), (5 * i, 7, 11)).save(picture)
    faces = load_tfds(f"adience/{task}", tmp_path, verbose=0)
    expected = load_adience(folder, task)
    assert 100 < len(expected) <= 200
    assert_same(faces, expected, folder)


def test_as_any_data_set_of_tfds(tmp_path, manual):
    from keras_warn.datasets.builders import UecFood100

    folder = samples.write_uec_food100(manual / "UECFOOD100")
    assert tfds.builder_cls("uec_food100") is UecFood100
    food, info = tfds.load(
        "uec_food100", split="fold_0", data_dir=tmp_path, with_info=True
    )
    assert info.features["label"].names[0] == "Disc 1"
    expected = load_uec_food100(folder)
    assert len(food) == len(expected.splits["fold_0"])
    for example in tfds.as_numpy(food):
        height, width, _ = example["image"].shape
        box = example["bbox"] * (height, width, height, width)
        i = example["index"]
        np.testing.assert_allclose(box, expected.boxes[i], atol=1e-4)
        assert example["label"] == expected.labels[i]
        assert example["photo"] == expected.groups[i]


@pytest.mark.parametrize(
    "name, message",
    [
        ("uec_food100", "foodcam.mobi.* UECFOOD100.*load_uec_food100"),
        ("adience/age", "talhassner.* Adience.*load_adience"),
    ],
)
def test_without_the_published_folder(tmp_path, manual, name, message):
    """It is said what to download from where, and where to put it."""
    with pytest.raises(FileNotFoundError, match=f"(?s)manual.*{message}"):
        load_tfds(name, tmp_path, verbose=0)
    manual.mkdir(parents=True)
    (manual / "another").mkdir()
    with pytest.raises(FileNotFoundError, match="must be an existing folder"):
        load_tfds(name, tmp_path, verbose=0)


def test_tfds_is_imported_when_it_is_needed():
    script = (
        "import sys, keras_warn.datasets, keras_warn.datasets.builders as b\n"
        "assert 'tensorflow_datasets' not in sys.modules\n"
        "assert not hasattr(b, 'Other')\n"
        "b.Adience\n"
        "assert 'tensorflow_datasets' in sys.modules\n"
    )
    fresh.run(script)
