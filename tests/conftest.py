"""How the tests of a file run."""

import keras
import pytest


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
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(eagerly)
    yield
    tf.config.run_functions_eagerly(before)
