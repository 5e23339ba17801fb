"""TensorBoard's HParams page shows a search: each trial once, as it is."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request

import keras
import numpy as np
import pytest
from browser import browser
from searching import hparams

from keras_warn.training.tensorboard import TensorBoardHistory

# TensorBoard starts, and pages are filled by scripts, on machines that may be
# busy.
SECONDS = 180

SPACE = {
    "depth": [1, 2, 3],
    "gates": ["softmax", "sigmoid"],
    "gate_batch_norm": [False, True],
    "learning_rate": (0.001, 0.1),
}
VALUES = {
    # Interrupted and begun again; failed; failed, then completed; running.
    "00": {"depth": 2, "gates": "softmax", "learning_rate": 0.0123},
    "01": {"depth": 3, "gates": "sigmoid", "gate_batch_norm": True},
    "02": {"depth": 1, "gates": "sigmoid", "gate_batch_norm": False},
    "03": {"depth": 2, "gates": "softmax", "learning_rate": 0.05},
}
COST = {
    "parameters": 6016,
    "operations": 999,
    "operations_added": 0.031,
    "latency_added": None,
}
STATUS = {
    "00": "STATUS_SUCCESS",
    "01": "STATUS_FAILURE",
    "02": "STATUS_SUCCESS",
    "03": "STATUS_UNKNOWN",
}

# TensorBoard nests its elements in shadow roots, where selectors do not reach.
TEXTS = """
    const found = [];
    const walk = (root) => {
        for (const node of root.childNodes) {
            if (node.nodeType === 3 && node.textContent.trim())
                found.push(node.textContent.trim());
            if (["STYLE", "SCRIPT"].includes(node.tagName)) continue;
            if (node.shadowRoot) walk(node.shadowRoot);
            walk(node);
        }
    };
    walk(document.body);
    return found;
"""


def train(folder, epochs=2, first=0):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["accuracy"])
    x, y = np.ones((5, 2)), np.ones((5, 1))
    return model.fit(
        x,
        y,
        validation_data=(x, y),
        epochs=epochs,
        initial_epoch=first,
        verbose=0,
        callbacks=[TensorBoardHistory(folder)],
    ).history


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """A search that was killed in two ways, and each trial's last loss."""
    folder = tmp_path_factory.mktemp("logs")
    keras.utils.set_random_seed(0)
    losses = {}
    for _ in range(2):  # as the search is started again
        hparams.describe(folder, SPACE)

    def begin(name):
        hparams.begin(folder / name, VALUES[name], name)

    begin("00")
    train(folder / "00", epochs=1)  # killed
    begin("00")
    losses["00"] = train(folder / "00", 3, first=1)["val_loss"][-1]
    hparams.end(folder / "00", "completed", COST)

    begin("01")
    hparams.end(folder / "01", "failed")

    begin("02")
    train(folder / "02", epochs=1)
    hparams.end(folder / "02", "failed", {**COST, "operations_added": 7.0})
    begin("02")
    losses["02"] = train(folder / "02")["val_loss"][-1]
    hparams.end(folder / "02", "completed", {**COST, "latency_added": 0.25})

    begin("03")
    losses["03"] = train(folder / "03")["val_loss"][-1]
    return folder, losses


@contextlib.contextmanager
def tensorboard(folder, *options):
    """The address at which TensorBoard shows a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", folder]
        + ["--host", "127.0.0.1", "--port", str(port), *options],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: len(groups(address)) == len(VALUES))
        yield address
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def address(logs):
    with tensorboard(logs[0], "--load_fast=false") as address:
        yield address


def wait_for(condition):
    """The first value of `condition()` that is true."""
    end = time.monotonic() + SECONDS
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.2)


def asked(address, what, request):
    """What the page asks of TensorBoard; empty while it does not answer."""
    try:
        answer = urllib.request.urlopen(
            urllib.request.Request(
                f"{address}/data/plugin/hparams/{what}",
                json.dumps(request).encode(),
                {"Content-Type": "application/json"},
            ),
            timeout=SECONDS,
        )
        return json.loads(answer.read())
    except OSError:
        return {}


def groups(address):
    columns = [{"metric": {"tag": tag}} for tag in hparams.METRICS]
    return asked(
        address,
        "session_groups",
        {
            "experimentName": "",
            "allowedStatuses": sorted(set(STATUS.values())),
            "colParams": [{"hparam": name} for name in SPACE] + columns,
            "startIndex": 0,
            "sliceSize": 100,
        },
    ).get("sessionGroups", [])


def test_each_trial_is_there_once_as_it_is(logs, address):
    check_trials(address, logs[1])


def test_the_faster_reader_sees_the_same(logs):
    """The one that TensorBoard takes if nobody chooses."""
    with tensorboard(logs[0]) as address:
        check_trials(address, logs[1])


def check_trials(address, losses):
    found = {group["name"]: group for group in groups(address)}
    assert len(groups(address)) == len(found) == len(VALUES)
    for name, values in VALUES.items():
        assert found[name]["hparams"] == values
        (session,) = found[name]["sessions"]
        assert session["status"] == STATUS[name]
        metrics = {
            value["name"]["tag"]: value["value"]
            for value in session.get("metricValues", [])
        }
        expected = {}
        if name in losses:
            expected["validation/loss"] = losses[name]
            expected["validation/accuracy"] = metrics["validation/accuracy"]
        if STATUS[name] == "STATUS_SUCCESS":
            expected["cost/parameters_added"] = 6016
            expected["cost/operations_added_percent"] = 3.1
        if name == "02":
            expected["cost/latency_added_percent"] = 25
        assert metrics == pytest.approx(expected)


def test_what_is_searched_and_measured(address):
    experiment = asked(address, "experiment", {"experimentName": ""})
    domains = {
        info["name"]: info.get("domainDiscrete") or info["domainInterval"]
        for info in experiment["hparamInfos"]
    }
    assert domains == {
        **SPACE,
        "learning_rate": {"minValue": 0.001, "maxValue": 0.1},
    }
    names = [info["name"]["tag"] for info in experiment["metricInfos"]]
    assert names == [*hparams.METRICS]


def test_the_table_in_a_browser(logs, address):
    _, losses = logs
    with browser() as driver:
        driver.get(f"{address}/?darkMode=false#hparams")
        wanted = {*VALUES, *SPACE, *hparams.METRICS.values(), "0.012300"}
        wanted |= {f"{losses['02']:#.5g}", "6016.0", "3.1000", "25.000"}
        shown = []

        def all_there():
            shown[:] = driver.execute_script(TEXTS)
            return wanted <= set(shown)

        wait_for(all_there)
        assert wanted <= set(shown), wanted - set(shown)
        assert [text for text in shown if text in VALUES] == [*VALUES]


def test_curves_of_a_trial_that_goes_on_are_whole(logs):
    """Its beginning is said in the same folder, at no epoch of them."""
    from keras_warn import event_files

    folder, _ = logs
    found = [
        (value.tag, event.step)
        for path in sorted((folder / "00").glob("*tfevents*"))
        for event in event_files.read_events(path)
        for value in event.summary.value
    ]
    assert len(found) == len(set(found))
    epochs = [step for tag, step in found if tag == "validation/loss"]
    assert epochs == [0, 1, 2]


def test_tensorflow_is_not_needed(tmp_path):
    script = f"""
        import sys, keras
        # As if it were not installed, and the backend another.
        sys.modules["tensorflow"] = None
        keras.backend.backend = lambda: "jax"
        from searching import hparams
        hparams.describe({str(tmp_path)!r}, {{"depth": [1, 2]}})
        hparams.begin({str(tmp_path / "00")!r}, {{"depth": 1}}, "00")
        hparams.end({str(tmp_path / "00")!r}, "completed", {COST!r})
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert list((tmp_path / "00").glob("*tfevents*.hparams"))


@pytest.mark.parametrize(
    "space, error, message",
    [
        ({"depth": []}, ValueError, r"space\['depth'\]=\[\]"),
        ({"depth": [1, "all"]}, TypeError, r"one type.*\[1, 'all'\]"),
        ({"depth": [None]}, TypeError, "depth=None"),
        ({"rate": (1, 2, 3)}, ValueError, r"pairs.*\(1, 2, 3\)"),
    ],
)
def test_spaces_that_cannot_be_shown(tmp_path, space, error, message):
    with pytest.raises(error, match=message):
        hparams.describe(tmp_path / "logs", space)
    assert not (tmp_path / "logs").exists()


def test_a_status_that_is_none(tmp_path):
    with pytest.raises(ValueError, match="`status`.*status='done'"):
        hparams.end(tmp_path, "done")
    assert not list(tmp_path.iterdir())
