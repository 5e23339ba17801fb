"""KerasTuner's oracles, which choose what to try, as a search needs them.

They begin with the recipe's own setting, propose nothing that may not be
tried, propose nothing twice, and keep their state in files that are written
whole or not at all. For that, some private methods of KerasTuner (1.4.8) are
overridden, here and nowhere else.
"""

import functools
import json
import pathlib
import warnings

import keras_tuner
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from keras_warn import files

# How often chance is asked for values that may be tried. Spaces in which
# fewer are left are as good as exhausted.
ATTEMPTS = 500
# Among how many of them the Gaussian process chooses, where the best of all
# may not be tried.
CANDIDATES = 50
# After so many failures in a row, it is not the setting that is wrong.
FAILURES = 5
# Of trials and epochs, from one round of Hyperband to the next.
FACTOR = 3


class _Oracle:
    """What all of them have in common; mixed into one of KerasTuner's.

    Args:
        accept: Function from values to whether a trial may begin.
        **options: Arguments of KerasTuner's oracle.
    """

    def __init__(self, accept, **options):
        super().__init__(
            # The space is known. A `seed` of 0 would be replaced at random.
            allow_new_entries=False,
            tune_new_entries=False,
            # An oracle that raises in a chief would hang all workers.
            max_consecutive_failed_trials=None,
            **options,
        )
        self.accept = accept
        self._before = 0  # how many trials had ended when this process began

    @property
    def fails(self):
        """Whether many trials in a row have failed, of this process."""
        last = self.end_order[self._before :][-FAILURES:]
        return len(last) == FAILURES and all(
            self.trials[i].status == "FAILED" for i in last
        )

    @keras_tuner.synchronized
    def create_trial(self, tuner_id):
        if self.fails and tuner_id not in self.ongoing_trials:
            self.tuner_ids.discard(tuner_id)
            return keras_tuner.engine.trial.Trial(
                self.hyperparameters.copy(), "", "STOPPED"
            )
        return super().create_trial(tuner_id)

    def _random_values(self):
        if not self.start_order:
            values = self._defaults()
            if self.accept(values):
                return values
        for _ in range(ATTEMPTS):
            values = super()._random_values()
            if values is None or self.accept(values):
                return values
        return None

    def _defaults(self):
        """The recipe's own values, of all that are active."""
        hp = self.get_space()
        return {one.name: one.default for one in hp.space if hp.is_active(one)}

    @keras_tuner.synchronized
    def end_trial(self, trial):
        # Workers send values back as 32-bit floats, which are none of those
        # in the space.
        trial.hyperparameters = self.trials[trial.trial_id].hyperparameters
        super().end_trial(trial)
        # A chief that begins again gives trials anew whose workers may end
        # them nevertheless.
        if trial.trial_id in self._retry_queue:
            self._retry_queue.remove(trial.trial_id)
        # KerasTuner saves before it is over.
        self.save()

    def save(self):
        _write(self._get_oracle_fname(), self.get_state())

    def _save_trial(self, trial):
        folder = self._get_trial_dir(trial.trial_id)
        _write(pathlib.Path(folder, "trial.json"), trial.get_state())

    def reload(self):
        super().reload()
        # A kill between the files of a trial and of the oracle leaves a trial
        # that the oracle does not know. It will propose it again.
        self.trials = {i: self.trials[i] for i in self.start_order}
        self._before = len(self.end_order)


class RandomOracle(_Oracle, keras_tuner.oracles.RandomSearchOracle):
    """Draws values at random."""


class BayesianOracle(_Oracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Learns from trials by a Gaussian process where to look next.

    KerasTuner would begin with three random trials for each dimension, more
    than most searches have in all.
    """

    def __init__(self, max_trials, **options):
        super().__init__(
            max_trials=max_trials,
            num_initial_points=max(4, max_trials // 3),
            **options,
        )

    def set_state(self, state):
        points = self.num_initial_points
        super().set_state(state)
        self.num_initial_points = points

    def populate_space(self, trial_id):
        with warnings.catch_warnings():
            # A hyperparameter that makes no difference is no reason to warn.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = super().populate_space(trial_id)
        if found["status"] != "RUNNING":
            return found
        values = found["values"]
        if self.accept(values) and not self._duplicate(values):
            return found
        candidates = [self._random_values() for _ in range(CANDIDATES)]
        candidates = [values for values in candidates if values is not None]
        if not candidates:
            return {"status": "STOPPED", "values": None}
        best = min(candidates, key=self._confidence_bound)
        return {"status": "RUNNING", "values": best}

    def _confidence_bound(self, values):
        """What KerasTuner minimizes: how good these values may be."""
        vector = [
            one.value_to_prob(values.get(one.name, one.default))
            for one in self.hyperparameters.space
        ]
        mean, deviation = self.gpr.predict(
            np.reshape(vector, (1, -1)), return_std=True
        )
        return float(mean[0] - self.beta * deviation[0])


class HyperbandOracle(_Oracle, keras_tuner.oracles.HyperbandOracle):
    """Trains many trials for few epochs, and the best of them further.

    With `max_trials`, it goes on with further rounds until there are as many.
    """

    def __init__(self, max_trials, max_epochs, **options):
        super().__init__(
            max_epochs=max_epochs,
            factor=FACTOR,
            hyperband_iterations=None if max_trials else 1,
            **options,
        )
        self.max_trials = max_trials

    def set_state(self, state):
        # As this process was told, who may want more trials.
        iterations = self.hyperband_iterations
        super().set_state(state)
        self.hyperband_iterations = iterations


class GridOracle(_Oracle, keras_tuner.oracles.GridSearchOracle):
    """Tries all combinations."""

    def populate_space(self, trial_id):
        found = super().populate_space(trial_id)
        values = found["values"]
        if values is None or self.accept(values):
            return found
        # Only the defaults come without being asked whether they may.
        values = self._get_next_combination(values)
        if values is None:
            return {"status": "STOPPED", "values": None}
        return {"status": "RUNNING", "values": values}

    def _get_next_combination(self, values):
        while True:
            values = super()._get_next_combination(values)
            if values is None or self.accept(values):
                return values

    def reload(self):
        super().reload()

        # KerasTuner does not keep where it was.
        def compare(one, other):
            return self._compare(
                self.trials[one].hyperparameters.values,
                self.trials[other].hyperparameters.values,
            )

        previous = None
        for trial_id in sorted(
            self.start_order, key=functools.cmp_to_key(compare)
        ):
            self._ordered_ids.insert(trial_id, previous)
            previous = trial_id
        self._populate_next = list(self.start_order)


ORACLES = {
    "random": RandomOracle,
    "bayesian": BayesianOracle,
    "hyperband": HyperbandOracle,
    "grid": GridOracle,
}


def _write(path, content):
    with files.replacing(path) as unfinished:
        unfinished.write_text(json.dumps(content), "utf-8")
