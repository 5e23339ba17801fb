"""Why a model predicted what it did: parts that add up to the prediction.

What a model of `keras_warn.augment` says is a weighted sum of what the backbone
and the heads of its modules say, so its explanation is the sum itself and not
an estimate. Class scores are written as *centred* log-probabilities,

`score_n = log p_n - mean_n log p_n`,

of which the softmax is `p` again. What softmaxes subtract from all classes
alike has dropped out of them, and they add up (equations 4 and 8):

`score = g_net center(z_net) + sum_i sum_k g_i h_ik center(o_ik)`

with global gates `g`, head gates `h`, the backbone's logits `z_net` and the
hypotheses `o`. A part above zero speaks for a class, one below against it.

Where the gates weigh probabilities (`combination="probabilities"`), those add
up: `score_n = p_n - g / n`, with the sum `g` of all gates, which is 1 but for
sigmoids that are closed. Within a module, probabilities are no sum over heads;
the difference to a guess is divided among them as the logarithm is. That is
exact as well, with the logarithmic mean as the factor.
"""

import dataclasses
import warnings

import keras
import numpy as np
from keras import ops

from keras_warn import checks
from keras_warn.attention import attention_of
from keras_warn.explanation import geometry
from keras_warn.explanation.intermediates import outputs_of
from keras_warn.explanation.intermediates import read
from keras_warn.explanation.masks import masks_of
from keras_warn.explanation.masks import to_pixels
from keras_warn.layers import feature_maps

# What an `Explanation` has of each image.
ARRAYS = (
    "backbone",
    "heads",
    "gates",
    "backbone_probabilities",
    "intermediates",
    "targets",
    "contrast",
    "attribution",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Contributions:
    """What the backbone and each head add to the scores of `b` images.

    Attributes:
        scale: `"log-probability"` or `"probability"`, what the scores are,
            less their mean over classes.
        backbone: Array `(b, n)`, the backbone's part in each class's score.
        heads: For each of the `m` modules, an array `(b, k, n)`: the part of
            each head.
        gates: Array `(b, m + 1)`, the global gates: of the backbone, then of
            each module. `None` without gates (`gates="linear"`).
        backbone_probabilities: Array `(b, n)`, the backbone's prediction.
    """

    scale: str
    backbone: np.ndarray
    heads: list
    gates: np.ndarray | None
    backbone_probabilities: np.ndarray

    def __len__(self):
        return len(self.backbone)

    def __repr__(self):
        return (
            f"{type(self).__name__} to the {self.scale} of "
            f"{self.backbone.shape[1]} classes, for {len(self)} images"
        )

    @property
    def modules(self) -> np.ndarray:
        """The part of each module: `(b, m, n)`."""
        return np.stack([heads.sum(axis=1) for heads in self.heads], axis=1)

    @property
    def scores(self) -> np.ndarray:
        """The scores of the classes, `(b, n)`: the sum of all parts."""
        return self.backbone + self.modules.sum(axis=1)

    @property
    def probabilities(self) -> np.ndarray:
        """What the model says: `(b, n)`."""
        # Sigmoids as gates sum to a little less than 1, and to nothing where
        # all are closed: so do the probabilities that they weigh.
        total = 1 if self.gates is None else self.gates.sum(axis=1)[:, None]
        return self._probabilities(self.scores, total)

    @property
    def attention_probabilities(self) -> np.ndarray:
        """What the modules say without the backbone: `(b, n)`.

        Their gates are those of the model, divided by their sum.
        """
        modules = self.modules.sum(axis=1)
        if self.gates is not None:
            share = self.gates[:, 1:].sum(axis=1, keepdims=True)
            # Modules with all gates closed say nothing: all classes alike.
            modules = modules / np.maximum(share, np.finfo(share.dtype).tiny)
        return self._probabilities(modules)

    def _probabilities(self, scores, total=1):
        if self.scale == "probability":
            return scores + total / scores.shape[1]
        return softmax(scores)


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation(Contributions):
    """Why a model predicted what it did, for `b` images.

    Made by `keras_warn.explain`. All that `Contributions` has, and

    Attributes:
        intermediates: What `keras_warn.inspect(model)` returns, NumPy arrays.
        targets: Integers `(b,)`, the classes that are explained.
        contrast: Integers `(b,)`, the contrast classes, which they are
            compared with.
        attribution: Array `(b, height, width)`, at the resolution of the
            images: how much of each place speaks for the target, less for the
            contrast class, in all modules. An image sums to what its modules
            contribute, `contributions[:, 1:].sum(axis=1)`, but for
            what has no place in the image, such as the class token and
            padding. `None` if it is not known where in the image the positions
            of a module lie.
        placements: Where they lie: a list with, for each module, a
            `keras_warn.explanation.geometry.Placement` or `Unknown`.
        size: Height and width of the images.
        data_format: `"channels_last"` or `"channels_first"`, of the images
            and the masks.
    """

    intermediates: dict
    targets: np.ndarray
    contrast: np.ndarray
    attribution: np.ndarray | None
    placements: list
    size: tuple
    data_format: str

    def __repr__(self):
        classes, modules = self.scores.shape[1], len(self.heads)
        lines = [
            f"Explanation of {len(self)} image{'' if len(self) == 1 else 's'}, "
            f"{classes} classes, {modules} module"
            f"{'' if modules == 1 else 's'}, in {self.scale}"
        ]
        for i, parts in enumerate(self.contributions[:5]):
            texts = [f"{part:+.2f}" for part in parts]
            lines.append(
                f"  image {i}: class {self.targets[i]}, contrast class "
                f"{self.contrast[i]}: {parts.sum():+.2f} = "
                f"backbone {texts[0]}, modules {' '.join(texts[1:])}"
            )
        if len(self) > 5:
            lines.append(f"  and {len(self) - 5} more")
        return "\n".join(lines)

    @property
    def changed(self) -> np.ndarray:
        """Whether the model predicts another class than its backbone."""
        backbone = self.backbone_probabilities.argmax(axis=1)
        return self.scores.argmax(axis=1) != backbone

    @property
    def contributions(self) -> np.ndarray:
        """Why the target and not the contrast class: `(b, m + 1)`.

        Contributions of the backbone, then of each module, to the score of the
        target less that of the contrast class. They sum to this difference.
        """
        parts = np.concatenate([self.backbone[:, None], self.modules], axis=1)
        return _contrast(parts, self.targets, self.contrast)

    @property
    def masks(self) -> np.ndarray:
        """Where each module looked, `(b, m, height, width)`.

        As `keras_warn.explanation.masks.module_masks` returns it.
        """
        found = masks_of(self.intermediates, self.placements, self.size)
        return ops.convert_to_numpy(found)

    def select(self, indices) -> "Explanation":
        """The explanation of some of the images.

        Args:
            indices: Integers, or booleans `(b,)`; a list or an array.
        """
        indices = np.arange(len(self))[indices]
        return _each(lambda array: array[indices], self)


def explain(
    model, images, targets=None, contrast=None, batch_size=32
) -> Explanation:
    """What contributed to the predictions of a model, and from where.

    Args:
        model: A model made by `keras_warn.augment`, fresh or loaded from disk.
        images: What the model takes, arrays of shape `(b, ...)`.
        targets: The classes to explain: an integer, or integers `(b,)`.
            Defaults to what the model predicts.
        contrast: The contrast classes, which they are compared with in
            `contributions` and `attribution`. Defaults to what the backbone by
            itself predicts, so that it is the change that is explained; and
            where that is the target, to the best of the other classes.
        batch_size: Positive integer, the number of images at a time.

    Returns:
        An `Explanation`. Its `backbone`, `modules` and `heads` add up to its
        `scores`, of which its `probabilities` are the prediction. Where a
        model predicts NaN, the parts for that image are NaN.

    Example:

    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=2, width=3)
    >>> images = keras.random.uniform((2, 96, 96, 3))
    >>> explanation = keras_warn.explain(model, images)
    >>> explanation.scores.shape, explanation.heads[0].shape
    ((2, 5), (2, 3, 5))
    >>> explanation.attribution.shape
    (2, 96, 96)

    Reference:
        - [Rodríguez et al., 2018](https://arxiv.org/abs/1807.07320),
          equations 4 and 8
        - Ang, "The LMDI approach to decomposition analysis", Energy Policy
          2005 (the logarithmic mean)
    """
    attention = attention_of(model)
    batch_size = checks.integer("batch_size", batch_size)
    images = checks.images("images", images, model.input)
    count = min(map(len, keras.tree.flatten(images)))
    classes = model.output_shape[-1]
    targets = _classes("targets", targets, count, classes)
    contrast = _classes("contrast", contrast, count, classes)
    data_format = attention.data_format
    size = _size(images, data_format)
    placements = geometry.placements(model, size)
    why = geometry.why_unknown(placements)
    if why is not None:
        warnings.warn(
            f"There are no masks and no attribution: {why}.", stacklevel=2
        )

    def explained(start):
        def batch(x):
            return None if x is None else x[start : start + batch_size]

        intermediates, features = read(
            model, keras.tree.map_structure(batch, images)
        )
        parts = contributions(model, intermediates)
        chosen = _chosen(parts, batch(targets), batch(contrast))
        found = Explanation(
            **vars(parts),
            intermediates=intermediates,
            targets=chosen[0],
            contrast=chosen[1],
            attribution=None,
            placements=placements,
            size=size,
            data_format=data_format,
        )
        if why is not None:
            return found
        attribution = _attribution(attention, features, found)
        return dataclasses.replace(found, attribution=attribution)

    # The maps that the modules read are large: one batch at a time.
    batches = map(explained, range(0, count, batch_size))
    return _each(lambda *arrays: np.concatenate(arrays), *batches)


def contributions(model, intermediates) -> Contributions:
    """What the backbone and each head add to the class scores.

    Args:
        model: A model made by `keras_warn.augment`.
        intermediates: The outputs of `keras_warn.inspect(model)`, as tensors
            or NumPy arrays. The masks are not needed.

    Returns:
        `Contributions`, in float64.

    Example:

    >>> from keras_warn.explanation.decomposition import contributions
    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=2, width=3)
    >>> intermediates = keras_warn.inspect(model)(ops.zeros((1, 96, 96, 3)))
    >>> parts = contributions(model, intermediates)
    >>> total = parts.backbone + parts.modules.sum(axis=1)
    >>> bool(abs(total - parts.scores).max() < 1e-9)
    True
    """
    attention = attention_of(model)
    outputs = outputs_of(intermediates)
    backbone = _float64(outputs.backbone_prediction)
    readouts = _readouts(attention, outputs)
    gates, log_scale = None, True
    if attention.combined is not None:  # gates="linear"
        own = _combined(attention, outputs)[:, 0]
    else:
        gates = _float64(outputs.global_gates)
        log_scale = attention.rectified.combination == "log_probabilities"
        own = gates[:, :1] * (backbone if log_scale else softmax(backbone))
    return Contributions(
        scale="log-probability" if log_scale else "probability",
        backbone=_centered(own),
        heads=[
            _centered(readout(_float64(module.hypotheses)))
            for readout, module in zip(readouts, outputs.modules, strict=True)
        ],
        gates=gates,
        backbone_probabilities=softmax(backbone),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Readout:
    """How the hypotheses of a module become contributions to the scores.

    `coefficients_k (hypotheses_k . matrices_k) factors + constants_k`
    """

    coefficients: np.ndarray  # the gates, (b, k) or (1, 1)
    matrices: tuple = ()  # (k, n, n) or (n, n); none where classes stay apart
    factors: np.ndarray | float = 1.0  # (b, 1, n), or 1
    constants: np.ndarray | float = 0.0  # (b, k, n), or 0

    def __call__(self, hypotheses):
        """The contributions `(b, k, n)`, up to what all classes share."""
        for matrix in self.matrices:
            hypotheses = hypotheses.swapaxes(0, 1) @ matrix
            hypotheses = hypotheses.swapaxes(0, 1)
        scaled = self.coefficients[:, :, None] * hypotheses
        return scaled * self.factors + self.constants

    def contrast(self, kernel, targets, contrast):
        """What makes the score of one class differ from that of another.

        By the kernel `(k, f, n)` of the output heads: weights `(b, k, f)` of
        the attended features.
        """
        images = np.arange(len(targets))
        shape = (len(targets), 1, kernel.shape[-1])
        factors = np.broadcast_to(self.factors, shape)[:, 0]
        # The kernels are large: of the last one, only the columns of the two
        # classes are taken.
        *kernels, last = kernel, *self.matrices
        difference = sum(
            sign * factors[images, classes] * last[..., classes]
            for sign, classes in ((1, targets), (-1, contrast))
        )
        for kernel in reversed(kernels):
            difference = kernel @ difference.astype(kernel.dtype)
        difference = np.moveaxis(difference, -1, 0)
        return self.coefficients[:, :, None] * difference


def _readouts(attention, outputs):
    """The `_Readout` of each module."""
    if attention.combined is not None:  # gates="linear"
        return _linear_readouts(attention, outputs)
    from scipy import special

    readouts = []
    for i, module in enumerate(outputs.modules, start=1):
        head_gates = _float64(module.head_gates)
        gate = _float64(outputs.global_gates)[:, i : i + 1]
        if attention.rectified.combination == "log_probabilities":
            readouts.append(_Readout(gate * head_gates))
            continue
        # Logarithms relative to a guess are a sum over heads, less the
        # normaliser, which is divided as the gates are. So is what the sum of
        # large hypotheses lost by rounding.
        logits = _float64(module.prediction)
        over_guess = special.log_softmax(logits, axis=-1)
        over_guess += np.log(logits.shape[1])
        # `(x - 1) / log x`, the logarithmic mean of `x` and 1.
        factors = gate * special.exprel(over_guess) / logits.shape[1]
        factors = factors[:, None]
        hypotheses = _float64(module.hypotheses)
        whole = np.einsum("bk,bkn->bn", head_gates, hypotheses)
        normaliser = (over_guess - whole)[:, None]
        shares = _shares(head_gates, axis=1)
        constants = shares[:, :, None] * normaliser * factors
        readouts.append(_Readout(head_gates, (), factors, constants))
    return readouts


def _linear_readouts(attention, outputs):
    """The `_Readout` of each module, with `gates="linear"`."""
    combined = _combined(attention, outputs)
    combining = _kernels(attention.combined, combined.shape[1])
    readouts = []
    for i, module in enumerate(attention.modules, start=1):
        hypotheses = _float64(outputs.modules[i - 1].hypotheses)
        heads = hypotheses.shape[1]
        kernels = _kernels(module.prediction, heads)
        readout = _Readout(np.ones((1, 1)), (kernels, combining[i]))
        rest = combined[:, i] - readout(hypotheses).sum(axis=1)
        rest = rest[:, None] / heads
        readouts.append(dataclasses.replace(readout, constants=rest))
    return readouts


def _combined(attention, outputs):
    """Of `gates="linear"`: what each prediction adds, `(b, m + 1, n)`."""
    predictions = [outputs.backbone_prediction]
    predictions += [module.prediction for module in outputs.modules]
    layer = attention.combined
    kernels = _kernels(layer, len(predictions))
    stacked = np.stack([_float64(one) for one in predictions], axis=1)
    parts = np.einsum("bin,inj->bij", stacked, kernels)
    scores = _float64(layer(ops.concatenate(predictions, axis=-1)))
    # Quantized layers round what they read.
    rest = scores[:, None] - parts.sum(axis=1, keepdims=True)
    return parts + rest / len(predictions)


def _kernels(layer, count):
    """The kernel `(count, n, n)` of a linear map of `count` predictions."""
    if layer.quantization_mode is None:
        kernel = layer.kernel
    else:  # whatever the scheme, what the layer makes of each input
        kernel = layer(ops.eye(count * layer.units))
    return _float64(kernel).reshape(count, layer.units, layer.units)


def _attribution(attention, features, found):
    """Evidence by place, of all modules: `(b, height, width)`."""
    total = 0
    classes = found.targets, found.contrast
    outputs = outputs_of(found.intermediates)
    readouts = _readouts(attention, outputs)
    for i, module in enumerate(attention.modules):
        kernel = _float32(module.hypotheses.kernel)
        weights = readouts[i].contrast(kernel, *classes)
        shared = module.hypotheses.shared_kernel
        if shared is not None:
            weights = weights @ _float32(shared).T
        masks = ops.cast(outputs.modules[i].masks, "float32")
        masks = feature_maps.heads_first(masks, attention.data_format)
        masks = _float64(masks)
        located = _located(module.attended, features[i], masks, weights)
        # What is no sum over places, such as the normaliser of a softmax,
        # lies where the head looks, and everywhere if it looks nowhere.
        heads = _contrast(found.heads[i], *classes)
        places = tuple(range(2, masks.ndim))
        rest = heads - located.sum(axis=places)
        rest = rest.reshape(rest.shape + (1,) * len(places))
        located += rest * _shares(masks, axis=places)
        by_place = located.sum(axis=1)
        total = total + to_pixels(by_place, found.placements[i], found.size)
    return total


def _located(attended, features, masks, weights):
    """What heads find where features are, by weights `(b, k, f)` of them."""
    data_format = attended.data_format
    offsets = feature_maps.offsets(attended.kernel_size)
    batch, heads, *places = masks.shape
    first = feature_maps.channel_axis(features.shape, data_format) == 1
    # First a tensor: on PyTorch, Keras 3.15 casts no bfloat16 of NumPy.
    features = ops.cast(ops.convert_to_tensor(features), "float32")
    features = feature_maps.flatten_positions(features, data_format)
    # One product for all offsets, which reads the map once.
    weights = weights.reshape(batch, heads * len(offsets), -1)
    found = ops.einsum(
        "bjc,bcp->bjp" if first else "bjc,bpc->bjp",
        ops.cast(weights, "float32"),
        features,
    )
    found = ops.convert_to_numpy(found)
    found = found.reshape(batch, heads, len(offsets), *places)
    # Tokens have no neighbours, and one offset only.
    reach = attended.kernel_size // 2
    padded = np.pad(masks, [(0, 0)] * 2 + [(reach, reach)] * len(places))
    total = 0
    for d, offset in enumerate(offsets):
        shifted = (
            slice(reach - n, reach - n + length)
            for n, length in zip(offset, places, strict=False)
        )
        total = total + found[:, :, d] * padded[..., *shifted]
    return total


def _each(function, *explanations):
    """An `Explanation` of what a function makes of the arrays of several."""
    arrays = (
        {name: getattr(one, name) for name in ARRAYS} for one in explanations
    )
    return dataclasses.replace(
        explanations[0],
        **keras.tree.map_structure(
            lambda *x: None if x[0] is None else function(*x), *arrays
        ),
    )


def outcomes(backbone_classes, classes, labels) -> np.ndarray:
    """What attention made of the backbone's predictions.

    Args:
        backbone_classes: Integers `(b,)`, what the backbone predicts.
        classes: Integers `(b,)`, what the model predicts.
        labels: Integers `(b,)`, the true classes.

    Returns:
        An array of strings `(b,)`: `"fixed"` if the backbone is wrong and the
        model correct, `"broken"` if it is the other way round, `"correct"` or
        `"wrong"` if both are.

    Example:

    >>> outcomes([1, 2, 3, 4], [0, 0, 3, 5], [0, 2, 3, 3]).tolist()
    ['fixed', 'broken', 'correct', 'wrong']
    """
    backbone_classes, classes, labels = map(
        np.asarray, (backbone_classes, classes, labels)
    )
    if not backbone_classes.shape == classes.shape == labels.shape:
        raise ValueError(
            "`backbone_classes`, `classes` and `labels` must have the same "
            f"shape. Received: {backbone_classes.shape}, {classes.shape} and "
            f"{labels.shape}."
        )
    before, after = backbone_classes == labels, classes == labels
    return np.select(
        [~before & after, before & ~after, before & after],
        ["fixed", "broken", "correct"],
        "wrong",
    )


def _chosen(parts, targets, contrast):
    """Classes to explain and to compare with, given or chosen."""
    backbone = parts.backbone_probabilities.argmax(axis=1)
    scores = parts.scores
    images = np.arange(len(scores))
    if targets is None:
        targets = scores.argmax(axis=1)
        if contrast is not None:
            # Not the class that it is compared with.
            scores[images, contrast] = -np.inf
            targets = np.where(
                targets == contrast, scores.argmax(axis=1), targets
            )
    if contrast is None:
        scores[images, targets] = -np.inf
        others = scores.argmax(axis=1)
        contrast = np.where(backbone == targets, others, backbone)
    same = np.flatnonzero(targets == contrast)
    if len(same):
        raise ValueError(
            "`targets` and `contrast` must be different classes. Received: "
            f"class {targets[same[0]]} twice."
        )
    return targets, contrast


def _size(images, data_format):
    """Height and width of images, the first array of rank 4."""
    shapes = [array.shape for array in keras.tree.flatten(images)]
    shape = next((shape for shape in shapes if len(shape) == 4), None)
    if shape is None:
        raise ValueError(f"`images` must have rank 4. Received: {shapes}.")
    return shape[2:] if data_format == "channels_first" else shape[1:3]


def _classes(name, value, count, classes):
    """`value` as integers `(b,)` in `[0, n)`, or `None`."""
    if value is None:
        return None
    value = np.asarray(ops.convert_to_numpy(value))
    wrong = value[(value < 0) | (value >= classes)]
    if wrong.size:
        raise ValueError(
            f"`{name}` must be classes from 0 to {classes - 1}. "
            f"Received: {name}={wrong.flat[0]}."
        )
    value = value.astype(np.int64, casting="same_kind")  # no fractions
    return np.broadcast_to(value, (count,))


def _contrast(parts, targets, contrast):
    """Parts `(b, j, n)` for one class less those for another: `(b, j)`."""
    images = np.arange(len(parts))
    return parts[images, :, targets] - parts[images, :, contrast]


def _shares(weights, axis):
    """Non-negative weights relative to their sum, alike where all are 0."""
    weights = np.where(weights.any(axis=axis, keepdims=True), weights, 1.0)
    return weights / weights.sum(axis=axis, keepdims=True)


def _centered(scores):
    return scores - scores.mean(axis=-1, keepdims=True)


def softmax(scores) -> np.ndarray:
    """Over the last axis, in float64, which not all backends compute in."""
    from scipy import special

    return special.softmax(scores, axis=-1)


def _float32(x):
    return ops.convert_to_numpy(x).astype("float32", copy=False)


def _float64(x):
    return ops.convert_to_numpy(x).astype("float64")
