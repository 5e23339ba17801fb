"""What docstring examples and tests start from."""

import os

# Before TensorFlow is imported: its start-up lines are not ours to explain.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Tests that run side by side (`pytest -n`) share the processor. Threads that
# wait for each other would only take it from them.
if "PYTEST_XDIST_WORKER" in os.environ:
    for threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(threads, "1")
# JAX has float64 only when told so at its start.
os.environ.setdefault("JAX_ENABLE_X64", "1")

import keras
import pytest

import keras_warn


@pytest.fixture(autouse=True)
def doctest_names(doctest_namespace):
    doctest_namespace["keras"] = keras
    doctest_namespace["ops"] = keras.ops
    doctest_namespace["keras_warn"] = keras_warn


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
