"""Training by several processes: equal to one, and safe from kills."""

import importlib.util
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_warn.training import processes

RECIPE = pathlib.Path(__file__).parents[2] / "recipes" / "cub200.py"
RUN = pathlib.Path("attention", "seed_0")


def start(out, *arguments):
    """Two epochs of five steps, with batch normalisation that learns."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "0",
    }
    return subprocess.Popen(
        [sys.executable, RECIPE, "--smoke", "--out", str(out), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_two(out, *arguments):
    """Two processes; of options with several values, each gets its own."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as server:
            ports.append(server.getsockname()[1])
    addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
    return [
        start(out, "--processes", addresses, "--process", f"{i}", *own)
        for i, own in enumerate(arguments or [(), ()])
    ]


def wait(*started):
    """Exit codes, and what each has said."""
    said = [process.communicate(timeout=900)[0] for process in started]
    return [process.returncode for process in started], said


def finish(*started):
    """Waits until all are done, and shows what they said if one failed."""
    codes, said = wait(*started)
    assert not any(codes), "\n".join(map(str, [codes, *said]))
    return said


def results(out):
    return json.loads((out / RUN / "results.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of what one process did."""
    out = tmp_path_factory.mktemp("alone")
    finish(start(out))
    return out


def check_equal(out, alone):
    found, expected = results(out), results(alone)
    assert len(found["history"]) == len(expected["history"]) == 2
    for row, like in zip(found["history"], expected["history"], strict=True):
        assert row == pytest.approx(like, abs=1e-5)
    for name in ("last_epoch", "best_by_validation"):
        row, like = found["metrics"][name], expected["metrics"][name]
        assert row["epoch"] == like["epoch"]
        assert row["test"] == pytest.approx(like["test"], abs=1e-5)
    for name in ("model.keras", "best.keras"):
        models = [
            keras.saving.load_model(folder / RUN / name)
            for folder in (out, alone)
        ]
        pairs = zip(*(model.get_weights() for model in models), strict=True)
        for weights, like in pairs:
            np.testing.assert_allclose(weights, like, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="several processes need JAX, which is not installed",
)
class TestTwoProcesses:
    def test_train_as_one(self, alone, tmp_path):
        said = finish(*start_two(tmp_path))
        check_equal(tmp_path, alone)
        assert len(results(tmp_path)["environment"]["devices"]) == 2
        # The second says the same at the end, but has written nothing here.
        assert said[0].splitlines()[-1] == said[1].splitlines()[-1]
        assert [path.name for path in tmp_path.iterdir()] == [RUN.parts[0]]

    def test_one_is_killed_and_both_resume(self, alone, tmp_path):
        checkpoint = tmp_path / RUN / "parts" / "training" / "state.npz"
        first, second = start_two(tmp_path)
        while not checkpoint.exists():
            assert first.poll() is second.poll() is None, wait(first, second)
            time.sleep(0.02)
        second.kill()
        codes, said = wait(first, second)
        assert codes[0] != 0 and codes[1] == -signal.SIGKILL, said
        assert checkpoint.exists()
        assert not (tmp_path / RUN / "results.json").exists()
        finish(*start_two(tmp_path))
        check_equal(tmp_path, alone)

    def test_other_settings_are_refused_in_all(self, tmp_path):
        rates = [("--learning-rate", rate) for rate in ("0.1", "0.2")]
        codes, said = wait(*start_two(tmp_path, *rates))
        assert codes == [2, 2], said
        for one in said:
            assert "must be the same in all processes" in one
            assert "process 1" in one
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("addresses", "index", "message"),
    [
        (["a:1", "a:1"], 0, "must be two or more"),
        (["a:1", "b:1"], 2, "processes=a:1,b:1 and process=2"),
        (["a:1", "b:1"], 0, "set KERAS_BACKEND=jax"),
    ],
)
def test_wrong_arguments(addresses, index, message, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match=message):
        processes.initialize(addresses, index)
