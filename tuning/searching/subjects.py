"""What is searched: a recipe, with its data and settings."""

import argparse
import dataclasses
import importlib.util
import pathlib
import shlex
import shutil
import typing

import keras

import keras_warn
from keras_warn import attachment
from keras_warn import files
from keras_warn import graph
from keras_warn import metadata
from keras_warn import training
from keras_warn.datasets import ArrayBatches
from keras_warn.training import devices
from keras_warn.training import networks
from searching.space import Setting

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"
# Folder of what is only needed while a model trains.
STATE = "training"


class Training(typing.NamedTuple):
    """All that `keras_warn.training.fit` needs.

    Attributes:
        model: A compiled model, not trained yet.
        batches: What it trains on.
        validation: What it is judged by: held out of the training pictures.
        epochs: How many it trains for.
        patience: As of `fit`.
    """

    model: keras.Model
    batches: object
    validation: object
    epochs: int
    patience: int | None


def names():
    """The names of the recipes that come along."""
    return [path.stem for path in sorted(RECIPES.glob("*.py"))]


def load(name):
    """What a recipe offers to a search.

    Args:
        name: Name of a recipe, or path of its file.

    Returns:
        A class of this module and the recipe, its first argument.

    Raises:
        ValueError: if there is no such recipe, or none that can be searched.
    """
    there = {name: RECIPES / f"{name}.py" for name in names()}
    path = there.get(name, pathlib.Path(name))
    if not (path.suffix == ".py" and path.is_file()):
        raise ValueError(
            f"RECIPE must be one of {', '.join(there)}, or the file of a "
            f"recipe. Received: {name!r}."
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if isinstance(getattr(module, "RECIPE", None), training.Recipe):
        return KitRecipe, module.RECIPE, path
    if path.resolve() == there["cluttered_mnist"]:
        return Digits, module, path
    raise ValueError(
        "RECIPE must be a file with a `keras_warn.training.Recipe` called "
        f"RECIPE. Received: {str(path)!r}, which has none."
    )


class KitRecipe:
    """A recipe of the training kit.

    Args:
        recipe: `keras_warn.training.Recipe`.
        path: Its file.
        arguments: What a parser with `add_arguments` made of a command line.
        folder: For files that are only needed while this lives.

    Attributes:
        setting: `Setting`, the recipe's own.
        network: The network without attention.
        points: How many attachment points it has.
        named: Their names, if the recipe names them, or `None`.
        epochs: How long a trial trains at most.
    """

    def __init__(self, recipe, path, arguments, folder):
        self.recipe = recipe
        self.path = path
        self.given = vars(arguments)
        self.smoke = arguments.smoke
        self.settings = recipe.settings_from(arguments)
        if self.settings.baseline:
            raise ValueError(
                "RECIPE must have attention to search. Received: "
                f"{recipe.name}, which has none."
            )
        networks.check_names(self.settings.backbone, self.settings.weights)
        self.strategy = devices.strategy(arguments.devices)
        devices.check_batch_size(
            self.settings.batch_size, devices.replicas(self.strategy)
        )
        self.listing = recipe.listing(arguments, folder)
        self.fold = None
        if folds := [n for n in self.listing.splits if n.startswith("fold_")]:
            self.fold = int(min(folds).removeprefix("fold_"))
        self.setting = Setting(
            self.settings.attention, self.settings.learning_rate
        )
        self.epochs = self.settings.epochs
        own = self._experiment(self.setting, 0)
        if own.parts.validation is None:
            raise ValueError(
                "`validation_share` must be positive for a search, which never "
                "looks at test pictures. Received: 0."
            )
        self.network = own.network()
        self.named = None
        if "attend_at" in self.settings.attention:
            maps = attachment.resolve(
                self.network, self.settings.attention["attend_at"]
            )
            self.named = [graph.producer_name(tensor) for tensor in maps]
        else:
            maps = attachment.attachment_points(self.network)
        self.points = len(maps)

    @staticmethod
    def add_arguments(recipe, parser):
        """Adds the recipe's options to a parser."""
        recipe.add_arguments(parser)

    @staticmethod
    def parse(recipe, parser, argv):
        return parser.parse_args(argv)

    def identity(self):
        """What searches in the same folder must agree on, for JSON."""
        found = self._experiment(self.setting, 0).identity()
        del found["seed"]
        return found

    def attended(self, attention):
        """The network with attention, on one device, not compiled."""
        # Of a copy: layers keep what was built on them.
        network = keras.models.clone_model(self.network)
        return keras_warn.augment(network, **attention)

    def training(self, setting, seed):
        """The `Training` of a setting."""
        one = self._experiment(setting, seed)
        policy = keras.config.dtype_policy()
        try:
            model = one.build()
        finally:
            keras.config.set_dtype_policy(policy)
        return Training(
            model,
            one.batches(),
            one.test_batches(one.parts.validation),
            self.epochs,
            self.settings.patience,
        )

    def retrain(self, setting, seed, folder, verbose):
        """Trains from scratch, as the recipe does, and tests.

        Args:
            setting: `Setting`.
            seed: Non-negative integer.
            folder: For all that the recipe writes.
            verbose: As of `model.fit`.

        Returns:
            A dictionary with `validation` and `test`, dictionaries with
            `accuracy` and `loss` after the last epoch.
        """
        one = self._experiment(setting, seed)
        last = one.run(folder, verbose=verbose)["metrics"]["last_epoch"]
        return {name: last[name] for name in ("validation", "test")}

    def command(self, setting):
        """The recipe's own command that trains with a setting."""
        given = []
        for name in ("data_dir", "devices", "skip_bad_images", "smoke"):
            given += _option(name, self.given[name])
        if self.fold is not None:
            given += ["--folds", str(self.fold)]
        own = {f.name for f in dataclasses.fields(self.settings)}
        for name, value in self.given.items():
            if name in own - {"attention", "learning_rate"}:
                given += _option(name, value)
        # What the command line of the recipe would start from.
        base = self.recipe.settings
        return _command(self.path, given, setting, base)

    def _experiment(self, setting, seed):
        s = dataclasses.replace(
            self.settings,
            attention=setting.attention,
            learning_rate=setting.learning_rate,
        )
        return self.recipe.experiment(
            self.listing,
            s,
            seed,
            self.fold,
            smoke=self.smoke,
            strategy=self.strategy,
        )


class Digits:
    """The recipe of digits in clutter, which has a network of its own.

    Args, attributes and methods as of `KitRecipe`.
    """

    def __init__(self, recipe, path, arguments, folder):
        self.recipe = recipe
        self.path = path
        self.s = arguments
        self.digits = recipe.load_digits(arguments.source)
        self.strategy = devices.strategy(arguments.devices)
        devices.check_batch_size(
            arguments.batch_size, devices.replicas(self.strategy)
        )
        self.validation = recipe.validation_data(self.digits, arguments)
        self.setting = Setting(arguments.attention, arguments.learning_rate)
        self.epochs = arguments.epochs
        self.network = recipe.build("baseline", arguments)
        recipe.check_attention(arguments.attention)
        self.named = arguments.attention.get("attend_at", recipe.ATTEND_AT)
        if isinstance(self.named, str):
            self.named = [self.named]
        self.points = len(self.named)

    @staticmethod
    def add_arguments(recipe, parser):
        recipe.add_settings(parser)
        parser.add_argument(
            "--devices",
            nargs="+",
            metavar="DEVICE",
            help="such as GPU:0 GPU:1 (default: all GPUs)",
        )

    @staticmethod
    def parse(recipe, parser, argv):
        return recipe.parse(parser, argv)

    def identity(self):
        return {
            "recipe": "cluttered_mnist",
            **{
                name: getattr(self.s, name)
                for name in (*self.recipe.SETTINGS, "smoke")
                if name != "seeds"
            },
            "backend": keras.backend.backend(),
            "keras_warn": keras_warn.__version__,
        }

    def attended(self, attention):
        return self.recipe.build("attention", self._with(attention=attention))

    def training(self, setting, seed):
        s = self._with(**dataclasses.asdict(setting))
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        arm = "baseline" if setting.attention is None else "attention"
        with devices.scope(self.strategy):
            model = self.recipe.compiled(self.recipe.build(arm, s), s)
        return Training(
            model,
            self.recipe.training_data(seed, self.digits, s),
            self.validation,
            self.epochs,
            None,
        )

    def retrain(self, setting, seed, folder, verbose):
        of = self.training(setting, seed)
        folder = pathlib.Path(folder)
        trained = training.fit(
            of.model,
            of.batches,
            of.epochs,
            folder / STATE,
            of.validation,
            verbose=verbose,
        )
        test = self.recipe.test_canvases(
            self.s.distractors, self.digits, self.s
        )
        test = ArrayBatches(test.images, test.labels, self.recipe.CLASSES)
        found = {
            "validation": training.evaluate(of.model, of.validation),
            "test": training.evaluate(of.model, test),
        }
        if setting.attention is not None:
            s = self._with(**dataclasses.asdict(setting))
            accuracy = {s.distractors: found["test"]["accuracy"]}
            metadata.attach(
                of.model,
                self.recipe.described("attention", seed, trained, accuracy, s),
            )
        with files.replacing(folder / "model.keras") as path:
            of.model.save(path)
        shutil.rmtree(folder / STATE)
        return found

    def command(self, setting):
        given = []
        smoke = self.recipe.SMOKE if self.s.smoke else {}
        defaults = {**self.recipe.SETTINGS, "smoke": False, **smoke}
        for name in ("attention", "learning_rate", "seeds"):
            del defaults[name]
        for name, default in defaults.items():
            value = getattr(self.s, name)
            if value != default:
                given += _option(name, value)
        base = argparse.Namespace(**self.recipe.SETTINGS)
        return _command(self.path, given, setting, base)

    def _with(self, **changes):
        return argparse.Namespace(**{**vars(self.s), **changes})


def _option(name, value):
    """The words of a command line for an option."""
    option = "--" + name.replace("_", "-")
    if value is None and name == "patience":
        return [option, "none"]
    if value is None or value is False and name in ("smoke", "skip_bad_images"):
        return []
    if value is True:
        return [option]
    if value is False:
        return [f"--no-{name.replace('_', '-')}"]
    values = value if isinstance(value, (list, tuple)) else [value]
    return [option, *map(str, values)]


def _command(path, given, setting, base):
    """A command that trains with a setting.

    Args:
        path: The recipe's file.
        given: Words of other options.
        setting: `Setting`.
        base: What the recipe starts from: its `attention` and `learning_rate`.
    """
    file = path.resolve()
    here = pathlib.Path.cwd()
    if file.is_relative_to(here):
        file = file.relative_to(here)
    words = ["python", str(file), *given]
    changed = [
        f"{name}={value!r}" if not isinstance(value, str) else f"{name}={value}"
        for name, value in setting.attention.items()
        if name not in base.attention or base.attention[name] != value
    ]
    if changed:
        words += ["--attention", *changed]
    if setting.learning_rate != base.learning_rate:
        words += ["--learning-rate", repr(setting.learning_rate)]
    return shlex.join(words)
