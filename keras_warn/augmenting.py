"""Attention for a backbone that already exists."""

import types

import keras

from keras_warn import attachment
from keras_warn import attention
from keras_warn import checks
from keras_warn import graph
from keras_warn import layers
from keras_warn._classifier import Classifier
from keras_warn._classifier import pooled
from keras_warn._classifier import read_classifier
from keras_warn.attention import part_name
from keras_warn.regularizers import MaskDiversity

# What `preset` stands for.
PRESETS = {
    # Each prediction has a loss of its own, all count alike, and the backbone
    # is left undisturbed.
    "side_by_side": {
        "width": 8,
        "kernel_size": 1,
        "kernel_initializer": "he_normal",
        "rank": 64,
        "gates": "average",
        "gate_batch_norm": False,
        "agreement_weight": 1.0,
        "gradient_scale": 0.0,
        "diversity_weight": 0.0,
        "diversity_pool": 1,
    },
    # One loss, of the gated sum.
    "paper": {
        "width": 4,
        "kernel_size": 1,
        "kernel_initializer": "he_normal",
        "rank": "full",
        "gates": "softmax",
        "gate_batch_norm": False,
        "agreement_weight": 0.0,
        "gradient_scale": 1.0,
        "diversity_weight": 0.1,
        "diversity_pool": 1,
    },
    # The defaults of train_cifar_attention.py, and the width of its scripts, in
    # https://github.com/prlz77/attend-and-rectify.
    "reference": {
        "width": 4,
        "kernel_size": 3,
        "kernel_initializer": {
            "class_name": "VarianceScaling",
            "config": {
                "scale": 2.0,
                "mode": "fan_in",
                "distribution": "untruncated_normal",
            },
        },
        "rank": "full",
        "gates": "softmax",
        "gate_batch_norm": True,
        "agreement_weight": 1.0,
        "gradient_scale": 1.0,
        "diversity_weight": 0.001,
        "diversity_pool": 2,
    },
}


def augment(
    backbone,
    classes=None,
    *,
    preset="side_by_side",
    depth=None,
    width=None,
    attend_at=None,
    kernel_size=None,
    kernel_initializer=None,
    rank=None,
    projection=None,
    mask_activation="softmax",
    gates=None,
    gate_score_activation="tanh",
    gate_batch_norm=None,
    combination="log_probabilities",
    agreement_weight=None,
    gradient_scale=None,
    diversity_weight=None,
    diversity_pool=None,
    classifier_activation="softmax",
    name=None,
) -> keras.Model:
    """Adds gated attention to a backbone.

    Attention modules read feature maps of the backbone at several depths. Each
    attends to a few places, predicts the classes from what is there, and gates
    weigh these predictions against the backbone's own:

    `scores = g_0 * backbone + g_1 * module_1 + ... + g_m * module_m`.

    The result is a flat functional model that contains the backbone's own
    layers, by reference and under their own names: weights loaded into either
    are loaded into both, and with all gates on the backbone the result is the
    backbone's own prediction, bit for bit (in float32; one that ends in half
    precision is rounded itself).

    An argument that is left at `None` is as `preset` has it:

    - `"side_by_side"` trains each prediction on its own, lets all count alike,
      and sends no gradients of modules into the backbone. It suits backbones
      that are pretrained, frozen or fine-tuned.
    - `"paper"` trains the gated sum of all predictions, by gates that learn,
      and the backbone through it. It suits backbones trained from scratch.
    - `"reference"` is the authors' code.

    Args:
        backbone: A built functional or Sequential `keras.Model` with one image
            input (or several) and one output. If it ends in a classifier, a
            `Dense` or convolution with softmax or linear activation, its
            classes and classifier are kept. Otherwise `classes` gives it a new
            one.
        classes: Integer of at least 2, the number of classes. Needed without
            a classifier, and optional with one.
        preset: `"side_by_side"`, `"paper"` or `"reference"`, see above.
            Arguments that are given win. With `gates="linear"` or
            `combination="probabilities"`, the `agreement_weight` of a preset
            gives way and is 0.
        depth: Positive integer, the number of attention modules `m` (the
            paper's *attention depth*). They read the last feature map of each
            spatial resolution, and the one in front of a head's 1x1
            convolution, from the deepest backwards. Defaults to 3, or to all
            there are if they are fewer.
        width: Positive integer, the number of attention heads `k` of each
            module (the paper's *attention width*). Output heads have
            `rank * (kernel_size ** 2 * channels + width * classes)` parameters
            a module; with `rank="full"`, or where those are fewer,
            `width * kernel_size ** 2 * channels * classes`. With 4 modules of
            16 heads, 3x3 kernels and 200 classes, MobileNetV2 has 2.2 times its
            own parameters at rank 64, and 36 times in full rank.
        attend_at: Where to attach the modules instead: a layer name, a
            negative index into the backbone's attachment points (-1 is the
            deepest), a tensor of the backbone, or a list of these.
        kernel_size: Positive odd integer, the size of the kernels for masks,
            hypotheses and head gates. 1 is nearly free; the reference uses 3.
        kernel_initializer: Initializer of all kernels of the modules. An
            object with a seed starts kernels of equal shape alike.
        rank: Positive integer, the rank of the output heads' kernels, or
            `"full"`. All heads of a module share a linear map of what they
            attend to, to `rank` numbers, wherever that makes its parameters
            fewer. See `OutputHeads`.
        projection: Positive integer or `None`. Channels to which each feature
            map is projected by a 1x1 convolution before its module. With large
            kernels and many heads, that makes operations fewer.
        mask_activation: `"softmax"` or `"sigmoid"`, see `AttentionHeads`.
        gates: How predictions are weighed, within and across modules:
            `"softmax"`, `"sigmoid"` (divided by their sum), or one of the
            paper's ablations `"average"` (equal weights) and `"linear"` (one
            linear map of all predictions, no gates).
        gate_score_activation: Activation of gate scores. Defaults to `"tanh"`,
            with which no gate can close; `None` for no bound. Without effect
            where there are no gates to learn (`"average"`, `"linear"`), as
            `gate_batch_norm`.
        gate_batch_norm: Whether the scores of the global gates are
            batch-normalised, as in the reference.
        combination: `"log_probabilities"` or `"probabilities"`, what the
            gates weigh. See `GatedSum`.
        agreement_weight: Non-negative number, the weight of the penalty on
            predictions that contradict each other, see `GatedSum`. With
            cross-entropy, 0 trains the rectified prediction alone, and 1 each
            prediction on its own, as the reference does. It needs gates, and
            `combination="log_probabilities"`.
        gradient_scale: Non-negative number, the factor on the gradients that
            modules and global gates send into the backbone. 0 is the paper's
            blocked-gradient ablation.
        diversity_weight: Non-negative number, the weight of the penalty on
            overlapping masks, averaged over modules. See `MaskDiversity`.
        diversity_pool: Positive integer, see `MaskDiversity`.
        classifier_activation: `"softmax"`, or `None` for a model that returns
            scores: for a loss with `from_logits=True`, or, with
            `agreement_weight=0`, for `GatedLogLikelihood`.
        name: Name of the model. Defaults to the backbone's with `_warn`.

    Returns:
        A functional `keras.Model` with the backbone's inputs and an output of
        shape `(b, n)`: probabilities, or scores without
        `classifier_activation`. Its new layers are named `module_<i>_masks`,
        `module_<i>_attended`, `module_<i>_hypotheses`,
        `module_<i>_head_gates` and `module_<i>_prediction` for `i` from 1, in
        the order of `attend_at` or from shallow to deep, then `global_gates`
        and `rectified`. `keras_warn.attention.attention_of` gives them by
        what they do, and `keras_warn.inspect` their outputs.

    Raises:
        ValueError: if an argument is out of its range or contradicts the
            backbone; if that has no graph to read (a subclassed model), has
            attention already, has fewer attachment points than `depth`, or
            ends in predictions whose logits cannot be recovered.

    Example:

    >>> backbone = keras.applications.MobileNetV2(
    ...     (96, 96, 3), alpha=0.35, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=2, width=3)
    >>> model.output_shape
    (None, 5)
    >>> model.get_layer("module_2_masks").output.shape
    (None, 3, 3, 3)
    >>> model.compile("sgd", "sparse_categorical_crossentropy")

    Reference:
        [Rodríguez et al., 2018](https://arxiv.org/abs/1807.07320)
    """
    if classes is not None:
        classes = checks.integer("classes", classes, minimum=2)
    options = types.SimpleNamespace(
        projection=projection,
        mask_activation=mask_activation,
        gate_score_activation=gate_score_activation,
        **with_preset(
            preset,
            combination,
            width=width,
            kernel_size=kernel_size,
            kernel_initializer=kernel_initializer,
            rank=rank,
            gates=gates,
            gate_batch_norm=gate_batch_norm,
            agreement_weight=agreement_weight,
            gradient_scale=gradient_scale,
            diversity_weight=diversity_weight,
            diversity_pool=diversity_pool,
        ),
    )
    options.width = checks.integer("width", options.width)
    options.rank = checks.integer("rank", options.rank, word="full")
    if projection is not None:
        options.projection = checks.integer("projection", projection)
    checks.one_of("mask_activation", mask_activation, ("softmax", "sigmoid"))
    checks.one_of(
        "gates", options.gates, ("softmax", "sigmoid", "average", "linear")
    )
    checks.activation("gate_score_activation", gate_score_activation)
    checks.flag("gate_batch_norm", options.gate_batch_norm)
    if options.agreement_weight and options.gates == "linear":
        raise ValueError(
            "`agreement_weight` must be 0 with gates='linear', which leave "
            "one prediction. Received: "
            f"agreement_weight={options.agreement_weight}."
        )
    options.gradient_scale = checks.real(
        "gradient_scale", options.gradient_scale
    )
    options.diversity_weight = checks.real(
        "diversity_weight", options.diversity_weight
    )
    options.diversity_pool = checks.integer(
        "diversity_pool", options.diversity_pool
    )
    checks.one_of(
        "classifier_activation", classifier_activation, ("softmax", None)
    )

    network = graph.read(backbone)
    _check_names(network.model)
    data_format = network.data_format
    maps = attachment.resolve(network, attend_at, depth)
    if options.diversity_weight and options.diversity_pool > 1:
        for features in maps:
            _check_pool(features, options.diversity_pool, data_format)
    # The reference averages the penalty over modules.
    options.diversity_weight /= len(maps)
    classifier = _read_or_make_classifier(network, classes)

    predictions = [classifier.logits]
    for i, features in enumerate(maps, start=1):
        predictions.append(
            _attention_module(
                features, i, classifier.classes, options, data_format
            )
        )

    features = classifier.features
    dtype = graph.dtype_policy(features)
    if options.gates == "linear":
        stacked = keras.layers.Concatenate(
            dtype=predictions[-1].dtype, name=attention.PREDICTIONS_STACKED
        )(predictions)
        # A softmax of one prediction with its gate fixed at one.
        predictions = [
            keras.layers.Dense(
                classifier.classes,
                use_bias=False,
                dtype=stacked.dtype,
                name=attention.PREDICTIONS_COMBINED,
            )(stacked)
        ]
    if options.gates in ("linear", "average"):
        global_gate = layers.UniformGate(
            len(predictions), dtype=dtype, name=attention.GLOBAL_GATES
        )
    else:
        if options.gradient_scale != 1:
            features = layers.GradientScale(
                options.gradient_scale,
                dtype=dtype,
                name=attention.GLOBAL_GRADIENT,
            )(features)
        global_gate = layers.GlobalGate(
            len(predictions),
            options.gates,
            gate_score_activation,
            options.gate_batch_norm,
            kernel_initializer=options.kernel_initializer,
            dtype=dtype,
            name=attention.GLOBAL_GATES,
        )
    rectified = layers.GatedSum(
        combination,
        classifier_activation,
        options.agreement_weight,
        dtype=dtype,
        name=attention.RECTIFIED,
    )(global_gate(features), predictions)
    return keras.Model(
        graph.inputs(network.model),
        rectified,
        name=name or f"{backbone.name}_warn",
    )


def with_preset(preset, combination="log_probabilities", **given) -> dict:
    """Arguments of `augment`: what is given, and the rest of a preset.

    Args:
        preset: A name in `PRESETS`.
        combination: The argument of `augment`.
        **given: Arguments that are in `PRESETS`. `None` is omitted.

    Returns:
        A dictionary with every argument that is in `PRESETS`.
    """
    values = dict(PRESETS[checks.one_of("preset", preset, PRESETS)])
    if given.get("gates") == "linear" or combination == "probabilities":
        values["agreement_weight"] = 0.0  # or it would contradict them
    given = {name: x for name, x in given.items() if x is not None}
    return values | given


def _attention_module(features, number, classes, options, data_format):
    """The prediction `(b, n)` of one module (Figure 2a).

    `options` are arguments of `augment`, by their names.
    """
    policy = graph.dtype_policy(features)

    def named(part, dtype=policy):
        return {"name": part_name(number, part), "dtype": dtype}

    features = layers.GradientScale(
        options.gradient_scale, **named("gradient")
    )(features)
    if options.projection is not None:
        of_tokens = len(features.shape) == 3
        of_map = {"kernel_size": 1, "data_format": data_format}
        layer = keras.layers.Dense if of_tokens else keras.layers.Conv2D
        features = layer(
            options.projection,
            use_bias=False,
            **({} if of_tokens else of_map),
            **named("projection"),
        )(features)
    penalty = None
    if options.diversity_weight > 0:
        penalty = MaskDiversity(
            options.diversity_weight, options.diversity_pool, data_format
        )
    masks = layers.AttentionHeads(
        options.width,
        options.kernel_size,
        options.mask_activation,
        data_format,
        options.kernel_initializer,
        activity_regularizer=penalty,
        **named("masks"),
    )(features)
    attended = layers.AttendedFeatures(
        options.kernel_size, data_format, **named("attended")
    )(features, masks)
    rank = options.rank
    size, outputs = attended.shape[-1], options.width * classes
    if rank == "full" or rank * (size + outputs) >= size * outputs:
        rank = None
    hypotheses = layers.OutputHeads(
        classes, options.kernel_initializer, rank=rank, **named("hypotheses")
    )(attended)
    of_scores = hypotheses.dtype
    if options.gates == "linear":
        # Head by head, as `explain` reads them, where images have channels
        # first, too: Flatten would take heads for channels.
        stacked = keras.layers.Flatten(
            "channels_last", **named("stacked", of_scores)
        )(hypotheses)
        return keras.layers.Dense(
            classes, use_bias=False, **named("prediction", of_scores)
        )(stacked)
    if options.gates == "average":
        head_gate = layers.UniformGate(options.width, **named("head_gates"))
    else:
        head_gate = layers.HeadGate(
            options.gates,
            options.gate_score_activation,
            options.kernel_initializer,
            **named("head_gates"),
        )
    return keras.layers.Dot(axes=1, **named("prediction", of_scores))(
        [head_gate(attended), hypotheses]
    )


def _read_or_make_classifier(network, classes):
    """The backbone's own classifier, or a new one for `classes`."""
    model = network.model
    classifier = read_classifier(network, classes)
    if classifier is not None:
        if classifier.classes < 2:
            raise ValueError(
                "`backbone` must end in a classifier of at least 2 classes, "
                "whose softmax means something. Received: the model "
                f"{model.name!r}, which ends in {classifier.classes} unit."
            )
        if classes not in (None, classifier.classes):
            raise ValueError(
                "`classes` must be the number of classes of the backbone's own "
                f"classifier, {classifier.classes}, or be omitted. For other "
                "classes, build the backbone without its classifier "
                "(`include_top=False`). "
                f"Received: classes={classes}."
            )
        return classifier
    if classes is None:
        raise ValueError(
            "`classes` must be given for a backbone without a classifier, to "
            f"make one. Received: classes=None, a backbone whose output has "
            f"shape {model.output_shape}."
        )
    features = model.output
    dtype = graph.dtype_policy(features)
    if len(features.shape) > 2:
        features = pooled(
            features, network.data_format, attention.POOLED_FEATURES
        )
    logits = keras.layers.Dense(
        classes, dtype=dtype, name=attention.NETWORK_LOGITS
    )(features)
    return Classifier(logits, features, classes)


def _check_names(model):
    """Checks that no attention is there, nor a layer in the way of it."""
    for operation in model.operations:
        if operation.name in attention.RESERVED_NAMES or (
            operation.name.startswith(attention.RESERVED_PREFIX)
        ):
            raise ValueError(
                "`backbone` must be without attention, and leave the names "
                f"'{attention.RESERVED_PREFIX}...', "
                f"{', '.join(map(repr, attention.RESERVED_NAMES))} to its "
                f"layers. Received: the model {model.name!r} with a layer "
                f"{operation.name!r}."
            )


def _check_pool(features, pool, data_format):
    """Checks that masks of a feature map can be pooled."""
    shape = tuple(features.shape)
    lengths = layers.feature_maps.spatial_shape(shape, data_format)
    if len(shape) == 3 or any(n is not None and n < pool for n in lengths):
        raise ValueError(
            "`diversity_pool` must be 1 on tokens, and no larger than any map. "
            f"Received: diversity_pool={pool}, and a map of shape {shape} from "
            f"{graph.producer_name(features)!r}."
        )
