"""Trainings on several devices, which the processor is divided into."""

import json

import fresh
import keras
import numpy as np
import pytest
from support import assert_all_close

from keras_warn.training import devices

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="several devices are shared by TensorFlow's strategies",
)


# TensorFlow divides a processor only once in a process.
TRAIN = """
import json
import signal
import sys

import keras

from keras_warn import training
from keras_warn.data import Mix, TestBatches, TrainingBatches, transforms
from keras_warn.training import devices
from support import prepared
from training import resumed

two = devices.strategy(["CPU:0", "CPU:1"])
train, validation = resumed.images(36).hold_out(0.2, seed=0)
validation = TestBatches(validation, transforms.Identity(), 4)
mix = Mix(mixup=0.2)
batches = TrainingBatches(train, transforms.PadAndCrop(2), 14, 1, mix=mix)
for folder, strategy, remembers, step in [
    ("one", None, False, 0),
    ("two", two, False, 0),
    ("whole", two, True, 0),
    ("killed", two, True, 1),
    ("killed", two, True, 0),
]:
    keras.utils.set_random_seed(0)
    with devices.scope(strategy):
        model = resumed.small(remembers)
        # One as a user trains; tracing takes longer than the rest.
        model.run_eagerly = folder != "two"
        prepared(model, batches.batch(0, 0)[1])
    signals = [resumed.Signals(signal.SIGINT, step)]
    try:
        trained = training.fit(
            model, batches, 1, folder, validation, callbacks=signals, verbose=0
        )
    except KeyboardInterrupt as stopped:
        print(stopped, file=sys.stderr)
        continue
    evaluated = []
    if folder == "whole":
        model.save("whole.keras")
        saved = keras.saving.load_model("whole.keras", compile=False)
        evaluated = [training.evaluate(m, validation) for m in (model, saved)]
    weights = [weight.tolist() for weight in model.get_weights()]
    print(json.dumps([trained.history, weights, evaluated]))
"""


def test_two_devices_train_as_one(tmp_path):
    """With a partial last batch in validation, and killed in between."""
    process = fresh.run(TRAIN, folder=tmp_path)
    assert process.stderr.count("after step 1 of 2 in epoch 1") == 1
    one, two, whole, killed = map(json.loads, process.stdout.splitlines())
    for row, other in zip(one[0], two[0], strict=True):
        assert row == pytest.approx(other, abs=1e-5)
    assert_all_close(
        *([np.array(x) for x in found[1]] for found in (one, two)), atol=1e-5
    )
    # Statistics are each device's own: what resumes ends the same all the
    # same, and what is evaluated is what is saved.
    assert whole[1] == killed[1]
    # Sums of an epoch are saved as one number, and not as one a device.
    for row, other in zip(whole[0], killed[0], strict=True):
        assert row == pytest.approx(other, rel=1e-6)
    history, _, (evaluated, saved) = whole
    assert evaluated == pytest.approx(saved, abs=1e-6)
    assert history[-1]["val_loss"] == evaluated["loss"]


@pytest.mark.parametrize("names", [["CPU:0", "GPU:7"], ["GPU:7"]], ids=len)
def test_a_device_that_is_not_there(names):
    with pytest.raises(
        ValueError,
        match="`devices` must be devices of this machine, each once: .*CPU:0"
        f".*Received: {', '.join(names)}",
    ):
        devices.strategy(names)


def test_one_device_is_the_one_that_is_used(monkeypatch):
    """On a machine with two GPUs, of which TensorFlow would take the first."""
    import tensorflow as tf

    there = {
        name: tf.config.PhysicalDevice(f"/physical_device:{name}", name[:3])
        for name in ("CPU:0", "GPU:0", "GPU:1")
    }
    used = []
    monkeypatch.setattr(
        tf.config,
        "list_physical_devices",
        lambda kind="": [d for n, d in there.items() if n.startswith(kind)],
    )
    monkeypatch.setattr(tf.config, "set_visible_devices", used.extend)
    assert devices.strategy(["gpu:1"]) is None
    assert used == [there["CPU:0"], there["GPU:1"]]


def test_a_batch_that_does_not_divide():
    devices.check_batch_size(64, 4)
    for size, near in ((30, 28), (3, 4)):
        with pytest.raises(ValueError, match=f"={size}; {near} would do"):
            devices.check_batch_size(size, 4)
