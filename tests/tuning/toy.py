"""A network that is quick to search, and a search of it without training."""

import keras
from searching import oracles
from searching.cost import Costs
from searching.limits import Limits
from searching.space import Setting
from searching.space import Space

import keras_warn

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
    import keras_tuner

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
