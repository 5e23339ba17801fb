"""Trainings on several devices, which the processor is divided into."""

import json
import pathlib
import signal

import fresh
import keras
import numpy as np
import pytest
from training import resumed

from keras_warn.training import devices

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="several devices are shared by TensorFlow's strategies",
)


def run(folder, *options):
    """Trains in a new process: TensorFlow divides a processor only once."""
    script = pathlib.Path(resumed.__file__)
    found = fresh.Process(script, folder, "--frozen", *options).wait()
    if found.returncode:
        return found
    with np.load(folder / "weights.npz") as content:
        weights = [content[name] for name in content.files]
    return json.loads(found.stdout)["history"], weights


def test_two_devices_train_the_same_model_as_one(tmp_path):
    """With a partial last batch in validation, and killed in between."""
    history, weights = run(tmp_path / "one")
    two = ("--devices", "CPU:0", "CPU:1")
    killed = run(
        tmp_path / "two", *two, "--signal", str(int(signal.SIGINT)), "18"
    )
    assert "after step 2 of 4 in epoch 5" in killed.stderr
    other_history, other_weights = run(tmp_path / "two", *two)
    for row, other in zip(history, other_history, strict=True):
        assert row == pytest.approx(other, abs=1e-5)
    for mine, own in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(mine, own, rtol=0, atol=1e-5)


STATISTICS = """
import json
import signal

import keras

from keras_warn import training
from keras_warn.data import TestBatches, TrainingBatches, transforms
from keras_warn.training import devices
from training import resumed

strategy = devices.strategy(["CPU:0", "CPU:1"])
train, validation = resumed.images().hold_out(0.2, seed=0)
validation = TestBatches(validation, transforms.Identity(), 4)
for folder, step in [("whole", 0), ("killed", 6), ("killed", 0)]:
    keras.utils.set_random_seed(0)
    with strategy.scope():
        x = inputs = keras.Input((resumed.SIDE, resumed.SIDE, 3))
        x = keras.layers.Dense(5)(keras.layers.Flatten()(x))
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.Dense(resumed.CLASSES, "softmax")(x)
        model = keras.Model(inputs, x)
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    try:
        trained = training.fit(
            model,
            TrainingBatches(train, transforms.PadAndCrop(2), 14, 1),
            3,
            folder,
            validation,
            callbacks=[resumed.Signals(signal.SIGINT, step)],
            verbose=0,
        )
    except KeyboardInterrupt:
        continue
    model.save(f"{folder}.keras")
    saved = keras.saving.load_model(f"{folder}.keras", compile=False)
    print(json.dumps([
        trained.history,
        training.evaluate(model, validation),
        training.evaluate(saved, validation),
        [weight.tolist() for weight in model.get_weights()],
    ]))
"""


def test_two_devices_with_statistics_of_their_own(tmp_path):
    """What resumes ends the same; what is evaluated is what is saved."""
    found = fresh.run(STATISTICS, folder=tmp_path).stdout.splitlines()
    whole, killed = map(json.loads, found)
    assert whole == killed
    history, evaluated, saved, _ = whole
    assert evaluated == pytest.approx(saved, abs=1e-6)
    assert history[-1]["val_loss"] == evaluated["loss"]


@pytest.mark.parametrize(
    "names", [["CPU:0", "GPU:7"], ["GPU:7"], ["foo"], []], ids=len
)
def test_a_device_that_is_not_there(names):
    with pytest.raises(
        ValueError,
        match="`devices` must be devices of this machine, each once: .*CPU:0"
        f".*Received: {', '.join(names).upper()}",
    ):
        devices.strategy(names)


def test_one_device_needs_no_strategy():
    assert devices.strategy(["CPU:0"]) is None
    assert devices.replicas(None) == 1


@pytest.mark.parametrize(
    "name, used", [("cpu:0", ["CPU:0"]), ("GPU:1", ["CPU:0", "GPU:1"])]
)
def test_one_device_is_the_one_that_is_used(monkeypatch, name, used):
    """On a machine with two GPUs, of which TensorFlow would take the first."""
    import tensorflow as tf

    there = [
        tf.config.PhysicalDevice(f"/physical_device:{one}", one[:3])
        for one in ("CPU:0", "GPU:0", "GPU:1")
    ]
    seen = []
    monkeypatch.setattr(
        tf.config,
        "list_physical_devices",
        lambda kind=None: [d for d in there if kind in (None, d.device_type)],
    )
    monkeypatch.setattr(tf.config, "set_visible_devices", seen.extend)
    assert devices.strategy([name]) is None
    assert [one.name.removeprefix("/physical_device:") for one in seen] == used


def test_a_batch_that_does_not_divide():
    devices.check_batch_size(64, 4)
    with pytest.raises(ValueError, match="batch_size=30; 28 would do"):
        devices.check_batch_size(30, 4)
    with pytest.raises(ValueError, match="batch_size=3; 4 would do"):
        devices.check_batch_size(3, 4)
