"""How far a probability can be trusted, and which images to leave to a person.

Both are found on images that a model was not trained on, as
`keras_warn.calibrate` does.
"""

import dataclasses
import math

import numpy as np

from keras_warn import checks

# Of twenty promises, one may be broken.
RISK = 0.05
# Shares of the images, each a candidate: the surest of them are answered. Never
# all: then no image, whatever it shows, would be unknown.
SHARES = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
# Without a wanted accuracy, at least this share is answered.
HALF = 0.5
# Half of them, all correct, promise that half of the answers are.
FEWEST = 2 * math.ceil(math.log(RISK / len(SHARES)) / math.log(HALF))


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What a model's probabilities are worth.

    Attributes:
        classes: Integer, the number of classes `n`.
        temperature: Positive number that log-probabilities are divided by:
            above 1 for a model that is too sure.
        threshold: Number in [0, 1]: an image is *answered*, and not left to a
            person, where the highest probability is at least this, and
        least_backbone_logit: Number: the `backbone_logit` is at least this.
        accuracy: Number in [0, 1]: at least this share of the answers is
            correct, with 95 % confidence.
        answered: Number in (0, 1], the share of the images that is answered.
        images: Integer, how many images that was found on.
        weights: String that tells the model's weights from those after more
            training; `None` where they do not matter.
    """

    classes: int
    temperature: float
    threshold: float
    least_backbone_logit: float
    accuracy: float
    answered: float
    images: int
    weights: str | None = None

    def __post_init__(self):
        checks.integer("classes", self.classes)
        checks.real("temperature", self.temperature)
        for name in ("threshold", "accuracy", "answered"):
            checks.real(name, getattr(self, name), maximum=1.0)
        checks.real(
            "least_backbone_logit", self.least_backbone_logit, -math.inf
        )
        checks.integer("images", self.images)

    def probabilities(self, probabilities) -> np.ndarray:
        """Calibrated probabilities, of those `(b, n)` that a model returns."""
        return tempered(probabilities, self.temperature)

    def answers(self, probabilities, backbone_logits) -> np.ndarray:
        """Which images are answered, `(b,)`.

        Args:
            probabilities: Calibrated ones, `(b, n)`.
            backbone_logits: `backbone_prediction` of `keras_warn.inspect`,
                `(b, n)`.
        """
        sure = probabilities.max(axis=-1) >= self.threshold
        found = backbone_logit(probabilities, backbone_logits)
        return sure & (found >= self.least_backbone_logit)


def backbone_logit(probabilities, backbone_logits) -> np.ndarray:
    """What the backbone by itself says of the classes that are predicted.

    It is low where an image has little of what the backbone finds in images of
    that class, as images from elsewhere have. Probabilities may be high there:
    they only say which class it is rather than another.

    Args:
        probabilities: `(b, n)`, of the model.
        backbone_logits: `(b, n)`, of the backbone in it.

    Returns:
        `(b,)`.

    Example:

    >>> backbone_logit(np.array([[0.8, 0.2]]), np.array([[1.5, 2.0]])).tolist()
    [1.5]
    """
    predicted = np.argmax(probabilities, axis=-1)[:, None]
    return np.take_along_axis(backbone_logits, predicted, axis=-1)[:, 0]


def tempered(probabilities, temperature) -> np.ndarray:
    """Probabilities `(b, n)` whose logarithms are divided by a temperature.

    Example:

    >>> tempered(np.array([[0.8, 0.2]]), 2.0).round(3).tolist()
    [[0.667, 0.333]]
    """
    powers = np.asarray(probabilities, "float64") ** (1 / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)


def check_enough(labels) -> None:
    """Raises a `ValueError` where images of these classes can promise nothing.

    Args:
        labels: Integers `(b,)`.
    """
    if len(labels) < FEWEST:
        raise ValueError(
            f"`data` must hold at least {FEWEST} images: of fewer, nothing can "
            f"be promised about half of them. Received: {len(labels)}."
        )
    if len(set(labels)) == 1:
        raise ValueError(
            "`data` must hold images of two classes or more. Received: all "
            f"{len(labels)} images are of class {labels[0]}."
        )


def fit(probabilities, backbone_logits, labels, accuracy=None) -> Calibration:
    """The `Calibration` of a model, by what it predicts.

    The temperature is that of the highest likelihood. The surest tenth of the
    images, two tenths and so on, up to 95 %, are those of which the highest
    probability *and* the `backbone_logit` are above as many others'. Their
    accuracy is at least the lower end of the exact interval of Clopper and
    Pearson, with 95 % confidence for all ten together (Bonferroni).

    Args:
        probabilities: Array `(b, n)`, of images that the model was not trained
            on, drawn as those that it will see.
        backbone_logits: Array `(b, n)`, what the backbone predicts of them.
        labels: Integers `(b,)`, their classes.
        accuracy: Number in (0, 1): as many images are answered as keep it.
            `None`: at least half, and those of the highest accuracy.

    Raises:
        ValueError: if no threshold keeps `accuracy`.

    Reference:
        - Guo et al., "On calibration of modern neural networks", ICML 2017
        - Clopper and Pearson, "The use of confidence or fiducial limits
          illustrated in the case of the binomial", Biometrika 1934
        - Hendrycks et al., "Scaling out-of-distribution detection for
          real-world settings", ICML 2022 (logits instead of probabilities)
    """
    from scipy import optimize
    from scipy import stats

    images, classes = probabilities.shape

    def loss(log_temperature):
        found = tempered(probabilities, math.exp(log_temperature))
        of_labels = found[np.arange(images), labels]
        return -np.log(np.maximum(of_labels, 1e-30)).mean()

    # Temperatures from 1/20 to 20.
    best = optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded")
    temperature = math.exp(best.x)
    found = tempered(probabilities, temperature)
    scores = np.stack(
        [found.max(axis=-1), backbone_logit(found, backbone_logits)]
    )
    correct = found.argmax(axis=-1) == labels
    # Ranks from 1; the lower one of the two is that of an image.
    ranks = stats.rankdata(scores, "min", axis=1).min(axis=0)
    counts = np.maximum(1, np.round(SHARES * images).astype(int))
    candidates = [
        tuple(_above(one, int(rank)) for one in scores)
        for rank in np.sort(ranks)[::-1][counts - 1]
    ]

    def chosen(thresholds):
        return (scores >= np.reshape(thresholds, (2, 1))).all(axis=0)

    def least(thresholds):
        of_chosen = correct[chosen(thresholds)]
        one_sided = stats.binomtest(
            int(of_chosen.sum()), len(of_chosen), alternative="greater"
        )
        return one_sided.proportion_ci(1 - RISK / len(SHARES)).low

    bounds = np.array([least(thresholds) for thresholds in candidates])
    if accuracy is None:
        index = bounds[SHARES >= HALF].argmax()
        accuracy = bounds[index]
    elif (bounds >= accuracy).any():
        index = (bounds >= accuracy).argmax()
    else:
        enough = math.ceil(math.log(RISK / len(SHARES)) / math.log(accuracy))
        raise ValueError(
            f"`accuracy` must be at most {bounds.max():.3f}, which the surest "
            f"of these {images} images keep with 95 % confidence, or there "
            f"must be more images: {enough} without a mistake would do. "
            f"Received: accuracy={accuracy}."
        )
    threshold, least_backbone_logit = candidates[index]
    return Calibration(
        classes,
        temperature,
        max(0.0, threshold),
        least_backbone_logit,
        float(accuracy),
        float(chosen(candidates[index]).mean()),
        images,
    )


def _above(values, rank):
    """A threshold that values from this rank on reach."""
    ordered = np.sort(values)
    if rank == 1:
        return float(ordered[0]) - 1
    # Between two values, for rounding not to matter.
    return float(ordered[rank - 2 : rank].mean())
