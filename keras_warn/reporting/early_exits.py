"""`keras_warn.early_exits`: when the rest need not run, kept with the model."""

import dataclasses

import numpy as np

from keras_warn import exits
from keras_warn import losses
from keras_warn import metadata
from keras_warn.attention import attention_of
from keras_warn.reporting import comparison
from keras_warn.staging import operations_so_far


def early_exits(
    model, data, loss=0.01, batch_size=32, verbose=1
) -> exits.EarlyExits:
    """Finds how sure its first modules must be for a model to stop early.

    With losses of their own, modules are classifiers, from shallow to deep. An
    image leaves after the first one where the mean prediction of the modules
    so far is sure enough: where its highest probability reaches a threshold,
    the same after each module. That is part of the model's file from
    `model.save` on. `keras_warn.export` then adds a signature that skips the
    rest; `keras_warn.stages` cuts a model for other programs. What
    `model.predict` returns stays as it is. A model that is trained further has
    no early exits until the next call.

    Args:
        model: A model made by `keras_warn.augment`, fresh or loaded from disk,
            whose modules have losses of their own: with its default preset, or
            with `agreement_weight` above 0.
        data: Images that the model was *not* trained on, and their true
            classes, as of `keras_warn.report`. What is promised holds for
            images that are drawn as these.
        loss: Number in (0, 1), what early exits may cost: with 95 % confidence,
            at most this share of images leaves with a wrong answer where the
            whole model has the correct one. Accuracy falls by no more.
        batch_size: Positive integer, for arrays.
        verbose: 0 or 1; whether progress is shown.

    Returns:
        A `keras_warn.exits.EarlyExits`.

    Raises:
        TypeError: if `loss` is not a number.
        ValueError: if `loss` is out of range, if `data` does not fit `model`,
            has a single class or too few images for `loss` (it says how many it
            takes), if the modules have no losses of their own, or if layers
            move images along the first axis.

    Example:

    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=2, depth=1)
    >>> images, labels = keras.random.uniform((8, 96, 96, 3)), [0, 1] * 4
    >>> data = images, labels
    >>> found = keras_warn.early_exits(model, data, loss=0.5, verbose=0)
    >>> found == keras_warn.metadata.of_model(model).early_exits
    True
    """
    exits.check_loss(loss)
    if not losses.are_separate(model):
        raise ValueError(
            "`model` must have been trained with a loss for each module, such "
            "as by preset='side_by_side': one loss of their sum leaves single "
            "modules near the random baseline. Received: the model "
            f"{model.name!r}, with agreement_weight=0."
        )
    found = comparison.compare(model, data, batch_size, verbose)
    if len(np.unique(found.labels)) == 1:
        raise ValueError(
            "`data` must hold images of two classes or more. Received: images "
            f"of class {found.labels[0]} alone."
        )
    # Of an earlier call and training, too: it is replaced.
    known = metadata.from_json(attention_of(model).rectified.metadata)
    chosen = dataclasses.replace(
        exits.fit(found.cascade(), operations_so_far(model), loss),
        weights=metadata.weights_digest(model),
    )
    metadata.attach(model, dataclasses.replace(known, early_exits=chosen))
    return chosen
