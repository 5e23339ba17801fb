"""The server of `examples/server`: its modules, a model, and a process."""

import importlib.util
import pathlib
import signal
import socket
import sys
import time

import fresh
import keras
import pytest

SERVER = pathlib.Path(__file__).parents[2] / "examples" / "server"
sys.path.insert(0, str(SERVER))

if not all(map(importlib.util.find_spec, ("httpx2", "starlette", "uvicorn"))):
    collect_ignore_glob = ["test_*.py"]

# Where neither Keras nor this package is installed.
ELSEWHERE = """
import runpy, sys
sys.modules["keras"] = sys.modules["keras_warn"] = None
folder, *sys.argv = sys.argv[1:]
sys.path.insert(0, folder)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Folder of an exported model for images of 29 by 31 pixels.

    It is never sure enough to answer.
    """
    from exported import NAMES
    from exported import augmented
    from exported import calibrated

    import keras_warn

    if keras.backend.backend() != "tensorflow":
        pytest.skip("SavedModels are made on TensorFlow")
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("server") / "birds"
    model = augmented()
    calibrated(model, threshold=1.0)
    keras_warn.export(
        model,
        path,
        class_names=NAMES,
        preprocessing="mobilenet_v2",
        encoded=True,
    )
    return path


@pytest.fixture(scope="session")
def model(exported):
    from served_model import ServedModel

    return ServedModel(exported)


@pytest.fixture(scope="session")
def running(exported):
    """A process that serves the model, and its `port`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = (SERVER, SERVER / "server.py", exported)
    options = ("--port", port, "--body-bytes", 2**20)
    process = fresh.Process(ELSEWHERE, *script, *options)
    process.port = port
    end = time.monotonic() + 300
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            if process.returncode is not None or time.monotonic() > end:
                process.kill()
                raise RuntimeError(process.wait().stderr) from None
            time.sleep(0.1)
    yield process
    process.send_signal(signal.SIGTERM)
    assert "Traceback" not in process.wait(60).stderr
