"""Runs resume where they were, and never mix with others."""

import json
import os
import pathlib

import keras
import pytest

from keras_warn.environment import environment
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
    settings = {"sizes": (2, 3), "rate": 0.1}
    run = RunFolder(tmp_path / "a" / "run", settings)
    assert not run.has("one")
    assert run.part("one", lambda x: {8: (x, 1)}, 2) == {"8": [2, 1]}
    run = RunFolder(tmp_path / "a" / "run", settings)
    assert run.has("one")
    assert run.part("one", never) == {"8": [2, 1]}
    assert run.part("two", lambda: 5) == 5


def test_a_string_is_a_result_like_any_other(tmp_path):
    (tmp_path / "parts").mkdir()  # as a kill at the very start leaves it
    run = RunFolder(tmp_path, {})
    assert run.part("one", lambda: "text") == "text"
    assert run.part("one", never) == "text"
    run.finish("all")
    assert json.loads((run / "results.json").read_text()) == "all"


def test_a_part_that_fails_is_not_kept(tmp_path):
    run = RunFolder(tmp_path, {})
    with pytest.raises(AssertionError):
        run.part("one", never)
    assert run.part("one", lambda: 1) == 1


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    RunFolder(tmp_path, {})
    (tmp_path / ".unfinished-x").mkdir()
    (tmp_path / ".unfinished-x" / "model.keras").touch()
    RunFolder(tmp_path, {})
    assert sorted(os.listdir(tmp_path)) == ["parts", "settings.json"]


@pytest.mark.parametrize("content", ["{", "", "\ud800", "[" * 100_000])
@pytest.mark.parametrize("name", ["results.json", "parts/one.json"])
def test_what_cannot_be_read_is_named(tmp_path, name, content):
    run = RunFolder(tmp_path, {})
    (tmp_path / name).write_text(content, "utf-8", "surrogatepass")
    with pytest.raises(FileExistsError, match=f"{name} is not JSON"):
        run = RunFolder(tmp_path, {}, finished=True)
        run.part("one", lambda: 1)
    assert RunFolder(tmp_path, {}, overwrite=True).results is None


@pytest.mark.parametrize(
    "begin, settings, message",
    [
        (lambda run: run.part("one", lambda: 1), 5, "epochs=3 instead of 5"),
        (lambda run: run.finish({"x": 0.5}), 3, "results.json exists"),
    ],
)
def test_other_settings_and_finished_runs_are_refused(
    tmp_path, begin, settings, message
):
    begin(RunFolder(tmp_path, {"epochs": 3, "width": 4}))
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=message):
        RunFolder(tmp_path, {"epochs": settings, "width": 4})
    assert contents(tmp_path) == before


def test_overwriting_starts_anew(tmp_path):
    run = RunFolder(tmp_path, {"epochs": 3})
    run.part("one", lambda: 1)
    run.finish({})
    run = RunFolder(tmp_path, {"epochs": 5}, overwrite=True)
    assert not run.has("one")
    assert not (run / "results.json").exists()
    kept = json.loads((run / "settings.json").read_text())
    assert kept == {"keras_warn_run": 1, "settings": {"epochs": 5}}


OTHERS = {
    "no JSON": ("settings.json", "{", "not JSON"),
    "a list": ("settings.json", "[]", 'lacks "keras_warn_run": 1'),
    "other settings": ("settings.json", '{"a": 3}', "lacks"),
    "of another version": ("settings.json", '{"keras_warn_run": 2}', "lacks"),
    "parts": ("parts/engine.cad", "1", "with parts"),
    "parts of ours": ("parts/one.json", "1", "with parts"),
    "a file": ("thesis.tex", "years", "with thesis.tex"),
}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", OTHERS)
def test_files_of_others_are_never_touched(tmp_path, name, overwrite):
    file, content, message = OTHERS[name]
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    if file == "settings.json":
        (tmp_path / "thesis.tex").write_text("years")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=message):
        RunFolder(tmp_path, {"epochs": 3}, overwrite)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_file_in_the_way(tmp_path, name):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError):
        RunFolder(tmp_path / name, {})
    assert (tmp_path / "file").read_text() == "kept"


def test_nan_is_no_setting(tmp_path):
    with pytest.raises(ValueError):
        RunFolder(tmp_path / "run", {"rate": float("nan")})
    assert not (tmp_path / "run").exists()


def test_environment_fits_into_json():
    found = json.loads(json.dumps(environment()))
    assert found["backend"] == keras.backend.backend()
    assert found[found["backend"]]
    assert found["cores"] >= 1
    assert found["cpu"]
