"""One training of a recipe: from images to a folder of results."""

import collections
import contextlib
import dataclasses
import hashlib
import json
import pathlib
import re
import shutil
import sys
import unicodedata

import keras
import numpy as np

from keras_warn import callbacks
from keras_warn import checks
from keras_warn import files
from keras_warn import graph
from keras_warn import metadata
from keras_warn import optimizers
from keras_warn import schedules
from keras_warn._classifier import find_ending
from keras_warn.augment import augment
from keras_warn.data.batches import Mix
from keras_warn.data.batches import TestBatches
from keras_warn.data.batches import TrainingBatches
from keras_warn.data.image_dataset import contents_digest
from keras_warn.data.transforms import CenterCrop
from keras_warn.explanation import decomposition
from keras_warn.frozen import split
from keras_warn.metadata import Metadata
from keras_warn.reporting import figures
from keras_warn.reporting.report import report
from keras_warn.training import devices
from keras_warn.training import fitting
from keras_warn.training import runs
from keras_warn.training.backbones import build_network
from keras_warn.training.evaluation import evaluate
from keras_warn.training.feature_cache import FeatureCache
from keras_warn.training.tensorboard import TensorBoardHistory
from keras_warn.training.workers import ALONE

# Tells our `results.json` from those of others, and their version.
RESULTS_MARKER = {"keras_warn_results": 1}

# Parts of data are the same for every seed of a training.
SPLIT_SEED = 0
# Of data that come without test images.
TEST_SHARE = 0.2

# Images of the figure of masks.
SHOWN = 6


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of a data set that one training uses.

    Attributes:
        training: `ImageDataset`.
        validation: `ImageDataset`, or `None`.
        test: `ImageDataset`.
        fold: Which of the data's folds is tested, or `None`.
        contents: String that tells apart what the images of the whole data
            set are, `contents_digest`, or "" where nobody asked.
    """

    training: object
    validation: object
    test: object
    fold: int | None = None
    contents: str = ""

    def summary(self):
        """What results say of the data; a dictionary for JSON."""
        count = {
            name: 0 if part is None else len(part)
            for name, part in self._named()
        }
        return {
            "name": self.training.name,
            "classes": len(self.training.names),
            **count,
            "skipped": self.training.skipped,
            "digest": self._digest(),
        }

    def _named(self):
        return [
            (name, getattr(self, name))
            for name in ("training", "validation", "test")
        ]

    def _digest(self):
        """Tells data apart, wherever they lie: by contents and parts."""
        digest = hashlib.sha256(self.contents.encode())
        digest.update(_normalised(repr(self.training.names)))
        for name, part in self._named():
            digest.update(name.encode())
            if part is not None:
                pairs = zip(part.paths, part.labels.tolist(), strict=True)
                for path, label in pairs:
                    digest.update(_normalised(f"{label}/{path.name}\n"))
        return digest.hexdigest()[:16]


def _normalised(text):
    """Bytes of a text, the same for names from any system."""
    return unicodedata.normalize("NFC", text).encode(errors="replace")


def part(listing, validation_share, fold=None):
    """Parts a data set as it was published, and holds out images.

    Args:
        listing: An `ImageDataset`, with folds, with the splits "train" and
            "test", or with "train" alone, of which a fifth is then held out to
            test.
        validation_share: Number from 0, less than 1: the part of the training
            images to validate with, where there is no such split.
        fold: Integer, which fold to test, of data with folds.

    Returns:
        `Parts`. They are the same on every machine.

    Raises:
        ValueError: if there is no such fold, or a part would be empty.
    """
    folds = [name for name in listing.splits if name.startswith("fold_")]
    if folds:
        test = f"fold_{checks.integer('fold', fold, 0)}"
        checks.one_of("fold", test, folds)
        training = listing.split(*(name for name in folds if name != test))
        test = listing.split(test)
    else:
        training = listing.split("train")
        if "test" in listing.splits:
            test = listing.split("test")
        else:
            training, test = training.hold_out(TEST_SHARE, SPLIT_SEED)
    validation = None
    if "validation" in listing.splits:
        validation = listing.split("validation")
    elif validation_share:
        training, validation = training.hold_out(validation_share, SPLIT_SEED)
    return Parts(training, validation, test, fold, contents_digest(listing))


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A training: all that its results depend on, and where it runs.

    Attributes:
        recipe: Name of the recipe.
        settings: `Settings`.
        parts: `Parts` of the data.
        transforms: What the network sees of an image in training, and in
            testing.
        cropped: Whether images are cut to their boxes.
        seed: Non-negative integer.
        smoke: Whether this only tries whether everything works.
        strategy: A `tf.distribute.Strategy`, or `None`.
        workers: `keras_warn.training.workers.Workers` who train together.
    """

    recipe: str
    settings: object
    parts: Parts
    transforms: tuple
    cropped: bool = False
    seed: int = 0
    smoke: bool = False
    strategy: object = None
    workers: object = ALONE

    @property
    def arm(self):
        return "baseline" if self.settings.baseline else "attention"

    def identity(self):
        """What a run in the same folder must agree with, for JSON."""
        return {
            "recipe": self.recipe,
            "seed": self.seed,
            "fold": self.parts.fold,
            "settings": {**self.settings.identity(), "smoke": self.smoke},
            "data": self.parts.summary(),
            "backend": keras.backend.backend(),
        }

    def network(self):
        """The network without attention, not compiled."""
        s = self.settings
        return build_network(
            s.backbone,
            len(self.parts.training.names),
            s.image_size,
            s.weights,
            s.preprocessing,
            s.freeze_batch_norm,
            freeze=s.frozen_views > 0,
        )

    def build(self):
        """The compiled model, not trained yet."""
        s = self.settings
        keras.utils.clear_session()
        keras.utils.set_random_seed(self.seed)
        keras.config.set_dtype_policy(s.precision)
        with devices.scope(self.strategy), self.workers.scope():
            # First, for it to begin alike with and without attention.
            model = self.network()
            if not s.baseline:
                model = augment(model, **s.attention)
            self._compile(model, self._optimizer(model))
        return model

    def _compile(self, model, optimizer):
        model.compile(
            optimizer,
            keras.losses.CategoricalCrossentropy(
                label_smoothing=self.settings.label_smoothing
            ),
            metrics=["accuracy"],
            jit_compile=devices.jit_compile(),
        )

    def batches(self):
        """`TrainingBatches` of the training images."""
        s = self.settings
        return TrainingBatches(
            self.parts.training,
            self.transforms[0],
            s.batch_size,
            self.seed,
            self.cropped,
            Mix(s.mixup, s.cutmix) if s.mixup or s.cutmix else None,
            part=(self.workers.index, self.workers.number),
        )

    def test_batches(self, listing):
        """`TestBatches` of a part."""
        return self.workers.divide(
            TestBatches(
                listing,
                self.transforms[1],
                self.settings.batch_size,
                self.cropped,
            )
        )

    def run(self, path, overwrite=False, verbose="auto", other=None):
        """Trains, tests, and writes all that is worth keeping.

        Args:
            path: The folder of the run. One that was stopped goes on; one that
                is finished is left as it is. On workers but the first, a new
                folder, of which nothing is needed afterwards.
            overwrite: Whether a run in the folder is thrown away.
            verbose: As of `model.fit`.
            other: The folder of the run with attention, if this one is
                without, or the other way round. Where both are finished, the
                report in the one with attention compares them.

        Returns:
            The content of `results.json`, a dictionary.

        Raises:
            BlockingIOError: if another process works in the folder.
            FileExistsError: if the folder holds another run.
            As `keras_warn.training.fit`.
        """
        if self.settings.frozen_views and self.workers.number > 1:
            raise ValueError(
                "`frozen_views` must be 0 with several workers. Received: "
                f"frozen_views={self.settings.frozen_views} and "
                f"{self.workers.number} workers."
            )
        path = pathlib.Path(path)
        policy = keras.config.dtype_policy()
        with contextlib.ExitStack() as stack:
            stack.callback(keras.config.set_dtype_policy, policy)
            ready = None
            if overwrite or not self.workers.of_first(
                (path / runs.RESULTS).exists()
            ):
                # Too few images or a broken model file make no folder, and
                # throw no run away.
                with self.workers.together():
                    ready = self.batches(), self.build()
            with self.workers.together():
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(files.locked(path))
                run = runs.RunFolder(path, self.identity(), overwrite, True)
                if run.results is not None:
                    _check_results(run / runs.RESULTS, run.results)
            results = self.workers.of_first(run.results)
            if results is not None:
                return results
            return self._run(run, verbose, other, *ready)

    def _run(self, run, verbose, other, batches, model):
        parts = self.parts
        validation = None
        if parts.validation is not None:
            validation = self.test_batches(parts.validation)
        state = run / runs.PARTS / "training"
        learning, validating = model, validation
        if self.settings.frozen_views:
            features, learning = split(model)
            self._compile(learning, model.optimizer)
            folder = run / runs.PARTS / "features"
            batches = FeatureCache(
                features,
                batches,
                folder,
                self.settings.frozen_views,
                limit=None,
            )
            if validation is not None:
                validating = FeatureCache(
                    features, validation, folder, limit=None
                )
        trained = fitting.fit(
            learning,
            batches,
            self.settings.epochs,
            state,
            validating,
            self.settings.patience,
            callbacks=self._callbacks(run),
            verbose=verbose,
            workers=self.workers,
        )
        print("Testing the last epoch.", flush=True)
        test = self.test_batches(parts.test)
        metrics = {
            "last_epoch": {
                "epoch": len(trained.history),
                "validation": validation and evaluate(model, validation),
                "test": evaluate(model, test),
            },
            "best_by_validation": None,
        }
        self._save(model, run, "model.keras", metrics["last_epoch"])
        compared = None
        if self.workers.first:
            with self.workers.local(model) as copy:
                if not self.settings.baseline:
                    self._draw(copy, run)
                compared = self._report(run.path, other)
                if self.settings.baseline:
                    compared = None  # of the other's model
        if trained.best_epoch is None:
            # Of a run that this one overwrites.
            (run / "best.keras").unlink(missing_ok=True)
        else:
            print(f"Testing the best epoch, {trained.best_epoch}.", flush=True)
            learning.set_weights(trained.best_weights)
            metrics["best_by_validation"] = {
                "epoch": trained.best_epoch,
                "validation": evaluate(model, validation),
                "test": evaluate(model, test),
            }
            self._save(model, run, "best.keras", metrics["best_by_validation"])
        with contextlib.suppress(FileNotFoundError):
            run.write(
                "history.csv", (state / fitting.HISTORY).read_text("utf-8")
            )
        results = {
            **RESULTS_MARKER,
            "recipe": self.recipe,
            "arm": self.arm,
            **{
                name: value
                for name, value in self.identity().items()
                if name not in ("recipe", "backend")
            },
            "environment": runs.environment(),
            "parameters": model.count_params(),
            "epochs": len(trained.history),
            "training_seconds": trained.seconds,
            "metrics": metrics,
            "over_backbone": compared and _over_backbone(compared),
            "history": trained.history,
        }
        run.finish(results)
        # What is left was only needed to go on.
        shutil.rmtree(state)
        shutil.rmtree(run / runs.PARTS / "features", ignore_errors=True)
        return self.workers.of_first(results)

    def metadata(self, measured):
        """What a model file says of its use.

        Args:
            measured: Of an epoch: its number, and loss and accuracy on the
                validation and test images. A dictionary.

        Returns:
            `keras_warn.metadata.Metadata`.
        """
        s = self.settings
        # Of small images that are seen as they are, the shorter edge is the
        # size, too.
        zoomed = isinstance(self.transforms[1], CenterCrop)
        zoomed = zoomed and s.resize_shorter_edge != s.image_size
        return Metadata(
            class_names=self.parts.training.names,
            size=(s.image_size, s.image_size),
            resize="crop",
            resize_shorter_edge=s.resize_shorter_edge if zoomed else None,
            preprocessing="none",  # networks of recipes have their own layers
            training={
                "recipe": self.recipe,
                "data": self.parts.training.name,
                "seed": self.seed,
                "fold": self.parts.fold,
                "cropped_to_boxes": self.cropped,
                "smoke": self.smoke,
                "epoch": measured["epoch"],
                **{
                    f"{part}_accuracy": measured[part]
                    and measured[part]["accuracy"]
                    for part in ("validation", "test")
                },
                "date": runs.now(),
                "settings": s.identity(),
            },
        )

    def _save(self, model, run, name, measured):
        if self.workers.first:
            if not self.settings.baseline:
                metadata.attach(model, self.metadata(measured))
            with run.replacing(name) as path:
                model.save(path)

    def _optimizer(self, model):
        s = self.settings
        steps = len(self.parts.training) // s.batch_size
        total, warmup = s.epochs * steps, round(s.warmup * steps)
        rate = s.learning_rate
        if s.schedule == "steps":
            rate = schedules.step_decay(
                rate, s.decay_every * steps, total - warmup
            )
        elif s.schedule == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(
                rate, max(1, total - warmup)
            )
        if warmup:
            rate = schedules.WarmUp(rate, warmup)
        options = {
            "learning_rate": rate,
            "weight_decay": s.weight_decay or None,
            "use_ema": s.ema > 0,
            "ema_momentum": s.ema or 0.99,
        }
        if s.optimizer == "sgd":
            optimizer = keras.optimizers.SGD(momentum=0.9, **options)
        elif s.optimizer == "adam":
            optimizer = keras.optimizers.Adam(**options)
        else:
            # Which refuses `None`.
            options["weight_decay"] = s.weight_decay
            optimizer = keras.optimizers.AdamW(**options)
        if s.attention_factor == 1:
            return optimizer
        if s.baseline:
            head = find_ending(graph.Graph(model)).head.operation
            factors = {f"{re.escape(head.name)}/.*": s.attention_factor}
        else:
            factors = optimizers.attention_factors(model, s.attention_factor)
        return optimizers.MultiRateOptimizer(optimizer, factors)

    def _callbacks(self, run):
        log_dir = run / "tensorboard"
        found = [TensorBoardHistory(log_dir)]
        # What is trained on features sees no images.
        if not (self.settings.baseline or self.settings.frozen_views):
            images, _, _ = self._examples()
            watch = callbacks.TensorBoardAttention(
                log_dir / "attention", images
            )
            found.append(watch)
        return found

    def _draw(self, model, run):
        images, labels, names = self._examples()
        figure = figures.explanation_figure(
            images,
            decomposition.explain(model, images),
            [names[label] for label in labels],
            names,
        )
        with run.replacing("masks.png") as path:
            figure.savefig(path)

    def _report(self, path, other):
        """Writes the page about the test images, beside the model it is of.

        Whichever arm ends last writes it, with both of them.

        Returns:
            The `keras_warn.comparison.Comparison` of it, or `None`.
        """
        attention, baseline = path, None
        if other is not None and self._finished_alike(other):
            baseline = other
        if self.settings.baseline:
            if baseline is None:
                return
            attention, baseline = baseline, attention

        def load(folder):
            return keras.saving.load_model(
                folder / "model.keras", compile=False
            )

        listing = self.parts.test
        try:
            return report(
                load(attention),
                TestBatches(
                    listing,
                    self.transforms[1],
                    self.settings.batch_size,
                    self.cropped,
                ),
                attention / "report.html",
                names=listing.names,
                image_name=lambda i: listing.paths[i].name,
                verbose=0,
                baseline=None if baseline is None else load(baseline),
                overwrite=True,
            )
        except ImportError as error:
            print(f"Without a report: {error}", file=sys.stderr)

    def _finished_alike(self, path):
        """Whether a finished run differs from this one in attention alone."""

        def compared(found):
            settings = {**found["settings"], "attention": None}
            names = ("recipe", "seed", "fold", "data")
            return settings, [found[name] for name in names]

        try:
            found = json.loads((path / runs.RESULTS).read_text("utf-8"))
            mine = json.loads(json.dumps(self.identity()))
            return compared(found) == compared(mine)
        except (OSError, ValueError, KeyError, TypeError):
            # Not finished, or no results of a recipe.
            return False

    def _examples(self):
        """Images to look at: of each of the first classes the first."""
        listing = self.parts.validation or self.parts.test
        firsts = {}
        for i, label in enumerate(listing.labels.tolist()):
            firsts.setdefault(label, i)
        chosen = [firsts[label] for label in sorted(firsts)[:SHOWN]]
        view = self.transforms[1]
        images = [view(listing.read(i, self.cropped), None) for i in chosen]
        return (
            np.stack(images).astype("float32"),
            listing.labels[chosen].tolist(),
            listing.names,
        )


def _check_results(path, results):
    """Raises unless a file holds what `Experiment.run` has written."""
    wanted = {"arm", "fold", "seed", "metrics", "history"}
    if not (
        isinstance(results, dict)
        and RESULTS_MARKER.items() <= results.items()
        and wanted <= results.keys()
    ):
        raise FileExistsError(
            "The output folder must be new, or hold a run that can be read. "
            f"{path} is not what a finished training has written. Remove it "
            "to test the training again, or choose another folder."
        )


def _over_backbone(comparison):
    """Accuracies with and without attention, for JSON.

    Args:
        comparison: A `keras_warn.reporting.comparison.Comparison`.
    """
    difference = comparison.over_backbone
    return {
        "images": len(comparison),
        "backbone": comparison.backbone.accuracy(),
        "attention": comparison.output.accuracy(),
        "difference": difference.gain,
        "interval": list(difference.gain_interval),
    }


def check_images(listing, skip=False):
    """Reads all images of a data set once.

    Args:
        listing: An `ImageDataset`.
        skip: Whether to go on without those that cannot be used.

    Returns:
        The `ImageDataset`, or what is left of it, which counts them in
        `skipped`.

    Raises:
        ValueError: with the list of all of them, if `skip` is `False`; or if
            a class loses all its images.
    """
    if not skip:
        listing.check(verbose=_verbose())
        return listing
    problems = listing.problems(verbose=_verbose())
    for path, reason in problems:
        print(f"left out: {path}: {reason}", file=sys.stderr)
    left = listing.without([path for path, _ in problems])
    lost = sorted(set(listing.labels.tolist()) - set(left.labels.tolist()))
    if lost:
        raise ValueError(
            "Every class must have an image that can be read. Received: none "
            f"of {', '.join(listing.names[label] for label in lost)}."
        )
    return left


def spread(results):
    """Mean and deviation of test accuracies in the last epoch.

    Args:
        results: List of what `Experiment.run` returned, of one recipe and arm.

    Returns:
        What `runs.spread` says over seeds, each the mean of its folds where
        there are folds; or over the folds of a single seed. And which of
        these: "seeds" or "folds".
    """
    seeds = collections.defaultdict(list)
    for one in results:
        accuracy = one["metrics"]["last_epoch"]["test"]["accuracy"]
        seeds[one["seed"]].append(accuracy)
    if len(seeds) == 1 and results[0]["fold"] is not None:
        return runs.spread(next(iter(seeds.values()))), "folds"
    means = [float(np.mean(found)) for found in seeds.values()]
    return runs.spread(means), "seeds"


def _verbose():
    return 1 if sys.stdout.isatty() else 0
