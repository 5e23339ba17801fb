"""Files that TensorBoard reads, by its own writer, on every backend.

They are opened where `check_installed` has passed.
"""

import contextlib
import importlib
import io
import itertools
import pathlib
import time

import numpy as np

from keras_warn.data.images import import_pillow

WRITER = "tensorboard.summary.writer.event_file_writer"

# Of histograms, as many as `tf.summary.histogram` has.
BUCKETS = 30


class EventFile:
    """A new event file, which grows by one summary at a time.

    All that was added before `flush` outlives the process.
    """

    def __init__(self, folder):
        writer = importlib.import_module(WRITER)
        self._writer = writer.EventFileWriter(str(folder))

    def start(self, step) -> None:
        """Says that a training starts, or resumes, at a step.

        TensorBoard then drops what it has read of this step and later ones:
        from other files of the folder, which a process wrote that was killed,
        or whose training is done again.
        """
        from tensorboard.compat.proto import event_pb2

        status = event_pb2.SessionLog.START
        self._add(step, session_log=event_pb2.SessionLog(status=status))

    def scalar(self, tag, step, value) -> None:
        """Adds a number."""
        from tensorboard.plugins.scalar import metadata

        self._add_summary(metadata, tag, step, np.float32(value))

    def histogram(self, tag, step, values) -> None:
        """Adds a histogram of numbers in [0, 1]; of those that are finite."""
        from tensorboard.plugins.histogram import metadata

        values = np.clip(values[np.isfinite(values)], 0, 1)
        counts, edges = np.histogram(values, BUCKETS, (0, 1))
        buckets = np.stack([edges[:-1], edges[1:], counts], axis=-1)
        self._add_summary(metadata, tag, step, buckets)

    def images(self, tag, step, images) -> None:
        """Adds images, bytes `(b, height, width, 3)`."""
        from tensorboard.plugins.image import metadata

        pillow = import_pillow()
        height, width = images.shape[1:3]
        content = [str(width).encode(), str(height).encode()]
        for image in images:
            png = io.BytesIO()
            # Masks are smooth: small files without an effort.
            pillow.Image.fromarray(image).save(png, "png", compress_level=1)
            content.append(png.getvalue())
        self._add_summary(metadata, tag, step, np.array(content, object))

    def flush(self) -> None:
        """Hands all that was added to the operating system."""
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the file."""
        self._writer.close()

    def _add_summary(self, metadata, tag, step, value):
        from tensorboard.compat.proto import summary_pb2
        from tensorboard.util import tensor_util

        summary = summary_pb2.Summary()
        summary.value.add(
            tag=tag,
            metadata=metadata.create_summary_metadata("", ""),
            tensor=tensor_util.make_tensor_proto(value),
        )
        self._add(step, summary=summary)

    def _add(self, step, **content):
        from tensorboard.compat.proto import event_pb2

        self._writer.add_event(
            event_pb2.Event(wall_time=time.time(), step=step, **content)
        )


def new_folder(folder) -> pathlib.Path:
    """Makes `run_0` in a folder, or the next number that is free."""
    for i in itertools.count():
        path = pathlib.Path(folder) / f"run_{i}"
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path


def check_installed() -> None:
    """Raises `ImportError` unless tensorboard and Pillow are installed."""
    try:
        importlib.import_module(WRITER)
    except ImportError as error:
        raise ImportError(
            "Writing for TensorBoard needs the package tensorboard: "
            "`pip install tensorboard`."
        ) from error
    import_pillow()
