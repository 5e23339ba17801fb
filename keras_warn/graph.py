"""Graphs of Keras models: flattened, and read node by node.

Keras offers no public way to walk the graph of a functional model. All use of
its private attributes is in this file.
"""

import collections
import dataclasses
import functools

import keras


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """One use of an operation: a node of the graph.

    Attributes:
        operation: The `keras.Operation`, most often a layer, that was called.
        inputs: Tuple of the `KerasTensor`s that it read.
        outputs: Tuple of the `KerasTensor`s that it returned.
        node: The record that Keras keeps of it.
    """

    operation: keras.Operation
    inputs: tuple
    outputs: tuple
    node: object


class Graph:
    """The calls of a flat model, in an order in which they can run.

    Args:
        model: A functional `keras.Model`, as `flatten` returns it.
    """

    def __init__(self, model):
        self.model = model
        self.calls = [
            Call(
                node.operation,
                tuple(node.input_tensors),
                tuple(node.output_tensors),
                node,
            )
            for node in _nodes(model)
        ]
        # Tensors overload `==`, so they are told apart by their identity. The
        # calls keep them alive, and with it the identity unique.
        self._producers = {}
        self._readers = collections.defaultdict(list)
        for call in self.calls:
            self._producers |= {id(tensor): call for tensor in call.outputs}
            for key in dict.fromkeys(map(id, call.inputs)):
                self._readers[key].append(call)

    def __contains__(self, tensor):
        return id(tensor) in self._producers

    @property
    def data_format(self) -> str:
        """`"channels_last"` or `"channels_first"`, as the layers.

        Keras's own setting if no layer has one.
        """
        for call in self.calls:
            if any(len(tensor.shape) == 4 for tensor in call.outputs):
                value = getattr(call.operation, "data_format", None)
                if value is not None:
                    return value
        return keras.config.image_data_format()

    def producer(self, tensor) -> Call:
        """The call that returned `tensor`."""
        return self._producers[id(tensor)]

    def readers(self, tensor) -> list:
        """The calls that read `tensor`, in order."""
        return self._readers[id(tensor)]

    def is_read(self, tensor) -> bool:
        """Whether `tensor` is an output, or some call reads it."""
        return bool(self.readers(tensor)) or any(
            tensor is output for output in self.model.outputs
        )

    def calls_of(self, name) -> list:
        """The calls of the operation called `name`."""
        return [call for call in self.calls if call.operation.name == name]

    def counterpart(self, tensor) -> keras.KerasTensor | None:
        """The tensor of this graph for one of a model it was flattened from.

        What the same operation returns in this graph, if it is in it and called
        only once, or else `None`.
        """
        if tensor in self:
            return tensor
        history = getattr(tensor, "_keras_history", None)
        if history is None or history.operation is None:
            return None
        calls = [c for c in self.calls if c.operation is history.operation]
        if len(calls) != 1:
            return None
        return calls[0].outputs[history.tensor_index]

    def shapes(self, size) -> dict:
        """Shapes of all tensors for images of a known size, by `id(tensor)`.

        Args:
            size: Integer, taken for each unknown dimension of the inputs but
                the batch; or a list of the shapes of the inputs.
        """
        if isinstance(size, int):
            size = [
                (x.shape[0], *(size if n is None else n for n in x.shape[1:]))
                for x in self.model.inputs
            ]
        specs = {
            id(tensor): keras.KerasTensor(shape, dtype=tensor.dtype)
            for tensor, shape in zip(self.model.inputs, size, strict=True)
        }
        for call in self.calls:
            if all(id(tensor) in specs for tensor in call.outputs):
                continue
            args, kwargs = call.node.arguments.fill_in(specs)
            for name in _context_names(call.operation):
                # A layer may be given `training` for its sublayers alone.
                if name not in call.operation.call_signature_parameters:
                    kwargs.pop(name, None)
            outputs = call.operation.compute_output_spec(*args, **kwargs)
            for tensor, spec in zip(
                call.outputs, keras.tree.flatten(outputs), strict=True
            ):
                specs[id(tensor)] = spec
        return {key: spec.shape for key, spec in specs.items()}


def inputs(model) -> object:
    """What a model takes.

    `keras.applications` end up with a list of one input where they are given
    an `input_tensor`. Keras would warn at each call that it got no list.
    """
    tensors = model.input
    if isinstance(tensors, list) and len(tensors) == 1:
        return tensors[0]
    return tensors


def flatten(model) -> keras.Model:
    """Expands nested models.

    The graphs of nested models are replayed on the tensors that the models
    were called on. Arguments of these calls such as `training=False` are
    handed on to the layers inside, as Keras does when the models run.

    Args:
        model: A built functional or Sequential `keras.Model` with one output.

    Returns:
        A functional `keras.Model` with the same inputs that computes the same
        from the same layers, by reference and under their own names. A
        functional model with nothing nested is returned as it is. With nested
        models, `layer.output` of an expanded layer remains the tensor of the
        nested model.

    Raises:
        ValueError: if it has no graph to read, has several outputs, or if
            different layers in it have the same name.
    """
    model = _functional(model)
    if len(model.outputs) != 1:
        raise ValueError(
            "`backbone` must have one output. Received: the model "
            f"{model.name!r} with {len(model.outputs)} outputs."
        )
    # Before any replaying, which leaves its trace on the user's layers.
    _check_names(model)
    nested = any(_has_graph(node.operation) for node in _nodes(model))
    if not nested and model.output is model.outputs[0]:
        return model
    (output,) = _replay(model, model.inputs, {})
    return keras.Model(model.input, output, name=model.name)


def read(model) -> Graph:
    """The `Graph` of a model as `flatten` expands it.

    Args:
        model: As of `flatten`.
    """
    return Graph(flatten(model))


def producer_name(tensor) -> str:
    """The name of the operation that returned `tensor`."""
    return tensor._keras_history.operation.name


def dtype_policy(tensor) -> keras.DTypePolicy:
    """The dtype policy of a layer that reads on from `tensor`.

    That of the layer that made it, or of the nearest before, where `tensor`
    comes from an operation of `keras.ops`, which has no policy.
    """
    tensors = [tensor]
    seen = set()
    while tensors:
        tensor = tensors.pop(0)
        operation = tensor._keras_history.operation
        if id(tensor) in seen or operation is None:
            continue
        seen.add(id(tensor))
        policy = getattr(operation, "dtype_policy", None)
        if policy is not None and not isinstance(
            operation, keras.layers.InputLayer
        ):
            return _unquantized(policy)
        index = tensor._keras_history.node_index
        tensors.extend(operation._inbound_nodes[index].input_tensors)
    return keras.config.dtype_policy()


def is_frozen(operation) -> bool:
    """Whether it has weights that could be trained, and none that is."""
    return not learns(operation) and any(
        layer._trainable_variables for layer in _layers(operation)
    )


def learns(operation) -> bool:
    """Whether training changes its weights or moving statistics."""
    return any(
        layer.trainable
        and (
            layer._trainable_variables
            or isinstance(layer, keras.layers.BatchNormalization)
        )
        for layer in _layers(operation)
    )


def varies(operation) -> bool:
    """Whether training makes its result another one at each step.

    By random numbers, or by statistics of the batch. Being called with
    `training=False` does not matter: Keras 3.15 hands on that of the model.
    """
    return any(
        (layer._seed_generators and getattr(layer, "rate", None) != 0)
        or (
            isinstance(layer, keras.layers.BatchNormalization)
            and layer.trainable
        )
        for layer in _layers(operation)
    )


def _layers(operation):
    """A layer and all inside of it; nothing for other operations."""
    if isinstance(operation, keras.layers.Layer):
        yield from operation._flatten_layers()


def linear_twin(layer) -> keras.layers.Layer:
    """The same `Dense` or convolution without activation, on its variables.

    What is loaded into or trained in either is in both, and what is frozen in
    either is saved as frozen from both.
    """
    config = layer.get_config()
    twin = type(layer).from_config({**config, "activation": "linear"})
    variables = layer._trainable_variables
    flags = [variable.trainable for variable in variables]
    for variable in variables:
        # Keras takes what is frozen now for what can never be trained.
        variable.trainable = True
    twin._kernel = layer._kernel
    twin.bias = layer.bias
    for variable, flag in zip(variables, flags, strict=True):
        variable.trainable = flag
    twin.input_spec = layer.input_spec
    twin.built = True
    for one in (layer, twin):
        one.get_config = functools.partial(_config_by_variables, one)
    return twin


def _config_by_variables(layer):
    """The config of a layer that shares its variables with another.

    Each layer has a flag `trainable` of its own, but Keras trains by those of
    the variables.
    """
    config = type(layer).get_config(layer)
    if layer._trainable_variables:  # else there are none to ask
        config["trainable"] = any(
            variable.trainable for variable in layer._trainable_variables
        )
    return config


def _functional(model):
    """The functional model behind `model`, whose graph can be read."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`backbone` must be a `keras.Model`. "
            f"Received: model={model!r} (of type {type(model).__name__})."
        )
    if isinstance(model, keras.Sequential) and model._functional is None:
        raise ValueError(
            "`backbone` must be built before its graph can be read: add a "
            "`keras.Input` as its first layer. Received: the unbuilt "
            f"Sequential model {model.name!r}."
        )
    if not _has_graph(model):
        raise ValueError(
            "`backbone` must be functional or Sequential: only these have a "
            f"graph to read. Received: the model {model.name!r} of the "
            f"subclass {type(model).__name__}."
        )
    if isinstance(model, keras.Sequential):
        inner = model._functional
        return keras.Model(inner.input, inner.output, name=model.name)
    return model


def _has_graph(operation):
    """Whether `operation` is a model whose graph is all that it computes."""
    if not isinstance(operation, keras.Model):
        return False
    # A subclass may do more in its own `call` than run its graph.
    if not type(operation).call.__module__.startswith("keras.src.models."):
        return False
    return _inner(operation) is not None


def _inner(operation):
    """The functional model of a functional or Sequential one."""
    if isinstance(operation, keras.Sequential):
        return operation._functional
    return operation


def _nodes(model):
    """Nodes of a functional model in an order in which they can run."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from model._nodes_by_depth[depth]


def _check_names(model):
    """Checks that no two operations of the flat model share a name."""
    operations = {}
    for operation in _operations(model):
        operations.setdefault(operation.name, set()).add(id(operation))
    doubles = sorted(name for name, ids in operations.items() if len(ids) > 1)
    if doubles:
        raise ValueError(
            "`backbone` must have layers of different names, also across its "
            "nested models. Received: the model "
            f"{model.name!r}, in which different layers have the names "
            f"{', '.join(map(repr, doubles))}."
        )


def _operations(model, outermost=True):
    """Operations of the flat model: nested inputs and models vanish."""
    for operation in model.operations:
        if _has_graph(operation):
            yield from _operations(_inner(operation), outermost=False)
        elif outermost or not isinstance(operation, keras.layers.InputLayer):
            yield operation


def _replay(model, inputs, context):
    """Runs a graph on other tensors; `context` overrides arguments of calls."""
    tensors = {}
    for given, tensor in zip(inputs, model.inputs, strict=True):
        if given.dtype != tensor.dtype:
            # A nested model converts what it is called on.
            given = keras.ops.cast(given, tensor.dtype)
        tensors[id(tensor)] = given
    for node in _nodes(model):
        if all(id(tensor) in tensors for tensor in node.output_tensors):
            continue
        operation = node.operation
        args, kwargs = node.arguments.fill_in(tensors)
        if _has_graph(operation):
            outputs = _replay_nested(operation, args, kwargs, context)
        elif context or any(
            tensors[id(tensor)] is not tensor for tensor in node.input_tensors
        ):
            accepted = _accepted_context(operation, context)
            outputs = operation(*args, **{**kwargs, **accepted})
        else:
            # Nothing nested before it: the tensor itself, not another call.
            outputs = node.output_tensors
        for tensor, output in zip(
            node.output_tensors, keras.tree.flatten(outputs), strict=True
        ):
            tensors[id(tensor)] = output
    return [tensors[id(tensor)] for tensor in model.outputs]


def _replay_nested(model, args, kwargs, context):
    """Runs the graph of a nested model in place of a call of it."""
    kwargs = dict(kwargs)
    names = _context_names(model)
    own = {
        name: kwargs.pop(name)
        for name in names & set(kwargs)
        if kwargs[name] is not None
    }
    if kwargs.pop("mask", None) is not None:
        raise ValueError(
            "`backbone` must call its nested models without `mask` to be "
            f"flattened. Received: a call of {model.name!r} with a mask."
        )
    inputs = args[0] if args else kwargs["inputs"]
    inner = _inner(model)
    if isinstance(inputs, dict) and not isinstance(inner.input, dict):
        inputs = [inputs[tensor.name] for tensor in inner.inputs]
    return _replay(inner, keras.tree.flatten(inputs), {**own, **context})


def _accepted_context(operation, context):
    """The arguments in `context` that reach `operation` or its sublayers."""
    names = _context_names(operation)
    if not names:
        return {}
    parameters = operation.call_signature_parameters
    return {
        name: value
        for name, value in context.items()
        if name in names and (name in parameters or operation._layers)
    }


def _context_names(operation):
    """Names of the arguments that layers hand on to those inside of them."""
    return set(getattr(operation, "_call_context_args", ()))


def _unquantized(policy):
    """The policy in which new layers run beside quantized ones."""
    if policy.quantization_mode is None:
        return policy
    if policy.compute_dtype == policy.variable_dtype:
        return keras.DTypePolicy(policy.compute_dtype)
    return keras.DTypePolicy(f"mixed_{policy.compute_dtype}")
