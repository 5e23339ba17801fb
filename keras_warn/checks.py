"""Checks of arguments: early, and worded as advice."""

import collections.abc
import numbers

import keras
import numpy as np


def _refused(error, name, rule, value):
    return error(f"`{name}` must be {rule}. Received: {name}={value!r}.")


def integer(name, value, minimum=1, maximum=None, word=None) -> int:
    """Returns `value` as an `int` in `[minimum, maximum]`, or says why not.

    The `word`, if it is allowed instead, is returned as it is.
    """
    if word is not None and isinstance(value, str) and value == word:
        return value
    kind = {0: "a non-negative", 1: "a positive"}.get(minimum)
    rule = f"{kind} integer" if kind else f"an integer of at least {minimum}"
    if maximum is not None:
        rule += f", at most {maximum}"
    if word is not None:
        rule += f", or {word!r}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise _refused(TypeError, name, rule, value)
    if value < minimum or (maximum is not None and value > maximum):
        raise _refused(ValueError, name, rule, value)
    return int(value)


def odd(name, value) -> int:
    """Returns `value` as a positive odd `int`: a kernel needs a centre."""
    value = integer(name, value)
    if value % 2 == 0:
        rule = "odd, so that the kernel has a centre"
        raise _refused(ValueError, name, rule, value)
    return value


def real(name, value, minimum=0.0, maximum=float("inf")) -> float:
    """Returns `value` as a finite `float` in `[minimum, maximum]`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise _refused(TypeError, name, "a number", value)
    value = float(value)
    # The comparison is also false for NaN.
    if not (minimum <= value <= maximum and abs(value) != float("inf")):
        rule = f"finite, at least {minimum:g}"
        if maximum != float("inf"):
            rule += f" and at most {maximum:g}"
        raise _refused(ValueError, name, rule, value)
    return value


def size(name, value) -> tuple:
    """Returns a pair of positive integers, a height and a width."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise _refused(TypeError, name, "a pair (height, width)", value)
    return tuple(integer(name, length) for length in value)


def flag(name, value) -> bool:
    """Returns `value` if it is `True` or `False`."""
    if not isinstance(value, bool):
        raise _refused(TypeError, name, "True or False", value)
    return value


def one_of(name, value, choices) -> object:
    """Returns `value` if it is among `choices`."""
    if not isinstance(value, (str, type(None))) or value not in choices:
        rule = f"one of {', '.join(map(repr, choices))}"
        raise _refused(ValueError, name, rule, value)
    return value


def rank(name, shape, ranks, layout) -> None:
    """Checks the number of axes of the input called `name`."""
    if len(shape) not in ranks:
        raise ValueError(
            f"`{name}` must have shape {layout}. "
            f"Received: {name} of shape {tuple(shape)}."
        )


def known_axis(name, shape, axis, meaning) -> int:
    """Returns the size of `axis`, which weights are made for."""
    if shape[axis] is None:
        raise ValueError(
            f"`{name}` must have a known number of {meaning}, for which "
            f"weights are made. Received: {name} of shape {tuple(shape)}."
        )
    return shape[axis]


def data_format(value) -> str:
    """Returns the data format that `value` names, Keras's for `None`."""
    if value is None:
        return keras.config.image_data_format()
    return one_of("data_format", value, ("channels_last", "channels_first"))


def fits(shape, wanted) -> bool:
    """Whether a shape is the wanted one, whose unknown lengths may be any."""
    return len(shape) == len(wanted) and all(
        length in (None, found)
        for found, length in zip(shape, wanted, strict=True)
    )


def images(name, value, inputs) -> object:
    """Returns images as NumPy arrays, if they have the shape for a model.

    Args:
        name: What messages call them.
        value: An array, or several in the structure of `inputs`.
        inputs: What the model takes, `model.input`.
    """
    wanted = [tuple(tensor.shape) for tensor in keras.tree.flatten(inputs)]
    # A list of images is an array, but a list of inputs is several.
    if len(wanted) == 1 and isinstance(value, list):
        value = np.asarray(value)
    value = keras.tree.map_structure(keras.ops.convert_to_numpy, value)
    found = [array.shape for array in keras.tree.flatten(value)]
    if len(found) != len(wanted) or not all(
        fits(one, (None, *other[1:])) and one[0]
        for one, other in zip(found, wanted, strict=True)
    ):
        raise ValueError(
            f"`{name}` must hold images of the shape that the model takes, "
            f"{' and '.join(map(str, wanted))}. Received: "
            f"{' and '.join(map(str, found))}."
        )
    return value


def activation(name, value) -> collections.abc.Callable:
    """Returns the activation function that `value` names, or is."""
    try:
        return keras.activations.get(value)
    except (TypeError, ValueError) as error:
        rule = "None, a function, or the name of an activation of Keras"
        raise _refused(ValueError, name, rule, value) from error


def initializer(name, value) -> keras.initializers.Initializer:
    """Returns an initializer that no other layer shares.

    Objects of Keras's initializers repeat the values that they drew once.
    Copies of one without a seed draw anew.
    """
    if isinstance(value, keras.initializers.Initializer):
        return value.clone()
    rule = "an initializer, or the name of one of Keras"
    if value is None:  # which Keras would pass on
        raise _refused(ValueError, name, rule, value)
    try:
        return keras.initializers.get(value)
    except (TypeError, ValueError) as error:
        raise _refused(ValueError, name, rule, value) from error


def class_ids(name, labels, n) -> np.ndarray:
    """Labels, as integers or one-hot, as int64 `(b,)` below `n`.

    Args:
        name: What messages call the data.
        labels: Array `(b,)`, `(b, 1)`, or one-hot `(b, n)`.
        n: The number of classes.

    Example:

    >>> import numpy as np
    >>> class_ids("data", np.array([[0, 0, 1], [1, 0, 0]]), 3).tolist()
    [2, 0]
    """
    labels = keras.ops.convert_to_numpy(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.shape[1] == n:
        found = labels.argmax(axis=1).astype(np.int64)
        if not np.array_equal(labels, np.eye(n)[found]):
            raise ValueError(
                f"`{name}` must have one-hot labels with a single 1 an image, "
                "or integers. Received: rows with other numbers."
            )
        return found
    if labels.ndim != 1:
        raise ValueError(
            f"`{name}` must have labels of shape (b,), (b, 1) or one-hot (b, "
            f"{n}). Received: labels of shape {labels.shape}."
        )
    wrong = labels[(labels < 0) | (labels >= n) | (labels % 1 != 0)]
    if len(wrong):
        raise ValueError(
            f"`{name}` must have integers from 0 to {n - 1} as labels, the "
            f"numbers of classes. Received: the label {wrong[0]:g}."
        )
    return labels.astype(np.int64)
