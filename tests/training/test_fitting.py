"""Trainings that are killed, and resume as if nothing had happened."""

import contextlib
import functools
import json
import os
import shutil
import signal

import fresh
import keras
import numpy as np
import pytest
from support import assert_all_equal
from support import full_disk
from training import resumed

from keras_warn import files
from keras_warn import training
from keras_warn.data import TestBatches
from keras_warn.data import TrainingBatches
from keras_warn.data import load_image_folder
from keras_warn.data import synthetic
from keras_warn.data import transforms
from keras_warn.training import checkpoints

# Saves the state of each step.
TRAIN = """
import json
import sys

from training import resumed

folder, after_step, while_saving = sys.argv[1:]
resumed.kill_while_saving(int(while_saving))
print(json.dumps(resumed.train(folder, int(after_step), save_minutes=1e-9)))
"""


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="the process that is killed would start with another backend",
)
def test_resumes_to_the_bit(tmp_path):
    """After kills in an epoch, of 4 steps, and in a write."""
    for after_step, while_saving in ((6, 0), (0, 3)):
        process = fresh.Process(TRAIN, tmp_path / "a", after_step, while_saving)
        assert process.wait().returncode == -signal.SIGKILL, process.stderr
    process = fresh.run(TRAIN, tmp_path / "a", 0, 0)
    never_killed = resumed.train(tmp_path / "b")
    assert len(never_killed["history"]) == resumed.EPOCHS
    assert json.loads(process.stdout) == never_killed


class Fit:
    """Trains in this process, for a few epochs."""

    def __init__(self, folder, epochs=3):
        self.folder, self.epochs = folder, epochs
        train, validation = resumed.images().hold_out(0.2, seed=0)
        self.batches = TrainingBatches(train, transforms.PadAndCrop(2), 30, 1)
        self.validation = TestBatches(validation, transforms.Identity(), 9)

    def epoch_saved(self):
        notes, _ = checkpoints.read(self.folder / "state.npz")
        return notes["epoch"]

    def __call__(self, *callbacks, model=None, **options):
        self.model = model
        if model is None:
            keras.utils.set_random_seed(0)
            self.model = resumed.small()
        options = {"validation": self.validation, "verbose": 0, **options}
        return training.fit(
            self.model,
            self.batches,
            self.epochs,
            self.folder,
            callbacks=callbacks,
            **options,
        )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A training that is over, what it returned, and what callbacks saw."""
    fit = Fit(tmp_path_factory.mktemp("undisturbed"))
    logs = []
    trained = fit(
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, one: logs.append(dict(one))
        )
    )
    return fit, trained, logs


def assert_as_undisturbed(fit, undisturbed):
    """Resumes; history and weights at the end are the same to the bit."""
    other, trained, _ = undisturbed
    assert fit().history == trained.history
    assert_all_equal(fit.model.get_weights(), other.model.get_weights())


def at_epoch(number, function):
    """A callback that does something at the beginning of an epoch, from 1."""

    def on_epoch_begin(epoch, logs=None):
        if epoch + 1 == number:
            function()

    return keras.callbacks.LambdaCallback(on_epoch_begin=on_epoch_begin)


def test_history_and_what_is_kept(undisturbed):
    _, trained, logs = undisturbed
    assert [row["epoch"] for row in trained.history] == [1, 2, 3]
    for row, seen in zip(trained.history, logs, strict=True):
        # Callbacks see validation, too.
        assert {name: row[name] for name in seen} == seen
        assert seen.keys() == {"loss", "accuracy", "val_loss", "val_accuracy"}
    accuracies = [row["val_accuracy"] for row in trained.history]
    assert trained.best_epoch == 1 + accuracies.index(max(accuracies))
    assert list(trained.history[0]) == [
        *("epoch", "learning_rate", "accuracy", "loss"),
        *("val_loss", "val_accuracy"),
    ]
    assert trained.seconds > 0


@pytest.fixture
def fit(tmp_path):
    return Fit(tmp_path / "run")


def test_a_finished_training_is_only_read(fit, undisturbed):
    """Here, one that patience has ended."""
    fit.epochs = 9
    trained = fit(patience=1)
    assert len(trained.history) == trained.best_epoch + 1 < fit.epochs
    shared = min(3, len(trained.history))
    assert trained.history[:shared] == undisturbed[1].history[:shared]
    weights, begun = fit.model.get_weights(), []
    count = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: begun.append(epoch)
    )
    assert fit(count, patience=1) == trained
    assert not begun
    assert_all_equal(fit.model.get_weights(), weights)


def test_best_weights_are_those_of_the_best_epoch(fit):
    """Of one before a pause, too."""
    best = fit(until=2).best_epoch

    def mislead():
        output = fit.model.layers[-1]
        output.kernel.assign(-99 * output.kernel)

    trained = fit(at_epoch(3, mislead))
    assert trained.best_epoch == best < 3
    fit.model.set_weights(trained.best_weights)
    found = training.evaluate(fit.model, fit.validation)
    row = trained.history[trained.best_epoch - 1]
    assert found["accuracy"] == row["val_accuracy"]
    assert found["loss"] == pytest.approx(row["val_loss"], abs=1e-6)


def test_a_pause_changes_nothing(fit, undisturbed):
    """Whoever pauses ends with the weights of whoever does not."""
    assert [row["epoch"] for row in fit(until=1).history] == [1]
    found = training.evaluate(fit.model, fit.validation)
    # Asked again, it is only read.
    trained = fit(until=1)
    assert trained.history[0]["val_loss"] == pytest.approx(found["loss"])
    assert training.evaluate(fit.model, fit.validation) == found
    assert_as_undisturbed(fit, undisturbed)


def test_signals_stop_after_a_step(fit, undisturbed, capsys):
    """Here, of the second epoch, and of the third."""
    with pytest.raises(KeyboardInterrupt, match="after step 1 of 2 in epoch 2"):
        fit(resumed.Signals(signal.SIGINT, 3))
    assert "Stopping after this step" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        fit(resumed.Signals(signal.SIGTERM, 2))
    assert stopped.value.code == 128 + signal.SIGTERM
    assert_as_undisturbed(fit, undisturbed)


@pytest.mark.parametrize(
    "weight, validated, message",
    [
        (
            "kernel",
            True,
            r"loss is nan after step 1 of 2 in epoch 2\. .*state\.npz has "
            r"the state after epoch 1\. A lower learning rate",
        ),
        # With which the loss in training stays finite.
        ("moving_mean", True, "val_loss is nan"),
        ("moving_mean", False, "Not all of .*moving_mean"),
    ],
)
def test_what_is_not_finite_is_not_saved(fit, weight, validated, message):
    def spoil():
        for variable in fit.model.variables:
            if variable.name == weight:
                variable.assign(np.full(variable.shape, np.nan, "float32"))

    options = {} if validated else {"validation": None}
    with pytest.raises(FloatingPointError, match=message):
        fit(at_epoch(2, spoil), **options)
    assert fit.epoch_saved() == 1
    # Nor is there what each later start would stop at.
    assert len(fit(**options).history) == 3


def test_the_learning_rate_of_a_callback_is_that_of_its_epoch(fit):
    """It is not replaced by the one that was saved the epoch before."""
    schedule = keras.callbacks.LearningRateScheduler(
        lambda epoch: 0.01 / (epoch + 1)
    )
    fit(schedule, until=1)
    rates = [row["learning_rate"] for row in fit(schedule).history]
    assert rates == pytest.approx([0.01, 0.005, 0.01 / 3])


def test_a_full_disk_leaves_what_was_saved(fit):
    with contextlib.ExitStack() as stack:
        fill = functools.partial(stack.enter_context, full_disk(20_000))
        with pytest.raises(OSError, match=r"state\.npz cannot be written"):
            fit(at_epoch(2, fill))
    assert fit.epoch_saved() == 1
    assert not list(fit.folder.glob(".unfinished*"))
    assert [row["epoch"] for row in fit().history] == [1, 2, 3]


def test_an_image_that_vanishes(fit, tmp_path):
    folder = tmp_path / "images"
    synthetic.write_image_folder(folder, classes=3, train=10, test=2)
    dataset = load_image_folder(folder)
    transform = transforms.CenterCrop(resumed.SIDE, resumed.SIDE)
    # One batch an epoch: on JAX, Keras fails in another way in the first.
    fit.batches = TrainingBatches(dataset.split("train"), transform, 30, 1)
    fit.epochs = 18  # some batches are made ahead

    def remove():
        for path in folder.glob("train/*/*"):
            path.unlink()

    with pytest.raises(ValueError, match=r"^\S*\.jpg \D*$"):
        fit(at_epoch(2, remove))


def test_a_checkpoint_that_cannot_be_read(fit, undisturbed):
    shutil.copytree(undisturbed[0].folder, fit.folder)
    state = fit.folder / "state.npz"
    half = state.read_bytes()[:2000]
    for broken in (b"", half):
        state.write_bytes(broken)
        with pytest.raises(
            ValueError,
            match=r"state\.npz must be a checkpoint of a training, and whole.*"
            r"Remove it to begin anew\.",
        ):
            fit()
        assert state.read_bytes() == broken


def test_another_training_in_the_folder(fit, undisturbed):
    shutil.copytree(undisturbed[0].folder, fit.folder)
    fit.epochs = 5
    with pytest.raises(ValueError, match="epochs=3 instead of 5. Choose"):
        fit()
    # As long, and of another model.
    model = resumed.build()
    before = model.get_weights()
    with pytest.raises(ValueError, match="must be a checkpoint of this model"):
        Fit(fit.folder)(model=model)
    assert_all_equal(model.get_weights(), before)


def test_two_processes_in_one_folder(fit):
    fit.folder.mkdir()
    with files.locked(fit.folder):
        with pytest.raises(BlockingIOError, match="in use by another"):
            fit()


def test_an_answer_to_the_second_ctrl_c(fit):
    """At once, and what was saved stays."""

    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="at once"):
        fit(at_epoch(2, twice))
    assert [row["epoch"] for row in fit().history] == [1, 2, 3]
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 0}, "`patience` must be a positive integer"),
        ({"patience": 2, "validation": None}, "`patience` needs `validation`"),
        ({"save_minutes": -1}, "`save_minutes` must be finite"),
        ({"until": 0}, "`until` must be a positive integer"),
        ({"until": 4}, "`until` must be .*at most 3. Received: until=4"),
    ],
)
def test_wrong_arguments(fit, options, message):
    with pytest.raises(ValueError, match=message):
        fit(**options)
    assert not fit.folder.exists()
