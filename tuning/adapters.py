"""Recipes as a search sees them: adapters of `Kit` and `Digits`.

Both have the recipe's own `setting`, its `backbone`, the number of attachment
`points` and their names (`named`, if the recipe names them), and `epochs`.
Of a setting and a seed, `training` returns the compiled model, its batches,
the validation batches and the patience, as `keras_warn.training.fit` takes
them; `retrain` does all that the recipe does, and returns accuracies.
"""

import argparse
import dataclasses
import importlib.util
import pathlib
import shlex
import sys

import keras
from space import Setting

import keras_warn
from keras_warn import attachment
from keras_warn.training import backbones
from keras_warn.training import devices
from keras_warn.training import runs

RECIPES = pathlib.Path(__file__).parents[1] / "recipes"


def names():
    """The names of the recipes that come along."""
    texts = {p.stem: p.read_text("utf-8") for p in RECIPES.glob("*.py")}
    found = [name for name, text in texts.items() if "\nRECIPE = " in text]
    return [*sorted(found), "cluttered_mnist"]


def load(name):
    """The adapter's class, the recipe and its path, of a name or a file."""
    path = RECIPES / f"{name}.py" if name in names() else pathlib.Path(name)
    if not (path.suffix == ".py" and path.is_file()):
        raise ValueError(
            f"RECIPE must be one of {', '.join(names())}, or the file of a "
            f"recipe. Received: {name!r}."
        )
    sys.path.insert(0, str(path.parent))  # as of `python FILE`
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if hasattr(getattr(module, "RECIPE", None), "experiment"):
        return Kit, module.RECIPE, path
    if path.resolve() == RECIPES / "cluttered_mnist.py":
        return Digits, module, path
    raise ValueError(
        "RECIPE must be a file with a `Recipe` called "
        f"RECIPE. Received: {str(path)!r}, which has none."
    )


def command(path, *words, setting):
    """The recipe's own command that trains with a setting."""
    file, here = path.resolve(), pathlib.Path.cwd()
    if file.is_relative_to(here):
        file = file.relative_to(here)
    changed = [
        f"{name}={value}" if isinstance(value, str) else f"{name}={value!r}"
        for name, value in setting.attention.items()
    ]
    words = [*words, *(["--attention", *changed] if changed else [])]
    rate = ["--learning-rate", repr(setting.learning_rate)]
    return shlex.join(["python", str(file), *words, *rate])


class Kit:
    """A `Recipe`; `folder` is for files that only it needs."""

    def __init__(self, recipe, arguments, folder):
        self.recipe, self.smoke = recipe, arguments.smoke
        self.settings = s = recipe.settings_from(arguments)
        if s.baseline:
            raise ValueError(
                "RECIPE must have attention to search. Received: "
                f"{recipe.name}, which has none."
            )
        backbones.check_names(s.backbone, s.weights)
        self.strategy = devices.strategy(arguments.devices)
        devices.check_batch_size(s.batch_size, devices.replicas(self.strategy))
        self.data = recipe.data(arguments, folder)
        folds = [n for n in self.data.splits if n.startswith("fold_")]
        self.fold = int(min(folds).removeprefix("fold_")) if folds else None
        self.setting = Setting(s.attention, s.learning_rate)
        self.epochs = s.epochs
        own = self._experiment(self.setting, 0)
        if own.splits.validation is None:
            raise ValueError(
                "`validation_share` must be positive for a search, which never "
                "looks at test images. Received: 0."
            )
        self.backbone = own.backbone()
        self.named = None
        if "attend_at" in s.attention:
            every = {n: v for n, v in s.attention.items() if n != "depth"}
            modules = keras_warn.summary(self.attended(every)).modules
            self.named = [module.reads for module in modules]
        points = self.named or attachment.attachment_points(self.backbone)
        self.points = len(points)

    @staticmethod
    def add_arguments(recipe, parser):
        recipe.add_arguments(parser)

    def words(self, given):
        """What the recipe's command needs beside what the search was given."""
        fold = [] if self.fold is None else ["--folds", str(self.fold)]
        return [*given, *fold]

    def identity(self):
        """What searches in the same folder must agree on, for JSON."""
        found = self._experiment(self.setting, 0).identity()
        del found["seed"]
        return found

    def attended(self, attention):
        """The backbone with attention, not compiled."""
        # Of a copy: layers keep what was built on them.
        backbone = keras.models.clone_model(self.backbone)
        return keras_warn.augment(backbone, **attention)

    def training(self, setting, seed):
        one = self._experiment(setting, seed)
        policy = keras.config.dtype_policy()
        try:
            model = one.build()
        finally:
            keras.config.set_dtype_policy(policy)
        validation = one.test_batches(one.splits.validation)
        return model, one.batches(), validation, self.settings.patience

    def retrain(self, setting, seed, folder, verbose):
        one = self._experiment(setting, seed)
        last = one.run(folder, verbose=verbose)["metrics"]["last_epoch"]
        return {n: last[n]["accuracy"] for n in ("validation", "test")}

    def _experiment(self, setting, seed):
        return self.recipe.experiment(
            self.data,
            dataclasses.replace(self.settings, **vars(setting)),
            seed,
            self.fold,
            smoke=self.smoke,
            strategy=self.strategy,
        )


class Digits:
    """The recipe of digits in clutter, a module with a backbone of its own."""

    def __init__(self, recipe, arguments, folder):
        self.recipe = recipe
        self.s = s = recipe.settings_from(arguments)
        self.digits = recipe.load_digits(s.source)
        self.strategy = devices.strategy(arguments.devices)
        devices.check_batch_size(recipe.BATCH, devices.replicas(self.strategy))
        self.validation = recipe.validation_data(self.digits, s)
        self.setting = Setting(s.attention, s.learning_rate)
        self.epochs = s.epochs
        self.backbone = recipe.build("baseline", s)
        recipe.build("attention", s)  # or says what is wrong
        named = s.attention.get("attend_at", recipe.ATTEND_AT)
        self.named = [named] if isinstance(named, str) else list(named)
        self.points = len(self.named)

    @staticmethod
    def add_arguments(recipe, parser):
        recipe.add_arguments(parser)
        _add_devices(parser)

    def words(self, given):
        parser = argparse.ArgumentParser(allow_abbrev=False)
        _add_devices(parser)
        return parser.parse_known_args(given)[1]

    def identity(self):
        settings = dataclasses.asdict(self.s)
        del settings["seeds"], settings["ablate"]
        return {
            "recipe": "cluttered_mnist",
            **settings,
            "backend": keras.backend.backend(),
            "keras_warn": keras_warn.__version__,
        }

    def attended(self, attention):
        s = dataclasses.replace(self.s, attention=attention)
        return self.recipe.build("attention", s)

    def training(self, setting, seed):
        s, variant = self._set(setting)
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        with devices.scope(self.strategy):
            model = self.recipe.compiled(self.recipe.build(variant, s), s)
        batches = self.recipe.training_data(seed, self.digits, s)
        return model, batches, self.validation, None

    def retrain(self, setting, seed, folder, verbose):
        recipe, d = self.recipe, self.s.distractors
        s, variant = self._set(
            setting, test_distractors=(d,), pointing_distractors=()
        )
        test = {d: recipe.test_canvases(d, self.digits, s)}
        run = runs.RunFolder(folder, {"seed": seed})
        found = recipe.variant_and_seed(
            variant, seed, self.digits, test, s, run
        )
        return {
            "validation": found["validation_accuracy"][-1],
            "test": found["accuracy"][d],
        }

    def _set(self, setting, **changes):
        """The recipe's settings with others, and the variant that they make."""
        changes["learning_rate"] = setting.learning_rate
        if setting.attention is None:
            return dataclasses.replace(self.s, **changes), "baseline"
        changes["attention"] = setting.attention
        return dataclasses.replace(self.s, **changes), "attention"


def _add_devices(parser):
    parser.add_argument(
        "--devices",
        nargs="+",
        metavar="DEVICE",
        help="such as GPU:0 GPU:1 (default: all GPUs)",
    )
