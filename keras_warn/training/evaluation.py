"""How well a model does on images, counted one by one.

Not by `model.evaluate`: with several devices, it takes the mean over a last
batch that is smaller for one over a whole batch.
"""

import collections.abc
import contextlib

import keras
import numpy as np

from keras_warn.training import devices
from keras_warn.training import processes

# Keras's own, below which a probability counts as this.
TINY = 1e-7


def evaluate(model, batches) -> dict:
    """Loss and accuracy over all images.

    Args:
        model: A `keras.Model` that returns probabilities `(b, n)`.
        batches: `keras_warn.data.TestBatches` of `n` classes, or what has
            the same method `predict(model)`, `labels` and `classes`.

    Returns:
        A dictionary: `loss`, the mean negative log-likelihood of the labels,
        in nats, and `accuracy`, from 0 to 1.

    Raises:
        ValueError: if the model returns logits.

    Example:

    >>> from keras_warn.data import ImageDataset, TestBatches, transforms
    >>> dataset = ImageDataset(
    ...     "gray", ["1", "2", "3"], [0, 1, 1], ("dark", "light"), splits={},
    ...     contents=np.zeros((3, 8, 8, 3), "uint8"),
    ... )
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((8, 8, 3)),
    ...         keras.layers.Flatten(),
    ...         keras.layers.Dense(2, "softmax"),
    ...     ]
    ... )
    >>> found = evaluate(model, TestBatches(dataset, transforms.Identity(), 2))
    >>> round(found["loss"], 3)  # of the probability 1/2
    0.693
    """
    return processes.on_first(_evaluate, model, batches)


def _evaluate(model, batches):
    _share_statistics(model)
    labels = batches.labels
    predictions = batches.predict(model)
    sums = predictions.sum(axis=-1)
    wrong = sums[np.abs(sums - 1) > 0.1]  # not NaN
    if len(wrong):
        raise ValueError(
            "`model` must return probabilities, which sum to 1. Received: a "
            f"sum of {wrong[0]:.3g}. A softmax makes them of logits."
        )
    chosen = predictions[np.arange(len(labels)), labels].astype("float64")
    return {
        # NaN stays NaN: a training that diverged must not look like one.
        "loss": float(np.mean(-np.log(np.maximum(chosen, TINY)))),
        "accuracy": float(np.mean(predictions.argmax(axis=-1) == labels)),
    }


def take_averages(model) -> None:
    """Sets weights to their moving averages, if there are any."""
    model.optimizer.finalize_variable_values(model.trainable_variables)
    if keras.backend.backend() == "jax":
        # In Keras 3.15 both would be the same memory, which `predict` gives
        # away.
        for variable in model.trainable_variables:
            variable.assign(keras.ops.copy(variable.value))


@contextlib.contextmanager
def averaged(model) -> collections.abc.Iterator:
    """Lends a model the moving averages of its weights, if there are any.

    Those of an optimizer with `use_ema`. Afterwards the model has the weights
    that it had.
    """
    variables = model.trainable_variables
    kept = [keras.ops.convert_to_numpy(v).copy() for v in variables]
    take_averages(model)
    try:
        yield
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)


def _share_statistics(model):
    """Gives all devices the first's moving statistics, which are saved."""
    # Each has its own, and would predict its part of the images by them.
    # Training reads none of them: who resumes ends with the same.
    if devices.replicas(getattr(model, "distribute_strategy", None)) > 1:
        for variable in model.non_trainable_variables:
            variable.assign(keras.ops.convert_to_numpy(variable))
