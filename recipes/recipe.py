"""The command that a recipe is: `python recipes/cub200.py`."""

import argparse
import dataclasses
import math
import pathlib
import shlex
import sys
import tempfile
import typing

import keras
import numpy as np

from keras_warn.augment import augment
from keras_warn.data import images
from keras_warn.data import load_image_folder
from keras_warn.data import synthetic
from keras_warn.data import transforms
from keras_warn.training import backbones
from keras_warn.training import devices
from keras_warn.training import experiment
from keras_warn.training import settings
from keras_warn.training import workers

# What `--smoke` changes: a whole run, in seconds.
SMOKE = {
    "backbone": "paper_networks:WideResNet(depth=10, width=1)",
    "weights": "none",
    "image_size": 32,
    "resize_shorter_edge": 36,
    "epochs": 2,
    "batch_size": 8,
    "warmup": 0.0,
    "patience": None,
    "freeze_batch_norm": False,
}
# How many classes and images of each a smoke run takes of real data.
FEW_CLASSES, FEW_PICTURES = 4, 8

# Thrice the largest of keras.applications.
MOST_PARAMETERS = 10**9

# Exit codes, as the shell and argparse know them.
FAILED, WRONG, INTERRUPTED = 1, 2, 130


def crops(s):
    """Random crops, mirrored, to train; the middle, to test (section 4.4)."""
    return (
        transforms.RandomCrop(s.image_size, s.resize_shorter_edge),
        transforms.CenterCrop(s.image_size, s.resize_shorter_edge),
    )


def shifts(s):
    """Small images moved by 4 pixels to train; as they are, to test."""
    return transforms.PadAndCrop(4), transforms.Identity()


@dataclasses.dataclass(frozen=True)
class Recipe:
    """An experiment: data, settings, and a command to run it.

    Attributes:
        name: String, a word.
        load: Function from a folder, or `None` for TensorFlow Datasets, to a
            `ImageDataset`.
        settings: `Settings`.
        folder: What the folder of the data is, for `--help`.
        transforms: Function from settings to what a network sees of images, in
            training and in testing.
        cropped: Whether images are cut to their boxes.
        smoke: What `--smoke` changes in the settings.
    """

    name: str
    load: typing.Callable
    settings: settings.Settings
    folder: str
    transforms: typing.Callable = crops
    cropped: bool = False
    smoke: dict = dataclasses.field(default_factory=lambda: dict(SMOKE))

    def main(self, description, argv=None):
        """Runs the command.

        Args:
            description: What `--help` shows first: the recipe's docstring.
            argv: List of strings. Defaults to the arguments of the process.

        Raises:
            SystemExit: if arguments or data are wrong (2), the training fails
                (1), or it is stopped (130).
        """
        parser = self._parser(description)
        arguments = parser.parse_args(argv)
        try:
            with tempfile.TemporaryDirectory() as folder:
                results = self._run(arguments, folder)
        except (ImportError, TypeError, ValueError) as error:
            parser.exit(WRONG, f"{self.name}: {error}\n")
        except (FloatingPointError, OSError) as error:
            code = FAILED if isinstance(error, FloatingPointError) else WRONG
            parser.exit(code, f"{self.name}: {error}\n")
        except KeyboardInterrupt as error:
            # Before the training began, it says nothing.
            words = [
                "stopped",
                str(error).rstrip("."),
                "The same command goes on",
            ]
            parser.exit(
                INTERRUPTED,
                f"\n{self.name}: {'. '.join(filter(None, words))}.\n",
            )
        print(self._table(results, arguments))
        out = shlex.quote(str(self._out(arguments)))
        print(f"\nAll results: {out}. Curves: tensorboard --logdir {out}")

    def experiment(self, listing, settings=None, seed=0, fold=None, **options):
        """One training of this recipe.

        Args:
            listing: An `ImageDataset` that `load` returned.
            settings: `Settings`. Defaults to those of the recipe.
            seed: Non-negative integer.
            fold: Integer, which fold to test, of data with folds.
            **options: Further arguments of `Experiment`.

        Returns:
            An `Experiment`.
        """
        settings = settings or self.settings
        return experiment.Experiment(
            self.name,
            settings,
            experiment.part(listing, settings.validation_share, fold),
            self.transforms(settings),
            self.cropped and listing.boxes is not None,
            seed,
            **options,
        )

    def listing(self, arguments, folder):
        """The images that arguments ask for, all of them readable.

        Args:
            arguments: What a parser made of `add_arguments` returns.
            folder: Where made-up images are written to, if those are meant.

        Returns:
            An `ImageDataset`.
        """
        if arguments.smoke and arguments.data_dir is None:
            # Data are called what their folder is: the same in each process.
            folder = pathlib.Path(folder, "synthetic")
            return load_image_folder(synthetic.write_image_folder(folder))
        listing = self.load(arguments.data_dir)
        if arguments.smoke:
            listing = few(listing)
        print(f"Reading all images of {listing.name} once.", flush=True)
        try:
            return experiment.check_images(listing, arguments.skip_bad_images)
        except images.ImageError as error:
            raise ValueError(
                f"{error}\n--skip-bad-images trains without them."
            ) from error

    def settings_from(self, arguments):
        """The `Settings` that arguments ask for.

        Args:
            arguments: What a parser made of `add_arguments` returns.
        """
        own = self.settings
        if arguments.smoke:
            own = dataclasses.replace(own, **self.smoke)
        return settings.from_arguments(arguments, own)

    def add_arguments(self, parser):
        """Adds the options that say what to train on, how, and on what.

        Args:
            parser: `argparse.ArgumentParser`.
        """
        add = parser.add_argument
        add(
            "--data-dir",
            metavar="FOLDER",
            help=self.folder,
        )
        add(
            "--devices",
            nargs="+",
            metavar="DEVICE",
            help="such as GPU:0 GPU:1 (default: all GPUs)",
        )
        add(
            "--skip-bad-images",
            action="store_true",
            help="go on without images that cannot be read, and count them",
        )
        add(
            "--smoke",
            action="store_true",
            help="try everything on a few images, in a minute",
        )
        settings.add_arguments(parser, self.settings)

    def _run(self, arguments, folder):
        s = self.settings_from(arguments)
        if arguments.baseline:
            if hasattr(arguments, "attention"):
                raise ValueError(
                    "`attention` must be left out with `baseline`, which has "
                    f"none. Received: {dict(arguments.attention)}."
                )
            s = dataclasses.replace(s, attention=None)
        if arguments.devices and arguments.workers:
            raise ValueError(
                "`devices` must be left out with `workers`, who use all that "
                f"their machines have. Received: {arguments.devices}."
            )
        backbones.check_names(s.backbone, s.weights)
        group = workers.from_arguments(arguments)
        with group.watched():
            with group.together():
                todo = self._todo(arguments, s, folder, group)
            group.check_same(
                "Data and settings", [one.identity() for one in todo]
            )
            return [
                self._run_one(one, f"{i}/{len(todo)}", arguments, folder)
                for i, one in enumerate(todo, start=1)
            ]

    def _todo(self, arguments, s, folder, group):
        """The experiments that arguments ask for."""
        strategy = None
        if group.number == 1:
            strategy = devices.strategy(arguments.devices)
        devices.check_batch_size(
            s.batch_size, devices.replicas(strategy) * group.devices
        )
        listing = self.listing(arguments, folder)
        folds = self._folds(listing, arguments)
        todo = [
            self.experiment(
                listing,
                s,
                seed,
                fold,
                smoke=arguments.smoke,
                strategy=strategy,
                workers=group,
            )
            for fold in dict.fromkeys(folds)
            for seed in dict.fromkeys(arguments.seeds)
        ]
        todo[0].batches()  # which need images enough
        check_size(lambda: _without_values(todo[0]))
        return todo

    def _run_one(self, one, number, arguments, folder):
        path = self._path(one, arguments)
        if not one.workers.first:
            print(f"\n[{number}] for worker 0", flush=True)
            with tempfile.TemporaryDirectory(dir=folder) as own:
                return one.run(pathlib.Path(own, "run"), False, 0)
        print(f"\n[{number}] {path}", flush=True)
        other = "attention" if one.settings.baseline else "baseline"
        return one.run(
            path,
            arguments.overwrite,
            _verbose(arguments),
            other=self._path(one, arguments, other),
        )

    def _folds(self, listing, arguments):
        there = [
            int(name.removeprefix("fold_"))
            for name in listing.splits
            if name.startswith("fold_")
        ]
        if not there:
            if arguments.folds is not None:
                raise ValueError(
                    f"`folds` must be left out for {listing.name}, which has "
                    f"none. Received: {arguments.folds}."
                )
            return [None]
        if arguments.folds is None:
            return there[:1] if arguments.smoke else there
        if unknown := set(arguments.folds) - set(there):
            raise ValueError(
                f"`folds` must be among {there}. Received: {min(unknown)}."
            )
        return arguments.folds

    def _out(self, arguments):
        smoke = "_smoke" * arguments.smoke
        return pathlib.Path(arguments.out or f"runs/{self.name}{smoke}")

    def _path(self, one, arguments, arm=None):
        path = self._out(arguments) / (arm or one.arm)
        if one.parts.fold is not None:
            path /= f"fold_{one.parts.fold}"
        return path / f"seed_{one.seed}"

    def _table(self, results, arguments):
        lines = [""]
        for one in results:
            last = one["metrics"]["last_epoch"]
            fold = "" if one["fold"] is None else f"fold {one['fold']}, "
            lines.append(
                f"{one['arm']}, {fold}seed {one['seed']}: test accuracy "
                f"{100 * last['test']['accuracy']:.1f} % after epoch "
                f"{last['epoch']}"
            )
            best = one["metrics"]["best_by_validation"]
            if best is not None:
                lines[-1] += (
                    f", {100 * best['test']['accuracy']:.1f} % after the best "
                    f"by validation, {best['epoch']}"
                )
        if len(results) > 1:
            found, of = experiment.spread(results)
            lines.append(
                f"mean ± standard deviation over {len(found['values'])} {of}, "
                f"last epoch: {100 * found['mean']:.1f} ± "
                f"{100 * found['std']:.1f} %"
            )
        return "\n".join(lines)

    def _parser(self, description):
        parser = argparse.ArgumentParser(
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add = parser.add_argument
        add(
            "--out",
            metavar="FOLDER",
            help=f"folder for all results (default: runs/{self.name})",
        )
        add(
            "--baseline",
            action="store_true",
            help="the same recipe without attention",
        )
        add(
            "--seeds",
            nargs="+",
            type=_seed,
            default=[0],
            metavar="N",
            help="one training for each (default: 0)",
        )
        add(
            "--folds",
            nargs="+",
            type=int,
            metavar="N",
            help="of cross-validated data (default: all)",
        )
        add(
            "--overwrite",
            action="store_true",
            help="throw away earlier runs of these seeds in --out",
        )
        workers.add_arguments(parser)
        self.add_arguments(parser)
        return parser


def few(listing):
    """A few images of a data set, of each of its splits."""
    chosen = []
    for indices in listing.splits.values():
        for label in range(min(FEW_CLASSES, len(listing.names))):
            own = indices[listing.labels[indices] == label]
            chosen.append(own[:FEW_PICTURES])
    return listing.take(np.unique(np.concatenate(chosen)))


def _verbose(arguments):
    # A progress bar is for eyes; a log gets a line an epoch.
    return 1 if sys.stdout.isatty() else 2


def _without_values(one):
    """The model of an experiment, but for its weights."""
    s = dataclasses.replace(one.settings, weights="none")
    network = dataclasses.replace(one, settings=s).network()
    return network if s.baseline else augment(network, **s.attention)


def check_size(build):
    """Raises unless a model can be built and is not huge, before it is.

    Its variables get no values, so this takes seconds and little memory: it
    is better known before a run is overwritten.

    Args:
        build: Function that builds the model.

    Raises:
        ValueError: if the model has more than `MOST_PARAMETERS`.
        As `build`.
    """
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = build()
    except RecursionError as error:
        raise ValueError(
            "`backbone` must have fewer layers: Keras cannot build so many."
        ) from error
    finally:
        # Or the next scope would give values to the variables.
        keras.utils.clear_session(free_memory=False)
    parameters = sum(math.prod(variable.shape) for variable in model.weights)
    if parameters > MOST_PARAMETERS:
        raise ValueError(
            "`backbone` and `attention` must make a model of at most "
            f"{MOST_PARAMETERS:,} parameters. Received: such of "
            f"{parameters:,}."
        )


def _seed(text):
    # NumPy takes no larger ones.
    plain = text.isascii() and text.isdecimal() and len(text) <= 10
    if not plain or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(
            "must be a non-negative integer of at most 32 bits. Received: "
            f"{text:.40}."
        )
    return int(text)
