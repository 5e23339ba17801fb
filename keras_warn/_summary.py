"""What attention is attached where, and what it adds to a backbone."""

import dataclasses
import math

import keras
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_warn import checks
from keras_warn import graph
from keras_warn.attention import attention_of
from keras_warn.augmenting import PRESETS
from keras_warn.operations import COUNTERS
from keras_warn.operations import counting_backend
from keras_warn.operations import operations

# Height, width or tokens where the model leaves them open.
NOMINAL_SIZE = 224

# How many times the backbone's parameters or operations are worth a word.
MANY = 2


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a part of a model costs.

    Attributes:
        parameters: Integer, trainable or not.
        operations: Integer, for one image.
    """

    parameters: int
    operations: int


@dataclasses.dataclass(frozen=True)
class ModuleSummary:
    """One attention module.

    Attributes:
        name: Such as `"module_1"`.
        reads: The name of the layer whose output it reads.
        shape: Shape of that map without the batch, as the layer returns it:
            `(h, w, c)`, `(c, h, w)` channels first, or `(p, c)` of tokens.
        num_heads: Number of heads `k`.
        kernel_size: Size of the kernels.
        rank: Rank of the output heads' kernels, or `None` where it is full.
        projection: Channels that the map is projected to, or `None`.
        mask_activation: `"softmax"` or `"sigmoid"`.
        cost: `Cost` of all that is in the module.
    """

    name: str
    reads: str
    shape: tuple
    num_heads: int
    kernel_size: int
    rank: int | None
    projection: int | None
    mask_activation: str
    cost: Cost


@dataclasses.dataclass(frozen=True)
class Summary:
    """What `summary` finds. `str` makes a table of it.

    `dataclasses.asdict` makes a dictionary that JSON can hold.

    Attributes:
        name: The model's name.
        classes: Number of classes `n`.
        inputs: The shapes of the inputs without the batch, a list, for which
            operations are counted.
        nominal: Whether the model leaves a part of `inputs` open, and they
            were chosen by `summary`.
        modules: List of `ModuleSummary`.
        preset: The `preset` of `keras_warn.augment` that the layers are those
            of, with any depth, width, rank, projection and places; or
            `"custom"`.
        gates: `"softmax"`, `"sigmoid"`, `"average"` or `"linear"`, as in
            `keras_warn.augment`.
        combination: What the gates weigh: `"log_probabilities"` or
            `"probabilities"`.
        backbone: `Cost` of the backbone alone, up to its own logits.
        gating: `Cost` of the global gates, with the pooling before and the
            weighted sum after them.
        attention: `Cost` of modules and gating.
        total: `Cost` of the model.
        counter: What counted the operations.
    """

    name: str
    classes: int
    inputs: list
    nominal: bool
    modules: list
    preset: str
    gates: str
    combination: str
    backbone: Cost
    gating: Cost
    attention: Cost
    total: Cost
    counter: str

    def __str__(self):
        shapes = " and ".join(_by(shape) for shape in self.inputs)
        if self.nominal:
            shapes += ", a size chosen here: the model takes any"
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for name in "part reads map heads kernel rank projection masks".split():
            table.add_column(name, no_wrap=True)
        for name in ("parameters", "operations"):
            table.add_column(name, no_wrap=True, justify="right")

        def add(name, cost, *cells):
            cells = cells or [""] * 7
            counts = f"{cost.parameters:,}", f"{cost.operations:,}"
            cells = (name, *map(str, cells), *counts)
            table.add_row(*map(Text, cells))  # brackets are no markup

        add("backbone", self.backbone)
        for one in self.modules:
            add(
                one.name,
                one.cost,
                one.reads,
                _by(one.shape),
                one.num_heads,
                _by([one.kernel_size] * 2),
                one.rank or "full",
                one.projection or "none",
                one.mask_activation,
            )
        add("gates", self.gating)
        table.add_section()
        add("attention", self.attention)
        add("total", self.total)
        ratios = [
            _ratio(getattr(self.total, kind), getattr(self.backbone, kind))
            for kind in ("parameters", "operations")
        ]
        table.add_row("total / backbone", *[""] * 7, *ratios)
        advice = self._advice(*map(float, ratios))
        console = Console(width=1000, color_system=None)
        with console.capture() as text:
            console.print(table)
        return "\n".join(
            [
                f"{self.name}: {self.classes} classes, preset {self.preset}, "
                f"{self.gates} gates over "
                f"{self.combination.replace('_', '-')}",
                f"Operations for one input of {shapes}.",
                f"Counted by {self.counter}.",
                "",
                text.get().rstrip("\n"),
                *advice,
            ]
        )

    def _advice(self, parameters, operations):
        """What to do where attention multiplies the cost: a line, or none."""
        ratios = {"parameters": parameters, "operations": operations}
        grown = [
            f"the {name} by {ratio:.1f}"
            for name, ratio in ratios.items()
            if ratio >= MANY
        ]
        ways = [
            way
            for way, helps in (
                ("kernel_size=1", any(m.kernel_size > 1 for m in self.modules)),
                ("a smaller width", any(m.num_heads > 1 for m in self.modules)),
                ("a smaller rank", any(not m.rank for m in self.modules)),
                ("a projection", any(not m.projection for m in self.modules)),
            )
            if helps
        ]
        if not (grown and ways):
            return []
        return [
            "",
            f"Attention multiplies {' and '.join(grown)}. What makes it less: "
            f"{', '.join(ways)}.",
        ]


def summary(model, input_shape=None) -> Summary:
    """What attention is attached where in a model, and what it costs.

    Args:
        model: A model made by `keras_warn.augment`, fresh or loaded from disk.
        input_shape: Shape of one input without the batch, as the model takes
            it, for which operations are counted. Defaults to that of the
            model, with 224 for each length that it leaves open.

    Returns:
        A `Summary`: the modules, the gates, and the parameters and operations
        of each, of the backbone alone and of the whole. The backbone alone ends
        at its own logits.

    Example:

    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=1, width=3)
    >>> found = summary(model)
    >>> found.modules[0].reads, found.modules[0].shape
    ('conv_pw_13_relu', (3, 3, 256))
    >>> found.modules[0].cost.parameters  # 256 * (3 + 3 * 5)
    4608
    """
    attention = attention_of(model)
    counter = COUNTERS[counting_backend()]
    inputs, nominal = _input_shapes(model, input_shape)
    shapes = keras.tree.pack_sequence_as(model.input, inputs)
    logits = attention.backbone_logits

    sources = [module.source for module in attention.modules]
    known = keras.Model(model.input, sources).compute_output_shape(
        keras.tree.pack_sequence_as(
            model.input, [(None, *shape) for shape in inputs]
        )
    )
    modules = [
        _module(module, tuple(shape[1:]))
        for module, shape in zip(attention.modules, known, strict=True)
    ]

    backbone = keras.Model(model.input, logits)
    backbone = Cost(
        backbone.count_params(), sum(operations(backbone, shapes).values())
    )
    total = Cost(model.count_params(), sum(operations(model, shapes).values()))
    added = _less(total, [backbone])
    return Summary(
        name=model.name,
        classes=logits.shape[-1],
        inputs=inputs,
        nominal=nominal,
        modules=modules,
        preset=_preset(attention),
        gates=attention.gates,
        combination=attention.rectified.combination,
        backbone=backbone,
        gating=_less(added, [module.cost for module in modules]),
        attention=added,
        total=total,
        counter=counter,
    )


def _input_shapes(model, input_shape):
    """Shapes of the inputs, a list, and whether one was chosen here."""
    given = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if input_shape is None:
        shapes = [
            tuple(NOMINAL_SIZE if n is None else n for n in shape)
            for shape in given
        ]
        return shapes, shapes != given
    input_shape = tuple(input_shape)
    fits = len(given) == 1 and checks.fits(input_shape, given[0])
    if not fits or None in input_shape:
        raise ValueError(
            "`input_shape` must fit the one input of `model`. Received: "
            f"input_shape={input_shape}, a model with "
            f"{' and '.join(map(str, given))}."
        )
    return [input_shape], False


def _module(module, shape):
    """An attention module that reads a map of this shape."""
    masks, projection = module.masks, module.projection
    alone = keras.Model(module.source, module.prediction.output)
    return ModuleSummary(
        name=module.name,
        reads=graph.producer_name(module.source),
        shape=shape,
        num_heads=masks.num_heads,
        kernel_size=masks.kernel_size,
        rank=module.hypotheses.rank,
        projection=projection and projection.kernel.shape[-1],
        mask_activation=masks.activation,
        cost=Cost(
            sum(layer.count_params() for layer in module.layers),
            sum(operations(alone, shape).values()),
        ),
    )


def _preset(attention):
    """The preset that the layers are those of, or `"custom"`."""
    masks, gate = attention.modules[0].masks, attention.global_gates
    gradient = attention.modules[0].gradient
    penalty, tanh = masks.activity_regularizer, keras.activations.tanh
    initializer = keras.initializers.serialize
    found = {
        "kernel_size": masks.kernel_size,
        "kernel_initializer": initializer(masks.kernel_initializer),
        "gates": attention.gates,
        "gate_batch_norm": getattr(gate, "batch_norm", False),
        "agreement_weight": attention.rectified.agreement_weight,
        "gradient_scale": 1.0 if gradient is None else gradient.factor,
        "diversity_weight": penalty.weight if penalty else 0.0,
        "diversity_pool": penalty.pool if penalty else 1,
        "mask_activation": masks.activation,
        "gate_score_activation": getattr(gate, "score_activation", tanh),
        "combination": attention.rectified.combination,
    }
    for name, preset in PRESETS.items():
        start = keras.initializers.get(preset["kernel_initializer"])
        wanted = {
            **preset,
            "kernel_initializer": initializer(start),
            # Averaged over modules.
            "diversity_weight": preset["diversity_weight"]
            / len(attention.modules),
            # As `augment` has them with each preset.
            "mask_activation": "softmax",
            "gate_score_activation": tanh,
            "combination": "log_probabilities",
        }
        if found.items() <= wanted.items():
            return name
    return "custom"


def _less(cost, others):
    """A cost without those of its parts."""
    return Cost(
        cost.parameters - sum(other.parameters for other in others),
        cost.operations - sum(other.operations for other in others),
    )


def _by(lengths):
    return "x".join(map(str, lengths))


def _ratio(whole, part):
    return f"{whole / part:.3f}" if part else str(math.nan)
