"""Files and folders are replaced whole or not at all."""

import os
import pathlib

import keras
import pytest
from support import full_disk

from keras_warn.files import check_replacing
from keras_warn.files import replacing


def write_folder(path, *names):
    with replacing(path) as unfinished:
        unfinished.mkdir()
        for name in names:
            (unfinished / name).touch()


def test_a_file_is_replaced_by_a_rename_when_all_is_written(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = pathlib.Path("file")
    path.write_text("old")
    check_replacing(path)
    with replacing(path) as unfinished:
        unfinished.write_text("new")
        written = unfinished.stat()
        assert path.read_text() == "old"
        assert unfinished.name == path.name
    assert path.read_text() == "new"
    assert os.path.samestat(path.stat(), written)
    assert os.listdir() == ["file"]


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


def test_a_folder_is_replaced_by_another_alone(tmp_path, monkeypatch):
    path = tmp_path / "model"
    write_folder(path, "old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass  # and writes nothing
    with pytest.raises(IsADirectoryError), replacing(path) as unfinished:
        unfinished.touch()
    replace = os.replace

    def interrupted(source, target):
        if (pathlib.Path(source) / "new").exists():
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_folder(path, "new")
    assert os.listdir(path) == ["old"]
    write_folder(path, "new")
    assert os.listdir(path) == ["new"]
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_where_nothing_can_be_written(tmp_path, folder):
    (tmp_path / "file").touch()
    path = tmp_path / folder / "name"
    with pytest.raises(OSError):
        check_replacing(path)
    with pytest.raises(OSError), replacing(path):
        raise AssertionError("the work has begun")
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_is_said_of_the_file(tmp_path):
    model = keras.Sequential([keras.Input((300,)), keras.layers.Dense(300)])
    message = r"^\S*/model.keras cannot be written: .*[Ff]ile .*\.$"
    with full_disk(4000), pytest.raises(OSError, match=message):
        with replacing(tmp_path / "model.keras") as path:
            model.save(path)
    assert os.listdir(tmp_path) == []
