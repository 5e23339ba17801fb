"""Looking inside: masks, hypotheses and gates as named outputs."""

import keras

from keras_warn import graph
from keras_warn.attention import GLOBAL_GATES
from keras_warn.attention import attention_of
from keras_warn.attention import part_name


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
        - `prediction`: `(b, n)`; the output of `model`.

    Raises:
        TypeError: if `model` is not a Keras model.
        ValueError: if `model` has no attention of `keras_warn.augment`.

    Example:

    >>> backbone = keras.applications.MobileNetV2(
    ...     (96, 96, 3), alpha=0.35, include_top=False, weights=None
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
        for part in ("masks", "hypotheses", "head_gates", "prediction")
        if getattr(module, part) is not None
    }
    if attention.combined is None:
        outputs[GLOBAL_GATES] = attention.global_gates.output
    outputs["backbone_prediction"] = attention.backbone_logits
    outputs["prediction"] = model.output
    return keras.Model(
        graph.inputs(model), outputs, name=f"{model.name}_inspected"
    )
