"""TensorFlow Datasets' copies are those of the published folders."""

import importlib.machinery
import io
import shutil
import sys
import time
import types
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_warn.datasets import cifar
from keras_warn.datasets import load_cub200
from keras_warn.datasets import load_stanford_cars
from keras_warn.datasets import load_stanford_dogs
from keras_warn.datasets import load_tfds
from keras_warn.datasets import samples

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("scipy")

# Their builders insist on the published numbers of classes.
FEW = dict(train=1, test=1)


class Downloaded:
    """In place of TFDS's downloads: folders that are there already."""

    def __init__(self, monkeypatch, found, archive=()):
        self.found = found
        self.archive = archive
        manager = tfds.download.DownloadManager
        monkeypatch.setattr(manager, "download_and_extract", self.find)
        monkeypatch.setattr(manager, "download", self.find)
        monkeypatch.setattr(manager, "iter_archive", self.files)
        monkeypatch.setattr(
            urllib.request, "urlopen", lambda *args, timeout: io.BytesIO()
        )

    def find(self, urls):
        if isinstance(urls, dict):
            return {key: self.find(url) for key, url in urls.items()}
        if isinstance(urls, list):
            return [self.find(url) for url in urls]
        for end, path in self.found.items():
            if end in urls:
                return str(path)
        raise AssertionError(urls)

    def files(self, _):
        folder, pictures = self.archive
        for path in sorted(Path(folder, pictures).rglob("*.jpg")):
            name = path.relative_to(folder).as_posix()
            yield name, io.BytesIO(path.read_bytes())


def assert_same(found, folder, sort=False):
    """`found` has the examples of the listing of a folder."""
    if sort:
        order = sorted(range(len(folder)), key=lambda i: folder.paths[i])
        folder = folder.take(order)
    assert found.names == folder.names
    assert [p.name for p in found.paths] == [p.name for p in folder.paths]
    np.testing.assert_array_equal(found.labels, folder.labels)
    assert list(found.splits) == list(folder.splits)
    for split, indices in folder.splits.items():
        np.testing.assert_array_equal(found.splits[split], indices)
    for i in range(len(folder)):
        np.testing.assert_array_equal(found.read(i), folder.read(i))
    assert (found.boxes is None) == (folder.boxes is None)
    if folder.boxes is not None:
        np.testing.assert_array_equal(found.boxes, folder.boxes)
    found.check(verbose=0)


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar(tmp_path, monkeypatch, classes):
    write = getattr(samples, f"write_cifar{classes}")
    folder = write(tmp_path / "cifar", classes, train=5, test=1)
    Downloaded(monkeypatch, {"binary.tar": folder.parent})
    found = load_tfds(f"cifar{classes}", tmp_path, verbose=0)
    read = getattr(cifar, f"load_cifar{classes}")
    assert_same(found, read(folder))
    assert found.contents.shape == (6 * classes, 32, 32, 3)
    # What is held out is the same, too.
    for one, other in zip(
        found.split("train").hold_out(0.2, seed=0),
        read(folder).split("train").hold_out(0.2, seed=0),
        strict=True,
    ):
        assert one.paths == other.paths


def test_stanford_dogs(tmp_path, monkeypatch):
    folder = samples.write_stanford_dogs(tmp_path / "dogs", 120, **FEW)
    # Two dogs in a picture.
    first = next((folder / "Images").rglob("*.jpg"))
    name = first.relative_to(folder / "Images").as_posix()
    size = Image.open(first).size[::-1]
    samples.write_dog_boxes(
        folder, name, [(3, 5, 17, 11), (1, 7, 13, 19)], size
    )
    found = {"lists.tar": folder, "annotation.tar": folder / "Annotation"}
    Downloaded(
        monkeypatch, {**found, "images.tar": "archive"}, (folder, "Images")
    )
    found = load_tfds("stanford_dogs", tmp_path, verbose=0)
    assert_same(found, load_stanford_dogs(folder))
    assert [1, 5, 17, 19] in found.boxes.tolist()
    # As they are in the file: not decoded, and encoded again.
    written = {path.read_bytes() for path in folder.rglob("*.jpg")}
    assert set(found.contents) == written


def test_stanford_cars(tmp_path, monkeypatch):
    folder = samples.write_stanford_cars(tmp_path / "cars", 196, **FEW)
    found = {"withlabels": folder / "cars_test_annos_withlabels.mat"}
    Downloaded(monkeypatch, {**found, "": folder})
    found = load_tfds("cars196", tmp_path, verbose=0)
    # TFDS has the names in its code.
    assert found.names[0] == "AM General Hummer SUV 2000"
    samples.write_car_names(folder / "devkit" / "cars_meta.mat", found.names)
    assert_same(found, load_stanford_cars(folder))
    assert found.paths[0].as_posix() == "train/00001.jpg"


@pytest.fixture
def opencv(monkeypatch):
    """As much of OpenCV as TFDS needs for birds."""
    module = types.ModuleType("cv2")
    module.__spec__ = importlib.machinery.ModuleSpec("cv2", None)
    module.imdecode = lambda content, flags: np.array(
        Image.open(io.BytesIO(content.tobytes())).convert("L")
    )
    monkeypatch.setitem(sys.modules, "cv2", module)


def test_cub200(tmp_path, monkeypatch, opencv):
    folder = samples.write_cub200(tmp_path / "CUB_200_2011", 200, **FEW)
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in folder.rglob("*.jpg"):
        mask = Image.new("L", Image.open(path).size)
        mask.save(masks / f"{path.stem}.png")
    found = {"CUB_200_2011.tgz": tmp_path, "segmentations.tgz": masks}
    Downloaded(monkeypatch, found, (tmp_path, "CUB_200_2011/images"))
    found = load_tfds("caltech_birds2011", tmp_path, verbose=0)
    assert_same(found, load_cub200(folder), sort=True)
    assert found.names[1] == "Square 2"


def test_what_is_prepared_is_not_asked_for_again(tmp_path, monkeypatch, capsys):
    folder = samples.write_cifar10(tmp_path / "cifar", 10, **FEW)
    Downloaded(monkeypatch, {"binary.tar": folder.parent})
    load_tfds("cifar10", tmp_path, verbose=0)
    shutil.rmtree(folder)
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    capsys.readouterr()
    assert len(load_tfds("cifar10", str(tmp_path))) == 20
    # It takes a while: whoever waits sees how far it is.
    assert "20/20" in capsys.readouterr().out
    load_tfds("cifar10", tmp_path, verbose=0)
    assert capsys.readouterr().out == ""


def no_network(request, timeout):
    assert timeout <= 10
    raise urllib.error.URLError("Name or service not known")


PUBLISHED = {
    "caltech_birds2011": "CUB_200_2011 .* load_cub200",
    "stanford_dogs": "Images/.* load_stanford_dogs",
    "cars196": "cars_train/.* load_stanford_cars",
    "cifar10": "cifar-10-batches-bin .* load_cifar10",
    "cifar100": "cifar-100-binary .* load_cifar100",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_without_a_network_it_fails_at_once(tmp_path, monkeypatch, name):
    """Within seconds, and not after the minutes of TFDS's retries."""
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    start = time.monotonic()
    with pytest.raises(ConnectionError, match=f"reached .*{PUBLISHED[name]}"):
        load_tfds(name, tmp_path)
    assert time.monotonic() - start < 10
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        tfds.download.DownloadError("Failed to get url. HTTP code: 404."),
        urllib.error.URLError("reset"),
        TimeoutError("slow"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_download_that_fails(tmp_path, monkeypatch, error):
    """As that of Stanford Cars does, whose address is gone."""
    Downloaded(monkeypatch, {})

    def fail(self, urls):
        raise error

    monkeypatch.setattr(
        tfds.download.DownloadManager, "download_and_extract", fail
    )
    with pytest.raises(ConnectionError, match="load_stanford_cars") as caught:
        load_tfds("cars196", tmp_path)
    assert str(error) in str(caught.value)


def test_a_full_disk_is_no_matter_of_connections(tmp_path, monkeypatch):
    Downloaded(monkeypatch, {})

    def fail(self, urls):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        tfds.download.DownloadManager, "download_and_extract", fail
    )
    with pytest.raises(OSError, match="No space left") as caught:
        load_tfds("cifar10", tmp_path)
    assert not isinstance(caught.value, ConnectionError)


def test_a_missing_package_is_named_before_the_download(tmp_path, monkeypatch):
    if importlib.util.find_spec("cv2") is not None:
        pytest.skip("OpenCV is installed here.")
    Downloaded(monkeypatch, {})
    with pytest.raises(ImportError, match="pip install opencv-python"):
        load_tfds("caltech_birds2011", tmp_path)


def test_without_tfds(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match="pip install tensorflow-datasets"):
        load_tfds("cifar10")


def test_a_name_that_is_none():
    with pytest.raises(ValueError, match="`name` must be one of 'caltech_bir"):
        load_tfds("imagenet")
