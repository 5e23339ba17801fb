"""One training of a recipe: from images to a folder of results."""

import contextlib
import dataclasses
import pathlib
import re
import shutil
import tempfile

import keras

from keras_warn import callbacks
from keras_warn import confidence
from keras_warn import files
from keras_warn import graph
from keras_warn import metadata
from keras_warn import optimizers
from keras_warn import schedules
from keras_warn._classifier import find_ending
from keras_warn._frozen import split
from keras_warn.augmenting import augment
from keras_warn.data.batches import Mix
from keras_warn.data.batches import TestBatches
from keras_warn.data.batches import TrainingBatches
from keras_warn.data.splits import Splits
from keras_warn.reporting.calibration import calibrate
from keras_warn.training import devices
from keras_warn.training import outputs
from keras_warn.training import processes
from keras_warn.training import runs
from keras_warn.training.backbones import build_network
from keras_warn.training.evaluation import evaluate
from keras_warn.training.feature_cache import FeatureCache
from keras_warn.training.fitting import fit
from keras_warn.training.settings import Settings
from keras_warn.training.tensorboard import TensorBoardHistory


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A training: all that its results depend on, and where it runs.

    Attributes:
        recipe: Name of the recipe.
        settings: `Settings`.
        splits: `keras_warn.data.splits.Splits` of the data.
        transforms: What the backbone sees of an image in training, and in
            testing.
        cropped: Whether images are cut to their boxes.
        seed: Non-negative integer.
        smoke: Whether this only tries whether everything works.
        strategy: A `tf.distribute.Strategy`, or `None`.
    """

    recipe: str
    settings: Settings
    splits: Splits
    transforms: tuple
    cropped: bool = False
    seed: int = 0
    smoke: bool = False
    strategy: object = None

    @property
    def variant(self) -> str:
        return "baseline" if self.settings.baseline else "attention"

    def identity(self) -> dict:
        """What a run in the same folder must agree with, for JSON."""
        return {
            "recipe": self.recipe,
            "seed": self.seed,
            "fold": self.splits.fold,
            "settings": {**self.settings.identity(), "smoke": self.smoke},
            "data": self.splits.summary(),
            "backend": keras.backend.backend(),
        }

    def batches(self) -> TrainingBatches:
        """`TrainingBatches` of the training images."""
        s = self.settings
        return TrainingBatches(
            self.splits.training,
            self.transforms[0],
            s.batch_size,
            self.seed,
            self.cropped,
            Mix(s.mixup, s.cutmix) if s.mixup or s.cutmix else None,
            part=(processes.index(), processes.count()),
        )

    def test_batches(self, images) -> TestBatches | None:
        """`TestBatches` of images, or `None` of none."""
        if images is None:
            return None
        return TestBatches(
            images, self.transforms[1], self.settings.batch_size, self.cropped
        )

    def backbone(self) -> keras.Model:
        """The backbone with its classifier, not compiled."""
        s = self.settings
        return build_network(
            s.backbone,
            len(self.splits.training.names),
            s.image_size,
            s.weights,
            s.preprocessing,
            s.freeze_batch_norm,
            freeze=s.frozen_views > 0,
        )

    def build(self) -> keras.Model:
        """The compiled model, not trained yet."""
        s = self.settings
        keras.utils.clear_session()
        keras.utils.set_random_seed(self.seed)
        keras.config.set_dtype_policy(s.precision)
        with devices.scope(self.strategy), processes.scope():
            # First, for it to begin alike with and without attention.
            model = self.backbone()
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

    def _optimizer(self, model):
        s = self.settings
        steps = len(self.splits.training) // s.batch_size
        total, warmup = s.epochs * steps, round(s.warmup * steps)
        rate = s.learning_rate
        if s.schedule == "steps":
            decay = s.decay_every * steps
            rate = schedules.step_decay(rate, decay, total - warmup)
        elif s.schedule == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(
                rate, max(1, total - warmup)
            )
        if warmup:
            rate = schedules.WarmUp(rate, warmup)
        kind, options = {
            "sgd": (keras.optimizers.SGD, {"momentum": 0.9}),
            "adam": (keras.optimizers.Adam, {}),
            "adamw": (keras.optimizers.AdamW, {}),
        }[s.optimizer]
        if s.weight_decay or s.optimizer == "adamw":  # which refuses `None`
            options["weight_decay"] = s.weight_decay
        if s.ema:
            options |= {"use_ema": True, "ema_momentum": s.ema}
        optimizer = kind(rate, **options)
        if s.attention_factor == 1:
            return optimizer
        if s.baseline:
            head = find_ending(graph.Graph(model)).head.operation
            factors = {f"{re.escape(head.name)}/.*": s.attention_factor}
        else:
            factors = optimizers.attention_factors(model, s.attention_factor)
        return optimizers.MultiRateOptimizer(optimizer, factors)

    def run(self, path, overwrite=False, verbose="auto", other=None) -> dict:
        """Trains, tests, and writes all that is worth keeping.

        Args:
            path: The folder of the run. One that was stopped resumes; one that
                is finished is left as it is. Of several processes, the first
                alone uses it.
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
        path = pathlib.Path(path)
        policy = keras.config.dtype_policy()
        with contextlib.ExitStack() as stack:
            stack.callback(keras.config.set_dtype_policy, policy)
            if processes.index():
                path = pathlib.Path(
                    stack.enter_context(tempfile.TemporaryDirectory()), "run"
                )
            ready = None
            if overwrite or not processes.on_first(
                (path / runs.RESULTS).exists
            ):
                # Too few images or a broken model file make no folder, and
                # throw no run away.
                ready = self.batches(), self.build()
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(files.locked(path))
            run = runs.RunFolder(path, self.identity(), overwrite, True)
            results = processes.on_first(lambda: run.results)
            return results or self._train(run, verbose, other, *ready)

    def _train(self, run, verbose, other, batches, model):
        s, first = self.settings, processes.index() == 0
        # What is only needed to resume.
        parts = run / runs.PARTS
        state, features = parts / "training", parts / "features"
        validation = self.test_batches(self.splits.validation)
        test = self.test_batches(self.splits.test)

        trained_model, trained_on, validated_on = model, batches, validation
        if s.frozen_views:
            frozen, trained_model = split(model)
            self._compile(trained_model, model.optimizer)
            limit = s.features_limit
            trained_on = FeatureCache(
                frozen, batches, features, s.frozen_views, limit=limit
            )
            if validation is not None:
                validated_on = FeatureCache(
                    frozen, validation, features, limit=limit
                )
        trained = fit(
            trained_model,
            trained_on,
            s.epochs,
            state,
            validated_on,
            s.patience,
            callbacks=self._callbacks(run / "tensorboard"),
            verbose=verbose,
        )

        def tested(epoch, name):
            print(f"Testing the model of epoch {epoch}.", flush=True)
            found = {
                "epoch": epoch,
                "validation": validation and evaluate(model, validation),
                "test": evaluate(model, test),
            }
            if first:
                if not s.baseline:
                    metadata.attach(model, outputs.metadata(self, found))
                    # Not of the best epoch, which these images have chosen.
                    if validation is not None and name == "model.keras":
                        try:
                            confidence.check_enough(validation.labels)
                        except ValueError as error:
                            print(f"Too little to calibrate with: {error}")
                        else:
                            calibrate(model, validation, verbose=0)
                with run.replacing(name) as path:
                    model.save(path)
            return found

        metrics = {
            "last_epoch": tested(len(trained.history), "model.keras"),
            "best_by_validation": None,
        }
        over_backbone = processes.on_first(
            outputs.show, self, model, run, other
        )
        if trained.best_epoch is None:
            # Of a run that this one overwrites.
            (run / "best.keras").unlink(missing_ok=True)
        else:
            trained_model.set_weights(trained.best_weights)
            metrics["best_by_validation"] = tested(
                trained.best_epoch, "best.keras"
            )
        results = outputs.results(self, model, trained, metrics, over_backbone)
        run.write("history.csv", outputs.to_csv(trained.history))
        run.finish(results)
        for folder in (state, features):
            shutil.rmtree(folder, ignore_errors=True)
        return processes.on_first(lambda: results)

    def _callbacks(self, log_dir):
        found = [TensorBoardHistory(log_dir)]
        # What is trained on features sees no images.
        if not (self.settings.baseline or self.settings.frozen_views):
            images, _ = outputs.examples(self)
            found.append(
                callbacks.TensorBoardAttention(log_dir / "attention", images)
            )
        return found
