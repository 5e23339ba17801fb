"""How many images leave a model early, and how many answers that loses.

`keras_warn.early_exits` finds it for a model.
"""

import dataclasses
import itertools
import math
import typing

import numpy as np

from keras_warn import checks
from keras_warn.confidence import RISK

# From the strictest, which hardly an image reaches, close together where
# probabilities are near 1. Chosen before any image is seen: with thresholds
# chosen by the images, the bound in `fit` would not hold.
THRESHOLDS = 1 / (1 + np.exp(-np.arange(16, -5, -0.1)))


@dataclasses.dataclass(frozen=True)
class EarlyExits:
    """When the rest of a model need not run.

    Attributes:
        threshold: Number in [0, 1]: an image leaves after the first module
            where the highest probability by the modules so far is at least
            this, as `keras_warn.stages` returns it.
        loss: Number in (0, 1): at most this share of images leaves with a
            wrong answer where the whole model has the correct one, with 95 %
            confidence. Accuracy falls by no more.
        left: Tuple of `m` numbers in [0, 1], the shares of images that leave
            after each module.
        operations: Number in (0, 1], the mean operations of an image as a
            share of the whole model's.
        images: Integer, how many images that was found on.
        weights: String that tells the model's weights from those after more
            training; `None` where they do not matter.
    """

    threshold: float
    loss: float
    left: tuple
    operations: float
    images: int
    weights: str | None = None

    def __post_init__(self):
        for name in ("threshold", "loss", "operations"):
            checks.real(name, getattr(self, name), maximum=1.0)
        left = tuple(checks.real("left", x, maximum=1.0) for x in self.left)
        object.__setattr__(self, "left", left)
        checks.integer("images", self.images)


class Cascade(typing.NamedTuple):
    """What `t` thresholds do to the same images, each with one for all exits.

    Attributes:
        thresholds: `(t,)`.
        shares: `(t, m + 1)`; of images that leave after each module, and of
            those that never do.
        accuracies: `(t,)`; shares of images that are predicted correctly.
        lost: `(t,)` integers; images that leave with a wrong answer where the
            whole model has the correct one.
        images: How many images there are.
    """

    thresholds: np.ndarray
    shares: np.ndarray
    accuracies: np.ndarray
    lost: np.ndarray
    images: int


def cascade(confidences, correct, thresholds=THRESHOLDS) -> Cascade:
    """What thresholds do to images.

    Args:
        confidences: Array `(b, m)`, the highest probability at each exit.
        correct: Booleans `(b, m + 1)`, whether its class is the true one, at
            each exit and for the whole model.
        thresholds: Numbers `(t,)`.

    Example:

    >>> import numpy as np
    >>> confidences = np.array([[0.9], [0.7], [0.6]])
    >>> correct = np.array([[True, True], [False, True], [False, False]])
    >>> found = cascade(confidences, correct, [0.8, 0.65])
    >>> found.lost.tolist(), found.shares[:, 0].round(2).tolist()
    ([0, 1], [0.33, 0.67])
    """
    images, ends = correct.shape
    shares, accuracies, lost = [], [], []
    for threshold in thresholds:
        sure = confidences >= threshold
        left = np.where(sure.any(axis=1), sure.argmax(axis=1), ends - 1)
        answers = correct[np.arange(images), left]
        shares.append(np.bincount(left, minlength=ends) / images)
        accuracies.append(answers.mean())
        lost.append(np.sum(correct[:, -1] & ~answers))
    arrays = map(np.array, (thresholds, shares, accuracies, lost))
    return Cascade(*arrays, images)


def fit(found, operations, loss) -> EarlyExits:
    """The lowest threshold that keeps a loss.

    Thresholds are tested one after the other from the strictest, up to the
    first that may lose more, by the upper end of the exact interval of Clopper
    and Pearson. A threshold that loses too much is chosen only if the first
    such one passes its test, which happens once in twenty times at most: tests
    in a fixed sequence need not be stricter for being many (Angelopoulos et
    al.).

    Args:
        found: `Cascade` of `THRESHOLDS` and of images that the model was not
            trained on, drawn as those that it will see.
        operations: Array `(m + 1,)`, as of
            `keras_warn.staging.operations_so_far`.
        loss: Number in (0, 1), as of `EarlyExits`.

    Raises:
        TypeError: if `loss` is not a number.
        ValueError: if it is out of range, or no threshold keeps it.

    Reference:
        - Angelopoulos et al., "Learn then test: Calibrating predictive
          algorithms to achieve risk control", 2021
        - Clopper and Pearson, "The use of confidence or fiducial limits
          illustrated in the case of the binomial", Biometrika 1934
    """
    from scipy import stats

    loss = check_loss(loss)

    def bound(lost):
        test = stats.binomtest(int(lost), found.images, alternative="less")
        return test.proportion_ci(1 - RISK).high

    too_many = next(n for n in itertools.count() if bound(n) > loss)
    if too_many == 0:
        enough = math.ceil(math.log(RISK) / math.log1p(-loss))
        raise ValueError(
            f"`data` must hold {enough} images or more for loss={loss:g}, so "
            "many if none of them is lost. Received: "
            f"{found.images} images."
        )
    failed = [*np.flatnonzero(found.lost >= too_many), len(found.lost)]
    chosen = failed[0] - 1
    if chosen < 0:
        raise ValueError(
            f"`loss` must be at least {bound(found.lost[0]):.2g}, which the "
            f"strictest threshold keeps on these images. Received: loss={loss}."
        )
    shares = found.shares[chosen]
    return EarlyExits(
        float(found.thresholds[chosen]),
        loss,
        tuple(shares[:-1].tolist()),
        float(shares @ operations),
        found.images,
    )


def check_loss(loss) -> float:
    """Returns `loss` as a `float` in (0, 1), or says why not."""
    loss = checks.real("loss", loss, maximum=0.999)
    if loss == 0:
        raise ValueError(
            "`loss` must be above 0: however many images lose nothing, the "
            f"next one may. Received: loss={loss}."
        )
    return loss
