"""Training by several processes: equal to one, and safe from kills."""

import importlib.util
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest

from keras_warn.training import workers

RECIPE = pathlib.Path(__file__).parents[2] / "recipes" / "cub200.py"
# Two epochs of five steps, with batch normalisation that learns.
SMALL = [
    *("--smoke", "--backbone", "paper_networks:WideResNet(depth=10, width=1)"),
    *("--image-size", "32", "--resize-shorter-edge", "36"),
]
RUN = pathlib.Path("attention", "seed_0")
ADDRESSES = ["127.0.0.1:1234", "127.0.0.1:1235"]

with_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="several workers need JAX, which is not installed",
)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def start(out, *arguments):
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "0",
    }
    return subprocess.Popen(
        [sys.executable, RECIPE, *SMALL, "--out", str(out), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_two(out):
    addresses = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    return [
        start(out, "--workers", addresses, "--worker", str(i)) for i in (0, 1)
    ]


def finish(*processes):
    """Waits until all are done, and shows what they said if one failed."""
    said = [process.communicate(timeout=900)[0] for process in processes]
    codes = [process.returncode for process in processes]
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
@with_jax
def test_two_train_as_one(alone, tmp_path):
    said = finish(*start_two(tmp_path))
    check_equal(tmp_path, alone)
    assert len(results(tmp_path)["environment"]["devices"]) == 2
    # The second says the same at the end, but has written nothing here.
    assert said[0].splitlines()[-1] == said[1].splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == [RUN.parts[0]]


@pytest.mark.slow
@with_jax
def test_a_killed_worker_stops_the_other_and_both_go_on(alone, tmp_path):
    state = tmp_path / RUN / "parts" / "training" / "state.npz"
    first, second = start_two(tmp_path)
    while not state.exists() and first.poll() is second.poll() is None:
        time.sleep(0.02)
    second.kill()
    said, _ = first.communicate(timeout=120)
    assert second.wait() == -signal.SIGKILL
    assert first.returncode == 1
    assert "Start all of them again" in said
    assert state.exists() and not (tmp_path / RUN / "results.json").exists()
    second.stdout.close()
    finish(*start_two(tmp_path))
    check_equal(tmp_path, alone)


@pytest.mark.slow
@with_jax
def test_ctrl_c_on_one_stops_both_after_the_same_step(tmp_path):
    state = tmp_path / RUN / "parts" / "training" / "state.npz"
    first, second = start_two(tmp_path)
    while not state.exists() and first.poll() is second.poll() is None:
        time.sleep(0.02)
    second.send_signal(signal.SIGINT)
    said = [one.communicate(timeout=300)[0] for one in (first, second)]
    assert [first.returncode, second.returncode] == [130, 130], said
    assert "state.npz has the state after" in said[0]
    assert "Worker 0 has saved the state" in said[1]


@pytest.mark.slow
@with_jax
def test_other_settings_are_refused_on_all(tmp_path):
    addresses = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    both = [
        start(
            *(tmp_path, "--workers", addresses, "--worker", str(i)),
            *("--learning-rate", str(0.1 + i)),
        )
        for i in (0, 1)
    ]
    for one in both:
        said, _ = one.communicate(timeout=300)
        assert one.returncode == 2
        assert "must be the same on all workers" in said
        assert "worker 1" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("addresses", "index", "message"),
    [
        (["127.0.0.1", "b:1"], 0, "must be addresses HOST:PORT"),
        ([":1", "b:1"], 0, "must be addresses HOST:PORT"),
        (["a:70000", "b:1"], 0, "must be addresses HOST:PORT"),
        (["a:x", "b:1"], 0, "must be addresses HOST:PORT"),
        (["a:1"], 0, "must be two or more"),
        (["a:1", "a:1"], 0, "each once"),
        (["a:1", "b:1"], 2, "from 0 to 1. Received: 2"),
        (["a:1", "b:1"], -1, "from 0 to 1. Received: -1"),
    ],
)
def test_wrong_addresses(addresses, index, message):
    with pytest.raises(ValueError, match=message):
        workers.check(addresses, index)


def test_addresses_of_ipv6():
    found = workers.check(["[::1]:1234", "[fd00::2]:1234"], 0)
    assert found == [("::1", 1234), ("fd00::2", 1234)]


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="is about other backends"
)
def test_other_backends():
    with pytest.raises(ValueError, match="set KERAS_BACKEND=jax"):
        workers.Workers(ADDRESSES, 0)


def greeting(worker, **others):
    return {"worker": worker, "workers": 2, "keras": "3", "jax": "0", **others}


def meet(*others):
    """What worker 0 and others are told when they meet, as texts or `None`."""
    address = "127.0.0.1", free_port()
    found = [None] * (1 + len(others))

    def run(i, function, own):
        try:
            function(address, own)
        except (OSError, ValueError) as error:
            found[i] = str(error)

    threads = [
        threading.Thread(target=run, args=(i, function, own))
        for i, (function, own) in enumerate(
            [
                (workers._await_others, greeting(0)),
                *((workers._find_first, other) for other in others),
            ]
        )
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_meeting():
    assert meet(greeting(1)) == [None, None]


def test_meeting_of_other_versions():
    found = meet(greeting(1, keras="4"))
    assert found[0] == found[1]
    assert "`keras` must be the same on all workers" in found[0]


def test_meeting_of_one_twice():
    # Of three, for the second not to come when all is over.
    own, others = greeting(0, workers=3), greeting(1, workers=3)
    address = "127.0.0.1", free_port()
    threads = [
        threading.Thread(
            target=lambda: pytest.raises(
                ValueError, workers._find_first, address, others
            )
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    with pytest.raises(ValueError, match="worker 1 twice"):
        workers._await_others(address, own)
    for thread in threads:
        thread.join()


def test_first_worker_is_not_there(monkeypatch):
    monkeypatch.setattr(workers, "FIND_SECONDS", 0.5)
    with pytest.raises(ConnectionError, match="Worker 0 must be there"):
        workers._find_first(("127.0.0.1", free_port()), greeting(1))


def test_others_are_not_there(monkeypatch):
    monkeypatch.setattr(workers, "MEET_SECONDS", 0.5)
    with pytest.raises(ConnectionError, match="Missing: worker 1"):
        workers._await_others(("127.0.0.1", free_port()), greeting(0))


def test_port_is_taken():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(OSError, match="must be free"):
            workers._await_others(("127.0.0.1", port), greeting(0))


def test_strangers_do_not_matter(monkeypatch):
    """Such as who looks for open ports."""
    monkeypatch.setattr(workers, "MEET_SECONDS", 5.0)
    port = free_port()
    other = threading.Thread(
        target=workers._await_others, args=(("", port), greeting(0))
    )
    other.start()
    for _ in range(100):
        try:
            stranger = socket.create_connection(("127.0.0.1", port))
            break
        except OSError:
            time.sleep(0.05)
    with stranger:
        stranger.sendall(b"GET / HTTP/1.1\n")
    workers._find_first(("127.0.0.1", port), greeting(1))
    other.join()


def test_alone_is_as_if_there_were_no_workers():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with workers.ALONE.local(model) as copy:
        assert copy is model
    assert workers.ALONE.of_first({"a": 1}) == {"a": 1}
    assert workers.ALONE.first
