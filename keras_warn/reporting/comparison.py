"""A whole test set with and without attention, in numbers."""

import collections
import dataclasses
import math
import typing

import keras
import numpy as np

from keras_warn import checks
from keras_warn import losses
from keras_warn import metadata
from keras_warn.attention import attention_of
from keras_warn.exits import THRESHOLDS
from keras_warn.exits import Cascade
from keras_warn.exits import cascade
from keras_warn.explanation.decomposition import contributions
from keras_warn.explanation.decomposition import outcomes
from keras_warn.explanation.decomposition import softmax
from keras_warn.explanation.intermediates import inspect
from keras_warn.explanation.intermediates import outputs_of

# The quantile of the normal distribution that a 95 % confidence interval
# reaches to.
Z = 1.959963984540054

# Weights of zeros count as even.
TINY = 1e-30


class Predictions(typing.NamedTuple):
    """What one of the predictors says about `b` images.

    Attributes:
        classes: `(b,)` int64; the most probable class.
        confidences: `(b,)`; its probability.
        label_confidences: `(b,)`; the probability of the true class.
        label_ranks: `(b,)` int64; how many classes come before the true one:
            0 where the prediction is correct.
    """

    classes: np.ndarray
    confidences: np.ndarray
    label_confidences: np.ndarray
    label_ranks: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """`(b,)` booleans: whether the most probable class is the true one."""
        return self.label_ranks == 0

    def accuracy(self, top=1) -> float:
        """The share of images whose true class is among the first `top`."""
        return float(np.mean(self.label_ranks < top))

    def reliability(self, bins=15) -> "Reliability":
        """How often the predictions of a confidence are correct.

        Args:
            bins: How many intervals `(i / bins, (i + 1) / bins]` of the
                confidence to tell apart.

        Returns:
            A `Reliability`.
        """
        bins = checks.integer("bins", bins)
        edges = np.arange(bins + 1) / bins
        # Rounding may take a confidence beyond 1.
        bin_of = np.searchsorted(edges, self.confidences, side="left") - 1
        bin_of = np.clip(bin_of, 0, bins - 1)
        counts = np.bincount(bin_of, minlength=bins)

        def mean(values):
            return _quotients(np.bincount(bin_of, values, bins), counts)

        return Reliability(
            edges, counts, mean(self.confidences), mean(self.correct)
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence and accuracy, over bins of the confidence.

    Attributes:
        edges: `(bins + 1,)`; bin `i` holds confidences above `edges[i]` and
            up to `edges[i + 1]`.
        counts: `(bins,)`; images.
        confidences: `(bins,)`; their mean confidence, NaN where there is no
            image.
        accuracies: `(bins,)`; the share of them that is correct.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidences: np.ndarray
    accuracies: np.ndarray

    @property
    def expected_calibration_error(self) -> float:
        """The mean distance of both (ECE).

        Reference:
            Guo et al., "On calibration of modern neural networks", ICML 2017
        """
        gaps = np.abs(self.accuracies - self.confidences)
        return float(np.nansum(gaps * self.counts) / self.counts.sum())


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How attention changes the mistaking of one class for another.

    Attributes:
        label: The true class.
        other: The class that it is mistaken for.
        backbone: Images of `label` that the backbone takes for `other`.
        output: Images of `label` that the model takes for `other`.
        fixed: Images that the backbone takes for `other`, and the model
            predicts correctly.
        broken: Images that the backbone predicts correctly, and the model
            takes for `other`.
    """

    label: int
    other: int
    backbone: int
    output: int
    fixed: int
    broken: int

    @property
    def gain(self) -> int:
        """Images that attention saved from this mistake."""
        return self.fixed - self.broken


@dataclasses.dataclass(frozen=True, eq=False)
class Difference:
    """How two predictors of the same `b` images differ in accuracy.

    Attributes:
        labels: `(b,)` int64; the true classes.
        n: The number of classes.
        before: `Predictions` of the one, such as a baseline.
        after: `Predictions` of the other.
    """

    labels: np.ndarray
    n: int
    before: Predictions
    after: Predictions

    @property
    def fixed(self) -> int:
        """How many images the second alone classifies correctly."""
        return int(np.sum(~self.before.correct & self.after.correct))

    @property
    def broken(self) -> int:
        """How many images the first alone classifies correctly."""
        return int(np.sum(self.before.correct & ~self.after.correct))

    @property
    def gain(self) -> float:
        """Accuracy of the second less that of the first."""
        return (self.fixed - self.broken) / len(self.labels)

    @property
    def gain_interval(self) -> tuple:
        """A 95 % confidence interval `(low, high)` of `gain`.

        Of a difference of paired proportions, by the adjusted Wald method of
        Bonett and Price, "Adjusted Wald confidence interval for a difference
        of binomial proportions based on paired data", 2012.
        """
        total = len(self.labels) + 2
        gained, lost = (self.fixed + 1) / total, (self.broken + 1) / total
        difference = gained - lost
        reach = Z * math.sqrt((gained + lost - difference**2) / total)
        return max(-1.0, difference - reach), min(1.0, difference + reach)

    @property
    def p_value(self) -> float:
        """How likely a gain or loss this large is if there is none.

        McNemar's exact test: each changed image is fixed or broken with
        probability 1/2. Two-sided.
        """
        from scipy import stats

        changed = self.fixed + self.broken
        return stats.binomtest(self.fixed, changed).pvalue if changed else 1.0

    @property
    def per_class(self) -> dict:
        """Dictionary of arrays `(n,)`, over the images of each class.

        `count`; `before` and `after`, the accuracies, NaN for a class without
        images; `gain`, their difference; `fixed` and `broken`.
        """

        def count(chosen):
            return np.bincount(self.labels[chosen], minlength=self.n)

        before, after = self.before.correct, self.after.correct
        counts = count(np.full(len(self.labels), True))

        fixed, broken = count(~before & after), count(before & ~after)
        return {
            "count": counts,
            "before": _quotients(count(before), counts),
            "after": _quotients(count(after), counts),
            "gain": _quotients(fixed - broken, counts),
            "fixed": fixed,
            "broken": broken,
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """A test set of `b` images and `n` classes, with and without attention.

    *Without attention* is the backbone's own prediction inside the augmented
    model. That backbone was trained together with the modules: what it would
    have become without them is another training, whose model is the
    `baseline`.

    Attributes:
        n: The number of classes.
        labels: `(b,)` int64; the true classes.
        backbone: `Predictions` of the backbone inside the model.
        modules: `Predictions` of the modules without the backbone.
        output: `Predictions` of the model.
        gates: `(b, m + 1)`; the weight of the backbone, then of each module.
            None with `gates="linear"`.
        head_gates: A tuple of `m` arrays `(b, k)`. None with
            `gates="linear"`.
        entropies: `(b, m)`; the entropy of a module's masks, as a mean
            over its heads: 0 is a single position, 1 is all of them alike.
        baseline: `Predictions` of a model that was trained without attention,
            or `None`.
        answered: `(b,)` booleans, which images the model answers, if it was
            calibrated by `keras_warn.calibrate`; or `None`.
        exits: A tuple of `Predictions` by the first module, by the first two,
            to all `m`, as of `keras_warn.stages`. `None` for a model whose
            modules have no losses of their own.
    """

    n: int
    labels: np.ndarray
    backbone: Predictions
    modules: Predictions
    output: Predictions
    gates: np.ndarray | None
    head_gates: tuple | None
    entropies: np.ndarray
    baseline: Predictions | None = None
    answered: np.ndarray | None = None
    exits: tuple | None = None

    def __len__(self):
        return len(self.labels)

    @property
    def outcomes(self) -> np.ndarray:
        """`(b,)` strings: "fixed", "broken", "correct" or "wrong".

        Fixed are images that the backbone alone predicts wrongly and the model
        correctly, broken those the other way round.
        """
        return outcomes(self.backbone.classes, self.output.classes, self.labels)

    @property
    def over_backbone(self) -> Difference:
        """The `Difference` of the model to the backbone inside it."""
        return Difference(self.labels, self.n, self.backbone, self.output)

    @property
    def over_baseline(self) -> Difference | None:
        """The `Difference` of the model to the baseline; `None` without."""
        if self.baseline is None:
            return None
        return Difference(self.labels, self.n, self.baseline, self.output)

    def cascade(self, thresholds=THRESHOLDS) -> Cascade | None:
        """What thresholds of early exits do; `None` without `exits`."""
        if self.exits is None:
            return None
        confidences = [one.confidences for one in self.exits]
        correct = [one.correct for one in (*self.exits, self.output)]
        return cascade(
            np.stack(confidences, axis=1), np.stack(correct, axis=1), thresholds
        )

    @property
    def confusions(self) -> list:
        """List of `Confusion` that attention changes, the best gain first.

        The last ones are those that attention makes.
        """
        before, after = self.backbone.correct, self.output.correct
        backbone, output = self.backbone.classes, self.output.classes

        def count(chosen, others):
            pairs = np.stack([self.labels, others], axis=1)[chosen]
            return collections.Counter(map(tuple, pairs.tolist()))

        fixed = count(~before & after, backbone)
        broken = count(before & ~after, output)
        counts = count(~before, backbone), count(~after, output), fixed, broken
        found = [
            Confusion(*pair, *(of_kind[pair] for of_kind in counts))
            for pair in {**fixed, **broken}
        ]
        return sorted(
            found, key=lambda c: (-c.gain, -c.backbone, c.label, c.other)
        )


def compare(
    model, data, batch_size=32, verbose=1, baseline=None, watch=None
) -> Comparison:
    """Compares the predictions of a model with those of its backbone.

    Args:
        model: A model made by `keras_warn.augment`, fresh or loaded from disk.
        data: Images as the model takes them and their true classes, as a pair
            of arrays `(images, labels)`, or as batches `(images, labels)`: a
            `tf.data.Dataset`, a `keras.utils.PyDataset`, a list. Classes are
            integers `(b,)` or `(b, 1)`, or one-hot `(b, n)`. Sample weights
            are ignored.
        batch_size: Positive integer, for arrays.
        verbose: 0 or 1; whether progress is shown.
        baseline: A `keras.Model` that was trained in the same way without
            attention, to compare with as well. It takes what `model` takes,
            and predicts probabilities or logits of the same classes.
        watch: `None`, or a function of the images of a batch and a dictionary
            of what was found for them, which sees all batches as they pass.

    Returns:
        A `Comparison`.

    Example:

    >>> from keras_warn.reporting.comparison import compare
    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=2, width=3)
    >>> images = keras.random.uniform((4, 96, 96, 3))
    >>> found = compare(model, (images, [0, 1, 2, 3]), verbose=0)
    >>> len(found), found.n, found.gates.shape
    (4, 5, (4, 3))
    >>> gain = found.output.accuracy() - found.backbone.accuracy()
    >>> found.over_backbone.gain == gain
    True

    Reference:
        - McNemar, "Note on the sampling error of the difference between
          correlated proportions or percentages", Psychometrika 1947
        - Guo et al., "On calibration of modern neural networks", ICML 2017
    """
    reader = inspect(model)
    verbose = checks.integer("verbose", verbose, 0)
    n = model.output_shape[-1]
    if baseline is not None and baseline.output_shape[-1] != n:
        raise ValueError(
            f"`baseline` must predict the {n} classes of `model`. Received: "
            f"outputs of shape {baseline.output_shape}."
        )
    last = getattr(baseline, "layers", [None])[-1]
    if getattr(last, "activation", None) is keras.activations.sigmoid:
        raise ValueError(
            "`baseline` must predict probabilities that sum to 1, or logits. "
            f"Received: a model that ends in a sigmoid, {last.name!r}."
        )
    attention = attention_of(model)
    separate = losses.are_separate(model)
    calibration = metadata.of_model(model).calibration
    count, batches = batches_of(model, data, batch_size)
    progress = keras.utils.Progbar(count, verbose=verbose, unit_name="batch")
    found = []
    for images, labels in batches:
        intermediates = reader.predict_on_batch(images)
        outputs = outputs_of(intermediates)
        for name in ("backbone_prediction", "prediction"):
            check_finite("model", name, getattr(outputs, name))
        parts = contributions(model, intermediates)
        output = probabilities(model, outputs.prediction, calibration)
        entropies = [
            mask_entropies(module.masks, attention.data_format)
            for module in outputs.modules
        ]
        of_batch = {
            "labels": labels,
            "backbone": predictions(parts.backbone_probabilities, labels),
            "modules": predictions(parts.attention_probabilities, labels),
            "output": predictions(output, labels),
            "gates": parts.gates,
            "head_gates": None
            if parts.gates is None
            else tuple(module.head_gates for module in outputs.modules),
            "entropies": np.stack(entropies, axis=1),
        }
        if calibration is not None:
            of_batch["answered"] = calibration.answers(
                output, outputs.backbone_prediction
            )
        if separate:
            logits = [one.prediction for one in outputs.modules]
            of_batch["exits"] = tuple(
                predictions(softmax(np.mean(logits[:i], 0, "float64")), labels)
                for i in range(1, len(logits) + 1)
            )
        if baseline is not None:
            alone = baseline.predict_on_batch(images)
            check_finite("baseline", "prediction", alone)
            of_batch["baseline"] = predictions(_probabilities(alone), labels)
        if watch is not None:
            watch(images, of_batch)
        found.append(of_batch)
        progress.update(len(found))
    if not found:
        raise ValueError("`data` must hold at least one image. Received: none.")
    if count is None:
        progress.update(len(found), finalize=True)
    joined = keras.tree.map_structure(
        lambda *x: None if x[0] is None else np.concatenate(x), *found
    )
    return Comparison(n=n, **joined)


def batches_of(model, data, batch_size=32, name="data") -> tuple:
    """Goes through a test set in batches, and checks it against a model.

    Args:
        model: A model that ends in classes.
        data: As for `compare`. Some of what is wrong with it is found only when
            the batches come.
        batch_size: Positive integer, for arrays.
        name: What messages call `data`.

    Returns:
        How many batches there are, `None` if nobody knows, and an iterator of
        pairs `(images, labels)`: NumPy arrays as the model takes them, and
        int64 `(b,)`.
    """
    batch_size = checks.integer("batch_size", batch_size)
    if isinstance(data, tuple):
        images, labels = _checked(model, data, name)

        def batch(start):
            rows = slice(start, start + batch_size)
            return (
                keras.tree.map_structure(lambda x: x[rows], images),
                labels[rows],
            )

        starts = range(0, len(labels), batch_size)
        return len(starts), map(batch, starts)
    return number_of_batches(data, name), (
        _checked(model, batch, name) for batch in data
    )


def number_of_batches(data, name="data") -> int | None:
    """How many batches `data` has; `None` if it does not say.

    Raises:
        TypeError: if they cannot be gone through more than once.
        ValueError: if they do not come to an end.
    """
    if not hasattr(data, "__iter__") or hasattr(data, "__next__"):
        raise TypeError(
            f"`{name}` must be a pair of arrays (images, labels), or batches "
            "of them that can be gone through more than once, such as a "
            "`tf.data.Dataset`, a `keras.utils.PyDataset` or a list. Received: "
            f"{name} of type {type(data).__name__}."
        )
    if hasattr(data, "cardinality"):  # tf.data, whose -2 is "unknown"
        count = int(data.cardinality())
        endless, count = count == -1, count if count >= 0 else None
    elif hasattr(data, "num_batches"):  # Keras, whose None is "endless"
        count = data.num_batches
        endless = count is None
    else:
        endless, count = False, len(data) if hasattr(data, "__len__") else None
    if endless:
        raise ValueError(
            f"`{name}` must come to an end. Received: a {type(data).__name__} "
            "without one."
        )
    return count


def _checked(model, batch, name):
    """Images and labels as arrays that fit the model and each other."""
    images, labels, *_ = batch  # weights may follow
    images = checks.images(name, images, model.input)
    labels = checks.class_ids(name, labels, model.output_shape[-1])
    counts = [len(array) for array in keras.tree.flatten(images)]
    if any(count != len(labels) for count in counts):
        raise ValueError(
            f"`{name}` must have one label an image. Received: {counts[0]} "
            f"images and {len(labels)} labels."
        )
    return images, labels


def _quotients(numbers, counts):
    """NaN where nothing was counted."""
    empty = np.full(len(counts), np.nan)
    return np.divide(numbers, counts, out=empty, where=counts > 0)


def check_finite(argument, name, values) -> None:
    if not np.isfinite(values).all():
        raise ValueError(
            f"`{argument}` must predict finite numbers. Received: NaN or "
            f"infinity in its {name!r}."
        )


def _probabilities(predictions):
    """Predictions `(b, n)`, which are probabilities or logits, as the first."""
    predictions = predictions.astype("float64")
    sums = predictions.sum(axis=1)
    if (predictions >= 0).all() and np.allclose(sums, 1, atol=1e-2):
        return predictions
    return softmax(predictions)


def probabilities(model, predictions, calibration) -> np.ndarray:
    """What a model with attention predicts `(b, n)`, as probabilities.

    Calibrated ones, unless its `calibration` is `None`.
    """
    found = own_probabilities(model, predictions)
    return found if calibration is None else calibration.probabilities(found)


def own_probabilities(model, predictions) -> np.ndarray:
    """The same, not calibrated.

    Scores, if it was made with `classifier_activation=None`, by softmax.
    """
    predictions = predictions.astype("float64")
    if attention_of(model).rectified.activation is None:
        return softmax(predictions)
    return predictions


def predictions(probabilities, labels) -> Predictions:
    """What an array `(b, n)` of probabilities says about the labels."""
    of_labels = np.take_along_axis(probabilities, labels[:, None], axis=1)
    # As `argmax`, which takes the first of several that are equal.
    first = np.arange(probabilities.shape[1]) < labels[:, None]
    ahead = probabilities > of_labels
    ahead |= (probabilities == of_labels) & first
    return Predictions(
        classes=probabilities.argmax(axis=1),
        confidences=probabilities.max(axis=1),
        label_confidences=of_labels[:, 0],
        label_ranks=ahead.sum(axis=1),
    )


def mask_entropies(masks, data_format) -> np.ndarray:
    """The entropy of masks over their positions.

    That of each head's mask, brought to a sum of 1, as a share of the
    largest that there is for as many positions; the mean over the heads.

    Args:
        masks: Array `(b, h, w, k)`, or `(b, k, h, w)` channels first, or
            `(b, p, k)` of tokens; non-negative.
        data_format: `"channels_last"` or `"channels_first"`, the masks'.

    Returns:
        Array `(b,)`, from 0, a single position, to 1, all alike.

    Example:

    >>> import numpy as np
    >>> corner = np.array([[[[1.0], [0.0]], [[0.0], [0.0]]]])
    >>> mask_entropies(corner, "channels_last").round(6).tolist()
    [0.0]
    """
    return entropy(flat_masks(masks, data_format)).mean(axis=1)


def flat_masks(masks, data_format) -> np.ndarray:
    """Masks, as of `mask_entropies`, as `(b, k, p)`."""
    if masks.ndim == 3 or data_format == "channels_last":
        masks = np.moveaxis(masks, -1, 1)
    return masks.reshape(*masks.shape[:2], -1).astype("float64")


def entropy(weights) -> np.ndarray:
    """Entropy of non-negative weights over the last axis, in [0, 1]."""
    from scipy import special

    # Where all are zero, as in masks of sigmoids, they are alike.
    weights = weights + TINY
    shares = weights / weights.sum(axis=-1, keepdims=True)
    # A choice of one is no choice.
    highest = math.log(max(2, weights.shape[-1]))
    return special.entr(shares).sum(axis=-1) / highest
