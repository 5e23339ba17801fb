"""Files with all that a training needs to resume."""

import keras
import numpy as np
import pytest
from support import to_numpy

from keras_warn.training import checkpoints

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.npz"


def check_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def built(seed=0):
    """A model that remembers: momentum, metrics, and a random layer."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dropout(0.5, seed=7),
            keras.layers.Dense(3),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"]
    )
    x, y = np.ones((7, 5), "float32"), np.zeros((7, 3), "float32")
    model.fit(x, y, epochs=2, verbose=0)
    return model


@pytest.mark.parametrize("floatx", ["float32", "bfloat16"])
def test_brings_back_everything(path, floatx):
    keras.config.set_floatx(floatx)
    try:
        model, other = built(), built(seed=1)
    finally:
        keras.config.set_floatx("float32")
    checkpoints.save(path, checkpoints.arrays(model), {"epoch": 2})
    notes, arrays = checkpoints.read(path)
    checkpoints.restore(path, other, arrays)
    assert notes == {"epoch": 2}
    found = checkpoints.arrays(other)
    # Kernel and bias, the state of dropout, the optimizer's momenta, step and
    # rate, and two numbers of each metric.
    assert len(found) == 3 + 4 + 4
    check_same(found, checkpoints.arrays(model))
    x = np.ones((7, 5), "float32")
    np.testing.assert_array_equal(
        to_numpy(model(x, training=True)), to_numpy(other(x, training=True))
    )


def test_any_flipped_bit_is_found_or_changes_nothing(path):
    """That of a method of compression, of a name, of a size, of a number."""
    arrays = {"kernel": np.arange(7.0), "count": np.array(3)}
    checkpoints.save(path, arrays, {"epoch": 2})
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        try:
            notes, found = checkpoints.read(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
            continue
        assert notes == {"epoch": 2}
        check_same(found, arrays)
    assert refused > 0.7 * len(whole)
    # A file of NumPy's, and none of ours.
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match="cannot be used"):
        checkpoints.read(path)
