"""Watching attention while it is trained."""

import itertools
import pathlib
import warnings

import keras
import numpy as np
from keras import ops

from keras_warn import checks
from keras_warn._event_files import EventFile
from keras_warn._event_files import check_installed
from keras_warn._event_files import new_folder
from keras_warn.attention import attention_of
from keras_warn.attention import module_name
from keras_warn.explanation import geometry
from keras_warn.explanation.decomposition import outcomes
from keras_warn.explanation.intermediates import follow_settings
from keras_warn.explanation.intermediates import inspect
from keras_warn.explanation.intermediates import outputs_of
from keras_warn.explanation.masks import masks_of
from keras_warn.explanation.overlays import displayable
from keras_warn.explanation.overlays import mask_overlay
from keras_warn.reporting.comparison import TINY
from keras_warn.reporting.comparison import batches_of
from keras_warn.reporting.comparison import entropy
from keras_warn.reporting.comparison import flat_masks
from keras_warn.reporting.comparison import number_of_batches

# How many images are watched.
IMAGES = 8


class TensorBoardAttention(keras.callbacks.Callback):
    """Shows in TensorBoard what attention does, epoch by epoch.

    Of the first 8 of `images`, for each module `i` from 1:

    - images `masks/all_modules` and `masks/module_<i>`: the images, lit
      where the model looks (`keras_warn.explanation.overlays.mask_overlay`).
      Not of models that read tokens;
    - `global_gate/backbone` and `global_gate/module_<i>`: mean weight in the
      prediction;
    - `head_gate/module_<i>/head_<j>`: mean weight in the module's prediction;
    - `head_gate_entropy/module_<i>`: 1 where all heads weigh the same, 0
      where one has all the weight; mean over images;
    - `mask_entropy/module_<i>`: 1 where a mask is the same everywhere, 0
      where it is a single point; mean over images and heads;
    - `mask_overlap/module_<i>`: cosine similarity of the masks of two heads,
      1 where they are the same, 0 where they are disjoint; mean over images
      and pairs of heads;
    - `.../histogram` of global gates, head gates and mask entropies: the
      values behind these means.

    Of all of `validation_data`:

    - `outcome/fixed` and `outcome/broken`: how many images the backbone alone
      gets wrong and the model correct, and the other way round;
    - `accuracy/backbone` and `accuracy/output`: of the backbone alone, and of
      the model.

    Entropies are divided by their maximum, the logarithm of the number of
    heads or positions. Steps are epochs, from 0, as in Keras's own
    `TensorBoard` callback, which may run beside this one. With
    `gates="linear"` there are no gates to show. TensorBoard keeps 10 steps of
    each image, unless started with `--samples_per_plugin images=1000`.

    The training stays what it was, to the bit. A training that was killed
    and resumes, by `initial_epoch` or `keras.callbacks.BackupAndRestore`,
    resumes here too: TensorBoard shows epochs that are trained again instead
    of what an earlier process wrote of them into the same `log_dir`, whose
    files all stay. Put this callback before `BackupAndRestore`, so that an
    epoch is written here before it counts as done.

    Args:
        log_dir: The folder to write to, one for each training, which nothing
            else writes to. A copy of the
            callback, such as KerasTuner makes for each trial, writes to a
            new folder in it: `run_0`, `run_1` and so on.
        images: The images to watch, as the model takes them: an array (for a
            model of several inputs, a list or dictionary of arrays), or
            batches of images, or of `(images, labels)`, such as a
            `tf.data.Dataset`. Batches are read when the training begins.
        validation_data: A pair of arrays `(images, labels)`, or batches of
            such pairs that can be read again and again. Labels are integers,
            or one-hot.
        every: Positive integer. Every how many epochs to write; the last one
            is always written.

    Raises:
        ImportError: if tensorboard or Pillow is not installed.
        TypeError, ValueError: if an argument is not what it must be. What
            does not fit the model is found when the training begins: a model
            without attention, and images or labels of other shapes.

    Example:

    >>> import tempfile
    >>> backbone = keras.Sequential(
    ...     [keras.Input((24, 24, 1)), keras.layers.Conv2D(8, 3, 2)]
    ... )
    >>> model = keras_warn.augment(backbone, classes=5, depth=1, width=3)
    >>> model.compile("adam", "sparse_categorical_crossentropy")
    >>> images, labels = ops.zeros((4, 24, 24, 1)), ops.arange(4)
    >>> with tempfile.TemporaryDirectory() as log_dir:
    ...     watch = TensorBoardAttention(log_dir, images)
    ...     history = model.fit(images, labels, callbacks=[watch], verbose=0)
    """

    def __init__(self, log_dir, images, validation_data=None, every=1):
        super().__init__()
        check_installed()
        self.log_dir = pathlib.Path(log_dir)
        if validation_data is not None and not isinstance(
            validation_data, tuple
        ):
            number_of_batches(validation_data, "validation_data")
        self.images = images
        self.validation_data = validation_data
        self.every = checks.integer("every", every)
        self._is_copy = False
        self._file = None

    def __deepcopy__(self, memo):
        """A callback for another training, on the same data."""
        twin = type(self)(
            self.log_dir, self.images, self.validation_data, self.every
        )
        twin._is_copy = True
        return twin

    def on_train_begin(self, logs=None) -> None:
        self._inspected = inspect(self.model)
        follow_settings(self._inspected, self.model)
        self._data_format = attention_of(self.model).data_format
        self._images = _first_images(self.images, self.model.input)
        # Rather now than after an epoch.
        self._inspected.predict_on_batch(self._images)
        self._displayed = _displayed(self._images, self._data_format)
        if self._displayed is not None:
            self._placements = geometry.placements(
                self.model, self._displayed.shape[1:3]
            )
            why = geometry.why_unknown(self._placements)
            if why is not None:
                warnings.warn(
                    f"There are no images of masks: {why}.", stacklevel=2
                )
                self._displayed = None
        if self.validation_data is not None:
            self._outcomes(1)
        self._close()
        folder = new_folder(self.log_dir) if self._is_copy else self.log_dir
        self._file = EventFile(folder)
        self._begun = False
        self._written = self._ended = None

    def on_epoch_begin(self, epoch, logs=None) -> None:
        if not self._begun:
            # Only now: `BackupAndRestore` may have changed the first epoch.
            self._file.start(epoch)
        self._begun = True

    def on_epoch_end(self, epoch, logs=None) -> None:
        self._ended = epoch
        last = epoch + 1 == self.params["epochs"] or self.model.stop_training
        if last or (epoch + 1) % self.every == 0:
            self._write(epoch)

    def on_train_end(self, logs=None) -> None:
        # Another callback may have stopped the training after our turn.
        if self._written != self._ended:
            self._write(self._ended)
        self._close()

    def _close(self):
        if self._file is not None:
            self._file.close()
        self._file = None

    def _outcomes(self, most=None):
        """What attention made of each image, of the first batches or all."""
        found = []
        _, batches = batches_of(
            self.model, self.validation_data, 128, "validation_data"
        )
        for images, labels in itertools.islice(batches, most):
            outputs = outputs_of(self._inspected.predict_on_batch(images))
            backbone = outputs.backbone_prediction.argmax(-1)
            output = outputs.prediction.argmax(-1)
            found.append(outcomes(backbone, output, labels))
        return np.concatenate(found)

    def _write(self, epoch):
        intermediates = self._inspected.predict_on_batch(self._images)
        if self._displayed is not None:
            size = self._displayed.shape[1:3]
            masks = ops.convert_to_numpy(
                masks_of(intermediates, self._placements, size)
            )
            named = {"all_modules": masks.sum(axis=1)}
            for i in range(masks.shape[1]):
                named[module_name(i + 1)] = masks[:, i]
            for name, mask in named.items():
                self._file.images(
                    f"masks/{name}", epoch, mask_overlay(self._displayed, mask)
                )
        scalars, histograms = statistics(intermediates, self._data_format)
        if self.validation_data is not None:
            found = self._outcomes()
            fixed, broken, correct = (
                np.sum(found == name) for name in ("fixed", "broken", "correct")
            )
            scalars["outcome/fixed"] = fixed
            scalars["outcome/broken"] = broken
            scalars["accuracy/backbone"] = (correct + broken) / len(found)
            scalars["accuracy/output"] = (correct + fixed) / len(found)
        for tag, value in scalars.items():
            self._file.scalar(tag, epoch, value)
        for tag, values in histograms.items():
            self._file.histogram(tag, epoch, values)
        # An epoch that `BackupAndRestore` has saved is not trained again.
        self._file.flush()
        self._written = epoch


def statistics(intermediates, data_format=None) -> tuple:
    """What `TensorBoardAttention` says of gates and masks in numbers.

    Of the outputs of `keras_warn.inspect(model)`: a dictionary of numbers, and
    one of arrays that belong into histograms. All values are in [0, 1].

    Example:

    >>> masks = ops.one_hot([[[0, 1]]], 3)  # (b, h, w, k)
    >>> numbers, _ = statistics({"module_1_masks": masks}, "channels_last")
    >>> numbers["mask_entropy/module_1"] < numbers["mask_overlap/module_1"]
    True
    """
    data_format = checks.data_format(data_format)
    found = outputs_of(
        {
            name: ops.convert_to_numpy(x).astype("float64")
            for name, x in intermediates.items()
        }
    )
    scalars, histograms = {}, {}
    gates = [] if found.global_gates is None else found.global_gates.T
    for j, gate in enumerate(gates):
        name = module_name(j) if j else "backbone"
        scalars[f"global_gate/{name}"] = gate.mean()
        histograms[f"global_gate/{name}/histogram"] = gate
    for i, outputs in enumerate(found.modules, start=1):
        module, gates = module_name(i), outputs.head_gates
        if gates is not None:
            for j, gate in enumerate(gates.T, start=1):
                scalars[f"head_gate/{module}/head_{j}"] = gate.mean()
            scalars[f"head_gate_entropy/{module}"] = entropy(gates).mean()
            histograms[f"head_gate/{module}/histogram"] = gates
        masks = flat_masks(outputs.masks, data_format)
        entropies = entropy(masks)
        scalars[f"mask_entropy/{module}"] = entropies.mean()
        histograms[f"mask_entropy/{module}/histogram"] = entropies
        k = masks.shape[1]
        if k > 1:
            masks = masks + TINY
            masks /= np.linalg.norm(masks, axis=-1, keepdims=True)
            overlap = np.einsum("bip,bjp->bij", masks, masks)
            pairs = overlap[:, ~np.eye(k, dtype=bool)]
            scalars[f"mask_overlap/{module}"] = pairs.mean()
    scalars = {name: float(value) for name, value in scalars.items()}
    return scalars, histograms


def _is_batch(images, model_input):
    """Whether these are images, rather than batches of them."""
    if isinstance(images, list | tuple) and isinstance(model_input, list):
        # A batch for several inputs is itself a list.
        return all(hasattr(array, "shape") for array in images)
    return hasattr(images, "shape") or isinstance(images, dict)


def _first_images(images, model_input):
    """The first images, as NumPy arrays that fit the model."""
    if not _is_batch(images, model_input):
        batches, count = [], 0
        for batch in images:
            batches.append(batch[0] if isinstance(batch, tuple) else batch)
            count += len(keras.tree.flatten(batches[-1])[0])
            if count >= IMAGES:
                break
        images = keras.tree.map_structure(
            lambda *arrays: np.concatenate(
                [ops.convert_to_numpy(array) for array in arrays]
            ),
            *batches,
        )
    return keras.tree.map_structure(
        lambda array: array[:IMAGES],
        checks.images("images", images, model_input),
    )


def _displayed(images, data_format):
    for array in keras.tree.flatten(images):
        if array.ndim == 4:
            return displayable(array, data_format)
