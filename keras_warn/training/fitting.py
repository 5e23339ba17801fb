"""Training that can be killed at any moment, and resumes where it was."""

import contextlib
import csv
import dataclasses
import io
import math
import pathlib
import signal
import sys
import threading
import time

import keras

from keras_warn import checks
from keras_warn import files
from keras_warn.training import snapshots
from keras_warn.training.evaluation import averaged
from keras_warn.training.evaluation import evaluate
from keras_warn.training.evaluation import take_averages
from keras_warn.training.workers import ALONE

STATE = "state.npz"
HISTORY = "history.csv"

# What of a training's progress JSON holds.
NOTES = (
    *("steps", "epochs", "epoch", "step"),
    *("seconds", "history", "done", "seed"),
)


@dataclasses.dataclass(frozen=True)
class Trained:
    """What is known of a training that is over.

    Attributes:
        history: List of dictionaries, one an epoch: `epoch` from 1,
            `learning_rate` in its last step, `loss`, and the metrics; with
            validation, `val_loss` and `val_accuracy`.
        best_epoch: The epoch with the highest validation accuracy, the first
            of them, from 1; or `None` without validation.
        seconds: How long the training took, over all processes.
        best_weights: The weights of the best epoch, for `model.set_weights`;
            their moving averages where the optimizer keeps them. Empty
            without validation.
    """

    history: list
    best_epoch: int | None
    seconds: float
    best_weights: list = dataclasses.field(compare=False, repr=False)


def fit(
    model,
    batches,
    epochs,
    folder,
    validation=None,
    patience=None,
    save_minutes=10.0,
    callbacks=(),
    verbose="auto",
    workers=ALONE,
    until=None,
):
    """Trains a model as `model.fit` does, but for kills.

    The same call, in a new process, resumes where the training was: in the
    middle of an epoch, too. It ends with the same weights and the same history
    as if nothing had happened, to the bit on a CPU.

    Its state is written to the folder after each epoch, every `save_minutes`
    in it, and on Ctrl-C (SIGINT) and SIGTERM, whole or not at all: weights,
    those of the best epoch, optimizer, states of random layers, metrics and
    history. With several devices, moving statistics are those of the first.

    Args:
        model: A compiled `keras.Model` that returns probabilities. Its weights
            at the start do not matter to a training that goes on. A new model
            for each process: compiled with the same settings.
        batches: `keras_warn.data.TrainingBatches`, or what has the same
            method `dataset(epoch, step)` and length.
        epochs: Positive integer.
        folder: The folder for the state, made if it is not there. It belongs
            to this training.
        validation: `keras_warn.data.TestBatches`, or `None`. Evaluated
            after each epoch, with the moving averages of weights where the
            optimizer keeps them (`use_ema`).
        patience: Positive integer, or `None`. After that many epochs without
            a higher validation accuracy, the training stops.
        save_minutes: Positive number.
        callbacks: Keras callbacks. They see `val_loss` and `val_accuracy` in
            the logs. What they remember themselves is lost in a kill.
        verbose: As of `model.fit`.
        workers: `keras_warn.training.workers.Workers` who train together, in
            whose `scope` the model was built. Each calls this, with a folder
            of its own; callbacks must do the same on all. The state is read
            and written by the first. Ctrl-C on one stops all.
        until: Positive integer, at most `epochs`, or `None`. After that many
            epochs the training pauses. A later call with more of them, or
            with `None`, goes on, and ends as if it had not paused. For
            searches that train further only what is promising.

    Returns:
        A `Trained`, of the epochs so far. The model has the weights of the
        last of them, or their moving averages.

    Raises:
        FloatingPointError: if the loss is not finite, or a weight when it
            would be saved. It names the epoch, the step, and what was saved
            last.
        KeyboardInterrupt: after Ctrl-C, when the state is saved.
        OSError: if the folder cannot be written to, or another process trains
            in it (`BlockingIOError`).
        SystemExit: after SIGTERM, when the state is saved.
        TypeError, ValueError: if an argument is not what it must be, the
            folder has the state of another training, or one that cannot be
            read, or an image cannot be read.
    """
    epochs = checks.integer("epochs", epochs)
    save_minutes = checks.real("save_minutes", save_minutes)
    until = epochs if until is None else checks.integer("until", until)
    if until > epochs:
        raise ValueError(
            "`until` must be at most `epochs`. Received: "
            f"until={until} and epochs={epochs}."
        )
    if patience is not None:
        patience = checks.integer("patience", patience)
        if validation is None:
            raise ValueError(
                "`patience` needs `validation`, to see whether there is "
                f"progress. Received: patience={patience} and none."
            )
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with files.locked(folder):
        files.remove_unfinished(folder)
        files.check_replacing(folder / STATE)
        workers.send_folder(folder)
        progress = _Progress.read(folder, len(batches), epochs)
        _build_optimizer(model, workers)
        if progress.done or progress.epoch >= until:
            progress.restore(model, metrics=False)
        else:
            dataset = batches.dataset(progress.epoch, progress.step)
            with contextlib.ExitStack() as stack:
                stack.enter_context(workers.scope())
                _build_metrics(model, batches, dataset)
                if hasattr(batches, "reading"):
                    stack.enter_context(batches.reading())
                signals = stack.enter_context(_Signals(workers))
                model.fit(
                    dataset,
                    steps_per_epoch=len(batches),
                    epochs=until,
                    initial_epoch=progress.epoch,
                    shuffle=False,  # in random order already
                    # Those that change the learning rate, or read logs, after
                    # what restores the one and adds to the others; and what
                    # counts an epoch as done after all that may fail.
                    callbacks=[
                        _Start(validation, progress),
                        *callbacks,
                        _End(progress, patience, save_minutes, signals),
                    ],
                    verbose=verbose,
                )
        take_averages(model)
        return progress.trained()


def best_epoch(history):
    """The epoch, from 1, with the highest validation accuracy; the first."""
    if not history or "val_accuracy" not in history[0]:
        return None
    # `max` returns the first of several.
    return max(history, key=lambda row: row["val_accuracy"])["epoch"]


@dataclasses.dataclass
class _Progress:
    """Where a training is, and what is known of it so far."""

    folder: pathlib.Path
    steps: int  # in an epoch
    epochs: int
    epoch: int = 0  # how many are over
    step: int = 0  # how many steps of the next one are over
    seconds: float = 0.0
    history: list = dataclasses.field(default_factory=list)
    done: bool = False
    seed: int = dataclasses.field(default_factory=lambda: _seed())
    # Weights of the best epoch.
    best: list = dataclasses.field(default_factory=list)
    # What is to be restored: a file, and the arrays in it.
    state: tuple | None = None

    @classmethod
    def read(cls, folder, steps, epochs):
        """What the folder says, or a new start."""
        new = cls(folder, steps, epochs)
        file = snapshots.find(folder / STATE)
        if file is None:
            return new
        notes, arrays = snapshots.read(file)
        for name in ("steps", "epochs"):
            if notes[name] != getattr(new, name):
                raise ValueError(
                    f"{file} must be the state of this training. Received one "
                    f"with {name}={notes[name]} instead of "
                    f"{getattr(new, name)}. Choose another folder."
                )
        best = []
        while (name := f"best_{len(best)}") in arrays:
            best.append(arrays.pop(name))
        return cls(folder=folder, best=best, state=(file, arrays), **notes)

    def restore(self, model, metrics=True):
        """Brings the model to where the training is, once."""
        if self.state is None:
            return
        file, arrays = self.state
        snapshots.restore(file, model, arrays, metrics)
        self.state = None
        if self.step == 0:
            model.reset_metrics()

    def save(self, model, write):
        """Writes where the training is, with the model's state.

        Args:
            model: A `keras.Model`.
            write: Whether to write, and not only to check.
        """
        arrays = snapshots.arrays(model)
        arrays |= {f"best_{i}": value for i, value in enumerate(self.best)}
        if wrong := snapshots.not_finite(arrays):
            raise self.diverged(f"Not all of {wrong} is finite")
        notes = {name: getattr(self, name) for name in NOTES}
        if write:
            snapshots.save(self.folder / STATE, arrays, notes)

    def diverged(self, what):
        """The error that says so, where, and what was saved last."""
        place = _place(self.epoch, self.step, self.steps)
        return FloatingPointError(
            f"{what} after {place}. {self.saved()}. A lower learning rate, or "
            "a longer warm-up, may help."
        )

    def trained(self):
        best = best_epoch(self.history)
        return Trained(self.history, best, self.seconds, self.best)

    def saved(self):
        """Says what was saved last."""
        file = snapshots.find(self.folder / STATE)
        if file is None:
            return "Nothing was saved yet"
        notes, _ = snapshots.read(file)
        return f"{file} has the state after {_place(**notes)}"


class _Start(keras.callbacks.Callback):
    """What comes before all other callbacks.

    Brings back the state; adds `val_loss` and `val_accuracy` to the logs, and
    keeps the best weights. Keras's own validation takes a last batch that is
    smaller for a whole one where there are several devices.
    """

    def __init__(self, validation, progress):
        super().__init__()
        self.validation = validation
        self.progress = progress

    def on_epoch_begin(self, epoch, logs=None):
        # Only now: metrics exist when the training begins, and are reset
        # before its first epoch.
        self.progress.restore(self.model)

    def on_train_batch_begin(self, batch, logs=None):
        if keras.backend.backend() == "torch":
            import torch

            # Keras draws for Dropout without a seed from PyTorch's generator,
            # whose state depends on what the process has done before.
            progress = self.progress
            step = progress.epoch * progress.steps + progress.step
            torch.manual_seed(progress.seed + step)

    def on_epoch_end(self, epoch, logs=None):
        if self.validation is None:
            return
        with averaged(self.model):
            found = evaluate(self.model, self.validation)
            history = self.progress.history
            best = max((row["val_accuracy"] for row in history), default=-1.0)
            if found["accuracy"] > best:
                self.progress.best = [
                    snapshots.to_numpy(weight) for weight in self.model.weights
                ]
        logs.update({f"val_{name}": value for name, value in found.items()})


class _End(keras.callbacks.Callback):
    """What comes after all other callbacks: writes the state."""

    def __init__(self, progress, patience, save_minutes, signals):
        super().__init__()
        self.progress = progress
        self.patience = patience
        self.save_seconds = 60 * save_minutes
        self.signals = signals

    def on_train_begin(self, logs=None):
        self._clock = self._saved = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.progress.step += 1
        self._check_finite(logs)
        if self.progress.step == self.progress.steps:
            # Before its time, if it began in the middle. Taken back below.
            self.model.stop_training = True
            return
        waited = time.monotonic() - self._saved
        if self.signals.agree() or waited > self.save_seconds:
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        self._check_finite(logs)
        progress = self.progress
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        progress.history.append(
            {"epoch": epoch + 1, "learning_rate": float(rate), **logs}
        )
        progress.epoch, progress.step = epoch + 1, 0
        best = best_epoch(progress.history)
        plateau = self.patience and epoch + 1 - best >= self.patience
        progress.done = bool(plateau) or progress.epoch == progress.epochs
        self.signals.agree()
        with files.replacing(progress.folder / HISTORY) as path:
            path.write_text(_to_csv(progress.history), "utf-8")
        self._save()
        self.model.stop_training = progress.done

    def _save(self):
        now = time.monotonic()
        self.progress.seconds += now - self._clock
        self._clock = self._saved = now
        self.progress.save(self.model, write=self.signals.workers.first)
        self.signals.raise_if_agreed(self.progress)

    def _check_finite(self, logs):
        for name in ("loss", "val_loss"):
            if not math.isfinite(logs.get(name, 0)):
                raise self.progress.diverged(f"The {name} is {logs[name]}")


class _Signals:
    """Notes Ctrl-C and SIGTERM, for the state to be saved first.

    As a context manager, in the main thread alone: others get no signals.
    A signal to one of several workers stops all after the same step.
    """

    def __init__(self, workers=ALONE):
        self.workers = workers

    def __enter__(self):
        self.received = None
        self.agreed = 0
        self._handlers = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self.received is not None:
            raise KeyboardInterrupt("Stopped at once, at the second signal.")
        self.received = number
        print(
            "\nStopping after this step, to save it. Again: stop at once.",
            file=sys.stderr,
        )

    def agree(self):
        """Which signal a worker has received by now, or 0."""
        self.agreed = self.workers.highest(self.received or 0)
        return self.agreed

    def raise_if_agreed(self, progress):
        if not self.agreed:
            return
        # Who left before the first has saved would take it along.
        self.workers.agree_to_end()
        if self.agreed == signal.SIGINT:
            raise KeyboardInterrupt(
                progress.saved()
                if self.workers.first
                else "Worker 0 has saved the state"
            )
        if self.agreed == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)


def _build_optimizer(model, workers):
    """Makes the optimizer's variables, which are to be read from a file."""
    strategy = getattr(model, "distribute_strategy", None)
    with strategy.scope() if strategy else workers.scope():
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)


def _build_metrics(model, batches, dataset):
    """Makes the variables of metrics, which else come with the first step.

    Then TensorFlow traces that step once: in Keras 3.15, a step that makes
    variables is traced a second time, without them. With several devices or
    workers, `fit` makes them when it begins.
    """
    if keras.distribution.distribution() is not None:
        return
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is None or strategy.num_replicas_in_sync == 1:
        if hasattr(dataset, "element_spec"):
            _, labels = dataset.element_spec
        else:  # of `dataset`, no batch may be lost
            _, labels = next(iter(batches.dataset()))
        # Keras chooses some metrics by the shape of labels.
        labels = keras.ops.zeros(tuple(labels.shape))
        shape = (len(labels), *model.output_shape[1:])
        model.compute_metrics(None, labels, keras.ops.zeros(shape))


def _seed():
    """Drawn by PyTorch, for each training another one, which a user can set."""
    if keras.backend.backend() != "torch":
        return 0
    import torch

    return int(torch.randint(2**62, ()))


def _place(epoch, step, steps, **others):
    if step == 0:
        return f"epoch {epoch}"
    return f"step {step} of {steps} in epoch {epoch + 1}"


def _to_csv(history):
    text = io.StringIO()
    writer = csv.DictWriter(text, history[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
