"""Curves of a training for TensorBoard."""

import keras

from keras_warn._event_files import EventFile
from keras_warn._event_files import check_installed


class TensorBoardHistory(keras.callbacks.Callback):
    """Writes loss, metrics and learning rate of each epoch for TensorBoard.

    Unlike Keras's own callback, on every backend; and a training that was
    killed and resumes shows each epoch once.

    Args:
        log_dir: The folder to write to, which nothing else writes to.

    Example:

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> with tempfile.TemporaryDirectory() as log_dir:
    ...     history = model.fit(
    ...         ops.zeros((4, 2)), ops.zeros((4, 1)), verbose=0,
    ...         callbacks=[TensorBoardHistory(log_dir)],
    ...     )
    """

    def __init__(self, log_dir):
        super().__init__()
        check_installed()
        self.log_dir = log_dir
        self._file = None

    def on_train_begin(self, logs=None) -> None:
        self._file = EventFile(self.log_dir)
        self._begun = False

    def on_epoch_begin(self, epoch, logs=None) -> None:
        if not self._begun:
            self._file.start(epoch)
        self._begun = True

    def on_epoch_end(self, epoch, logs=None) -> None:
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        for name, value in {**(logs or {}), "learning_rate": rate}.items():
            group = "validation" if name.startswith("val_") else "training"
            tag = f"{group}/{name.removeprefix('val_')}"
            self._file.scalar(tag, epoch, value)
        self._file.flush()

    def on_train_end(self, logs=None) -> None:
        self._file.close()
