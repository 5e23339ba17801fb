"""The command, on digits: killed, gone on with, and refused."""

import csv
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import time

import pytest
import search
from searching import office

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = [sys.executable, str(ROOT / "tuning/search.py")]
SMALL = [
    *("cluttered_mnist", "--smoke", "--epochs", "2", "--train-size", "384"),
    *("--space", "depth", "width=1,4", "learning_rate"),
]


def start(log, *arguments):
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=open(log, "w"),
        stderr=subprocess.STDOUT,
        cwd=ROOT,
    )


def wait_for(path, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, f"ended before {path} was there"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def free_address():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search that was killed after an epoch of its first trial."""
    folder = tmp_path_factory.mktemp("search")
    out = folder / "search"
    arguments = [*SMALL, "--out", out]
    process = start(folder / "killed.log", *arguments)
    wait_for(out / "parts/training/01/seed_0/state.npz", process)
    kill(process)
    assert not (out / "parts/trials/01.json").exists()
    process = start(folder / "again.log", *arguments)
    assert process.wait() == 0, (folder / "again.log").read_text()
    return out


def test_a_killed_search_goes_on_in_the_middle_of_a_trial(searched):
    log = searched.with_name("again.log").read_text()
    first = log.partition("Trial 02 of 2")[0]
    assert "Trial 01 of 2, 2 epochs: the recipe's own setting" in first
    assert "Epoch 2/2" in first and "Epoch 1/2" not in first
    assert "2 trials ended" in log


def test_what_a_search_leaves(searched):
    assert {path.name for path in searched.iterdir()} == {
        "parts",
        "results.json",
        "retrained",
        "search.html",
        "settings.json",
        "tensorboard",
        "trials.csv",
    }
    with open(searched / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["01", "02"]
    for row in rows:
        assert row["status"] == "completed"
        assert 0 < float(row["operations_added"]) < 1
    results = json.loads((searched / "results.json").read_text())
    assert results["finished"]
    assert results["best"] in ("01", "02")
    assert results["command"].startswith("python recipes/cluttered_mnist.py --")
    arms = {found["arm"] for found in results["retrained"]}
    assert {"baseline", "default"} <= arms
    assert list(searched.glob("retrained/baseline/seed_0/model.keras"))
    page = (searched / "search.html").read_text()
    assert results["command"].split(" --attention")[0] in page


def snapshot(path):
    return {file: file.stat().st_mtime_ns for file in path.rglob("*")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--space", "depth", "width=1,2"],
            "space.width='1, 4' instead of '1, 2'",
        ),
        (["--tuner", "grid"], "tuner='random' instead of 'grid'"),
        (["--objective", "val_loss"], "objective='val_accuracy' instead of"),
        (["--max-overhead", "50%"], "limits={} instead of"),
        (["--epochs", "3"], "epochs=2 instead of 3"),
    ],
)
def test_another_search_is_never_mixed_in(searched, arguments, message, capsys):
    before = snapshot(searched)
    with pytest.raises(SystemExit) as stop:
        search.main([*SMALL, "--out", str(searched), *arguments])
    assert stop.value.code == 2
    assert re.search(
        f"same settings.*{re.escape(message)}", capsys.readouterr().err
    )
    assert snapshot(searched) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "RECIPE must come first: adience_age"),
        (["--tuner", "grid"], "RECIPE must come first"),
        (["birds"], "RECIPE must be one of adience_age.*Received: 'birds'"),
        ([*SMALL, "--tuner", "best"], "--tuner: invalid choice: 'best'"),
        ([*SMALL, "--objective", "test_accuracy"], "--objective: invalid"),
        ([*SMALL, "--max-trials", "0"], "at least 1. Received: 0"),
        ([*SMALL, "--space", "depth=1,5"], "depth of 1 to 4.*Received: 5"),
        ([*SMALL, "--space", "width=0,1"], "cannot have width=0: `width`"),
        ([*SMALL, "--space", "gates=none"], "something to choose"),
        ([*SMALL, "--space", "gates=softmax,no"], "cannot have gates=no: `g"),
        ([*SMALL, "--max-overhead", "0.001%"], "leave something.*cheapest"),
        ([*SMALL, "--max-overhead", "5"], "`max_overhead` must be positive"),
        ([*SMALL, "--worker", "a"], "`worker` needs `chief`"),
        ([*SMALL, "--over"], "unrecognized arguments: --over"),
        ([*SMALL, "--attention", "wide=1"], "Received: 'wide'"),
        ([*SMALL, "--space", "diversity=0,-1"], "cannot have diversity=-1"),
        (
            [*SMALL, "--space", "skip=2,3", "width"],
            "together at most 4.*depth=4 and skip=2",
        ),
        ([*SMALL, "--devices", "GPU:7", "GPU:8"], "`devices` must be devices"),
    ],
)
def test_bad_arguments_leave_no_folder(tmp_path, arguments, message, capsys):
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        search.main(arguments and [*arguments, "--out", str(out)])
    assert stop.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(message, said), said
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("kept")
    for more in ([], ["--overwrite"]):
        with pytest.raises(SystemExit):
            search.main([*SMALL, "--out", str(tmp_path), *more])
        assert "thesis.tex" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_worker_without_a_chief(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(office, "STARTING", 0.1)
    address = free_address()
    with pytest.raises(SystemExit) as stop:
        search.main([*SMALL, "--chief", address, "--worker", "a"])
    assert stop.value.code == 2
    assert f"Received: {address}, where nobody" in capsys.readouterr().err


@pytest.mark.slow
def test_memory_does_not_grow_with_trials(tmp_path):
    """Over 30 trials, by the process's own measure."""
    out = tmp_path / "out"
    arguments = [
        *("cluttered_mnist", "--smoke", "--space", "width", "learning_rate"),
        *("--max-trials", 30, "--retrain", 0, "--out", out),
    ]
    process = start(tmp_path / "log", *arguments)
    sizes = {}
    while process.poll() is None:
        time.sleep(0.1)
        ended = len(list((out / "parts/trials").glob("*.json")))
        sizes.setdefault(ended, []).append(resident(process.pid))
    assert process.returncode == 0, (tmp_path / "log").read_text()
    # Of each ten trials, the most in MB: a process trains ten.
    first, *others = (
        max(size for i in range(n, n + 10) for size in sizes[i])
        for n in (0, 10, 20)
    )
    print(f"most memory of each ten trials: {first:.0f}, {others} MB")
    assert max(others) < 1.1 * first


def resident(pid):
    """The memory of a process, in MB; 0 when it has ended."""
    try:
        pages = pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (FileNotFoundError, IndexError, ProcessLookupError):
        return 0
    return int(pages) * resource.getpagesize() / 2**20


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed(tmp_path):
    """It is started again, and goes on with its trial."""
    address = free_address()
    out = tmp_path / "out"
    common = [
        *(*SMALL, "--out", out, "--chief", address),
        *("--max-trials", 5, "--retrain", 0),
    ]
    chief = start(tmp_path / "chief.log", *common)
    a = start(tmp_path / "a.log", *common, "--worker", "a")
    b = start(tmp_path / "b.log", *common, "--worker", "b")
    wait_for(tmp_path / "a.log", a)
    while True:
        begun = re.search(r"Trial (\d+) of 5", (tmp_path / "a.log").read_text())
        if begun:
            break
        assert a.poll() is None
        time.sleep(0.1)
    state = out / f"parts/training/{begun[1]}/seed_0/state.npz"
    wait_for(state, a)
    kill(a)
    # Nobody may take its name meanwhile, and it may.
    again = start(tmp_path / "a2.log", *common, "--worker", "a")
    assert [p.wait() for p in (again, b, chief)] == [0, 0, 0]
    log = (tmp_path / "a2.log").read_text()
    # In the middle of its trial, or at its end.
    assert f"Trial {begun[1]} of 5" in log
    assert "Epoch 1/2" not in log.partition(f"Trial {begun[1]} of 5")[2][:200]
    with open(out / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["01", "02", "03", "04", "05"]
    assert {row["status"] for row in rows} == {"completed"}
    assert {row["worker"] for row in rows} == {"a", "b"}
    values = [(r["depth"], r["width"], r["learning_rate"]) for r in rows]
    assert len(set(values)) == 5
