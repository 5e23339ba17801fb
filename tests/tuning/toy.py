"""A network that is quick to search, with and without training."""

import pathlib

import keras
import keras_tuner
import numpy as np
from searching import oracles
from searching.cost import Costs
from searching.limits import Limits
from searching.office import Office
from searching.progress import Progress
from searching.search import Search
from searching.space import Setting
from searching.space import Space
from searching.subjects import Training
from searching.tuner import Tuner

import keras_warn
from keras_warn import training
from keras_warn.datasets import Listing
from keras_warn.datasets import TestBatches
from keras_warn.datasets import TrainingBatches
from keras_warn.datasets import views

OWN = Setting({"depth": 2, "width": 4, "diversity": 0.1}, 0.01)


def network():
    """Attachment points at 22x22, 11x11 and 5x5."""
    x = inputs = keras.Input((22, 22, 3))
    for i, filters in enumerate((5, 7, 11), start=1):
        strides = 1 if i == 1 else 2
        x = keras.layers.Conv2D(filters, 3, strides, padding="same")(x)
        x = keras.layers.ReLU(name=f"relu{i}")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(13, "softmax")(x)
    return keras.Model(inputs, x)


def costs():
    alone = network()
    return Costs(alone, lambda given: keras_warn.augment(alone, **given))


def space(**chosen):
    return Space(OWN, 3, None, chosen or None)


def oracle(kind, folder, searched, accept=None, **options):
    """An oracle of a space, with its state in a folder."""
    made = oracles.ORACLES[kind](
        accept=accept or searched.fits,
        objective=objective(),
        hyperparameters=searched.hyperparameters(),
        **{"max_trials": 20, "seed": 1, **options},
    )
    made.verbose = 0
    made._set_project_dir(str(folder), "tuner")
    return made


def objective():
    return keras_tuner.Objective("val_accuracy", "max")


def ask(made, score, worker="tuner0"):
    """A trial's values, which it ends with a score; `None` at the end."""
    trial = made.create_trial(worker)
    if trial.status == "STOPPED":
        return None
    end(made, trial, score)
    return trial.hyperparameters.values


def end(made, trial, score):
    values = trial.hyperparameters.values
    made.update_trial(trial.trial_id, {"val_accuracy": score(values)})
    trial.status = "COMPLETED"
    made.end_trial(trial)


def all_of(made, score=lambda values: 0.5):
    """All values that an oracle proposes."""
    found = []
    while (values := ask(made, score)) is not None:
        found.append(values)
    return found


def within(searched, **limits):
    return Limits(searched, costs(), limits)


class Subject:
    """What `searching.subjects` offers, of random pictures."""

    path = pathlib.Path("recipes/toy.py")
    points, named, epochs = 3, None, 3
    setting = OWN

    def __init__(self, refused=None):
        self.refused = refused
        self.network = network()
        random = np.random.default_rng(0)
        pixels = random.integers(0, 255, (52, 22, 22, 3)).astype("uint8")
        pictures = Listing(
            "toys",
            [str(i) for i in range(52)],
            np.arange(52) % 13,
            [f"toy {i}" for i in range(13)],
            splits={},
            contents=pixels,
        )
        self.pictures, self.held_out = pictures.hold_out(0.25, seed=0)

    def attended(self, attention):
        return keras_warn.augment(self.network, **attention)

    def training(self, setting, seed):
        if self.refused and self.refused(setting):
            raise ValueError("`width` is <too> wide.\nBy far.")
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        model = network()
        if setting.attention is not None:
            model = keras_warn.augment(model, **setting.attention)
        rate = keras.optimizers.schedules.CosineDecay(
            setting.learning_rate, 3 * self.epochs
        )
        model.compile(
            keras.optimizers.SGD(rate, momentum=0.9),
            "categorical_crossentropy",
            metrics=["accuracy"],
            # Quicker than to trace it, for so few pictures.
            run_eagerly=True,
        )
        return Training(
            model,
            TrainingBatches(self.pictures, views.Whole(), 13, seed),
            TestBatches(self.held_out, views.Whole(), 13),
            self.epochs,
            None,
        )

    def retrain(self, setting, seed, folder, verbose):
        of = self.training(setting, seed)
        training.fit(of.model, of.batches, of.epochs, folder, verbose=verbose)
        found = training.evaluate(of.model, of.validation)
        return {"validation": found, "test": found}

    def command(self, setting):
        return f"python recipes/toy.py --learning-rate {setting.learning_rate}"


def search(folder, subject, searched, kind="random", timed=False, **options):
    """A search of `Subject` in a folder, and what runs it."""
    costs = Costs(subject.network, subject.attended)
    if not timed:  # which takes longer than the training
        costs.with_latency = costs.of
    one = Search(
        subject=subject,
        space=searched,
        limits=Limits(searched, costs, {}),
        costs=costs,
        folder=folder,
        tuner=kind,
        objective="val_accuracy",
        executions=options.pop("executions", 1),
        max_trials=options.get("max_trials"),
        progress=Progress("val_accuracy", options.get("max_trials")),
        verbose=0,
    )

    def run(**identity):
        here = Office()
        with one.opened({"toy": True, **identity}, here, False):
            made = oracles.ORACLES[kind](
                accept=one.limits.accept,
                objective=objective(),
                hyperparameters=searched.hyperparameters(),
                **{"max_trials": 20, "seed": 1, **options},
            )
            Tuner(made, one, here).search()
            one.report()
            one.end(made)
            return one.records.read()

    return one, run
