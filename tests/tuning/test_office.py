"""Chief and workers: who they are, and whether they find each other."""

import os
import socket
import threading
import time

import pytest
from searching import office


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("TUNER_ID", "ORACLE_IP", "ORACLE_PORT"):
        monkeypatch.delenv(f"KERASTUNER_{name}", raising=False)


@pytest.fixture
def port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def announced():
    return {
        name.removeprefix("KERASTUNER_"): value
        for name, value in os.environ.items()
        if name.startswith("KERASTUNER_")
    }


def test_what_kerastuner_is_told():
    from keras_tuner.src.distribute import utils

    office.parse("10.0.0.7:4500", None).announce()
    assert announced() == {
        "TUNER_ID": "chief",
        "ORACLE_IP": "10.0.0.7",
        "ORACLE_PORT": "4500",
    }
    assert utils.is_chief_oracle()
    office.parse("10.0.0.7:4500", "a").announce()
    assert announced()["TUNER_ID"] == "worker_a"
    assert utils.has_chief_oracle() and not utils.is_chief_oracle()
    # Alone, whatever an earlier search has left.
    office.parse(None, None).announce()
    assert announced() == {"TUNER_ID": "tuner0"}
    assert not utils.has_chief_oracle()


@pytest.mark.parametrize(
    ("chief", "worker", "message"),
    [
        (None, "a", "`worker` needs `chief`.*worker='a'"),
        ("localhost", None, "`chief` must be a host and a port.*'localhost'"),
        (":4500", None, "`chief` must be a host and a port"),
        ("localhost:0", None, "`chief` must be a host and a port"),
        ("localhost:65536", "a", "`chief` must be a host and a port"),
        ("localhost:1", "chief2", "`worker` must be a word.*'chief2'"),
        ("localhost:1", "../a", "`worker` must be a word.*'../a'"),
    ],
)
def test_what_cannot_be(chief, worker, message):
    with pytest.raises(ValueError, match=message):
        office.parse(chief, worker)


def test_a_chief_that_is_not_there_is_missed_in_seconds(
    port, capsys, monkeypatch
):
    monkeypatch.setattr(office, "STARTING", 0.3)
    begun = time.monotonic()
    with pytest.raises(ConnectionError, match=f"127.0.0.1:{port}, where no"):
        office.parse(f"127.0.0.1:{port}", "a").wait()
    assert time.monotonic() - begun < 10
    assert f"Nobody answers at 127.0.0.1:{port}" in capsys.readouterr().err
    # Who needs none does not wait.
    office.parse(f"127.0.0.1:{port}", None).wait()


def test_a_chief_that_comes_late(port):
    def listen():
        time.sleep(0.5)
        with socket.create_server(("127.0.0.1", port)) as server:
            server.accept()[0].close()

    late = threading.Thread(target=listen)
    late.start()
    office.parse(f"127.0.0.1:{port}", "a").wait()
    late.join()


def test_an_address_that_is_taken(port):
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(OSError, match=f"`chief` .*free. .*:{port} \\("):
            office.parse(f"127.0.0.1:{port}", None).check_free()
    office.parse(f"127.0.0.1:{port}", None).check_free()
