"""The command that a recipe is: `python recipes/cub200.py`."""

import argparse
import dataclasses
import functools
import os
import pathlib
import shlex
import sys
import tempfile
import typing

import archives
import numpy as np
import pandas as pd

from keras_warn import checks
from keras_warn.data import images
from keras_warn.data import load_image_folder
from keras_warn.data import splits
from keras_warn.data import synthetic
from keras_warn.data import transforms
from keras_warn.training import backbones
from keras_warn.training import devices
from keras_warn.training import processes
from keras_warn.training import settings
from keras_warn.training.experiment import Experiment

OUTPUTS = """\
Writes a folder for each training to --out: results.json, history.csv,
model.keras (last epoch), best.keras (best epoch by validation), masks.png,
report.html, and tensorboard/. Stopped or killed, it resumes where it was: start
it again."""

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
FEW_CLASSES, FEW_IMAGES = 4, 8

# That Keras takes: 32 bits.
LARGEST_SEED = 2**32 - 1

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
        load: Function from a folder to an `ImageDataset`.
        settings: `Settings`.
        folder: What the folder of the data is, for people.
        tfds: What TensorFlow Datasets calls the data, if it has them.
        transforms: Function from settings to what the backbone sees of images,
            in training and in testing.
        cropped: Whether images are cut to their boxes.
    """

    name: str
    load: typing.Callable
    settings: settings.Settings
    folder: str
    tfds: str | None = None
    transforms: typing.Callable = crops
    cropped: bool = False

    def main(self, description, argv=None):
        """Runs the command. `description` is what `--help` shows first.

        It exits with 2 if arguments or data are wrong, with 1 if a training
        fails, and with 130 if it is stopped.
        """
        arguments = self._parser(description).parse_args(argv)
        try:
            with tempfile.TemporaryDirectory() as folder:
                results = self._run(arguments, folder)
        except FloatingPointError as error:
            self._exit(FAILED, error)
        except (ImportError, OSError, TypeError, ValueError) as error:
            self._exit(WRONG, error)
        except RuntimeError as error:
            if processes.count() == 1:
                raise
            # JAX's, where another process has ended.
            self._exit(FAILED, error)
        except KeyboardInterrupt as error:
            # Before the training began, it says nothing.
            said = f"stopped. {error}".rstrip(". ")
            self._exit(INTERRUPTED, f"{said}. The same command resumes.")
        print(_table(results))
        out = shlex.quote(str(self._out(arguments)))
        print(f"\nAll results: {out}. Curves: tensorboard --logdir {out}")

    def _exit(self, code, message):
        print(f"{self.name}: {message}", file=sys.stderr, flush=True)
        if processes.count() > 1:
            os._exit(code)  # JAX would wait for the other processes
        sys.exit(code)

    def _run(self, arguments, folder):
        if arguments.processes or arguments.process is not None:
            addresses = (arguments.processes or "").split(",")
            processes.initialize(addresses, arguments.process)
        s = self.settings_from(arguments)
        if arguments.baseline:
            if hasattr(arguments, "attention"):
                raise ValueError(
                    "`attention` must be omitted with `baseline`, which has "
                    f"none. Received: {dict(arguments.attention)}."
                )
            s = dataclasses.replace(s, attention=None)
        backbones.check_names(s.backbone, s.weights)
        seeds = [
            checks.integer("seeds", seed, 0, LARGEST_SEED)
            for seed in dict.fromkeys(arguments.seeds)
        ]
        strategy = devices.strategy(arguments.devices)
        devices.check_batch_size(
            s.batch_size, devices.replicas(strategy) * processes.devices()
        )
        data = self.data(arguments, folder)
        todo = [
            self.experiment(
                data, s, seed, fold, smoke=arguments.smoke, strategy=strategy
            )
            for fold in _folds(data, arguments)
            for seed in seeds
        ]
        todo[0].batches()  # which need images enough
        processes.check_same(
            "Data and settings", [one.identity() for one in todo]
        )
        other = "attention" if s.baseline else "baseline"
        results = []
        for i, one in enumerate(todo, start=1):
            path = self._path(one, arguments, one.variant)
            print(f"\n[{i}/{len(todo)}] {path}", flush=True)
            results.append(
                one.run(
                    path,
                    arguments.overwrite,
                    # A progress bar only on a terminal.
                    verbose=1 if sys.stdout.isatty() else 2,
                    other=self._path(one, arguments, other),
                )
            )
        return results

    def experiment(self, data, settings, seed=0, fold=None, **options):
        """One training, an `Experiment`, of data that `load` returned."""
        return Experiment(
            self.name,
            settings,
            splits.split(data, settings.validation_share, fold),
            self.transforms(settings),
            self.cropped and data.boxes is not None,
            seed,
            **options,
        )

    def read(self, folder=None):
        """The images in a folder, or else of TensorFlow Datasets."""
        if folder is not None:
            return self.load(folder)
        advice = f"`--data-dir` must name {self.folder}."
        if self.tfds is None:
            raise ValueError(advice)
        return archives.from_tfds(self.tfds, advice)

    def data(self, arguments, folder):
        """The images that arguments ask for: synthetic ones in `folder`."""
        if arguments.smoke and arguments.data_dir is None:
            # Data are called what their folder is: the same in each process.
            folder = pathlib.Path(folder, "synthetic")
            return load_image_folder(synthetic.write_image_folder(folder))
        data = self.read(arguments.data_dir)
        if arguments.smoke:
            data = few(data)
        print(f"Reading all images of {data.name} once.", flush=True)
        try:
            return splits.check_images(data, arguments.skip_bad_images)
        except images.ImageError as error:
            raise ValueError(
                f"{error}\n--skip-bad-images trains without them."
            ) from error

    def settings_from(self, arguments):
        """The `Settings` that arguments ask for."""
        own = self.settings
        if arguments.smoke:
            own = dataclasses.replace(own, **SMOKE)
        return settings.from_arguments(arguments, own)

    def add_arguments(self, parser):
        """Adds the options that say what to train on, how, and on what."""
        add = parser.add_argument
        flag = functools.partial(add, action="store_true")
        asked = "; without it, TensorFlow Datasets is asked" * bool(self.tfds)
        add("--data-dir", metavar="FOLDER", help=self.folder + asked)
        add(
            "--devices",
            nargs="+",
            metavar="DEVICE",
            help="such as GPU:0 GPU:1 (default: all GPUs)",
        )
        flag(
            "--skip-bad-images",
            help="train without images that cannot be read, and count them",
        )
        flag("--smoke", help="try everything on a few images, in a minute")
        settings.add_arguments(parser, self.settings)

    def _parser(self, description):
        parser = argparse.ArgumentParser(
            description=description,
            epilog=OUTPUTS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add = parser.add_argument
        flag = functools.partial(add, action="store_true")
        text = f"folder for all results (default: runs/{self.name})"
        add("--out", metavar="FOLDER", help=text)
        flag("--baseline", help="the same recipe without attention")
        add(
            "--seeds",
            nargs="+",
            type=int,
            default=[0],
            metavar="N",
            help="one training for each (default: 0)",
        )
        text = "of cross-validated data (default: all)"
        add("--folds", nargs="+", type=int, metavar="N", help=text)
        flag("--overwrite", help="throw away earlier runs of these seeds")
        add(
            "--processes",
            metavar="HOST:PORT,HOST:PORT",
            help="train on several machines, by the same command on each, "
            "with KERAS_BACKEND=jax and its own --process",
        )
        text = "which of --processes this one is, from 0"
        add("--process", type=int, metavar="N", help=text)
        self.add_arguments(parser)
        return parser

    def _out(self, arguments):
        smoke = "_smoke" * arguments.smoke
        return pathlib.Path(arguments.out or f"runs/{self.name}{smoke}")

    def _path(self, one, arguments, variant):
        path = self._out(arguments) / variant
        if one.splits.fold is not None:
            path /= f"fold_{one.splits.fold}"
        return path / f"seed_{one.seed}"


def few(data):
    """A few images of a data set, of each of its splits."""
    chosen = []
    for indices in data.splits.values():
        for label in range(min(FEW_CLASSES, len(data.names))):
            own = indices[data.labels[indices] == label]
            chosen.append(own[:FEW_IMAGES])
    return data.select(np.unique(np.concatenate(chosen)))


def _folds(data, arguments):
    """The folds to test, each once; `None` of data without."""
    names = [name for name in data.splits if name.startswith("fold_")]
    there = [int(name.removeprefix("fold_")) for name in names]
    if arguments.folds is None:
        return (there[:1] if arguments.smoke else there) or [None]
    if unknown := set(arguments.folds) - set(there):
        raise ValueError(
            f"`folds` must be among those of {data.name}, {there or 'none'}. "
            f"Received: {min(unknown)}."
        )
    return dict.fromkeys(arguments.folds)


def _table(results):
    """Test accuracies, a line a training, and what they are together."""
    lines, accuracies = [""], []
    for one in results:
        last, best = one["metrics"].values()
        accuracies.append(100 * last["test"]["accuracy"])
        fold = "" if one["fold"] is None else f"fold {one['fold']}, "
        line = (
            f"{one['arm']}, {fold}seed {one['seed']}: test accuracy "
            f"{_percent(last)} after epoch {last['epoch']}"
        )
        if best is not None:
            line += (
                f", {_percent(best)} after the best by validation, "
                f"{best['epoch']}"
            )
        lines.append(line)
    if len(results) > 1:
        folds = pd.Series(accuracies, [one["seed"] for one in results])
        seeds = folds.groupby(level=0).mean()
        found, of = (seeds, "seeds") if len(seeds) > 1 else (folds, "folds")
        lines.append(
            f"mean ± standard deviation over {len(found)} {of}, last epoch: "
            f"{found.mean():.1f} ± {found.std():.1f} %"
        )
    return "\n".join(lines)


def _percent(metrics):
    return f"{100 * metrics['test']['accuracy']:.1f} %"
