"""The command: what it refuses, and the files that it leaves."""

import os
import subprocess
import sys

import pytest
from written import pair
from written import results
from written import save

from keras_warn.cli import main


def everything(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("empty --out out", "a finished training. There is none in empty.\n"),
        (
            "bad --out out",
            "There is none in bad; left out: 1 that cannot be read.",
        ),
        ("runs nowhere --out out", "RUNS must be folders that exist. Received"),
        ("runs/results.json --out out", "Received: runs/results.json."),
        ("runs --out file", "--out must be a folder. file is a file."),
        ("runs --out file/out", "--out file/out cannot be written to. file"),
        ("runs --out /proc/out", "--out /proc/out cannot be written to. /proc"),
    ],
)
def test_bad_input(work, capsys, arguments, message):
    save(work / "runs", results("attention", 0, 0.8))
    save(work / "bad", "{")
    (work / "empty").mkdir()
    (work / "file").write_text("here first")
    before = everything(work)
    assert main(["tables", *arguments.split()]) == 2
    said = capsys.readouterr()
    assert message in said.err and not said.out
    assert said.err.splitlines()[-1].startswith("keras-warn tables: ")
    assert everything(work) == before


def test_tables_are_replaced_and_other_files_stay(made, work):
    (work / "out").mkdir()
    (work / "out/notes.txt").write_text("mine")
    (work / "out/tables.md").write_text("old")
    out = made(*pair(0, 0.84, 0.85))
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "tables.md").read_text().startswith("# Finished trainings")
    assert everything(out) == [
        "cifar.csv",
        "notes.txt",
        "others.csv",
        "runs.csv",
        "table3.csv",
        "table4.csv",
        "tables.md",
    ]
    # A header, though there are no others.
    assert (out / "others.csv").read_text().startswith("recipe,data_set,")


def test_a_table_that_cannot_be_replaced(made, work, capsys):
    (work / "out/runs.csv").mkdir(parents=True)
    out = made(*pair(0, 0.84, 0.85), code=1)
    said = capsys.readouterr().err
    assert "--out out cannot be written to: Is a directory." in said
    assert not (out / "tables.md").exists()


def test_tables_that_nobody_reads(work):
    """As of `keras-warn tables runs --out out | head -1`."""
    save(work / "runs", results("attention", 0, 0.8))
    unread, out = os.pipe()
    os.close(unread)
    finished = subprocess.run(
        [sys.executable, "-m", "keras_warn", "tables", "runs", "--out", "out"],
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(out)
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    assert "The tables of 1 run are in out" in finished.stderr
    assert (work / "out/tables.md").exists()
