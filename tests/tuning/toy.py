"""A recipe that is quick to search, with and without training."""

import keras
import keras_tuner
import numpy as np
import tuner
from costs import Costs
from space import Setting
from space import Space

import keras_warn
from keras_warn import training
from keras_warn.data import ArrayBatches

OWN = Setting({"preset": "paper", "depth": 1, "width": 4}, 0.01)


def backbone():
    """Attachment points at 11x11, 6x6 and 3x3."""
    x = inputs = keras.Input((22, 22, 3))
    for i, filters in enumerate((5, 7, 11), start=1):
        x = keras.layers.Conv2D(filters, 3, 2, padding="same")(x)
        x = keras.layers.ReLU(name=f"relu{i}")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(13, "softmax")(x))


BACKBONE = backbone()
KNOWN = {}


def attended(attention):
    """The backbone with attention, built once for all tests."""
    key = repr(attention)
    if key not in KNOWN:
        KNOWN[key] = keras_warn.augment(BACKBONE, **attention)
    return KNOWN[key]


def space(**chosen):
    return Space(OWN, 3, None, chosen or None)


def costs(searched, **limits):
    return Costs(BACKBONE, attended, searched, limits)


def oracle(kind, folder, searched, accept=None, **options):
    """An oracle of a space, with its state in a folder."""
    made = tuner.ORACLES[kind](
        accept=accept or searched.fits,
        folder=folder / "tuner",
        objective=keras_tuner.Objective("val_accuracy", "max"),
        hyperparameters=searched.hyperparameters(),
        **{"max_trials": 20, "seed": 1, **options},
    )
    made.verbose = 0
    made._set_project_dir(str(folder), "tuner")
    return made


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


class Data:
    """Images in one batch, as `keras_warn.training.fit` takes them."""

    def __init__(self, images, labels):
        self.batch = images, labels

    def __len__(self):
        return 1

    def dataset(self, epoch=0, step=0):
        while True:
            yield self.batch


class Adapter:
    """As those of `adapters`, of random images."""

    setting, points, named, epochs = OWN, 3, None, 3

    def __init__(self, recipe=None, arguments=None, folder=None):
        random = np.random.default_rng(0)
        self.images = random.random((26, 22, 22, 3), "float32")
        self.labels = np.arange(26) % 13
        self.backbone = BACKBONE

    @staticmethod
    def add_arguments(recipe, parser):
        parser.add_argument("--smoke", action="store_true")

    @staticmethod
    def parse(recipe, parser, argv):
        return parser.parse_args(argv)

    def words(self, given):
        return given

    def identity(self):
        return {"toy": {"images": len(self.images), "parts": [13, 13]}}

    attended = staticmethod(attended)

    def training(self, setting, seed):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(seed)
        model = backbone()
        if setting.attention is not None:
            model = keras_warn.augment(model, **setting.attention)
        model.compile(
            keras.optimizers.SGD(setting.learning_rate, momentum=0.9),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            run_eagerly=True,  # quicker than to trace it, for so few images
        )
        held_out = ArrayBatches(self.images[13:], self.labels[13:], 13)
        data = Data(self.images[:13], self.labels[:13])
        return model, data, held_out, None

    def retrain(self, setting, seed, folder, verbose):
        model, batches, validation, _ = self.training(setting, seed)
        training.fit(model, batches, self.epochs, folder, verbose=0)
        accuracy = training.evaluate(model, validation)["accuracy"]
        return {"validation": accuracy, "test": accuracy}
