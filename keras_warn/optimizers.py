"""Learning rates by layer: new parts learn faster than pretrained ones."""

import difflib
import re
import warnings

import keras
from keras import ops

from keras_warn import checks
from keras_warn import graph
from keras_warn._classifier import owns_kernel
from keras_warn.attention import attention_of


@keras.saving.register_keras_serializable(package="keras_warn")
class MultiRateOptimizer(keras.optimizers.Optimizer):
    """Trains variables with different multiples of one learning rate.

    A variable with factor `f` is trained as `optimizer` would train it with
    its learning rate of each step times `f`. So it is the *step* that is
    scaled: scaled gradients would change nothing under Adam, which normalises
    them. Weight decay, which Keras multiplies by the learning rate, is scaled
    with it.

    All other settings of `optimizer`, as they are now, hold for all variables.
    `learning_rate`, read or set, is that of factor 1; `ReduceLROnPlateau`,
    `LearningRateScheduler` and `TensorBoard` work as ever. (`SwapEMAWeights`
    reads the averages of Keras's own optimizers alone, and raises an error.)
    Inside, each factor has an optimizer of the same class and settings, on
    its variables alone: together they need the memory of one.

    Training resumes exactly from `.keras` and `.h5`. But of an optimizer in a
    `LossScaleOptimizer`, Keras reads no state from `.h5`: a warning says so.

    Args:
        optimizer: A new Keras optimizer, such as `keras.optimizers.AdamW()`.
            It becomes a part of this one. A `LossScaleOptimizer` goes around
            this one instead; `model.compile` adds it with `mixed_float16`.
        factors: Dictionary from patterns to non-negative numbers. A pattern
            is a regular expression that matches the path of a variable, such
            as `"module_1_masks/kernel"`, as a whole or from the name of a
            nested layer on. Variables without a pattern have factor 1. With
            factor 0 they stay as they are, and their gradients do not count
            for `global_clipnorm`. (`layer.trainable = False` freezes too, and
            spares their gradients.)
        name: Name of the optimizer.

    Raises:
        ValueError: if `optimizer` is not new or cannot be combined with this
            one, or if a factor is negative or not finite. When training
            starts, if a pattern matches no variable, or two match the same
            one; and in a step that has gradients for no variable of some
            factor.

    Example:

    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=1)
    >>> optimizer = keras_warn.optimizers.MultiRateOptimizer(
    ...     keras.optimizers.AdamW(1e-4, weight_decay=1e-4),
    ...     keras_warn.optimizers.attention_factors(model, 10),
    ... )
    >>> model.compile(optimizer, "sparse_categorical_crossentropy")
    """

    def __init__(self, optimizer, factors, name=None):
        _check_optimizer(optimizer)
        factors = {
            pattern: checks.real(f"factors[{pattern!r}]", factor)
            for pattern, factor in factors.items()
        }
        config = optimizer.get_config()
        if config["global_clipnorm"] and config["gradient_accumulation_steps"]:
            raise ValueError(
                "`optimizer` must not have both `global_clipnorm` and "
                "`gradient_accumulation_steps`. Received: global_clipnorm="
                f"{config['global_clipnorm']}, gradient_accumulation_steps="
                f"{config['gradient_accumulation_steps']}."
            )
        # A rate of its own is never used: see `learning_rate`.
        super().__init__(learning_rate=0.0, name=name)
        self.factors = factors
        self._distinct = tuple(sorted({1.0, *factors.values()} - {0.0}))
        self._optimizers = [
            type(optimizer).from_config(
                {
                    **config,
                    # `.h5` files tell variables apart by their paths.
                    "name": f"{config['name']}_{i}",
                    "learning_rate": _Rate(optimizer, factor),
                    # None of them knows the norm over all variables.
                    "global_clipnorm": None,
                }
            )
            for i, factor in enumerate(self._distinct)
        ]
        _check_settings(optimizer, self._optimizers[0])
        self.loss_scale_factor = config["loss_scale_factor"]
        self.global_clipnorm = config["global_clipnorm"]
        # From here on it holds the rate, and counts steps for its schedule.
        # Built on nothing, it cannot train by mistake, nor be used twice.
        optimizer.gradient_accumulation_steps = None
        optimizer.build([])
        self.base_optimizer = optimizer
        self._loaded = None

    def build(self, variables) -> None:
        """Gives each variable to the optimizer of its factor."""
        if self.built:
            return
        if not variables:
            # As Keras does when it loads `.h5`, before it sets weights.
            self._loaded = []
            return
        factors = _resolve(self.factors, variables)
        groups = [
            (factor, optimizer, [v for v, f in factors if f == factor])
            for factor, optimizer in zip(
                self._distinct, self._optimizers, strict=True
            )
        ]
        groups = [group for group in groups if group[2]]
        self._distinct = tuple(factor for factor, _, _ in groups)
        self._optimizers = [optimizer for _, optimizer, _ in groups]
        for _, optimizer, own in groups:
            optimizer.build(own)
        # In the order of `variables`; None of those that stay as they are.
        self._places = {
            id(variable): self._distinct.index(factor) if factor else None
            for variable, factor in factors
        }
        super().build(variables)
        if self._loaded:
            self.set_weights(self._loaded)
        elif self._loaded is not None:
            warnings.warn(
                "The optimizer starts anew: Keras reads the state of an "
                "optimizer in a LossScaleOptimizer from `.keras` files alone.",
                stacklevel=2,
            )
        self._loaded = None

    def apply(self, grads, trainable_variables=None) -> None:
        """Updates variables by their gradients, `None` where there is none."""
        grads = list(grads)
        if not grads:
            return  # as in Keras
        if trainable_variables is None:
            variables, places = [None] * len(grads), self._places.values()
        else:
            variables = list(trainable_variables)
            self.build(variables)
            places = [self._places[id(variable)] for variable in variables]
        groups = [[] for _ in self._optimizers]
        for *pair, place in zip(grads, variables, places, strict=True):
            if place is not None:
                groups[place].append(pair)
        if self.global_clipnorm:
            groups = self._clipped(groups)
        for optimizer, group in zip(self._optimizers, groups, strict=True):
            gradients, variables = zip(*group, strict=True)
            optimizer.apply(
                gradients, None if trainable_variables is None else variables
            )
        self.base_optimizer.iterations.assign_add(1)
        super().iterations.assign_add(1)

    def exclude_from_weight_decay(self, var_list=None, var_names=None) -> None:
        """Leaves variables without weight decay, as Keras's own method."""
        for optimizer in self._optimizers:
            optimizer.exclude_from_weight_decay(var_list, var_names)

    def finalize_variable_values(self, var_list) -> None:
        """Sets variables to their moving averages, if there are any."""
        for index, optimizer in enumerate(self._optimizers):
            optimizer.finalize_variable_values(
                [v for v in var_list if self._places.get(id(v)) == index]
            )

    @property
    def iterations(self) -> keras.Variable:
        return self._optimizers[0].iterations

    @property
    def learning_rate(self) -> keras.Variable:
        return self.base_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate) -> None:
        self.base_optimizer.learning_rate = learning_rate

    @property
    def loss_scale_factor(self) -> float | None:
        return self._loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value) -> None:
        self._loss_scale_factor = value
        # There are none yet when Keras's constructor sets it.
        for optimizer in getattr(self, "_optimizers", ()):
            optimizer.loss_scale_factor = value

    @property
    def variables(self) -> list:
        variables = super().variables
        for optimizer in (self.base_optimizer, *self._optimizers):
            variables.extend(optimizer.variables)
        return variables

    def set_weights(self, weights) -> None:
        if not self.built:
            # Copies: the file that they are in may be closed by then.
            self._loaded = [ops.convert_to_numpy(value) for value in weights]
            return
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(value)

    # Keras saves the optimizers inside on their own: not twice.
    def save_own_variables(self, store) -> None:
        for i, variable in enumerate(super().variables):
            store[str(i)] = ops.convert_to_numpy(variable)

    def load_own_variables(self, store) -> None:
        for i, variable in enumerate(super().variables):
            variable.assign(store[str(i)])

    def get_config(self) -> dict:
        if self._loaded is not None:
            raise ValueError(
                "The optimizer must be built, by "
                "`build(model.trainable_variables)`, before what was read from "
                "`.h5` is saved again. Received: one that is not built."
            )
        optimizer = keras.saving.serialize_keras_object(self.base_optimizer)
        optimizer["config"].update(
            loss_scale_factor=self.loss_scale_factor,
            gradient_accumulation_steps=(
                self._optimizers[0].gradient_accumulation_steps
            ),
        )
        return {
            "optimizer": optimizer,
            "factors": dict(self.factors),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None) -> "MultiRateOptimizer":
        optimizer = keras.saving.deserialize_keras_object(
            config["optimizer"], custom_objects=custom_objects
        )
        return cls(optimizer, config["factors"], config["name"])

    def _clipped(self, groups):
        """The groups with gradients clipped by their norm over all."""
        squares = [
            ops.sum(ops.square(gradient))
            for group in groups
            for gradient, _ in group
            if gradient is not None
        ]
        norm = ops.sqrt(ops.sum(ops.stack(squares)))
        # Gradients of a scaled loss are as much larger.
        limit = self.global_clipnorm * (self.loss_scale_factor or 1.0)
        scale = limit * ops.minimum(1.0 / norm, 1.0 / limit)
        # Not finite where the norm is not, as in Keras.
        scale = scale + (norm - norm)
        return [
            [
                (g if g is None else ops.multiply(g, scale), variable)
                for g, variable in group
            ]
            for group in groups
        ]


def attention_factors(model, factor=10.0) -> dict:
    """Factors that let new parts of a model learn faster.

    New are the layers of attention, and the classifier, which the paper trains
    ten times as fast as the pretrained backbone.

    Args:
        model: A model made by `keras_warn.augment`, fresh or loaded from disk.
        factor: Non-negative number, the factor on the learning rate.

    Returns:
        A dictionary with one pattern for `MultiRateOptimizer`, which matches
        the variables of these layers.

    Example:

    >>> inputs = keras.Input((32, 32, 3))
    >>> features = keras.layers.Conv2D(8, 3, strides=4)(inputs)
    >>> backbone = keras.Model(inputs, features)
    >>> model = keras_warn.augment(backbone, classes=5)
    >>> keras_warn.optimizers.attention_factors(model)
    {'(module_1_masks|module_1_hypotheses|network_logits)/.*': 10.0}
    """
    factor = checks.real("factor", factor)
    attention, network = attention_of(model), graph.Graph(model)
    layers = [layer for module in attention.modules for layer in module.layers]
    layers += [attention.global_gates, attention.combined]
    # The layer with the weights of the backbone's own prediction.
    call = network.producer(attention.backbone_logits)
    while not owns_kernel(call.operation):
        call = network.producer(call.inputs[0])
    layers.append(call.operation)
    layers = [layer for layer in layers if layer is not None and layer.weights]
    names = "|".join(re.escape(layer.name) for layer in layers)
    pattern = f"({names})/.*"
    own = {id(v) for layer in layers for v in layer.weights}
    others = [
        v.path
        for v in model.weights
        if _matches(pattern, v) and id(v) not in own
    ]
    if others:
        raise ValueError(
            "`model` must have no other variables with a path of attention's "
            f"or of the classifier's. Received: {', '.join(others)}."
        )
    return {pattern: factor}


class _Rate(keras.optimizers.schedules.LearningRateSchedule):
    """A multiple of the learning rate of an optimizer."""

    def __init__(self, optimizer, factor):
        self.optimizer = optimizer
        self.factor = factor

    def __call__(self, step):
        # The optimizer's own rate follows its own steps, or is set.
        return self.optimizer.learning_rate * self.factor


def _check_optimizer(optimizer):
    wrappers = (keras.optimizers.LossScaleOptimizer, MultiRateOptimizer)
    if (
        not isinstance(optimizer, keras.optimizers.Optimizer)
        or isinstance(optimizer, wrappers)
        # Keras's MultiOptimizer, from 3.15 on, has none.
        or not hasattr(optimizer, "learning_rate")
        or optimizer.built
    ):
        raise ValueError(
            "`optimizer` must be a new Keras optimizer with one learning rate, "
            "such as `keras.optimizers.AdamW()`; a LossScaleOptimizer goes "
            f"around the MultiRateOptimizer. Received: optimizer={optimizer!r}."
        )


def _check_settings(optimizer, member):
    """Checks that a copy from the configuration lacks nothing."""
    missing = sorted(vars(optimizer).keys() - vars(member).keys())
    if missing:
        raise ValueError(
            "`optimizer` must have no settings but those in its "
            "configuration: call methods such as `exclude_from_weight_decay` "
            "on the MultiRateOptimizer. Received: "
            f"optimizer={optimizer.name!r} with {', '.join(missing)}."
        )


def _resolve(factors, variables):
    """Pairs of each variable and its factor."""
    unmatched = set(factors)
    resolved = []
    for variable in variables:
        patterns = [p for p in factors if _matches(p, variable)]
        if len(patterns) > 1:
            raise ValueError(
                "`factors` must match each variable once. Received: "
                f"{' and '.join(map(repr, patterns))}, which both match "
                f"{variable.path!r}."
            )
        unmatched.difference_update(patterns)
        resolved.append((variable, factors[patterns[0]] if patterns else 1.0))
    if unmatched:
        pattern = min(unmatched)
        paths = [variable.path for variable in variables]
        near = difflib.get_close_matches(pattern, paths, n=3, cutoff=0)
        raise ValueError(
            "`factors` must have patterns that match the path of a trainable "
            f"variable. Received: {pattern!r}, which matches none. Near: "
            f"{', '.join(map(repr, near))}."
        )
    return resolved


def _matches(pattern, variable):
    """Whether a pattern matches a path, or its end from a name on."""
    # In models from disk, the names of nested models are gone from the paths.
    names = variable.path.split("/")
    return any(
        re.fullmatch(pattern, "/".join(names[i:])) for i in range(len(names))
    )
