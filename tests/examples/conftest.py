"""The server of `examples/server`: its modules, a model, and a process."""

import importlib.util
import sys

import keras
import pytest
from serving import SERVER
from serving import Running

sys.path.insert(0, str(SERVER))

if not all(map(importlib.util.find_spec, ("httpx2", "starlette", "uvicorn"))):
    collect_ignore_glob = ["test_*.py"]


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
    server = Running(exported, "--body-bytes", str(2**20))
    yield server
    server.stop()
