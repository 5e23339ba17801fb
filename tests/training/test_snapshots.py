"""Files with all that a training needs to go on."""

import keras
import numpy as np
import pytest

from keras_warn.training import snapshots


def built(units=3, seed=0):
    """A model that remembers: momentum, metrics, and a random layer."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dropout(0.5),
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
    return {
        name: keras.ops.convert_to_numpy(variable)
        for name, variable in snapshots.variables(model)
    }


def test_brings_back_everything(tmp_path):
    model, other = built(), built(seed=1)
    snapshots.save(tmp_path / "state.npz", model, {"epoch": 2})
    assert snapshots.load(tmp_path / "state.npz", other) == {"epoch": 2}
    found = values(other)
    # Kernel and bias, the state of dropout, the optimizer's momenta, step and
    # rate, and two numbers of each metric.
    assert len(found) == 3 + 4 + 4
    for name, value in values(model).items():
        np.testing.assert_array_equal(found[name], value)
    x = np.ones((7, 5), "float32")
    np.testing.assert_array_equal(
        model(x, training=True), other(x, training=True)
    )


def test_keeps_what_was_there_before(tmp_path):
    path = tmp_path / "state.npz"
    model = built()
    for epoch in range(3):
        snapshots.save(path, model, {"epoch": epoch})
    assert snapshots.read(path)[0] == {"epoch": 2}
    assert snapshots.read(snapshots.previous(path))[0] == {"epoch": 1}
    assert snapshots.find(path) == path
    path.unlink()
    assert snapshots.find(path) == snapshots.previous(path)
    snapshots.previous(path).unlink()
    assert snapshots.find(path) is None


def test_another_model_is_left_as_it_was(tmp_path):
    snapshots.save(tmp_path / "state.npz", built(), {})
    other = built(units=4)
    before = values(other)
    with pytest.raises(ValueError, match=r"kernel of shape \(5, 3\)"):
        snapshots.load(tmp_path / "state.npz", other)
    for name, value in values(other).items():
        np.testing.assert_array_equal(value, before[name])


def test_the_only_file_is_broken(tmp_path):
    path = tmp_path / "state.npz"
    path.write_text("not a state")
    with pytest.raises(ValueError, match="Remove it to begin anew"):
        snapshots.read(path)
    # A file of NumPy's, and none of ours.
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match="cannot be read"):
        snapshots.read(path)
