"""What docstring examples and tests start from."""

import gc
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

import pytest


def pytest_configure(config):
    # pytest-xdist would begin with the files of the most tests.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.fixture(autouse=True, scope="module")
def what_stays_is_not_looked_through():
    # Such as what is imported: collections of garbage, of which Keras asks for
    # one in each `clear_session`, need not look through it.
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    # Tests side by side begin with the longest files, which on the whole take
    # longest, or in the end one process would wait for the other.
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: (-item.path.stat().st_size, item.path))


# Keras is imported here and not above: who only hands out tests to processes
# (`pytest -n`) need not wait for it.


@pytest.fixture(autouse=True)
def doctest_names(doctest_namespace):
    import keras

    import keras_warn

    doctest_namespace["keras"] = keras
    doctest_namespace["ops"] = keras.ops
    doctest_namespace["keras_warn"] = keras_warn


@pytest.fixture(autouse=True)
def seeded():
    import keras

    keras.utils.set_random_seed(0)
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def eager():
    """Steps run as they are written, on TensorFlow, too.

    Tracing one takes longer than what most tests train or predict with it:
    `pytestmark = pytest.mark.usefixtures("eager")`. What must be traced, as
    exports, says so by the fixture `traced`.
    """
    yield from _functions_run_eagerly(True)


@pytest.fixture
def traced():
    """The opposite, for one test of a file that is `eager`."""
    yield from _functions_run_eagerly(False)


def _functions_run_eagerly(eagerly):
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(eagerly)
    yield
    tf.config.run_functions_eagerly(before)
