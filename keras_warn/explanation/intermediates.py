"""Looking inside: masks, hypotheses and gates as named outputs."""

import itertools

import keras

from keras_warn import graph
from keras_warn.layers import AttentionHeads


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

        - `global_gates`: `(b, m + 1)`; weight of the network, then of each
          module. Not with `gates="linear"`.
        - `network_prediction`: `(b, n)`; logits of the network itself.
        - `prediction`: `(b, n)`; the output of `model`.

    Raises:
        TypeError: if `model` is not a Keras model.
        ValueError: if `model` has no attention of `keras_warn.augment`.

    Example:

    >>> backbone = keras.applications.MobileNetV2(
    ...     (96, 96, 3), alpha=0.35, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=1, width=3)
    >>> seen = keras_warn.inspect(model)(ops.zeros((2, 96, 96, 3)))
    >>> ops.shape(seen["module_1_masks"]), ops.shape(seen["global_gates"])
    ((2, 3, 3, 3), (2, 2))
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a `keras.Model`. "
            f"Received: model={model!r} (of type {type(model).__name__})."
        )
    found = modules(model)
    if not found or not isinstance(found[0].get("masks"), AttentionHeads):
        raise ValueError(
            "`model` must be made by `keras_warn.augment`. Received: the model "
            f"{model.name!r}, which has no layer 'module_1_masks'."
        )
    outputs = {
        f"module_{i}_{part}": module[part].output
        for i, module in enumerate(found, start=1)
        for part in ("masks", "hypotheses", "head_gates", "prediction")
        if part in module
    }
    rectified = keras.tree.flatten(model.get_layer("rectified").input)
    if "head_gates" in found[0]:
        outputs["global_gates"], *predictions = rectified
    else:  # gates="linear"
        predictions = model.get_layer("predictions_stacked").input
    outputs["network_prediction"] = predictions[0]
    outputs["prediction"] = model.output
    return keras.Model(
        graph.inputs(model), outputs, name=f"{model.name}_inspected"
    )


def modules(model) -> list:
    """The layers of each attention module, by what they do.

    Args:
        model: A model made by `keras_warn.augment`.

    Returns:
        A list with, for each module, a dictionary from a part, such as
        `"masks"` or `"hypotheses"`, to its layer.
    """
    found = []
    for i in itertools.count(1):
        prefix = f"module_{i}_"
        module = {
            layer.name.removeprefix(prefix): layer
            for layer in model.layers
            if layer.name.startswith(prefix)
        }
        if not module:
            return found
        found.append(module)
