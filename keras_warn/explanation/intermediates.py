"""Looking inside: masks, hypotheses and gates as named outputs.

Their names are known here alone.
"""

import dataclasses
import itertools
import weakref

import keras

from keras_warn import graph
from keras_warn.attention import GLOBAL_GATES
from keras_warn.attention import attention_of
from keras_warn.attention import part_name
from keras_warn.layers.numerics import wide


def inspect(model) -> keras.Model:
    """A model that returns what the attention of `model` did.

    The result shares the layers of `model` and copies nothing: it follows
    `model` when that is trained further.

    Args:
        model: A model made by `keras_warn.augment`, fresh or loaded from disk.

    Returns:
        A functional `keras.Model` with the same inputs, whose output is a
        dictionary with, for each of the `m` modules, `i` from 1:

        - `module_<i>_masks`: `(b, h, w, k)`, or `(b, k, h, w)` channels first,
          or `(b, p, k)` of tokens; where each head looks.
        - `module_<i>_hypotheses`: `(b, k, n)`; logits of each head.
        - `module_<i>_head_gates`: `(b, k)`; weight of each head. Not with
          `gates="linear"`.
        - `module_<i>_prediction`: `(b, n)`; logits of the module.

        and

        - `global_gates`: `(b, m + 1)`; weight of the backbone, then of each
          module. Not with `gates="linear"`.
        - `backbone_prediction`: `(b, n)`; logits of the backbone.
        - `logits`: `(b, n)`; the sum of all logits, weighed by the gates.
        - `prediction`: `(b, n)`; the output of `model`.

    Example:

    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=1, width=3)
    >>> intermediates = keras_warn.inspect(model)(ops.zeros((2, 96, 96, 3)))
    >>> ops.shape(intermediates["module_1_masks"])
    (2, 3, 3, 3)
    >>> ops.shape(intermediates["global_gates"])
    (2, 2)
    """
    attention = attention_of(model)
    outputs = {
        part_name(i, part): getattr(module, part).output
        for i, module in enumerate(attention.modules, start=1)
        for part in _names(ModuleOutputs)
        if getattr(module, part) is not None
    }
    if attention.combined is None:
        outputs[GLOBAL_GATES] = attention.global_gates.output
    outputs["backbone_prediction"] = attention.backbone_logits
    rectified = attention.rectified
    # One layer with a name of its own. Operations would be named as the first
    # of their kind in this process, and so may be some of a loaded model.
    outputs["logits"] = _GatedLogits(
        name=f"{rectified.name}_logits", dtype=wide(rectified.compute_dtype)
    )(keras.tree.flatten(rectified.input))
    outputs["prediction"] = model.output
    return keras.Model(
        graph.inputs(model), outputs, name=f"{model.name}_inspected"
    )


@dataclasses.dataclass(frozen=True, eq=False)
class ModuleOutputs:
    """What one module returned.

    Attributes:
        masks: `(b, h, w, k)`, `(b, k, h, w)` channels first, or `(b, p, k)`.
        hypotheses: `(b, k, n)`, logits.
        head_gates: `(b, k)`, or `None` with `gates="linear"`.
        prediction: `(b, n)`, logits.

    What is not among the outputs is `None`.
    """

    masks: object = None
    hypotheses: object = None
    head_gates: object = None
    prediction: object = None


@dataclasses.dataclass(frozen=True, eq=False)
class Outputs:
    """What a model with attention returned, by what it is.

    Attributes:
        modules: List of a `ModuleOutputs` for each module.
        global_gates: `(b, m + 1)`, or `None` with `gates="linear"`.
        backbone_prediction: `(b, n)`, logits.
        logits: `(b, n)`, the sum of all logits, weighed by the gates.
        prediction: `(b, n)`, the output of the model.

    What is not among the outputs is `None`.
    """

    modules: list
    global_gates: object = None
    backbone_prediction: object = None
    logits: object = None
    prediction: object = None


def outputs_of(intermediates) -> Outputs:
    """What `keras_warn.inspect` returned, by what it is.

    Args:
        intermediates: The outputs of `keras_warn.inspect(model)`.
    """
    modules = []
    for i in itertools.count(1):
        names = [part_name(i, part) for part in _names(ModuleOutputs)]
        if not any(name in intermediates for name in names):
            _, *names = _names(Outputs)
            return Outputs(modules, *map(intermediates.get, names))
        modules.append(ModuleOutputs(*map(intermediates.get, names)))


def _names(outputs):
    return [field.name for field in dataclasses.fields(outputs)]


@keras.saving.register_keras_serializable(package="keras_warn")
class _GatedLogits(keras.layers.Layer):
    """The sum of logits, weighed by gates."""

    def call(self, inputs):
        gates, *logits = inputs
        logits = keras.ops.stack(logits, axis=1)
        return keras.ops.sum(gates[:, :, None] * logits, axis=1)


# Compiled models, and the variables that they read: compiling takes as long as
# many batches.
_READERS = weakref.WeakKeyDictionary()


def read(model, images) -> tuple:
    """What the attention of `model` did, and the maps that its modules read.

    Of a batch of images: what `inspect(model)` returns, and a list with the map
    of each module, NumPy arrays.
    """
    reader, variables = _READERS.get(model, (None, []))
    # They are other ones once `quantize` has replaced them.
    if (
        reader is None
        or reader.run_eagerly != model.run_eagerly
        or [*map(id, variables)] != [*map(id, model.variables)]
    ):
        inspected = inspect(model)
        features = [module.features for module in attention_of(model).modules]
        reader = keras.Model(inspected.input, (inspected.output, features))
        follow_settings(reader, model)
        _READERS[model] = reader, model.variables
    return reader.predict_on_batch(images)


def follow_settings(reader, model) -> None:
    """Makes a model of the same layers run as `model` does."""
    reader.run_eagerly = model.run_eagerly
    if keras.backend.backend() == "tensorflow":
        # XLA would take longer to compile than it saves.
        reader.jit_compile = False
