"""Chief and workers: who they are, and whether they find each other."""

import os
import socket
import threading

import cluster
import pytest
from keras_tuner.src.distribute import utils


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("TUNER_ID", "ORACLE_IP", "ORACLE_PORT"):
        # Set first, for monkeypatch to put back what a test leaves.
        monkeypatch.setenv(f"KERASTUNER_{name}", "")
        monkeypatch.delenv(f"KERASTUNER_{name}")


@pytest.fixture
def address():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


def test_what_kerastuner_is_told(address):
    cluster.Cluster(address)
    assert utils.is_chief_oracle()
    cluster.Cluster("10.0.0.7:4500", "a")
    assert utils.has_chief_oracle() and not utils.is_chief_oracle()
    assert os.environ["KERASTUNER_TUNER_ID"] == "worker_a"
    assert os.environ["KERASTUNER_ORACLE_IP"] == "10.0.0.7"
    assert os.environ["KERASTUNER_ORACLE_PORT"] == "4500"
    # Alone, whatever an earlier search has left.
    cluster.Cluster().wait()
    assert not utils.has_chief_oracle()


@pytest.mark.parametrize("worker", ["chief2", "../a"])
def test_names_that_cannot_be(worker):
    with pytest.raises(ValueError, match=f"must be a word.*'{worker}'"):
        cluster.Cluster("localhost:1", worker)


def test_a_chief_that_is_not_there_is_missed_in_seconds(
    address, capsys, monkeypatch
):
    monkeypatch.setattr(cluster, "STARTING", 0.3)
    with pytest.raises(ConnectionError, match=f"`chief`.*Received: {address}"):
        cluster.Cluster(address, "a").wait()
    assert f"Nobody answers at {address}" in capsys.readouterr().err


def test_a_chief_that_comes_late(address, monkeypatch):
    monkeypatch.setattr(cluster, "ASKING", 0.1)
    host, port = address.split(":")
    with socket.socket() as chief:
        chief.bind((host, int(port)))
        threading.Timer(0.3, chief.listen).start()
        cluster.Cluster(address, "a").wait()


def test_an_address_that_is_taken(address):
    host, port = address.split(":")
    with socket.create_server((host, int(port))):
        with pytest.raises(OSError, match=f"`chief` .*free. .*:{port} \\("):
            cluster.Cluster(address)
    cluster.Cluster(address)
