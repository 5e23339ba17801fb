"""Which files are read, and what is said of others."""

import json
import math

import pytest
from written import BIRDS
from written import markdown
from written import notes
from written import pair
from written import results
from written import save

from keras_warn import tables
from keras_warn.training import experiment


def test_trainings_and_tables_mean_the_same_files():
    assert experiment.RESULTS_MARKER == {tables.MARKER: tables.VERSION}


def test_what_is_no_run_is_counted(made, capsys):
    """Smoke tests, files of other programs, and what cannot be read."""
    out = made(
        *pair(0, 0.84, 0.85),
        results("attention", 1, 0.1, settings={"smoke": True}),
        {"keras_warn_run": 1},
        [1, 2],
        '{"keras_warn_results": 1, "recipe"',
        code=1,
    )
    said = capsys.readouterr().err
    assert "keras-warn tables: runs/05/results.json: it is not JSON" in said
    assert (
        "The tables of 2 runs are in out; left out: 1 of smoke tests, 2 of "
        "another kind, 1 that cannot be read." in said
    )
    text = (out / "tables.md").read_text()
    assert (
        "2 runs; 1 left out, as smoke tests; 2 results.json of another kind "
        "ignored; 1 could not be read, see below." in text
    )
    assert "- runs/05/results.json: it is not JSON" in text
    assert markdown(out, "Birds")[0][6] == "+1.0 (one seed)"
    assert not notes(out)


def without(content, *path):
    """A deep copy that lacks what is at a path."""
    content = json.loads(json.dumps(content))
    inner = content
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return content


GOOD = results("attention", 1, 0.8, 0.9)


@pytest.mark.parametrize(
    "content, message",
    [
        ({**GOOD, "keras_warn_results": 2}, "`keras_warn_results` must be 1"),
        ({**GOOD, "arm": "both"}, "`arm` must be one of 'baseline', 'atten"),
        ({**GOOD, "arm": "baseline"}, "`settings.attention` must be null"),
        (without(GOOD, "settings", "attention"), "must be an object for arm="),
        (without(GOOD, "settings"), "`settings` must be an object. Received"),
        (without(GOOD, "recipe"), "`recipe` must be a string. Received: None"),
        (without(GOOD, "data", "name"), "`data.name` must be a string."),
        (without(GOOD, "data", "classes"), "`data.classes` must be a positive"),
        ({**GOOD, "data": {**BIRDS, "test": "all"}}, "`data.test` must be a"),
        ({**GOOD, "seed": -1}, "`seed` must be a non-negative integer."),
        ({**GOOD, "fold": 5}, "`fold` must be at most 4. Received: fold=5"),
        ({**GOOD, "parameters": 0}, "`parameters` must be a positive integer"),
        ({**GOOD, "training_seconds": None}, "`training_seconds` must be a"),
        (without(GOOD, "environment"), "`environment` must be an object."),
        (without(GOOD, "metrics", "last_epoch"), "`last_epoch` must be an obj"),
        (
            without(GOOD, "metrics", "last_epoch", "test", "accuracy"),
            "`last_epoch.test.accuracy` must be a number.",
        ),
        (results("attention", 1, math.nan), "must be finite, at least 0"),
        (results("attention", 1, 84.0), "at least 0 and at most 1. Received"),
        (results("attention", 1, 0.8, -0.1), "`best_by_validation.test.acc"),
        ("ÿ{", "it is not JSON"),
    ],
)
def test_results_that_cannot_be_understood(made, capsys, content, message):
    made(*pair(0, 0.84, 0.85), content, code=1)
    said = capsys.readouterr().err
    assert "keras-warn tables: runs/02/results.json: " in said
    assert message in said and "The tables of 2 runs" in said


def test_what_lies_in_two_folders_is_found_once(work):
    save(work / "runs/birds/attention", results("attention", 0, 0.8))
    save(work / "runs/birds/.unfinished-x", results("attention", 1, 0.8))
    (run,) = tables.find_runs(["runs/birds", work / "runs", "runs/."]).runs
    assert str(run.path) == "runs/birds/attention/results.json"


def test_folders_that_do_not_exist(work):
    with pytest.raises(NotADirectoryError, match="`folders` must be folders"):
        tables.find_runs([work / "nowhere"])
