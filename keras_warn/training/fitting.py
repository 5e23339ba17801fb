"""Training that can be killed at any moment, and resumes where it was."""

import contextlib
import dataclasses
import math
import pathlib
import signal
import sys
import threading
import time

import keras

from keras_warn import checks
from keras_warn import files
from keras_warn.training import checkpoints
from keras_warn.training import devices
from keras_warn.training import processes
from keras_warn.training.evaluation import averaged
from keras_warn.training.evaluation import evaluate
from keras_warn.training.evaluation import take_averages

CHECKPOINT = "state.npz"


@dataclasses.dataclass(frozen=True)
class Trained:
    """What is known of a training that is over.

    Attributes:
        history: List of dictionaries, one an epoch: `epoch` from 1,
            `learning_rate` in its last step, `loss`, and the metrics; with
            validation, `val_loss` and `val_accuracy`.
        best_epoch: The epoch with the highest validation accuracy, the first
            of them, from 1; or `None` without validation.
        seconds: How long the training took, over all starts.
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
    until=None,
) -> Trained:
    """Trains a model as `model.fit` does, but for kills.

    The same call, in a new process, resumes where the training was: in the
    middle of an epoch, too. It ends with the same weights and the same history
    as if nothing had happened, to the bit on a CPU.

    A checkpoint is written to the folder after each epoch, every
    `save_minutes` in it, and on Ctrl-C (SIGINT) and SIGTERM, whole or not at
    all: weights, those of the best epoch, optimizer, states of random layers,
    metrics and history. With several devices, moving statistics are those of
    the first, and the loss of an epoch that was resumed may differ in the last
    bit: its sum is saved as one number.

    Args:
        model: A compiled `keras.Model` that returns probabilities. Its weights
            at the start do not matter to a training that resumes. A new model
            for each call: compiled with the same settings.
        batches: `keras_warn.data.TrainingBatches`, or what has the same
            method `dataset(epoch, step)` and length, such as a
            `FeatureCache`, whose `digest` a training that resumes checks.
        epochs: Positive integer.
        folder: The folder for the checkpoint, made if it is not there. It
            belongs to this training. Of several processes
            (`keras_warn.training.processes`), the first alone uses it.
        validation: `keras_warn.data.TestBatches`, or `None`. Evaluated
            after each epoch, with the moving averages of weights where the
            optimizer keeps them (`use_ema`).
        patience: Positive integer, or `None`. After that many epochs without
            a higher validation accuracy, the training stops.
        save_minutes: Positive number.
        callbacks: Keras callbacks. They see `val_loss` and `val_accuracy` in
            the logs. What they remember themselves is lost in a kill.
        verbose: As of `model.fit`.
        until: Positive integer, at most `epochs`, or `None`. After that many
            epochs the training pauses. A later call with more of them, or
            with `None`, resumes, and ends as if it had not paused. For
            searches that train further only what is promising.

    Returns:
        A `Trained`, of the epochs so far. The model has the weights of the
        last of them, or their moving averages.

    Raises:
        FloatingPointError: if the loss is not finite, or a weight when it
            would be saved. It names the epoch, the step, and what was saved
            last.
        KeyboardInterrupt: after Ctrl-C, when the checkpoint is written.
        OSError: if the folder cannot be written to, or another process trains
            in it (`BlockingIOError`).
        SystemExit: after SIGTERM, when the checkpoint is written.
        TypeError, ValueError: if an argument is not what it must be, the
            folder has the checkpoint of another training, or one that cannot
            be read, or an image cannot be read.
    """
    epochs = checks.integer("epochs", epochs)
    save_minutes = checks.real("save_minutes", save_minutes)
    if until is None:
        until = epochs
    until = checks.integer("until", until, 1, epochs)
    if patience is not None:
        patience = checks.integer("patience", patience)
        if validation is None:
            raise ValueError(
                "`patience` needs `validation`, to see whether there is "
                f"progress. Received: patience={patience} and none."
            )
    folder = pathlib.Path(folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(processes.scope())
        if processes.index() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(files.locked(folder))
            files.remove_unfinished(folder)
            files.check_replacing(folder / CHECKPOINT)
        progress = _Progress.read(
            folder / CHECKPOINT,
            steps=len(batches),
            epochs=epochs,
            digest=getattr(batches, "digest", None),
        )
        # Its variables are to be read from the checkpoint.
        with devices.scope(getattr(model, "distribute_strategy", None)):
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
        if progress.done or progress.epoch >= until:
            progress.restore(model, metrics=False)
        else:
            dataset = batches.dataset(progress.epoch, progress.step)
            _build_metrics(model, batches, dataset)
            if hasattr(batches, "reading"):
                stack.enter_context(batches.reading())
            received = stack.enter_context(_signals())
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
                    _Begin(progress, validation),
                    *callbacks,
                    _End(progress, patience, save_minutes, received),
                ],
                verbose=verbose,
            )
        take_averages(model)
        best = _best(progress.history)
        best = best and best["epoch"]
        return Trained(progress.history, best, progress.seconds, progress.best)


@dataclasses.dataclass
class _Progress:
    """Where a training is: what a checkpoint notes beside arrays."""

    steps: int  # in an epoch
    epochs: int
    digest: str | None  # of what it is trained on, if that has one
    epoch: int = 0  # how many are over
    step: int = 0  # how many steps of the next one are over
    seconds: float = 0.0
    history: list = dataclasses.field(default_factory=list)
    done: bool = False
    seed: int = 0  # of PyTorch's generator

    @classmethod
    def read(cls, path, **training) -> "_Progress":
        """What the checkpoint at `path` says, or a new start."""
        progress = cls(**training)
        progress.path = path
        progress.best = []  # weights of the best epoch
        progress.arrays = None  # to be restored
        progress.saved = "Nothing was saved yet"
        if keras.backend.backend() == "torch":
            import torch

            # Another one for each training, and one that a user can set.
            progress.seed = int(torch.randint(2**62, ()))
        if found := checkpoints.read(path):
            notes, progress.arrays = found
            for name, value in training.items():
                # Without a digest, it is of an earlier version.
                if notes.setdefault(name, value) != value:
                    raise ValueError(
                        f"{path} must be a checkpoint of this training. "
                        f"Received one with {name}={notes[name]} instead of "
                        f"{value}. Choose another folder."
                    )
            vars(progress).update(notes)
            while (name := f"best_{len(progress.best)}") in progress.arrays:
                progress.best.append(progress.arrays.pop(name))
            progress.saved = f"{path} has the state after {progress.place()}"
        return progress

    def restore(self, model, metrics=True):
        """Brings the model to where the training is, once."""
        if self.arrays is not None:
            checkpoints.restore(self.path, model, self.arrays, metrics)
            self.arrays = None
            if self.step == 0:
                model.reset_metrics()

    def save(self, model):
        """Writes a checkpoint, in the first process."""
        if processes.index():
            return
        arrays = checkpoints.arrays(model)
        arrays |= {f"best_{i}": value for i, value in enumerate(self.best)}
        try:
            checkpoints.save(self.path, arrays, dataclasses.asdict(self))
        except FloatingPointError as error:
            raise self.diverged(str(error)) from error
        self.saved = f"{self.path} has the state after {self.place()}"

    def diverged(self, what):
        """The error that says so, where, and what was saved last."""
        return FloatingPointError(
            f"{what} after {self.place()}. {self.saved}. A lower learning "
            "rate, or a longer warm-up, may help."
        )

    def place(self):
        if self.step == 0:
            return f"epoch {self.epoch}"
        return f"step {self.step} of {self.steps} in epoch {self.epoch + 1}"


class _Begin(keras.callbacks.Callback):
    """Before all others: brings back the state, validates, keeps the best.

    Keras's own validation takes a last batch that is smaller for a whole one
    where there are several devices.
    """

    def __init__(self, progress, validation):
        super().__init__()
        self.progress = progress
        self.validation = validation

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
            best = _best(self.progress.history)
            if best is None or found["accuracy"] > best["val_accuracy"]:
                self.progress.best = [
                    checkpoints.to_numpy(weight)
                    for weight in self.model.weights
                ]
        logs.update({f"val_{name}": value for name, value in found.items()})


class _End(keras.callbacks.Callback):
    """After all others: counts, and writes checkpoints."""

    def __init__(self, progress, patience, save_minutes, received):
        super().__init__()
        self.progress = progress
        self.patience = patience
        self.save_seconds = 60 * save_minutes
        self.received = received

    def on_train_begin(self, logs=None):
        self._saved = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.progress.step += 1
        self._check_finite(logs)
        if self.progress.step == self.progress.steps:
            # Before its time, if it began in the middle. Taken back below.
            self.model.stop_training = True
        elif self.received or (
            time.monotonic() - self._saved > self.save_seconds
        ):
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        self._check_finite(logs)
        progress = self.progress
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        progress.history.append(
            {"epoch": epoch + 1, "learning_rate": float(rate), **logs}
        )
        progress.epoch, progress.step = epoch + 1, 0
        waited = epoch + 1 - (_best(progress.history) or {"epoch": 0})["epoch"]
        progress.done = progress.epoch == progress.epochs or bool(
            self.patience and waited >= self.patience
        )
        self._save()
        self.model.stop_training = progress.done

    def _save(self):
        now = time.monotonic()
        self.progress.seconds += now - self._saved
        self._saved = now
        self.progress.save(self.model)
        if signal.SIGINT in self.received:
            raise KeyboardInterrupt(self.progress.saved)
        if signal.SIGTERM in self.received:
            raise SystemExit(128 + signal.SIGTERM)

    def _check_finite(self, logs):
        for name in ("loss", "val_loss"):
            if not math.isfinite(logs.get(name, 0)):
                raise self.progress.diverged(f"The {name} is {logs[name]}")


@contextlib.contextmanager
def _signals():
    """A list that notes Ctrl-C and SIGTERM, for a checkpoint to come first.

    In the main thread alone: others get no signals.
    """
    received, handlers = [], {}

    def note(number, frame):
        if received:
            raise KeyboardInterrupt("Stopped at once, at the second signal.")
        received.append(number)
        print(
            "\nStopping after this step, to save it. Again: stop at once.",
            file=sys.stderr,
        )

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handlers[number] = signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _build_metrics(model, batches, dataset):
    """Makes the variables of metrics, which else come with the first step.

    Then TensorFlow traces that step once: in Keras 3.15, a step that makes
    variables is traced a second time, without them. With several devices,
    `fit` makes them when it begins.
    """
    strategy = getattr(model, "distribute_strategy", None)
    if processes.count() > 1 or devices.replicas(strategy) > 1:
        return
    if hasattr(dataset, "element_spec"):
        _, labels = dataset.element_spec
    else:  # of `dataset`, no batch may be lost
        _, labels = next(iter(batches.dataset()))
    # Keras chooses some metrics by the shape of labels.
    labels = keras.ops.zeros(tuple(labels.shape))
    shape = (len(labels), *model.output_shape[1:])
    model.compute_metrics(None, labels, keras.ops.zeros(shape))


def _best(history):
    """The row with the highest validation accuracy; the first, or `None`."""
    if not history or "val_accuracy" not in history[0]:
        return None
    return max(history, key=lambda row: row["val_accuracy"])
