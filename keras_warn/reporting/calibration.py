"""`keras_warn.calibrate`: probabilities that hold, kept with the model."""

import dataclasses

import keras
import numpy as np

from keras_warn import checks
from keras_warn import confidence
from keras_warn import metadata
from keras_warn.attention import attention_of
from keras_warn.explanation.intermediates import inspect
from keras_warn.explanation.intermediates import outputs_of
from keras_warn.reporting import comparison


def calibrate(
    model, data, accuracy=None, batch_size=32, verbose=1
) -> confidence.Calibration:
    """Finds what a model's probabilities are worth, and keeps it with it.

    A temperature makes its probabilities hold: of the images with 80 %, about
    80 % are predicted correctly. Thresholds, of the highest probability and of
    what the backbone by itself says of that class, tell the images that it
    answers from those that are better left to a person, among them most of what
    it was never taught. All are part of the model's file from `model.save` on,
    and `keras-warn predict`, `keras_warn.report` and `keras_warn.export` apply
    them. What `model.predict` returns stays as it is. A model that is trained
    further has no calibration until the next call.

    Args:
        model: A model made by `keras_warn.augment`, fresh or loaded from disk.
        data: Images that the model was *not* trained on, and their true
            classes, as of `keras_warn.report`. What is promised holds for
            images that are drawn as these.
        accuracy: Number in (0, 1), the least share of answers that shall be
            correct: as many images are answered as keep it, of these 95 % at
            most. `None`: at least half, and those of the highest accuracy.
        batch_size: Positive integer, for arrays.
        verbose: 0 or 1; whether progress is shown.

    Returns:
        A `keras_warn.confidence.Calibration`.

    Raises:
        ValueError: if `data` does not fit `model`, holds fewer than 16 images
            or one class alone, or if no threshold keeps `accuracy`: it says
            what can be kept, and how many images it takes.

    Example:

    >>> backbone = keras.applications.MobileNet(
    ...     (96, 96, 3), alpha=0.25, include_top=False, weights=None
    ... )
    >>> model = keras_warn.augment(backbone, classes=2, depth=1)
    >>> images, labels = keras.random.uniform((16, 96, 96, 3)), 8 * [0, 1]
    >>> found = keras_warn.calibrate(model, (images, labels), verbose=0)
    >>> found == keras_warn.metadata.of_model(model).calibration
    True
    """
    # Of an earlier call and training, too: it is replaced.
    known = metadata.from_json(attention_of(model).rectified.metadata)
    if accuracy is not None:
        checks.real("accuracy", accuracy, maximum=0.999)
    reader = inspect(model)
    count, batches = comparison.batches_of(model, data, batch_size)
    progress = keras.utils.Progbar(count, verbose=verbose, unit_name="batch")
    found = []
    for images, labels in batches:
        outputs = outputs_of(reader.predict_on_batch(images))
        comparison.check_finite("model", "prediction", outputs.prediction)
        probabilities = comparison.own_probabilities(model, outputs.prediction)
        found.append((probabilities, outputs.backbone_prediction, labels))
        progress.update(len(found))
    confidence.check_enough([label for *_, labels in found for label in labels])
    joined = map(np.concatenate, zip(*found, strict=True))
    calibration = dataclasses.replace(
        confidence.fit(*joined, accuracy),
        weights=metadata.weights_digest(model),
    )
    metadata.attach(model, dataclasses.replace(known, calibration=calibration))
    return calibration
