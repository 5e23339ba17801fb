"""Files that TensorBoard reads.

The package tensorboard is imported when a file is opened. TensorFlow is not
needed, but makes it faster where it is Keras's backend.
"""

import contextlib
import importlib
import io
import itertools
import os
import pathlib
import shutil
import socket
import struct
import time

import keras
import numpy as np

from keras_warn.data.images import import_pillow

# TensorBoard reads all files with "tfevents" in their names. The suffix tells
# ours from those of others in the same folder.
SUFFIX = ".attention"

# Of histograms, as many as `tf.summary.histogram` has.
BUCKETS = 30


class EventFile:
    """A new event file, which grows by one summary at a time.

    All that was added before `flush` outlives the process.

    Args:
        folder: The folder to write to. It is made if it does not exist.
        suffix: How the name of the file ends. It tells files of one kind from
            those of others in the same folder, which `drop_steps` leaves as
            they are.

    Raises:
        ImportError: if tensorboard is not installed.
        OSError: if the folder cannot be made or written to, now or later.
    """

    def __init__(self, folder, suffix=SUFFIX):
        check_installed()
        self.folder = pathlib.Path(folder)
        self.suffix = suffix
        # Names sort by time, TensorBoard's own included.
        self.path = self.folder / (
            f"events.out.tfevents.{time.time():.6f}."
            f"{socket.gethostname()}.{os.getpid()}{suffix}"
        )
        with _explained(folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.path.touch(exist_ok=False)
            self._writer = _record_writer(self.path)
        self._add(file_version="brain.Event:2")

    def scalar(self, tag, step, value):
        """Adds a number.

        Args:
            tag: Name of the curve.
            step: Place of the number in the curve.
            value: A number.
        """
        self._add_summary("scalar", tag, step, np.float32(value))

    def histogram(self, tag, step, values):
        """Adds a histogram of numbers in [0, 1].

        Args:
            tag: Name of the histograms.
            step: Place of the histogram among them.
            values: Array of any shape. What is not finite is left out.
        """
        values = np.clip(values[np.isfinite(values)], 0, 1)
        counts, edges = np.histogram(values, BUCKETS, (0, 1))
        buckets = np.stack([edges[:-1], edges[1:], counts], axis=-1)
        self._add_summary("histogram", tag, step, buckets)

    def images(self, tag, step, images):
        """Adds images.

        Args:
            tag: Name of the images.
            step: Which point in time they show.
            images: Array of bytes, `(b, height, width, 3)`.
        """
        pillow = import_pillow()
        height, width = images.shape[1:3]
        content = [str(width).encode(), str(height).encode()]
        for image in images:
            png = io.BytesIO()
            # Masks are smooth: small files without an effort.
            pillow.Image.fromarray(image).save(png, "png", compress_level=1)
            content.append(png.getvalue())
        self._add_summary("image", tag, step, np.array(content, object))

    def summary(self, summary, step=0):
        """Adds what a plugin of TensorBoard has made ready.

        Args:
            summary: A `Summary` protocol buffer of tensorboard.
            step: Which point in time it is about, if any.
        """
        self._add(step=step, summary=summary)

    def flush(self):
        """Hands all that was added to the operating system."""
        with _explained(self.folder):
            self._writer.flush()

    def close(self):
        """Flushes and closes the file."""
        with _explained(self.folder):
            self._writer.close()

    def drop_steps(self, first):
        """Leaves only this file to say what happened from a step on.

        Other files of this kind in the folder, which a process wrote that was
        killed or whose training is done again, lose what is at `first` or
        later. Nothing is deleted: a copy of what such a file was stays beside
        it, by a name that TensorBoard does not read.

        Args:
            first: The first step that this file will hold.
        """
        for path in sorted(self.folder.glob(f"*tfevents*{self.suffix}")):
            if path != self.path:
                with _explained(self.folder):
                    _drop_steps(path, first)

    def _add_summary(self, plugin, tag, step, value):
        metadata = _tensorboard(f"plugins.{plugin}.metadata")
        summary_pb2 = _tensorboard("compat.proto.summary_pb2")
        tensor_util = _tensorboard("util.tensor_util")
        summary = summary_pb2.Summary()
        summary.value.add(
            tag=tag,
            metadata=metadata.create_summary_metadata("", ""),
            tensor=tensor_util.make_tensor_proto(value),
        )
        self.summary(summary, step)

    def _add(self, **content):
        event_pb2 = _tensorboard("compat.proto.event_pb2")
        event = event_pb2.Event(wall_time=time.time(), **content)
        with _explained(self.folder):
            self._writer.write(event.SerializeToString())


def new_folder(folder):
    """Makes a folder in another that no other training has.

    Args:
        folder: The folder around it. It is made if it does not exist.

    Returns:
        The path of the new folder: `run_0`, or the next number that is free.

    Raises:
        OSError: if the folder cannot be made.
    """
    for i in itertools.count():
        path = pathlib.Path(folder) / f"run_{i}"
        with _explained(folder), contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path


def read_events(path):
    """What an event file holds, up to where it is whole.

    A process that was killed may have left half a record at the end; a disk
    that fails, less.

    Args:
        path: Path of the file.

    Returns:
        A list of `Event` protocol buffers of tensorboard.
    """
    return [event for event, _ in _records(path)]


def check_installed():
    """Raises `ImportError` unless tensorboard and Pillow are installed."""
    _tensorboard("summary.writer.record_writer")
    import_pillow()


@contextlib.contextmanager
def _explained(folder):
    """Says of an error of the file system what it is about."""
    errors = (OSError,)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Those of its own writer.
        errors += (tf.errors.OpError,)
    try:
        yield
    except errors as error:
        kind = type(error) if isinstance(error, OSError) else OSError
        raise kind(
            "`log_dir` must be a folder that can be written to. "
            f"Received: log_dir={str(folder)!r} ({error})."
        ) from error


def _tensorboard(module):
    """A module of tensorboard."""
    try:
        return importlib.import_module(f"tensorboard.{module}")
    except ImportError as error:
        raise ImportError(
            "Writing for TensorBoard needs the package tensorboard: "
            "`pip install tensorboard`."
        ) from error


def _record_writer(path):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.io.TFRecordWriter(str(path))
    # The same, but that it sums up the bytes in Python, 3 MB in a second.
    record_writer = _tensorboard("summary.writer.record_writer")
    return record_writer.RecordWriter(open(path, "ab"))


def _records(path):
    """The events of a file, and each as bytes with what stands around it."""
    event_pb2 = _tensorboard("compat.proto.event_pb2")
    message = importlib.import_module("google.protobuf.message")
    content = pathlib.Path(path).read_bytes()
    start = 0
    # The length and its checksum, the event, and its checksum.
    while start + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        end = start + 12 + length + 4
        if end > len(content):
            return
        try:
            event = event_pb2.Event.FromString(content[start + 12 : end - 4])
        except message.DecodeError:
            return
        yield event, content[start:end]
        start = end


def _drop_steps(path, first):
    kept, dropped, left = [], False, False
    for event, record in _records(path):
        is_summary = event.HasField("summary")
        if is_summary and event.step >= first:
            dropped = True
        else:
            kept.append(record)
            left |= is_summary
    if not dropped:
        return
    aside = path.with_name(
        f"replaced.{time.time():.6f}.{path.name.replace('tfevents', 'log')}"
    )
    # One step each: whoever is killed in between leaves a whole file, and the
    # next start does the rest.
    shutil.copyfile(path, aside)
    if not left:
        path.unlink()
        return
    # Not by `files.replacing`: TensorBoard would read its path, too, which has
    # the same name, and show the folder around it as one more run.
    unfinished = aside.with_name(f"{aside.name}.unfinished")
    unfinished.write_bytes(b"".join(kept))
    os.replace(unfinished, path)
