"""CIFAR's files, in both published versions, and what is wrong with them."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_warn.datasets import load_cifar10
from keras_warn.datasets import load_cifar100
from keras_warn.datasets import samples

LOADERS = {10: load_cifar10, 100: load_cifar100}
WRITERS = {10: samples.write_cifar10, 100: samples.write_cifar100}
# Columns of labels before the pixels.
COLUMNS = {10: 1, 100: 2}


def written(folder, which, version="binary", **arguments):
    return WRITERS[which](folder, version=version, **arguments)


@pytest.mark.parametrize("which", [10, 100])
def test_the_first_and_the_last_picture(tmp_path, which):
    """Red, then green, then blue, row by row, after the fine label."""
    folder = written(tmp_path, which)
    pictures = LOADERS[which](folder)
    assert pictures.contents.shape == (64, 32, 32, 3)
    assert pictures.contents.dtype == np.uint8
    assert pictures.splits["train"].tolist() == list(range(48))
    assert pictures.splits["test"].tolist() == list(range(48, 64))
    assert pictures.names == ("disc_1", "square_2", "triangle_3", "ring_4")
    assert pictures.name == f"CIFAR-{which}"
    first = {10: "data_batch_1.bin", 100: "train.bin"}[which]
    last = {10: "test_batch.bin", 100: "test.bin"}[which]
    columns = COLUMNS[which]
    for i, file, start in ((0, first, 0), (63, last, -1)):
        content = (folder / file).read_bytes()
        length = columns + 3072
        row = content[start * length :][:length]
        assert pictures.labels[i] == row[columns - 1]
        for channel in range(3):
            plane = row[columns + 1024 * channel :][:1024]
            found = pictures.contents[i, :, :, channel].tobytes()
            assert found == plane
    names = [pictures.paths[i].as_posix() for i in (0, 47, 48, 63)]
    assert names == ["train/00000", "train/00047", "test/00000", "test/00015"]
    pictures.check(verbose=0)


@pytest.mark.parametrize("which", [10, 100])
def test_both_versions_are_the_same(tmp_path, which):
    one = LOADERS[which](written(tmp_path, which))
    # The folder itself, or the one that it lies in.
    shutil.rmtree(next(tmp_path.iterdir()))
    written(tmp_path, which, "python")
    other = LOADERS[which](str(tmp_path))
    np.testing.assert_array_equal(one.contents, other.contents)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert (one.names, one.paths) == (other.names, other.paths)


@pytest.mark.parametrize("which", [10, 100])
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", "CF")
def test_pickles_that_were_written_again(tmp_path, which, protocol, order):
    """By Python 3, as those who make a smaller copy do."""
    folder = written(tmp_path, which, "python")
    expected = LOADERS[which](folder)
    for path in folder.iterdir():
        content = pickle.loads(path.read_bytes(), encoding="bytes")
        # What they know of it, and what nobody does.
        content = {key.decode(): value for key, value in content.items()}
        if "data" in content:
            content["data"] = np.array(content["data"], order=order)
            content["batch_label"] = b"a batch"
        path.write_bytes(pickle.dumps(content, protocol))
    found = LOADERS[which](folder)
    np.testing.assert_array_equal(expected.contents, found.contents)
    np.testing.assert_array_equal(expected.labels, found.labels)
    assert expected.names == found.names


def test_python_2s_pickles_are_what_pickle_reads(tmp_path):
    """`python2_pickle` is no dialect of ours."""
    value = {b"data": np.arange(6, dtype="uint8").reshape(2, 3), b"l": [1, 255]}
    found = pickle.loads(samples.python2_pickle(value), encoding="bytes")
    np.testing.assert_array_equal(found[b"data"], value[b"data"])
    assert found[b"l"] == value[b"l"]


class Evil:
    """What a pickle would run."""

    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "make",
    [
        lambda path: Evil(os.mkdir, path),
        lambda path: Evil(exec, f"import os; os.mkdir({path!r})"),
        lambda path: Evil(getattr, Evil(os.mkdir, path), "x"),
        lambda path: {b"data": Evil(np.memmap, path, "u1", "w+", 0, 9)},
        lambda path: {b"data": Evil(np.fromfile, path)},
        lambda path: [Path(path)],
        lambda path: np.array([Evil(os.mkdir, path)], object),
    ],
)
def test_pickles_run_nothing(tmp_path, protocol, make):
    folder = written(tmp_path, 10, "python")
    target = tmp_path / "harm"
    content = pickle.dumps(make(str(target)), protocol)
    for name in ("data_batch_3", "batches.meta"):
        path = folder / name
        before = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} must be a pickled dict"):
            load_cifar10(folder)
        path.write_bytes(before)
    assert not target.exists()
    # It would have been, or this test shows nothing.
    if make(str(target)).__class__ is Evil:
        with pytest.raises(Exception, match="|"):
            pickle.loads(content)
            raise ValueError("loaded")
        assert target.exists()


def test_damage_is_a_value_error_or_no_error(tmp_path):
    folder = written(tmp_path, 10, "python", train=5, test=1, classes=1)
    path = folder / "test_batch"
    content = np.frombuffer(path.read_bytes(), "uint8")
    random = np.random.default_rng(0)
    failed = 0
    for _ in range(300):
        damaged = content.copy()
        places = random.integers(0, 170, 3)
        damaged[places] = random.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            load_cifar10(folder)
        except ValueError as error:
            assert "test_batch" in str(error)
            failed += 1
    assert failed > 100
    for length in range(0, len(content), 50):
        path.write_bytes(content[:length].tobytes())
        with pytest.raises(ValueError, match="test_batch must"):
            load_cifar10(folder)


def pickled(**content):
    content = {key.encode(): value for key, value in content.items()}
    return samples.python2_pickle(content)


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("test_batch", pickled(labels=[0]), "must have data, .*: NoneType"),
        (
            "test_batch",
            pickled(data=np.zeros((2, 9), "uint8"), labels=[0, 0]),
            r"uint8 \(b, 3072\). Received: shape \(2, 9\), uint8",
        ),
        (
            "test_batch",
            pickled(data=np.zeros((2, 3072), "uint8")),
            "must have labels, an integer .* 2 pictures",
        ),
        (
            "test_batch",
            pickled(data=np.zeros((2, 3072), "uint8"), labels=[0]),
            "must have labels",
        ),
        (
            "test_batch",
            pickled(data=np.zeros((1, 3072), "uint8"), labels=[b"0"]),
            "must have labels",
        ),
        (
            "test_batch",
            pickled(data=np.zeros((1, 3072), "uint8"), labels=[4]),
            "labels from 0 to 3. Received: 4",
        ),
        ("test_batch", samples.python2_pickle([]), "a pickled dictionary"),
        ("batches.meta", pickled(names=[b"a"]), "a list label_names"),
        ("batches.meta", pickled(label_names=[b"a", b"a"]), "2 .* with 1 name"),
        (
            "batches.meta",
            pickled(label_names=[b"%d" % i for i in range(11)]),
            "10 at most. Received: 11 classes",
        ),
    ],
)
def test_wrong_pickles_are_named(tmp_path, file, content, message):
    folder = written(tmp_path, 10, "python")
    (folder / file).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_cifar10(folder)
    assert str(folder / file) in str(error.value)


@pytest.mark.parametrize(
    "which, file, change, message",
    [
        (10, "data_batch_2.bin", lambda c: c[:-1], "have 3073 bytes .*: 30729"),
        (10, "data_batch_2.bin", lambda c: c + b"0", "have 3073 bytes for eve"),
        (10, "test_batch.bin", lambda c: b"", "Received: 0 bytes"),
        (10, "test_batch.bin", lambda c: b"\4" + c[1:], "0 to 3. Received: 4"),
        (100, "test.bin", lambda c: c[:-2], "must have 3074 bytes for every"),
        (100, "test.bin", lambda c: b"\0\4" + c[2:], "0 to 3. Received: 4"),
        (10, "batches.meta.txt", lambda c: b"\n", "must have lines"),
        (
            10,
            "batches.meta.txt",
            lambda c: c + b"ring_4\n",
            "5 .* with 4 names",
        ),
        (10, "batches.meta.txt", lambda c: c * 3, "10 at most"),
    ],
)
def test_wrong_files_are_named(tmp_path, which, file, change, message):
    folder = written(tmp_path, which)
    path = folder / file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as error:
        LOADERS[which](folder)
    assert str(path) in str(error.value)


def test_another_data_sets_folder(tmp_path):
    ten = written(tmp_path / "ten", 10)
    hundred = written(tmp_path / "hundred", 100, "python")
    for folder in (ten, ten.parent):
        with pytest.raises(FileNotFoundError, match="like that of CIFAR-10.$"):
            load_cifar100(folder)
    for folder in (hundred, hundred.parent):
        message = "cifar-10-batches-bin/ or .* looks like that of CIFAR-100.$"
        with pytest.raises(FileNotFoundError, match=message):
            load_cifar10(folder)
    (ten / "data_batch_4.bin").unlink()
    message = "be that of CIFAR-10. .* without data_batch_4.bin. It holds"
    with pytest.raises(FileNotFoundError, match=message) as error:
        load_cifar10(ten.parent)
    assert "looks like" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="an existing folder"):
        load_cifar10(tmp_path / "none")
    birds = samples.write_cub200(tmp_path / "birds")
    with pytest.raises(FileNotFoundError, match="looks like that of CUB-200"):
        load_cifar100(birds)
