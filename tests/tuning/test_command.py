"""The command on digits, by several processes: it takes minutes."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pandas as pd
import pytest

ROOT = pathlib.Path(__file__).parents[2]
SMALL = [
    *("cluttered_mnist", "--smoke", "--epochs", "2", "--train-size", "384"),
    *("--space", "depth", "width=1,4", "learning_rate"),
]
pytestmark = pytest.mark.slow


def start(log, *arguments):
    return subprocess.Popen(
        [sys.executable, "tuning/search.py", *map(str, arguments)],
        stdout=open(log, "w"),
        stderr=subprocess.STDOUT,
        cwd=ROOT,
    )


def kill_when(path, process):
    while not path.exists():
        assert process.poll() is None, f"ended before {path} was there"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_two_workers_of_which_one_is_killed(tmp_path):
    """It is started again, and resumes its trial."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    out = tmp_path / "out"
    common = [
        *(*SMALL, "--out", out, "--chief", address),
        *("--max-trials", 5, "--retrain", 0),
    ]
    chief = start(tmp_path / "chief", *common)
    while not (out / "parts/tuner").exists():
        assert chief.poll() is None, (tmp_path / "chief").read_text()
        time.sleep(0.1)
    a = start(tmp_path / "a", *common, "--worker", "a")
    kill_when(out / "parts/trials/0/seed_0/state.npz", a)
    again = start(tmp_path / "a2", *common, "--worker", "a")
    b = start(tmp_path / "b", *common, "--worker", "b")
    assert [p.wait() for p in (again, b, chief)] == [0, 0, 0]
    first = re.search(r"Epoch (\d)/2", (tmp_path / "a2").read_text())
    assert first[1] == "2"
    trials = pd.read_csv(out / "trials.csv")
    assert [*trials.trial] == [1, 2, 3, 4, 5]
    assert {*trials.status} == {"completed"} and {*trials.worker} == {"a", "b"}
    assert (
        len(trials[["depth", "width", "learning_rate"]].drop_duplicates()) == 5
    )
