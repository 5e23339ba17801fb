"""Files with all that a training needs to go on."""

import io
import zipfile

import keras
import numpy as np
import pytest
from support import to_numpy

from keras_warn.training import snapshots


def built(units=3, seed=0):
    """A model that remembers: momentum, metrics, and a random layer."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dropout(0.5, seed=7),
            keras.layers.Dense(units),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"]
    )
    x, y = np.ones((7, 5), "float32"), np.zeros((7, units), "float32")
    model.fit(x, y, epochs=2, verbose=0)
    return model


def values(model):
    return snapshots.arrays(model)


def load(path, model):
    notes, arrays = snapshots.read(path)
    snapshots.restore(path, model, arrays)
    return notes


def test_brings_back_everything(tmp_path):
    model, other = built(), built(seed=1)
    snapshots.save(tmp_path / "state.npz", values(model), {"epoch": 2})
    assert load(tmp_path / "state.npz", other) == {"epoch": 2}
    found = values(other)
    # Kernel and bias, the state of dropout, the optimizer's momenta, step and
    # rate, and two numbers of each metric.
    assert len(found) == 3 + 4 + 4
    for name, value in values(model).items():
        np.testing.assert_array_equal(found[name], value)
    x = np.ones((7, 5), "float32")
    np.testing.assert_array_equal(
        to_numpy(model(x, training=True)), to_numpy(other(x, training=True))
    )


def test_keeps_what_was_there_before(tmp_path):
    path = tmp_path / "state.npz"
    for epoch in range(3):
        snapshots.save(path, {}, {"epoch": epoch})
    assert snapshots.read(path)[0] == {"epoch": 2}
    assert snapshots.read(snapshots.previous(path))[0] == {"epoch": 1}
    assert snapshots.find(path) == path
    path.unlink()
    assert snapshots.find(path) == snapshots.previous(path)
    snapshots.previous(path).unlink()
    assert snapshots.find(path) is None


def test_another_model_is_left_as_it_was(tmp_path):
    snapshots.save(tmp_path / "state.npz", values(built()), {})
    other = built(units=4)
    before = values(other)
    with pytest.raises(ValueError, match=r"kernel of shape \(5, 3\)"):
        load(tmp_path / "state.npz", other)
    for name, value in values(other).items():
        np.testing.assert_array_equal(value, before[name])


def test_the_only_file_is_broken(tmp_path):
    path = tmp_path / "state.npz"
    path.write_text("not a state")
    with pytest.raises(ValueError, match="Remove it to begin anew"):
        snapshots.read(path)
    # A file of NumPy's, and none of ours.
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match="cannot be used"):
        snapshots.read(path)


def test_any_flipped_bit_is_found_or_changes_nothing(tmp_path):
    """That of a method of compression, of a name, of a size, of a number."""
    path = tmp_path / "state.npz"
    arrays = {"kernel": np.arange(7.0), "count": np.array(3)}
    snapshots.save(path, arrays, {"epoch": 2})
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        try:
            notes, found = snapshots.read(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
            continue
        assert notes == {"epoch": 2}
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
    assert refused > 0.7 * len(whole)


def test_a_header_that_promises_too_much(tmp_path):
    path = tmp_path / "state.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("kernel.npy", header.getvalue())
    with pytest.raises(ValueError, match="cannot be used"):
        snapshots.read(path)


def test_nothing_that_is_not_finite_is_saved_or_read(tmp_path):
    path = tmp_path / "state.npz"
    snapshots.save(path, {"kernel": np.ones(3)}, {"epoch": 1})
    spoilt = {"kernel": np.array([1, np.nan, 1])}
    with pytest.raises(FloatingPointError, match="kernel must be finite"):
        snapshots.save(path, spoilt, {"epoch": 2})
    assert snapshots.read(path)[0] == {"epoch": 1}
    assert not snapshots.previous(path).exists()
    # What an earlier version has saved.
    content = np.frombuffer(b'{"arrays": ["kernel"]}', "uint8")
    np.savez(path, **{snapshots.FORMAT: content}, **spoilt)
    with pytest.raises(ValueError, match="kernel not finite"):
        snapshots.read(path)


def test_bfloat16_comes_back(tmp_path):
    keras.config.set_floatx("bfloat16")
    try:
        model, other = built(), built(seed=1)
    finally:
        keras.config.set_floatx("float32")
    snapshots.save(tmp_path / "state.npz", values(model), {})
    load(tmp_path / "state.npz", other)
    for name, value in values(model).items():
        np.testing.assert_array_equal(values(other)[name], value)
