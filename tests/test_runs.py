"""Runs resume where they were, and never mix with others."""

import json
import os
import pathlib

import pytest

from keras_warn.training.runs import RunFolder


def contents(path):
    return {
        file.relative_to(path): (file.stat().st_mtime_ns, file.read_bytes())
        for file in pathlib.Path(path).rglob("*")
        if file.is_file()
    }


def never():
    raise AssertionError("was done before")


def test_resumes_with_what_is_missing(tmp_path):
    """Results are as JSON keeps them; a string is one like any other."""
    settings = {"sizes": (2, 3), "rate": 0.1}
    path = tmp_path / "a" / "run"
    run = RunFolder(path, settings)
    assert not run.has("one")
    assert run.part("one", lambda x: {8: (x, 1)}, 2) == {"8": [2, 1]}
    with pytest.raises(AssertionError):
        run.part("two", never)
    # What a process leaves that is killed while it writes.
    (path / ".unfinished-x").mkdir()
    (path / ".unfinished-x" / "model.keras").touch()
    run = RunFolder(path, settings)
    assert run.has("one")
    assert run.part("one", never) == {"8": [2, 1]}
    assert run.part("two", lambda: "text") == "text"
    assert run.part("two", never) == "text"
    run.finish("all")
    assert RunFolder(path, settings, finished=True).results == "all"
    names = ["parts", "results.json", "settings.json"]
    assert sorted(os.listdir(path)) == names


def test_a_kill_at_the_very_start(tmp_path):
    (tmp_path / "parts").mkdir()
    assert RunFolder(tmp_path, {}).part("one", lambda: 1) == 1


@pytest.mark.parametrize("content", ["", "\ud800"])
@pytest.mark.parametrize("name", ["results.json", "parts/one.json"])
def test_what_cannot_be_read_is_named(tmp_path, name, content):
    RunFolder(tmp_path, {})
    (tmp_path / name).write_text(content, "utf-8", "surrogatepass")
    with pytest.raises(FileExistsError, match=f"{name} is not JSON"):
        RunFolder(tmp_path, {}, finished=True).part("one", never)
    assert RunFolder(tmp_path, {}, overwrite=True).results is None


def test_other_settings_and_finished_runs_are_refused(tmp_path):
    """Unless they are thrown away."""
    run = RunFolder(tmp_path, {"of": {"epochs": 3}, "width": 4})
    run.part("one", lambda: 1)
    run.finish({"x": 0.5})
    before = contents(tmp_path)
    for epochs, message in (
        (5, "has of.epochs=3 instead of 5. Choose"),
        (3, "results.json exists"),
    ):
        with pytest.raises(FileExistsError, match=message):
            RunFolder(tmp_path, {"of": {"epochs": epochs}, "width": 4})
    assert contents(tmp_path) == before
    run = RunFolder(tmp_path, {"epochs": 5}, overwrite=True)
    assert not run.has("one")
    assert not (run / "results.json").exists()
    kept = json.loads((run / "settings.json").read_text())
    assert kept == {"keras_warn_run": 1, "settings": {"epochs": 5}}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("settings.json", "{", "not JSON"),
        ("settings.json", "[]", 'lacks "keras_warn_run": 1'),
        # Of another version.
        ("settings.json", '{"keras_warn_run": 2, "settings": {}}', "lacks"),
        ("parts/one.json", "1", "with parts"),
        ("thesis.tex", "years", "with thesis.tex"),
    ],
)
def test_files_of_others_are_never_touched(
    tmp_path, file, content, message, overwrite
):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=message):
        RunFolder(tmp_path, {"epochs": 3}, overwrite)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "rate"), [("file", 0.1), ("file/run", 0.1), ("new", float("nan"))]
)
def test_where_no_run_can_begin(tmp_path, name, rate):
    """A file is in the way; NaN is no setting."""
    (tmp_path / "file").write_text("kept")
    with pytest.raises((OSError, ValueError)):
        RunFolder(tmp_path / name, {"rate": rate})
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]
