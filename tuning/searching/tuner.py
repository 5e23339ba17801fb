"""Trials: trained, measured, recorded."""

import contextlib
import dataclasses
import datetime
import gc
import io
import json
import math
import pathlib
import shutil
import statistics
import time

import keras
import keras_tuner

from keras_warn import files
from keras_warn import training
from keras_warn.training.tensorboard import TensorBoardHistory
from searching import hparams
from searching import records
from searching.search import Stopped

# Seconds between two questions to an oracle that has nothing to do just now.
PAUSE = 1.0


class Tuner(keras_tuner.Tuner):
    """Trains what an oracle proposes, by `keras_warn.training.fit`.

    So a trial that was killed goes on in the middle of its epoch, and one that
    Hyperband promotes goes on from its last.

    Args:
        oracle: One of `searching.oracles`.
        search: A `searching.search.Search`, with all that a trial needs.
        office: A `searching.office.Office`: whether this process chooses
            trials, trains them, or both.
    """

    def __init__(self, oracle, search, office):
        self.searched = search
        self.office = office
        self._idle = False
        office.announce()
        project = search.folder / "parts/tuner"
        if not office.is_worker and (project / "oracle.json").exists():
            # KerasTuner reloads if there is a file of this very process.
            _write(project / f"{office.name}.json", {})
        # It says where it reloads from, in its own words.
        with contextlib.redirect_stdout(io.StringIO()):
            super().__init__(
                oracle, directory=project.parent, project_name=project.name
            )
        # Ours says what there is to say.
        oracle.verbose = 0

    def run_trial(self, trial):
        """Trains a trial, or what is left of it.

        Args:
            trial: `keras_tuner.engine.trial.Trial`.

        Returns:
            Its metrics on the validation pictures after the last epoch, means
            over executions: a dictionary.
        """
        record = None
        while record is None:
            try:
                record = self._known(trial) or self._trained(trial)
                self.office.wait()
            except BlockingIOError:
                # A worker that missed the chief for a while trains it still.
                time.sleep(PAUSE)
            except (ImportError, OSError) as error:
                # Such as a disk that is full: true of any trial.
                raise keras_tuner.errors.FatalError(str(error)) from error
        return {"val_accuracy": record["accuracy"], "val_loss": record["loss"]}

    def pre_create_trial(self):
        if self._idle:
            # KerasTuner would ask again at once.
            time.sleep(PAUSE)
        self._idle = True
        self.office.wait()

    def on_trial_begin(self, trial):
        self._idle = False

    def on_trial_end(self, trial):
        if trial.status != "COMPLETED":
            reason = _reason(trial.message)
            if self._known(trial):
                raise Stopped(
                    "The trial is trained and recorded, but the chief cannot "
                    f"be told: {reason}."
                )
            self._record(
                trial,
                status=records.FAILED,
                reason=f"{reason}\n\n{trial.message}",
            )
        label = records.label(trial.trial_id)
        record = self.searched.records.of(label)
        hparams.end(
            self.searched.logs / label, record["status"], record["cost"]
        )
        super().on_trial_end(trial)
        self.searched.report()
        self.searched.renew()

    def save(self):
        # Whole or not at all; KerasTuner would write in place.
        if not self.office.is_worker:
            self.oracle.save()
        _write(pathlib.Path(self.project_dir, f"{self.tuner_id}.json"), {})

    def _known(self, trial):
        """The record of a trial that was killed when all was done."""
        values = self.searched.space.values(trial.hyperparameters.values)
        for record in self.searched.records.read():
            if (record["trial"], record["values"], record["status"]) == (
                records.label(trial.trial_id),
                values,
                records.COMPLETED,
            ):
                return record
        return None

    def _trained(self, trial):
        search, found = self.searched, trial.hyperparameters.values
        begun = time.monotonic()
        setting = search.space.setting(found)
        epochs = found.get("tuner/epochs", search.subject.epochs)
        values = search.space.values(found)
        words = search.space.words(values)
        label = records.label(trial.trial_id)
        search.progress.begin(label, words, epochs)
        logs = search.logs / label
        hparams.begin(logs, values, label)
        cost = search.costs.with_latency(setting.attention)
        executions = []
        for seed in range(search.executions):
            state = self._state(trial.trial_id, seed)
            if before := found.get("tuner/trial_id"):
                _take_over(self._state(before, seed), state)
            last = self._execute(setting, seed, epochs, state, logs)
            executions.append({"seed": seed, **last})
        record = self._record(
            trial,
            status=records.COMPLETED,
            accuracy=_mean(executions, "accuracy"),
            loss=_mean(executions, "loss"),
            executions=executions,
            cost=dataclasses.asdict(cost),
            seconds=round(time.monotonic() - begun, 1),
        )
        if "tuner/epochs" not in found:
            # Only Hyperband goes on with what has ended.
            shutil.rmtree(self._state(trial.trial_id, 0).parent)
        return record

    def _execute(self, setting, seed, epochs, state, logs):
        """One training of a trial; its metrics in the last epoch."""
        self.searched.trainings += 1
        of = self.searched.subject.training(setting, seed)
        state.parent.mkdir(parents=True, exist_ok=True)
        trained = training.fit(
            of.model,
            of.batches,
            of.epochs,
            state,
            of.validation,
            of.patience,
            callbacks=[] if seed else [TensorBoardHistory(logs)],
            verbose=self.searched.verbose,
            until=epochs,
        )
        last = trained.history[-1]
        if not math.isfinite(last["val_loss"]):
            raise FloatingPointError(
                f"The loss on validation is {last['val_loss']} after epoch "
                f"{last['epoch']}."
            )
        del of
        keras.utils.clear_session()
        gc.collect()
        return {"accuracy": last["val_accuracy"], "loss": last["val_loss"]}

    def _record(self, trial, **known):
        found = trial.hyperparameters.values
        before = found.get("tuner/trial_id")
        record = {
            "trial": records.label(trial.trial_id),
            "status": None,
            "reason": None,
            "values": self.searched.space.values(found),
            "epochs": found.get("tuner/epochs", self.searched.subject.epochs),
            "goes_on_from": before and records.label(before),
            "accuracy": None,
            "loss": None,
            "executions": [],
            "cost": None,
            "seconds": None,
            "worker": self.office.worker,
            "ended": datetime.datetime.now(datetime.UTC).isoformat(
                timespec="seconds"
            ),
            **known,
        }
        self.searched.records.write(record)
        return record

    def _state(self, trial_id, seed):
        """The folder from which a training goes on."""
        folder = self.searched.folder / "parts/training"
        return folder / records.label(trial_id) / f"seed_{seed}"


def _take_over(before, folder):
    """Goes on, in a folder, from where another trial has ended."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(folder) as path:
            shutil.copytree(before, path)


def _reason(message):
    """The first line of what an error says, of the text of its traceback."""
    # Of several, the last; TensorFlow's errors quote other ones behind.
    _, _, last = message.rpartition("Traceback (most recent call last):\n")
    lines = [line for line in last.splitlines() if line.strip()]
    return next((line for line in lines if line[0] != " "), lines[-1])


def _mean(executions, name):
    return statistics.mean(one[name] for one in executions)


def _write(path, content):
    with files.replacing(path) as unfinished:
        unfinished.write_text(json.dumps(content), "utf-8")
