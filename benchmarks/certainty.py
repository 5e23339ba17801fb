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
import pathlib

# First, for what it sets before TensorFlow is imported.
import frozen  # isort: skip
import keras
import numpy as np
import scipy.special
from scipy import optimize
from sklearn import metrics
from sklearn import neighbors

import keras_warn
from keras_warn import confidence
from keras_warn import data
from keras_warn import training
from keras_warn.data import images
from keras_warn.data import transforms
from keras_warn.explanation import masks
from keras_warn.explanation.intermediates import outputs_of
from keras_warn.reporting import comparison

WIDTH = 8
ACCURACY = "test accuracy (%)"
BINS = 15  # of calibration errors
PROMISED = 0.75  # of answers, the share that is correct at least
ALONE = ", by probability alone"
UNKNOWN = slice(0, None, 5)  # classes that nobody is taught
FAR = 800  # images of another data set, at most
NOISE = 200  # images of which each number is drawn alone
# Of a second look: share of a mask's peak, and of the image's side at least.
ZOOMS = ((0.3, 0.6), (0.5, 0.4), (0.5, 0.6), (0.5, 0.8))


@dataclasses.dataclass
class Looks:
    """What a model says of images.

    `logits` are `(b, m + 1, n)`, of the backbone and of each module; `masks`
    `(b, height, width)`, of all modules together.
    """

    logits: np.ndarray
    masks: np.ndarray

    @property
    def log_probabilities(self):
        """Of the model: `(b, n)`."""
        return scipy.special.log_softmax(self.logits.mean(axis=1), axis=-1)


def looker(model):
    """A function from images, uint8 `(b, height, width, 3)`, to `Looks`."""
    inspected = keras_warn.inspect(model)
    inspected.compile(jit_compile=False)

    def look(pixels):
        logits, found = [], []
        for i in range(0, len(pixels), frozen.BATCH):
            batch = pixels[i : i + frozen.BATCH].astype("float32")
            parts = inspected.predict_on_batch(batch)
            outputs = outputs_of(parts)
            said = [module.prediction for module in outputs.modules]
            said.insert(0, outputs.backbone_prediction)
            logits.append(np.stack(said, axis=1))
            mask = masks.combined_mask(model, parts, pixels.shape[1:3])
            found.append(mask.astype("float32"))
        return Looks(np.concatenate(logits), np.concatenate(found))

    return look


def softmax(logits):
    return scipy.special.softmax(logits.astype("float64"), axis=-1)


def log_softmax(logits):
    return scipy.special.log_softmax(logits.astype("float64"), axis=-1)


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


def accuracy(log_probabilities, labels):
    return 100 * float(np.mean(log_probabilities.argmax(axis=-1) == labels))


def temperatures(looks, labels):
    """One of the backbone and of each module, of the highest likelihood."""

    def loss(logarithms):
        tempered = looks.logits / np.exp(logarithms)[:, None]
        found = log_softmax(tempered.mean(axis=1))
        return -found[np.arange(len(labels)), labels].mean()

    parts = looks.logits.shape[1]
    found = optimize.minimize(loss, np.zeros(parts), bounds=[(-3, 3)] * parts)
    return np.exp(found.x)


def calibration(validation, test):
    """Errors and likelihoods of attention and of the probe, also tempered."""
    rows = {}

    def add(who, sure):
        bins = comparison.predictions(sure, test[1]).reliability(BINS)
        error = 100 * bins.expected_calibration_error
        nats = metrics.log_loss(test[1], sure, labels=range(sure.shape[1]))
        rows[who, "calibration error (%)"] = error
        rows[who, "negative log-likelihood"] = nats

    for name, said in PREDICTORS.items():
        sure, labels = softmax(said(validation[0])), validation[1]
        temperature = confidence.fit(sure, sure, labels).temperature
        sure = softmax(said(test[0]))
        for who, t in ((name, 1.0), (f"{name}, tempered", temperature)):
            rows[who, "temperature"] = t
            add(who, confidence.tempered(sure, t))
    each = temperatures(*validation)[:, None]
    add(
        "attention, a temperature a module",
        softmax((test[0].logits / each).mean(axis=1)),
    )
    return rows


def answered(validation, test, unknown, promised=PROMISED):
    """What is answered, of known classes and others, and how much correctly.

    `validation` and `test` are pairs of `Looks` and labels, `unknown` `Looks`
    by what they are of. Nothing is answered, where no threshold keeps what is
    promised.
    """
    rows = {}
    for row, (says, knows) in RULES.items():

        def both(looks, says=says, knows=knows):
            logits = says(looks)
            # Logarithms of probabilities, as logits, say nothing beside them.
            beside = knows(looks) if knows else log_softmax(logits)
            return softmax(logits), beside

        found = None
        with contextlib.suppress(ValueError):
            found = confidence.fit(
                *both(validation[0]), validation[1], promised
            )
        correct = says(test[0]).argmax(axis=-1) == test[1]
        rows[row, "accuracy (%)"] = 100 * correct.mean()
        for kind, looks in {"known": test[0], **unknown}.items():
            sure, logits = both(looks)
            chosen = np.zeros(len(sure), bool)
            if found is not None:
                chosen = found.answers(found.probabilities(sure), logits)
            rows[row, f"{kind}: answered (%)"] = 100 * chosen.mean()
            if kind == "known" and chosen.any():
                share = correct[chosen].mean()
                rows[row, "known: of these correct (%)"] = 100 * share
    return rows


def scores(looks, nearest):
    """How known an image looks, by several scores: higher is more known."""
    logits, backbone = attention(looks), probe(looks)
    own = scipy.special.log_softmax(looks.logits, axis=-1)
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


def tables_of_unknown(validation, labels, looks, found, promised=PROMISED):
    """The tables `answered` and `unknown`.

    `looks` and `found`, `scores`, are of images by their kind, of which those
    of the kind "known" have `labels`; `validation` as of `answered`.
    """
    unknown = {kind: x for kind, x in looks.items() if kind != "known"}
    apart = {}
    for kind in unknown:
        for name, values in found[kind].items():
            area, passing = told_apart(found["known"][name], values)
            apart[name, f"AUROC, {kind} (%)"] = area
            apart[name, f"false positives, {kind} (%)"] = passing
    test = looks["known"], labels
    left = answered(validation, test, unknown, promised)
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


def second_looks(look, pixels, labels, validation, center):
    """Accuracies of one look, and of two and six with equal weights.

    The square is chosen by validation images and their classes.
    """

    def first(of):
        views = np.stack([center(image) for image in of])
        return views, look(views)

    def together(*looks):
        return sum(one.log_probabilities for one in looks)

    best, chosen = -1.0, None
    _, once = first(validation[0])
    for zoom in ZOOMS:
        there, _ = zoomed(validation[0], once, *zoom, center)
        found = accuracy(together(once, look(there)), validation[1])
        if found > best:
            best, chosen = found, zoom
    views, once = first(pixels)
    there, middle = zoomed(pixels, once, *chosen, center)
    mirrored = look(views[:, :, ::-1])
    random = np.random.default_rng(0)
    crop = transforms.RandomCrop(center.size, center.resize_shorter_edge)
    crops = [
        look(np.stack([crop(image, random) for image in pixels]))
        for _ in range(5)
    ]
    found = {
        "one look": once.log_probabilities,
        "and its mirror image": together(once, mirrored),
        "and a crop of the middle": together(once, look(middle)),
        "and five random crops": together(once, *crops),
        "and what masks show": together(once, look(there)),
    }
    rows = {(name, ACCURACY): accuracy(x, labels) for name, x in found.items()}
    for name, value in zip(("peak", "side"), chosen, strict=True):
        rows["and what masks show", f"share of the {name}"] = value
    return rows


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


def rows_of(about, tables):
    """What functions of this file returned, as rows of a table on disk."""
    return [
        {**about, "table": table, "row": row, "measure": x, "value": value}
        for table, values in tables.items()
        for (row, x), value in values.items()
    ]


def main(argv=None):
    parser = frozen.make_parser(__doc__, epochs=30, out="certainty.csv")
    add = parser.add_argument
    add("--far", required=True, type=pathlib.Path, metavar="DIR")
    add("--rate", required=True, type=float)
    add("--decay", required=True, type=float)
    add("--cache", required=True, type=pathlib.Path, help="folder of features")
    s = parser.parse_args(argv)

    parts = frozen.load(s.images)
    every = np.arange(len(parts[0].names))
    unknown = every[UNKNOWN]
    known = np.setdiff1d(every, unknown)
    crop, center = frozen.crops(s.image_size)
    validation, test = map(frozen.pixels_of, parts[1:])
    far = frozen.load(s.far)[2]
    step = max(1, len(far) // FAR)
    far = frozen.pixels_of(far.select(np.arange(0, len(far), step)[:FAR]))
    run = {"data": s.name, "backbone": frozen.name_of(s.backbone)}

    def middles(of):
        return np.stack([center(image) for image in of])

    def trained(learning, classes, seed):
        trunk = frozen.trunk_of(s, classes)
        keras.utils.set_random_seed(seed)
        model = keras_warn.augment(
            trunk, classes, width=WIDTH, classifier_activation=None
        )
        features, head = keras_warn.split(model)
        features.compile(jit_compile=False)
        batches = data.TrainingBatches(learning, crop, frozen.BATCH)
        cache = training.FeatureCache(
            features, batches, s.cache, frozen.VIEWS, limit=None
        )
        frozen.train([head], cache, s.epochs, seed, s.rate, s.decay)
        return model, trunk

    def of_unknown_classes(seed):
        """Tables of a model that is taught a part of the classes."""
        taught = of_classes(parts[0], known)
        model, trunk = trained(taught, known.size, seed)
        look = looker(model)
        trunk.compile(jit_compile=False)
        near = neighbors.NearestNeighbors(n_neighbors=10, metric="cosine")
        near.fit(trunk.predict(middles(frozen.pixels_of(taught)), verbose=0))
        views = middles(test)
        is_unknown = np.isin(parts[2].labels, unknown)
        seen = {
            "known": views[~is_unknown],
            "near": views[is_unknown],
            "far": middles(far),
            "noise": noise((NOISE, *views.shape[1:])),
        }
        looks = {kind: look(pixels) for kind, pixels in seen.items()}
        of = {
            kind: scores(
                looks[kind],
                -near.kneighbors(trunk.predict(pixels, verbose=0))[0][:, -1],
            )
            for kind, pixels in seen.items()
        }
        held_out = of_classes(parts[1], known)
        return tables_of_unknown(
            (look(middles(frozen.pixels_of(held_out))), held_out.labels),
            of_classes(parts[2], known).labels,
            looks,
            of,
        )

    def of_all_classes(seed):
        model, _ = trained(parts[0], every.size, seed)
        look = looker(model)
        judged = look(middles(validation)), parts[1].labels
        tested = look(middles(test)), parts[2].labels
        return {
            "calibration": calibration(judged, tested),
            "zoom": second_looks(
                look,
                test,
                parts[2].labels,
                (validation, parts[1].labels),
                center,
            ),
        }

    for seed in s.seeds:
        for first, tables in (
            ("answered", of_unknown_classes),
            ("calibration", of_all_classes),
        ):
            about = {**run, "seed": seed}
            if len(frozen.rows(s.out, {**about, "table": first})):
                continue
            frozen.add_rows(s.out, rows_of(about, tables(seed)))
            print(f"Seed {seed}: {first} and others are there.", flush=True)


if __name__ == "__main__":
    main()
