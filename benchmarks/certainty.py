"""How sure predictions are: calibration, unknown classes, a second look.

    python benchmarks/certainty.py "CUB, 50 birds" \\
        --images CUB_200_2011_first50 --far grocery81 \\
        --backbone "MobileNetV2(alpha=0.35)" --image-size 128 \\
        --weights mobilenet_v2_0.35_128_notop.weights.h5 \\
        --rate 0.01 --decay 0.3 --cache features

Trains attention on a frozen backbone, as `benchmarks/frozen.py` does and with
the rate and decay that it has chosen, and asks of each seed's model:

- calibration: would a temperature, fitted on validation images, help?
- answered: which images does a model answer that was taught four of five
  classes, by the thresholds of `keras_warn.calibrate`, by the highest logit of
  the gated sum instead of the backbone's, and by the probability alone: of
  those classes, of the fifth (near), of another data set (far), of noise?
- unknown: do other scores tell these apart better?
- zoom: is a second look, at the box that masks show, worth its computation?

What is chosen is chosen on validation images. Rows are added to `--out`, a
number each; what is there is not done again.
`benchmarks/evidence.py` draws the means over seeds.
"""

import contextlib
import dataclasses
import functools
import pathlib

# First, for what it sets before TensorFlow is imported.
from measuring import rows  # isort: skip
import numpy as np
import scipy.special
from measuring import trainings
from scipy import optimize
from sklearn import metrics
from sklearn import neighbors

import keras_warn
from keras_warn import confidence
from keras_warn.data import images
from keras_warn.data import transforms
from keras_warn.explanation import masks
from keras_warn.explanation.intermediates import outputs_of
from keras_warn.reporting import comparison

BINS = 15  # of calibration errors
PROMISED = 0.75  # of answers, the share that is correct at least
UNKNOWN = slice(0, None, 5)  # classes that nobody is taught
FAR = 800  # images of another data set, at most
NOISE = 200  # images of which each number is drawn alone
# Of a second look: share of a mask's peak, and of the image's side at least.
ZOOMS = ((0.3, 0.6), (0.5, 0.4), (0.5, 0.6), (0.5, 0.8))

softmax = functools.partial(scipy.special.softmax, axis=-1)
log_softmax = functools.partial(scipy.special.log_softmax, axis=-1)


@dataclasses.dataclass
class Looks:
    """What a model says of images, and their `labels`, if these are known.

    `logits` are `(b, m + 1, n)`, of the backbone and of each module; `masks`
    `(b, height, width)`, of all modules together.
    """

    logits: np.ndarray
    masks: np.ndarray
    labels: np.ndarray | None = None

    @property
    def log_probabilities(self):
        """Of the model: `(b, n)`."""
        return log_softmax(self.logits.mean(axis=1))


def looker(model):
    """A function from images, uint8 `(b, height, width, 3)`, to `Looks`."""
    inspected = keras_warn.inspect(model)
    inspected.compile(jit_compile=False)

    def look(pixels, labels=None):
        logits, found = [], []
        for i in range(0, len(pixels), trainings.BATCH):
            batch = pixels[i : i + trainings.BATCH].astype("float32")
            parts = inspected.predict_on_batch(batch)
            outputs = outputs_of(parts)
            said = [module.prediction for module in outputs.modules]
            said.insert(0, outputs.backbone_prediction)
            logits.append(np.stack(said, axis=1).astype("float64"))
            mask = masks.combined_mask(model, parts, pixels.shape[1:3])
            found.append(mask.astype("float32"))
        return Looks(np.concatenate(logits), np.concatenate(found), labels)

    return look


def attention(looks):
    return looks.logits.mean(axis=1)


def probe(looks):
    """The backbone's own prediction, which is trained as a linear probe."""
    return looks.logits[:, 0]


PREDICTORS = {"attention": attention, "linear probe": probe}
# Whose probabilities say what is answered, and whose logits beside them.
RULES = {
    "attention": (attention, probe),
    "attention, by its own logit": (attention, attention),
    "attention, by probability alone": (attention, None),
    "linear probe": (probe, probe),
    "linear probe, by probability alone": (probe, None),
}


def temperatures(looks):
    """One of the backbone and of each module, of the highest likelihood."""

    def loss(logarithms):
        tempered = looks.logits / np.exp(logarithms)[:, None]
        found = log_softmax(tempered.mean(axis=1))
        return -found[np.arange(len(found)), looks.labels].mean()

    parts = looks.logits.shape[1]
    found = optimize.minimize(loss, np.zeros(parts), bounds=[(-3, 3)] * parts)
    return np.exp(found.x)


def calibration(validation, test):
    """Errors and likelihoods of attention and of the probe, also tempered."""

    def measures(sure):
        bins = comparison.predictions(sure, test.labels).reliability(BINS)
        classes = range(sure.shape[1])
        nats = metrics.log_loss(test.labels, sure, labels=classes)
        return {
            "calibration error (%)": 100 * bins.expected_calibration_error,
            "negative log-likelihood": nats,
        }

    found = {}
    for name, said in PREDICTORS.items():
        sure = softmax(said(validation))
        temperature = confidence.fit(sure, sure, validation.labels).temperature
        sure = softmax(said(test))
        for row, t in ((name, 1.0), (f"{name}, tempered", temperature)):
            tempered = confidence.tempered(sure, t)
            found[row] = {"temperature": t, **measures(tempered)}
    each = test.logits / temperatures(validation)[:, None]
    sure = softmax(each.mean(axis=1))
    return {**found, "attention, a temperature a module": measures(sure)}


def answered(validation, seen, promised=PROMISED):
    """What is answered, of known classes and others, and how much correctly.

    `seen` are `Looks` by what they are of, those of "known" with labels.
    Nothing is answered, where no threshold keeps what is promised.
    """
    found = {}
    for row, (says, knows) in RULES.items():

        def heard(looks, says=says, knows=knows):
            logits = says(looks)
            # Logarithms of probabilities, as logits, say nothing beside them.
            beside = knows(looks) if knows else log_softmax(logits)
            return softmax(logits), beside

        rule = None
        with contextlib.suppress(ValueError):
            rule = confidence.fit(
                *heard(validation), validation.labels, promised
            )
        correct = says(seen["known"]).argmax(axis=-1) == seen["known"].labels
        found[row] = {"accuracy (%)": 100 * correct.mean()}
        for kind, looks in seen.items():
            sure, logits = heard(looks)
            chosen = np.zeros(len(sure), bool)
            if rule is not None:
                chosen = rule.answers(rule.probabilities(sure), logits)
            found[row][f"{kind}: answered (%)"] = 100 * chosen.mean()
            if kind == "known" and chosen.any():
                share = correct[chosen].mean()
                found[row]["known: of these correct (%)"] = 100 * share
    return found


def scores(looks, nearest):
    """How known an image looks, by several scores: higher is more known."""
    logits, backbone = attention(looks), probe(looks)
    own = log_softmax(looks.logits)
    found = looks.log_probabilities
    chosen = found.argmax(axis=-1)
    every = np.arange(len(found))
    places = looks.masks.reshape(len(found), -1)
    places = places / places.sum(axis=1, keepdims=True)
    return {
        "highest probability": found.max(axis=-1),
        "negative entropy": (np.exp(found) * found).sum(axis=-1),
        "energy": scipy.special.logsumexp(logits, axis=-1),
        "highest logit": logits.max(axis=-1),
        "linear probe: highest probability": own[:, 0].max(axis=-1),
        "linear probe: energy": scipy.special.logsumexp(backbone, axis=-1),
        "linear probe: logit of attention's class": backbone[every, chosen],
        "nearest training image, features": nearest,
        "agreement of modules": own[every, :, chosen].mean(axis=1),
        "lowest of modules": own[every, :, chosen].min(axis=1),
        "negative entropy of masks": -scipy.special.entr(places).sum(axis=1),
    }


def told_apart(known, unknown):
    """AUROC, and false positives where 95 % of known ones pass; in %."""
    are_known = np.repeat([1, 0], [len(known), len(unknown)])
    area = metrics.roc_auc_score(are_known, np.concatenate([known, unknown]))
    passing = np.mean(unknown >= np.quantile(known, 0.05))
    return 100 * area, 100 * float(passing)


def noise(shape):
    """Images of which each number is drawn alone, from all that there are."""
    return np.random.default_rng(0).integers(0, 256, shape, "uint8")


def tables_of_unknown(
    model, features, taught, validation, seen, labels, promised=PROMISED
):
    """The tables `answered` and `unknown`.

    Neighbours are looked for among what `features`, a model, returns of
    `taught` images. `validation` are images and labels. `seen` are images by
    their kind, of which those of the kind "known" have `labels`.
    """
    features.compile(jit_compile=False)
    nearest = neighbors.NearestNeighbors(n_neighbors=10, metric="cosine")
    nearest.fit(features.predict(taught, verbose=0))
    look = looker(model)
    looks, found = {}, {}
    for kind, pixels in seen.items():
        looks[kind] = look(pixels, labels if kind == "known" else None)
        distances, _ = nearest.kneighbors(features.predict(pixels, verbose=0))
        found[kind] = scores(looks[kind], -distances[:, -1])
    known = found.pop("known")
    apart = {name: {} for name in known}
    for kind, of_kind in found.items():
        for name, values in of_kind.items():
            area, passing = told_apart(known[name], values)
            apart[name][f"AUROC, {kind} (%)"] = area
            apart[name][f"false positives, {kind} (%)"] = passing
    left = answered(look(*validation), looks, promised)
    return {"answered": left, "unknown": apart}


def zoom_boxes(found, threshold, least):
    """Boxes around what masks show, in the shape of the image: `(b, 4)`.

    They hold all places where the mask has at least `threshold` of its peak, a
    twentieth of their extent on each side, and `least` of the image's sides.
    """
    size = np.array(found.shape[1:])
    boxes = []
    for mask in found:
        shown = np.argwhere(mask >= threshold * mask.max())
        first, end = shown.min(axis=0), shown.max(axis=0) + 1
        share = min(1.0, max(least, np.max(1.1 * (end - first) / size)))
        corner = (first + end - share * size) / 2
        corner = np.clip(corner, 0, (1 - share) * size)
        boxes.append([*corner, *(corner + share * size)])
    return np.array(boxes)


def zoomed(pixels, looks, threshold, least, center):
    """Squares cut out of images as they are stored, `(b, size, size, 3)`.

    What masks show in `looks` at `center` crops, and as large squares of the
    middle.
    """
    there, middle = [], []
    boxes = zoom_boxes(looks.masks, threshold, least)
    for image, box in zip(pixels, boxes, strict=True):
        shape = np.array(image.shape[:2])
        scale = shape.min() / center.resize_shorter_edge
        corner = (shape - center.size * scale) / 2 + box[:2] * scale
        length = (box[2] - box[0]) * scale
        for views, start in ((there, corner), (middle, (shape - length) / 2)):
            part = (*start, *(start + length))
            views.append(images.resample(image, part, (center.size,) * 2))
    return np.stack(there), np.stack(middle)


def second_looks(look, test, validation, center):
    """Accuracies of one look, and of two and six with equal weights.

    Of data sets. The square is chosen by the images of validation.
    """

    def accuracy(images, *looks):
        found = sum(one.log_probabilities for one in looks)
        return 100 * float(np.mean(found.argmax(axis=-1) == images.labels))

    once = look(trainings.views(validation, center))
    pixels, ahead = trainings.pixels_of(validation), []
    for zoom in ZOOMS:
        there, _ = zoomed(pixels, once, *zoom, center)
        ahead.append(accuracy(validation, once, look(there)))
    peak, side = ZOOMS[np.argmax(ahead)]
    views, pixels = trainings.views(test, center), trainings.pixels_of(test)
    once = look(views)
    there, middle = map(look, zoomed(pixels, once, peak, side, center))
    random = np.random.default_rng(0)
    crop = transforms.RandomCrop(center.size, center.resize_shorter_edge)
    crop = functools.partial(crop, random=random)
    found = {
        "one look": [],
        "and its mirror image": [look(views[:, :, ::-1])],
        "and a crop of the middle": [middle],
        "and five random crops": [
            look(trainings.views(test, crop)) for _ in range(5)
        ],
        "and what masks show": [there],
    }
    found = {
        row: {"test accuracy (%)": accuracy(test, once, *others)}
        for row, others in found.items()
    }
    zoom = {"share of the peak": peak, "share of the side": side}
    found["and what masks show"] |= zoom
    return found


def of_classes(dataset, classes):
    """The examples of some classes, which are counted from 0 then."""
    chosen = np.flatnonzero(np.isin(dataset.labels, classes))
    dataset = dataset.select(chosen)
    return dataclasses.replace(
        dataset,
        labels=np.searchsorted(classes, dataset.labels),
        names=[dataset.names[i] for i in classes],
        splits={},
    )


def main(argv=None):
    parser = trainings.frozen_parser(__doc__, "certainty.csv")
    parser.add_argument(
        "--far", required=True, type=pathlib.Path, metavar="DIR"
    )
    s = parser.parse_args(argv)

    parts = trainings.load(s.images)
    decoded = (trainings.decoded(parts[x]) for x in ("validation", "test"))
    learning, (validation, test) = parts["train"], decoded
    every = np.arange(len(learning.names))
    unknown = every[UNKNOWN]
    known = np.setdiff1d(every, unknown)
    _, center = trainings.crops(s.image_size)
    far = trainings.load(s.far)["test"]
    far = far.select(np.arange(len(far))[:: max(1, len(far) // FAR)][:FAR])

    def middles(images):
        return trainings.views(images, center)

    def of_unknown_classes(seed):
        """Tables of a model that is taught a part of the classes."""
        taught, judged, tested = (
            of_classes(part, known) for part in (learning, validation, test)
        )
        model, trunk = trainings.on_frozen(s, taught, seed)
        seen = {
            "known": middles(tested),
            "near": middles(of_classes(test, unknown)),
            "far": middles(far),
            "noise": noise((NOISE, s.image_size, s.image_size, 3)),
        }
        judged = middles(judged), judged.labels
        given = model, trunk, middles(taught), judged, seen, tested.labels
        return tables_of_unknown(*given)

    def of_all_classes(seed):
        model, _ = trainings.on_frozen(s, learning, seed)
        look = looker(model)
        judged, tested = (
            look(middles(part), part.labels) for part in (validation, test)
        )
        return {
            "calibration": calibration(judged, tested),
            "zoom": second_looks(look, test, validation, center),
        }

    about = trainings.about(s)
    for first, tables in (
        ("answered", of_unknown_classes),
        ("calibration", of_all_classes),
    ):
        rows.add_tables(s.out, about, s.seeds, {"table": first}, tables)


if __name__ == "__main__":
    main()
