"""Files with all that a training needs to resume."""

import keras
import numpy as np
import pytest

from keras_warn.training import checkpoints


def check_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_bfloat16_is_brought_back(tmp_path):
    """Of which NumPy's files do not know the type."""
    layers = keras.Input((5,)), keras.layers.Dense(3, dtype="bfloat16")
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    other = keras.models.clone_model(model)
    other.compile("sgd", "mse")
    path = tmp_path / "state.npz"
    checkpoints.save(path, checkpoints.arrays(model), {"epoch": 2})
    notes, arrays = checkpoints.read(path)
    checkpoints.restore(path, other, arrays)
    assert notes == {"epoch": 2}
    check_same(checkpoints.arrays(other), checkpoints.arrays(model))


def test_any_flipped_bit_is_found_or_changes_nothing(tmp_path):
    """That of a method of compression, of a name, of a size, of a number."""
    path = tmp_path / "state.npz"
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
