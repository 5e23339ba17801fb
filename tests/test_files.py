"""Files and folders are replaced whole or not at all."""

import os
import pathlib
import threading

import keras
import pytest
from support import full_disk

from keras_warn.files import check_replacing
from keras_warn.files import replacing


def write(path, text):
    with replacing(path) as unfinished:
        unfinished.write_text(text)


def write_folder(path, *names):
    with replacing(path) as unfinished:
        unfinished.mkdir()
        for name in names:
            (unfinished / name).touch()


def test_a_reader_finds_one_or_the_other_but_no_part(tmp_path):
    path = tmp_path / "file"
    texts = {letter * 200_000 for letter in "ab"}
    write(path, "a" * 200_000)
    done = threading.Event()

    def keep_writing():
        for _ in range(50):
            for text in texts:
                write(path, text)
        done.set()

    writer = threading.Thread(target=keep_writing)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(path.read_text())
    writer.join()
    assert seen <= texts


def test_the_target_is_untouched_until_all_is_written(tmp_path):
    path = tmp_path / "file"
    write(path, "old")
    with replacing(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
        assert unfinished.name == path.name
        # For one rename to do, both must be on one file system.
        assert unfinished.parent.parent == tmp_path
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("before", [None, "old"])
def test_a_write_that_is_cut_off_changes_nothing(tmp_path, before):
    path = tmp_path / "file"
    if before is not None:
        path.write_text(before)
    with pytest.raises(KeyboardInterrupt):
        with replacing(path) as unfinished:
            unfinished.write_text("half of the n")
            raise KeyboardInterrupt
    found = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert found == ({} if before is None else {"file": before})


def test_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("file", "new")
    assert (tmp_path / "file").read_text() == "new"


def test_a_folder_is_replaced(tmp_path):
    write_folder(tmp_path / "model", "old")
    write_folder(tmp_path / "model", "new")
    assert os.listdir(tmp_path / "model") == ["new"]
    assert os.listdir(tmp_path) == ["model"]


def test_a_folder_that_nothing_replaces_stays(tmp_path):
    write_folder(tmp_path / "model", "old")
    with pytest.raises(FileNotFoundError):
        with replacing(tmp_path / "model"):
            pass  # and writes nothing
    assert os.listdir(tmp_path / "model") == ["old"]
    assert os.listdir(tmp_path) == ["model"]


def test_a_folder_stays_if_it_cannot_be_replaced(tmp_path, monkeypatch):
    write_folder(tmp_path / "model", "old")
    replace = os.replace

    def interrupted(source, target):
        if (pathlib.Path(source) / "new").exists():
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "model", "new")
    assert os.listdir(tmp_path / "model") == ["old"]
    assert os.listdir(tmp_path) == ["model"]


def test_a_file_does_not_replace_a_folder(tmp_path):
    write_folder(tmp_path / "photos", "years")
    with pytest.raises(IsADirectoryError):
        write(tmp_path / "photos", "new")
    assert os.listdir(tmp_path / "photos") == ["years"]


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_where_nothing_can_be_written(tmp_path, folder):
    (tmp_path / "file").touch()
    path = tmp_path / folder / "name"
    with pytest.raises(OSError):
        check_replacing(path)
    with pytest.raises(OSError):
        with replacing(path):
            raise AssertionError("the work has begun")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["notes.txt", "model.keras"])
def test_a_full_disk_is_said_of_the_file(tmp_path, name):
    model = keras.Sequential([keras.Input((300,)), keras.layers.Dense(300)])
    write = {
        "notes.txt": lambda path: path.write_bytes(bytes(5000)),
        "model.keras": model.save,
    }[name]
    message = rf"^\S*/{name} cannot be written: .*[Ff]ile .*\.$"
    with full_disk(4000), pytest.raises(OSError, match=message):
        with replacing(tmp_path / name) as path:
            write(path)
    assert os.listdir(tmp_path) == []


def test_checking_leaves_nothing_behind(tmp_path):
    write(tmp_path / "file", "old")
    check_replacing(tmp_path / "file")
    check_replacing(tmp_path / "other")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"
