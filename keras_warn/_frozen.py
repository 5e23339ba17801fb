"""A model in two: frozen layers, and what is trained on their outputs."""

import keras

from keras_warn import graph
from keras_warn.layers import GradientScale


def split(model) -> tuple:
    """Splits a model where its frozen layers end.

    Frozen layers (`layer.trainable = False`) return the same for an image at
    every step. `features` holds all that comes before the first layer that is
    trained; `head` holds the rest. Both share the layers of `model`: once the
    outputs of `features` are computed, training `head` on them trains `model`.

    Args:
        model: A functional or Sequential `keras.Model` with one output and
            some layers frozen, such as `keras_warn.augment(backbone)` after
            `backbone.trainable = False`.

    Returns:
        A tuple of two functional models: `features`, from the inputs of
        `model` to a feature map or vector, or a tuple of several; and `head`,
        from these to the output of `model`. `head(features(x))` is `model(x)`.

    Raises:
        ValueError: if it has no graph to read, no frozen layers before the
            first that is trained, or none to train; or if frozen layers read
            what differs from step to step: of a layer that draws random
            numbers, such as `Dropout`, or of batch normalization that is
            trained.

    Example:

    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> backbone.trainable = False
    >>> model = keras_warn.augment(backbone, classes=5)
    >>> features, head = keras_warn.split(model)
    >>> head.count_params() < 0.5 * model.count_params()
    True
    """
    model = graph.flatten(model)
    if not model.trainable_variables:
        raise ValueError(
            "`model` must have a layer to train. Received: "
            f"{model.name!r}, which is frozen as a whole."
        )
    network = graph.Graph(model)
    # From ids of tensors that training changes to the layer that does it; one
    # that varies from step to step, if there is one.
    causes = {}
    boundary, frozen = {}, False
    for call in network.calls:
        found = [causes[id(x)] for x in call.inputs if id(x) in causes]
        if (
            graph.varies(call.operation)
            or graph.learns(call.operation)
            # Or what it returns would be stored beside what it reads.
            or isinstance(call.operation, GradientScale)
        ):
            found.append(call.operation)
        if not found:
            frozen = frozen or graph.is_frozen(call.operation)
            continue
        cause = next(filter(graph.varies, found), found[0])
        if graph.varies(cause) and graph.is_frozen(call.operation):
            raise ValueError(
                "`model` must not change what its frozen layers read from "
                f"step to step. Received: the layer {cause.name!r} "
                f"({type(cause).__name__}) before the frozen "
                f"{call.operation.name!r}. Freeze batch normalization, too; "
                "set the `rate` of layers such as Dropout to 0, or build the "
                "backbone without them."
            )
        boundary |= {id(x): x for x in call.inputs if id(x) not in causes}
        causes |= {id(x): cause for x in call.outputs}
    if not frozen:
        raise ValueError(
            "`model` must begin with frozen layers: set `backbone.trainable = "
            f"False`. Received: {model.name!r}, in which the first layer with "
            "weights is trained."
        )

    def is_derived(tensor):
        """Whether `head` can compute it of the others, without weights."""
        call = network.producer(tensor)
        return (
            bool(call.inputs)
            and not graph.is_frozen(call.operation)
            and all(id(x) in boundary or is_derived(x) for x in call.inputs)
        )

    tensors = tuple(x for x in boundary.values() if not is_derived(x))
    tensors = tensors if len(tensors) > 1 else tensors[0]
    return (
        keras.Model(
            graph.inputs(model), tensors, name=f"{model.name}_features"
        ),
        keras.Model(tensors, model.outputs[0], name=f"{model.name}_head"),
    )
