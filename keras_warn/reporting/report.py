"""A page about a test set: what attention changed, with examples.

Jinja2 and Pillow are imported when a report is made.
"""

import base64
import io
import pathlib

import keras
import numpy as np

from keras_warn import checks
from keras_warn import files
from keras_warn import metadata
from keras_warn.attention import attention_of
from keras_warn.data.images import import_pillow
from keras_warn.environment import environment
from keras_warn.explanation import overlays
from keras_warn.explanation.decomposition import explain
from keras_warn.explanation.decomposition import outcomes
from keras_warn.explanation.intermediates import outputs_of
from keras_warn.reporting import pages
from keras_warn.reporting.comparison import Comparison
from keras_warn.reporting.comparison import batches_of
from keras_warn.reporting.comparison import compare
from keras_warn.staging import operations_so_far

# The longest side of the images, in pixels: of the image, of what is drawn
# over it. Smaller images are shown pixel by pixel.
IMAGE_SIDE, OVERLAY_SIDE = 192, 112
SMALL = 64

# The best of these qualities is taken with which an image is no larger than
# this many bytes, or has no more of them a pixel: a hundred examples, with
# four modules, stay below 5 MB, even of noisy photos.
QUALITIES = (80, 60, 45, 30, 15)
FEW_BYTES, BYTES_PER_PIXEL = 2500, 0.28

# How many classes and pairs of classes stand at the top; the others fold.
ROWS = 10

# Gates that differ less than this from image to image are called constant.
CONSTANT = 0.01

OUTCOMES = ("fixed", "broken", "correct", "wrong")

# How many examples of each outcome are in sight; the others fold.
IN_SIGHT = 3


def report(
    model,
    data,
    path,
    names=None,
    examples=100,
    title=None,
    image_name=None,
    batch_size=32,
    verbose=1,
    baseline=None,
    overwrite=False,
) -> Comparison:
    """Writes a page about what attention does on a test set.

    One HTML file that needs no other file and no internet: accuracies with and
    without attention, images of predictions that it fixed and broke, with
    the evidence for them, gains and losses by class, the use of the gates,
    calibration, and early exits if the modules have losses of their own.

    *Without attention* is what `baseline` predicts, and the backbone's own
    prediction inside the model, as in
    `keras_warn.reporting.comparison.compare`. The page says which is meant.

    Args:
        model: A model made by `keras_warn.augment`, fresh or loaded from disk.
        data: Images as the model takes them and their true classes, as a pair
            of arrays `(images, labels)`, or as batches `(images, labels)` in
            an order that does not change: a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, a list. Classes are integers, or
            one-hot. The page numbers images in this order.
        path: Where to write the page.
        names: Names of the classes, of all of them. Defaults to their
            numbers.
        examples: How many images to show at most: those that attention fixed
            and broke, half of each if there are enough, and if they are few,
            some others whose confidence it changed.
        title: Title of the page.
        image_name: Function from the number of an image, from 0, to what it
            is called on the page, such as `file_names.__getitem__`. Defaults
            to its number.
        batch_size: Positive integer, the number of images at a time.
        verbose: 0 or 1; whether progress is shown.
        baseline: A `keras.Model` that was trained in the same way without
            attention, as of `keras_warn.reporting.comparison.compare`.
        overwrite: Whether a file at `path` is replaced, when everything is
            done.

    Returns:
        The `keras_warn.reporting.comparison.Comparison` that the page shows.

    Raises:
        FileExistsError: if there is a file at `path`, without `overwrite`.
        ImportError: if Jinja2 or Pillow is not installed.
        OSError: if `path` cannot be written.
        ValueError: if `model` has no attention of `keras_warn.augment` or does
            not take images of 1 or 3 channels; if `names` are not as many as
            its classes; if `baseline` does not fit `model`; or if `data` does
            not fit it, or is shuffled.

    Example:

    >>> import tempfile
    >>> backbone = keras.Sequential(
    ...     [keras.Input((24, 24, 3)), keras.layers.Conv2D(8, 3, 2)]
    ... )
    >>> model = keras_warn.augment(backbone, classes=3, depth=1, width=2)
    >>> data = keras.random.uniform((4, 24, 24, 3)), [0, 1, 2, 0]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/report.html"
    ...     found = keras_warn.report(model, data, path, verbose=0)
    >>> len(found)
    4
    """
    template = pages.template("report")
    import_pillow()
    path = pathlib.Path(path)
    files.check_new(path, checks.flag("overwrite", overwrite))
    examples = checks.integer("examples", examples, 0)
    names = _checked_names(names, model)
    _check_order(model, data, batch_size)
    kept = _Kept(examples)
    comparison = compare(model, data, batch_size, verbose, baseline, kept)
    chosen = choose_examples(comparison, examples)
    shown = _examples(
        model, kept.images(chosen), comparison, chosen, names, batch_size
    )
    for example in shown:
        if image_name is not None:
            name = str(image_name(example["index"]))
            example["image"] = files.displayed(name)
    difference = comparison.over_baseline or comparison.over_backbone
    page = template.render(
        title=title or f"With and without attention: {model.name}",
        comparison=comparison,
        difference=difference,
        shares=_counted(
            outcomes(
                difference.before.classes,
                difference.after.classes,
                comparison.labels,
            )
        ),
        examples=shown,
        counts=_counted(comparison.outcomes),
        names=names,
        classes=_class_rows(comparison, names),
        rows=ROWS,
        in_sight=IN_SIGHT,
        gates=_gate_rows(comparison),
        constant=CONSTANT,
        calibration=metadata.of_model(model).calibration,
        predictors={
            name: predictions
            for name, predictions in (
                ("baseline", comparison.baseline),
                ("backbone inside the model", comparison.backbone),
                ("modules alone", comparison.modules),
                ("model, with attention", comparison.output),
            )
            if predictions is not None
        },
        early=_early(model, comparison),
        side_by_side=attention_of(model).side_by_side,
        facts=_facts(model, comparison),
    )
    with files.replacing(path) as unfinished:
        # Names of files may hold what is no text.
        unfinished.write_text(page, "utf-8", errors="replace")
    return comparison


def _counted(kinds):
    return {name: int(np.sum(kinds == name)) for name in OUTCOMES}


def choose_examples(comparison, count) -> np.ndarray:
    """Which images to show, at most `count`: their indices.

    Half are fixed and half are broken, or more of one where there are fewer
    of the other. If both together are fewer than `count`, up to a quarter of
    `count` are others, as many correct as wrong. Of each outcome, those come
    first whose true class gained or lost most.
    """
    change = np.abs(
        comparison.output.label_confidences
        - comparison.backbone.label_confidences
    )
    outcomes = comparison.outcomes
    order = np.argsort(-change, kind="stable")
    fixed, broken, correct, wrong = (
        order[outcomes[order] == name] for name in OUTCOMES
    )

    def shares(first, second, count):
        """How many of each, in fair parts."""
        of_first = min(len(first), max((count + 1) // 2, count - len(second)))
        return first[:of_first], second[: count - of_first]

    changed = shares(fixed, broken, count)
    left = count - sum(map(len, changed))
    others = shares(correct, wrong, min(left, -(-count // 4)))
    return np.concatenate([*changed, *others]).astype(np.int64)


class _Kept:
    """Keeps the images that `choose_examples` may choose, as they pass."""

    def __init__(self, count):
        few = -(-count // 4)
        self._limits = dict(
            zip(OUTCOMES, (count, count, few, few), strict=True)
        )
        self._best = {name: [] for name in OUTCOMES}
        self._seen = 0

    def __call__(self, images, found):
        """Sees a batch: the `watch` of `compare`."""
        before, after = found["backbone"], found["output"]
        change = np.abs(after.label_confidences - before.label_confidences)
        kinds = outcomes(before.classes, after.classes, found["labels"])
        for name, limit in self._limits.items():
            rows = np.flatnonzero(kinds == name)
            # As `choose_examples`: the largest change first, then the first.
            rows = rows[np.argsort(-change[rows], kind="stable")][:limit]
            best = self._best[name] + [
                (
                    -change[row],
                    self._seen + row,
                    keras.tree.map_structure(
                        lambda x, row=row: x[row].copy(), images
                    ),
                )
                for row in rows
            ]
            self._best[name] = sorted(best, key=lambda one: one[:2])[:limit]
        self._seen += len(kinds)

    def images(self, indices):
        """The images at some indices, in this order; `None` of none."""
        images = {
            index: image
            for best in self._best.values()
            for _, index, image in best
        }
        chosen = [images[index] for index in indices]
        if not chosen:
            return None
        return keras.tree.map_structure(lambda *x: np.stack(x), *chosen)


def _check_order(model, data, batch_size):
    """Raises if the first batch is another one the second time."""
    if isinstance(data, tuple | list):
        return
    first, second = (
        next(batches_of(model, data, batch_size)[1], ((), ())) for _ in range(2)
    )
    pairs = zip(*map(keras.tree.flatten, (first, second)), strict=True)
    if not all(np.array_equal(*pair, equal_nan=True) for pair in pairs):
        raise ValueError(
            "`data` must have the same order each time. Received: another "
            "first batch the second time. Do not shuffle it."
        )


def _examples(model, images, comparison, chosen, names, batch_size):
    """What the template shows of each chosen image."""
    if not len(chosen):
        return []
    data_format = attention_of(model).data_format
    displayed = next(x for x in keras.tree.flatten(images) if x.ndim == 4)
    # Of all at once, which have one way of showing them.
    displayed = overlays.displayable(displayed, data_format)
    shown = []
    for start in range(0, len(chosen), batch_size):
        rows = slice(start, start + batch_size)
        explanation = explain(
            model,
            keras.tree.map_structure(lambda x, rows=rows: x[rows], images),
            batch_size=batch_size,
        )
        drawn = _drawn(displayed[rows], explanation, names)
        parts = _parts(explanation, names)
        for i, index in enumerate(chosen[rows]):
            target, contrast = explanation.targets[i], explanation.contrast[i]
            before, after = comparison.backbone, comparison.output
            shown.append(
                {
                    "index": int(index),
                    "image": f"image {index}",
                    "outcome": str(comparison.outcomes[index]),
                    "label": names[comparison.labels[index]],
                    "backbone": names[before.classes[index]],
                    "output": names[after.classes[index]],
                    "backbone_confidence": before.confidences[index],
                    "confidence": after.confidences[index],
                    "target": names[target],
                    "contrast": names[contrast],
                    "images": drawn[i],
                    "parts": parts[i],
                    "total": explanation.contributions[i].sum(),
                    "scale": explanation.scale,
                }
            )
    return shown


def _drawn(displayed, explanation, names):
    """For each image, itself and what is drawn over it."""

    def cell(name, pixels, text, side=OVERLAY_SIDE):
        return {"name": name, "src": _source(pixels, side), "alt": text}

    drawn = [
        [cell("Image", image, "The image", IMAGE_SIDE)] for image in displayed
    ]
    if explanation.attribution is None:
        return drawn
    masks, attribution = explanation.masks, explanation.attribution
    looks = {"All masks": ("All modules look", masks.sum(axis=1))}
    for i, of_module in enumerate(masks.swapaxes(0, 1), start=1):
        looks[f"Module {i}"] = (f"Module {i} looks", of_module)
    evidence = overlays.attribution_overlay(displayed, attribution)
    lit = {
        name: overlays.mask_overlay(displayed, found)
        for name, (_, found) in looks.items()
    }
    for i, cells in enumerate(drawn):
        target, contrast = explanation.targets[i], explanation.contrast[i]
        text = (
            f"Evidence for {names[target]} and against {names[contrast]}: "
            f"{_evidence_in_words(attribution[i])}"
        )
        cells.append(cell("Evidence", evidence[i], text))
        for name, (who, found) in looks.items():
            text = f"{who} most at the {place(found[i])}"
            cells.append(cell(name, lit[name][i], text))
    return drawn


def _evidence_in_words(region):
    if not region.any():
        return "none"
    parts = []
    if region.max() > 0:
        parts.append(f"most for it at the {place(region)}")
    if region.min() < 0:
        parts.append(f"most against it at the {place(-region)}")
    return ", ".join(parts)


def place(mask) -> str:
    """In words, where a mask `(height, width)` is strongest.

    Example:

    >>> import numpy as np
    >>> place(np.eye(6)[:, ::-1] * np.arange(6))
    'top right'
    """
    row, column = np.unravel_index(mask.argmax(), mask.shape)
    row = ("top", "", "bottom")[3 * row // mask.shape[0]]
    column = ("left", "", "right")[3 * column // mask.shape[1]]
    return f"{row} {column}".strip() or "centre"


def _parts(explanation, names):
    """For each image, what the backbone and each module say and weigh."""
    contributions = explanation.contributions
    highest = np.abs(contributions).max(axis=1, keepdims=True)
    lengths = contributions / np.where(highest == 0, 1, highest)
    said = [explanation.backbone_probabilities.argmax(axis=1)]
    for module in outputs_of(explanation.intermediates).modules:
        said.append(module.prediction.argmax(axis=-1))
    return [
        [
            {
                "name": f"Module {i}" if i else "Backbone",
                "says": names[said[i][row]],
                "gate": None
                if explanation.gates is None
                else explanation.gates[row, i],
                "contribution": contributions[row, i],
                "length": lengths[row, i],
            }
            for i in range(contributions.shape[1])
        ]
        for row in range(len(contributions))
    ]


def _source(pixels, side):
    """An image `(height, width, 3)` as a `data:` address, made smaller."""
    image = import_pillow().Image.fromarray(pixels)
    small = max(image.size) <= SMALL
    image.thumbnail((side, side))
    limit = max(FEW_BYTES, BYTES_PER_PIXEL * image.width * image.height)
    # Of few pixels, each is seen. More effort than 2 takes lossless compression
    # ten times as long, for 5 % less.
    settings = [{"lossless": True}] if small else []
    settings += [{"quality": quality} for quality in QUALITIES]
    for setting in settings:
        file = io.BytesIO()
        image.save(file, "WEBP", method=2, **setting)
        if file.tell() <= limit:
            break
    coded = base64.b64encode(file.getvalue()).decode("ascii")
    return {
        "address": f"data:image/webp;base64,{coded}",
        "width": image.width,
        "height": image.height,
        "small": small,
    }


def _class_rows(comparison, names):
    """Classes with images, the largest gain first."""
    # Gains are those that training with attention brought, if that is known.
    found = (comparison.over_baseline or comparison.over_backbone).per_class
    statistics = {
        **found,
        "baseline": found["before"],
        "backbone": comparison.over_backbone.per_class["before"],
        "output": found["after"],
    }
    rows = [
        {"name": name, **{key: values[i] for key, values in statistics.items()}}
        for i, name in enumerate(names)
        if statistics["count"][i]
    ]
    rows.sort(key=lambda row: -row["gain"])
    highest = max(abs(row["gain"]) for row in rows) or 1
    for row in rows:
        row["length"] = row["gain"] / highest
    return rows


def _gate_rows(comparison):
    """Statistics of the gate of the backbone and of each module."""
    entropies = [None, *comparison.entropies.mean(axis=0)]
    rows = []
    for i in range(comparison.entropies.shape[1] + 1):
        name = f"Module {i}" if i else "Backbone"
        row = {"name": name, "mask_entropy": entropies[i]}
        if comparison.gates is not None:
            gates = comparison.gates[:, i]
            row["mean"], row["std"] = gates.mean(), gates.std()
            row["quantiles"] = np.quantile(gates, (0.05, 0.25, 0.5, 0.75, 0.95))
            if i:
                heads = comparison.head_gates[i - 1]
                row["heads"] = [*zip(heads.mean(0), heads.std(0), strict=True)]
        rows.append(row)
    return rows


def _early(model, comparison):
    """What early exits save and lose; `None` where there is nothing to say."""
    if comparison.exits is None:
        return None
    try:
        operations = operations_so_far(model)
    # A model whose operations cannot be counted, or that nobody can leave.
    except (RuntimeError, ValueError):
        return None
    found, chosen = comparison.cascade(), metadata.of_model(model).early_exits
    at = chosen and comparison.cascade([chosen.threshold])
    left = at and at.shares[0]
    ends = [*comparison.exits, comparison.output]
    names = [f"After module {i}" for i in range(1, len(ends))]
    return {
        "curve": [
            *zip(found.shares @ operations, found.accuracies, strict=True)
        ],
        "chosen": chosen,
        "at": at
        and {
            "operations": left @ operations,
            "accuracy": at.accuracies[0],
            "lost": at.lost[0] / at.images,
        },
        "rows": [
            {
                "name": name,
                "operations": operations[i],
                "accuracy": ends[i].accuracy(),
                "left": left is not None and left[i],
            }
            for i, name in enumerate([*names, "Whole model"])
        ],
    }


def _facts(model, comparison):
    """How the page was made. No paths, and nothing about who made it."""
    where = environment()
    backend = where["backend"]
    return {
        "Model": model.name,
        "Parameters": f"{model.count_params():,}",
        "Attention modules": str(comparison.entropies.shape[1]),
        "Classes": f"{comparison.n:,}",
        "Images": f"{len(comparison):,}",
        "keras_warn": where["keras_warn"],
        "Keras": where["keras"],
        "Backend": f"{backend} {where[backend]}",
        "Python": where["python"],
        "Date": where["date"].replace("T", " ").replace("+00:00", " UTC"),
    }


def _checked_names(names, model):
    """Names of all classes as strings."""
    classes = model.output_shape[-1]
    names = range(classes) if names is None else names
    if not isinstance(names, str):
        names = [str(name) for name in names]
    return metadata.class_names("names", names, classes)
