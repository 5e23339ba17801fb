"""KerasTuner: what it proposes, and how its trials are trained."""

import itertools
import json
import math
import shutil
import statistics
import time
import warnings

import keras
import keras_tuner
import numpy as np
import results
from sklearn.exceptions import ConvergenceWarning

from keras_warn import files
from keras_warn import training

# How often values are drawn at random until some may be tried. Spaces in which
# fewer are left count as exhausted.
ATTEMPTS = 500
# Among how many of them the Gaussian process chooses, where the best of all
# may not be tried.
CANDIDATES = 50
# After so many failures in a row, it is not the setting that is wrong.
FAILURES = 5
STOPPED = {"status": "STOPPED", "values": None}


class Stopped(RuntimeError):
    """What ends a search, and not a trial alone. The same search can resume."""


class Renewal(Exception):
    """A process has trained enough models: another one must resume."""


class _Oracle:
    """What a search adds to an oracle of KerasTuner.

    The recipe's own setting comes first, nothing is proposed that `accept`
    does not take, and a kill at any moment leaves files that are whole. For
    the first two `_random_values` of KerasTuner 1.4.8 is overridden, for the
    last `_save_trial`. `report` is called when a trial has ended.
    """

    def __init__(self, accept, folder, report=lambda: None, **options):
        super().__init__(
            allow_new_entries=False,
            tune_new_entries=False,
            # Its error would leave the workers of a chief waiting.
            max_consecutive_failed_trials=None,
            **options,
        )
        self.accept, self.folder, self.report = accept, folder, report
        self._before = 0  # how many trials had ended when this process began

    @property
    def failing(self):
        """Whether many trials in a row have failed in this process."""
        last = self.end_order[self._before :][-FAILURES:]
        failed = [self.trials[i].status == "FAILED" for i in last]
        return len(last) == FAILURES and all(failed)

    def populate_space(self, trial_id):
        return STOPPED if self.failing else super().populate_space(trial_id)

    def _random_values(self):
        if not self.start_order:
            hp = self.get_space()
            own = {p.name: p.default for p in hp.space if hp.is_active(p)}
            if self.accept(own):
                return own
        for _ in range(ATTEMPTS):
            values = super()._random_values()
            if values is None or self.accept(values):
                return values
        return None

    @keras_tuner.synchronized
    def end_trial(self, trial):
        super().end_trial(trial)
        self.save()  # KerasTuner saves while the trial still counts as ongoing
        self.report()

    def save(self):
        _write(self.folder / "oracle.json", self.get_state())

    def _save_trial(self, trial):
        folder = self.folder / f"trial_{trial.trial_id}"
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "trial.json", trial.get_state())

    def reload(self):
        super().reload()
        # A trial that the oracle does not know of yet is proposed again.
        self.trials = {i: self.trials[i] for i in self.start_order}
        self._before = len(self.end_order)


class RandomOracle(_Oracle, keras_tuner.oracles.RandomSearchOracle):
    """Draws values at random."""


class BayesianOracle(_Oracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Learns from trials by a Gaussian process where to look next."""

    def __init__(self, max_trials, **options):
        # KerasTuner would begin with three random trials for each dimension,
        # more than most searches have in all.
        points = max(4, max_trials // 3)
        super().__init__(
            max_trials=max_trials, num_initial_points=points, **options
        )

    def populate_space(self, trial_id):
        with warnings.catch_warnings():
            # A hyperparameter that makes no difference is no reason to warn.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = super().populate_space(trial_id)
        tried = [one.hyperparameters.values for one in self.trials.values()]
        values = found["values"]
        if values is None or (values not in tried and self.accept(values)):
            return found
        candidates = [self._random_values() for _ in range(CANDIDATES)]
        candidates = [values for values in candidates if values is not None]
        if not candidates:
            return STOPPED
        return {**found, "values": min(candidates, key=self._lower_bound)}

    def _lower_bound(self, values):
        """What KerasTuner minimizes: how good these values may be."""
        vector = [
            one.value_to_prob(values.get(one.name, one.default))
            for one in self.hyperparameters.space
        ]
        mean, std = self.gpr.predict(np.array([vector]), return_std=True)
        return float(mean[0] - self.beta * std[0])


class HyperbandOracle(_Oracle, keras_tuner.oracles.HyperbandOracle):
    """Trains many trials for few epochs, and the best of them further.

    With `max_trials`, further rounds follow until there are as many.
    """

    def __init__(self, max_trials, **options):
        rounds = None if max_trials else 1
        super().__init__(hyperband_iterations=rounds, **options)
        self.max_trials = max_trials

    def set_state(self, state):
        # As this process was told, who may want more trials.
        rounds = self.hyperband_iterations
        super().set_state(state)
        self.hyperband_iterations = rounds


class _Grid(keras_tuner.Oracle):
    """All combinations; KerasTuner's own forgets in a kill where it was."""

    def populate_space(self, trial_id):
        tried = [one.hyperparameters.values for one in self.trials.values()]
        hp = self.get_space()
        names = [one.name for one in hp.space]
        values = [dict.fromkeys((x.default, *x.values)) for x in hp.space]
        for chosen in itertools.product(*values):
            hp.values = dict(zip(names, chosen, strict=True))
            active = {
                x.name: hp.values[x.name] for x in hp.space if hp.is_active(x)
            }
            if active not in tried and self.accept(active):
                return {"status": "RUNNING", "values": active}
        return STOPPED


class GridOracle(_Oracle, _Grid):
    """Tries all combinations."""


ORACLES = {
    "random": RandomOracle,
    "bayesian": BayesianOracle,
    "hyperband": HyperbandOracle,
    "grid": GridOracle,
}


class Tuner(keras_tuner.Tuner):
    """Trains what an oracle proposes, by `keras_warn.training.fit`.

    A trial that was killed resumes in the middle of its epoch, and one that
    Hyperband promotes after its last. What is known of a trial is in the file
    `result.json` of its folder before the oracle hears of it.
    """

    def __init__(self, oracle, searched):
        self.searched = searched
        self._idle = False
        super().__init__(
            oracle,
            directory=oracle.folder.parent,
            project_name=oracle.folder.name,
        )
        known = (oracle.folder / "oracle.json").exists()
        if known and not searched.cluster.worker:
            oracle.reload()

    def save(self):
        """Nothing: the oracle saves itself."""

    def pre_create_trial(self):
        if self._idle:
            time.sleep(1)  # KerasTuner would ask again at once
        self._idle = True
        self.searched.cluster.wait()
        self.searched.renew()

    def on_trial_begin(self, trial):
        self._idle = False

    def run_trial(self, trial):
        """Trains a trial, or what is left of it."""
        while (result := self._result(trial)) is None:
            try:
                self._train(trial)
            except BlockingIOError:
                # A worker that missed the chief for a while trains it still.
                time.sleep(1)
            except (ImportError, OSError) as error:
                # Such as a full disk: true of any trial.
                raise keras_tuner.errors.FatalError(str(error)) from error
        self.searched.cluster.wait()
        return {"val_accuracy": result["accuracy"], "val_loss": result["loss"]}

    def on_trial_end(self, trial):
        if trial.status != "COMPLETED":
            if self._result(trial) is not None:
                raise Stopped(
                    "The trial is trained and recorded, but the chief cannot "
                    f"be told: {results.gist(trial.message)}"
                )
            self._write(trial, status="failed", reason=trial.message)
        super().on_trial_end(trial)

    def _folder(self, trial_id):
        return self.searched.trials / str(trial_id)

    def _result(self, trial):
        """What is known of a trial that was completed, or `None`."""
        file = self._folder(trial.trial_id) / results.RESULT
        known = json.loads(file.read_text("utf-8")) if file.exists() else {}
        return known if known.get("status") == "completed" else None

    def _train(self, trial):
        found, begun = trial.hyperparameters.values, time.monotonic()
        searched, folder = self.searched, self._folder(trial.trial_id)
        setting = searched.space.setting(found)
        epochs = found.get("tuner/epochs", searched.adapter.epochs)
        folder.mkdir(parents=True, exist_ok=True)
        histories = []
        for seed in range(searched.arguments.executions):
            state = folder / f"seed_{seed}"
            before = found.get("tuner/trial_id")
            if before is not None and not state.exists():
                with files.replacing(state) as path:
                    shutil.copytree(self._folder(before) / state.name, path)
            histories.append(self._fit(setting, seed, epochs, state))
        last = [history[-1] for history in histories]
        cost = searched.costs.of(setting.attention)
        latency = searched.costs.latency_added(setting.attention)
        self._write(
            trial,
            status="completed",
            accuracy=statistics.mean(row["val_accuracy"] for row in last),
            loss=statistics.mean(row["val_loss"] for row in last),
            cost={**cost, "latency_added": latency},
            seconds=round(time.monotonic() - begun, 1),
            histories=histories,
        )
        if "tuner/epochs" not in found:  # only Hyperband resumes what ended
            for seed in range(searched.arguments.executions):
                shutil.rmtree(folder / f"seed_{seed}")

    def _fit(self, setting, seed, epochs, state):
        self.searched.trainings += 1
        model, batches, validation, patience = self.searched.adapter.training(
            setting, seed
        )
        history = training.fit(
            model,
            batches,
            self.searched.adapter.epochs,
            state,
            validation,
            patience,
            verbose=self.searched.verbose,
            until=epochs,
        ).history
        loss = history[-1]["val_loss"]
        if not math.isfinite(loss):
            raise FloatingPointError(f"The loss on validation is {loss}.")
        del model
        keras.utils.clear_session()
        return history

    def _write(self, trial, **known):
        found = trial.hyperparameters.values
        result = {
            "trial": results.label(trial.trial_id),
            "epochs": found.get("tuner/epochs", self.searched.adapter.epochs),
            "values": self.searched.space.read(found),
            "worker": self.searched.cluster.worker,
            **known,
        }
        before = found.get("tuner/trial_id")
        if before is not None:
            result["resumes"] = results.label(before)
        folder = self._folder(trial.trial_id)
        folder.mkdir(parents=True, exist_ok=True)
        results.log(self.searched.logs / result["trial"], result)
        _write(folder / results.RESULT, result)


def _write(path, content):
    """A file of JSON that is whole, or as it was."""
    with files.replacing(path) as unfinished:
        unfinished.write_text(json.dumps(content), "utf-8")
