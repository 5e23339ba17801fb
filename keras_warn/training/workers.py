"""One training on several machines, each of which runs the same command.

By Keras's own engine on JAX: `keras.distribution.DataParallel` and plain
`fit`. Not on TensorFlow, where `fit` of Keras 3 fails under
`MultiWorkerMirroredStrategy` (keras-team/keras#20585, open with Keras 3.15 and
TensorFlow 2.21).

All workers do the same, on their own part of each batch. The first one,
number 0, has the folder of results, and says what is in it; the others work in
temporary folders, so no folder has to be shared. If a worker is lost, the
others end with an error. Started again, all go on from what the first saved.
"""

import atexit
import contextlib
import hashlib
import json
import os
import pathlib
import socket
import sys
import time

import keras
import numpy as np

from keras_warn import files
from keras_warn.data.batches import TestBatches

# How long to look for the first worker, and to wait until all are there.
FIND_SECONDS, MEET_SECONDS = 30.0, 600.0
# After so long without a sign of life, a worker is lost.
HEARTBEAT_SECONDS = 60
# At the end, when all have come to the end of their work.
LEAVE_SECONDS = 20
# Files are sent in pieces of so many bytes.
PIECE = 1 << 26
# The longest message of those who meet, in bytes.
MESSAGE = 10_000


class Alone:
    """One process that trains by itself: what `Workers` does for several."""

    index = 0
    number = 1
    devices = 1

    @property
    def first(self):
        """Whether this worker has the folder of results."""
        return self.index == 0

    def scope(self):
        """The context in which a model is built, compiled and trained."""
        return contextlib.nullcontext()

    def watched(self):
        """A context in which the loss of other workers is explained.

        An error in it that the others do not have ends this process at its
        exit, with status 1: JAX would wait for those who are gone, and abort.
        """
        return contextlib.nullcontext()

    def together(self):
        """A context that ends with an error on all workers, or on none."""
        return contextlib.nullcontext()

    def check_same(self, name, value):
        """Raises a `ValueError` unless all workers have the same value.

        Args:
            name: What it is, for the error.
            value: What JSON can hold.
        """

    def of_first(self, value):
        """The value that the first worker has, for all; what JSON can hold."""
        return value

    def highest(self, value):
        """The highest of all workers' values, small non-negative integers."""
        return value

    def agree_to_end(self):
        """Waits for all workers, who raise an error next."""

    def send_folder(self, folder):
        """Copies the files of the first worker's folder to those of others.

        Args:
            folder: `pathlib.Path` of a folder without folders. Not the same
                on two workers.
        """

    def local(self, model):
        """Lends a model that this worker can use without the others.

        Args:
            model: A `keras.Model` that was built in `scope()`.

        Returns:
            A context manager for a model with the same weights.
        """
        return contextlib.nullcontext(model)

    def divide(self, batches):
        """Test batches of which each worker predicts its part.

        Args:
            batches: `keras_warn.data.TestBatches`.

        Returns:
            What has the same `labels` and `classes`, and `predict`, which all
            workers call and which returns all predictions to all of them.
        """
        return batches


ALONE = Alone()


class Workers(Alone):
    """This process as one of several. Made before JAX computes anything.

    Args:
        addresses: List of strings, `HOST:PORT` of each worker. The first one
            must be reached by all others: there the workers meet.
        index: Which of them this one is, from 0.

    Attributes:
        index: As given.
        number: How many workers there are.
        devices: How many devices they have together.

    Raises:
        ConnectionError: if the first worker, or another one, is not there.
        OSError: if the port is taken.
        ValueError: if an argument is not what it must be, Keras's backend is
            not JAX, or the workers do not agree about how many there are,
            have other versions of Keras or JAX, or not as many devices each.
    """

    def __init__(self, addresses, index):
        first = check(addresses, index)[0]
        if keras.backend.backend() != "jax":
            raise ValueError(
                "`workers` must run on the JAX backend: set KERAS_BACKEND=jax. "
                f"Received: {keras.backend.backend()}."
            )
        import jax

        self.index = index
        self.number = len(addresses)
        versions = {"keras": keras.__version__, "jax": jax.__version__}
        greeting = {"worker": index, "workers": self.number, **versions}
        # JAX itself would end the process, without a word that helps.
        if self.first:
            _await_others(first, greeting)
        else:
            _find_first(first, greeting)
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        # `keras.distribution.initialize` does just this, but waits for minutes
        # for those who are lost.
        jax.distributed.initialize(
            addresses[0],
            self.number,
            index,
            initialization_timeout=60,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=LEAVE_SECONDS,
        )
        owners = [device.process_index for device in jax.devices()]
        counts = [owners.count(i) for i in range(self.number)]
        if len(set(counts)) > 1:
            raise ValueError(
                "`workers` must have as many devices each. Received: "
                f"{', '.join(map(str, counts))}."
            )
        self.devices = len(owners)
        self._distribution = keras.distribution.DataParallel(
            auto_shard_dataset=False
        )
        self._one_each = self._distribution.get_data_layout(
            (self.devices,)
        ).backend_layout
        # Compiled once: after each step, it takes half as long as a gathering.
        self._highest = jax.jit(
            jax.numpy.max,
            out_shardings=jax.sharding.NamedSharding(
                self._one_each.mesh, jax.sharding.PartitionSpec()
            ),
        )
        self._lent = None, None
        self._ending = self._failed = False
        # Called before what JAX has registered.
        atexit.register(self._leave)

    def scope(self):
        return self._distribution.scope()

    @contextlib.contextmanager
    def watched(self):
        import jax

        self._ending = False
        try:
            yield
        except (jax.errors.JaxRuntimeError, ValueError) as error:
            self._failed = not self._ending
            # What is lost on the way to NumPy is a `ValueError`.
            if isinstance(error, ValueError) and not _is_lost(error):
                raise
            reason = str(error).partition("\n")[0]
            raise ConnectionError(
                f"Worker {self.index} of {self.number} cannot go on: {reason} "
                "If another worker has ended, see why there. Start all of "
                "them again: they go on from what worker 0 has saved."
            ) from error
        except BaseException:
            self._failed = not self._ending
            raise

    @contextlib.contextmanager
    def together(self):
        own = None
        try:
            yield
        except Exception as error:
            own = error
        message = "" if own is None else f"{type(own).__name__}: {own}"
        messages = self._gather_texts(message)
        if any(messages):
            self.agree_to_end()
        if own is not None:
            raise own
        for i, text in enumerate(messages):
            if text:
                raise ValueError(f"Worker {i} stopped all others. {text}")

    def check_same(self, name, value):
        digest = hashlib.sha256(_to_json(value).encode()).hexdigest()
        digests = self._gather_texts(digest)
        others = [str(i) for i, one in enumerate(digests) if one != digests[0]]
        if others:
            self.agree_to_end()
            raise ValueError(
                f"{name} must be the same on all workers. Received: others "
                f"on worker {' and '.join(others)} than on worker 0."
            )

    def of_first(self, value):
        content = np.frombuffer(_to_json(value).encode(), "uint8")
        return json.loads(self._send(content).tobytes())

    def highest(self, value):
        import jax

        own = np.full(jax.local_device_count(), value, "int32")
        values = jax.make_array_from_process_local_data(self._one_each, own)
        return int(self._highest(values))

    def agree_to_end(self):
        self.highest(0)
        self._ending = True

    def send_folder(self, folder):
        folder = pathlib.Path(folder)
        names = sorted(
            path.name
            for path in folder.iterdir()
            if path.is_file() and not path.name.startswith(".")
        )
        for name in self.of_first(names):
            content = np.zeros(0, "uint8")
            if self.first:
                content = np.fromfile(folder / name, "uint8")
            content = self._send(content)
            if not self.first:
                with files.replacing(folder / name) as path:
                    content.tofile(path)

    @contextlib.contextmanager
    def local(self, model):
        distribution = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            original, copy = self._lent
            if original is not model:
                copy = keras.models.clone_model(model)
                self._lent = model, copy
            pairs = zip(copy.variables, model.variables, strict=True)
            for own, other in pairs:
                own.assign(keras.ops.convert_to_numpy(other))
            yield copy
        finally:
            keras.distribution.set_distribution(distribution)

    def divide(self, batches):
        return _Divided(batches, self)

    def _leave(self):
        if self._failed:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)

    def _gather(self, array):
        """The arrays of all workers, of one shape, stacked."""
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(array))

    def _gather_texts(self, text):
        content = np.frombuffer(text.encode(), "uint8")
        lengths = self._gather(np.asarray(len(content), "int32"))
        padded = np.zeros(int(lengths.max()), "uint8")
        padded[: len(content)] = content
        return [
            row[:length].tobytes().decode()
            for row, length in zip(self._gather(padded), lengths, strict=True)
        ]

    def _send(self, content):
        """The bytes of the first worker."""
        from jax.experimental import multihost_utils

        # Two numbers: JAX has 32 bits for one.
        length = np.asarray(divmod(len(content), PIECE), "int32")
        whole, rest = multihost_utils.broadcast_one_to_all(length)
        found = np.zeros(int(whole) * PIECE + int(rest), "uint8")
        if self.first:
            found[:] = content
        for start in range(0, len(found), PIECE):
            piece = slice(start, start + PIECE)
            found[piece] = multihost_utils.broadcast_one_to_all(found[piece])
        return found


class _Divided:
    """Test batches of which each worker predicts its part."""

    def __init__(self, batches, workers):
        self.labels = batches.labels
        self.classes = batches.classes
        self._workers = workers
        count = len(self.labels)
        self._share = -(-count // workers.number)
        first = min(workers.index * self._share, count - 1)
        rows = np.arange(first, min(first + self._share, count))
        self._own = TestBatches(
            batches.listing.take(rows),
            batches.view,
            max(1, batches.batch_size // workers.number),
            batches.cropped,
        )

    def predict(self, model):
        """What a model says of each image, `(len(labels), n)`."""
        with self._workers.local(model) as copy:
            found = self._own.predict(copy)
        # All have the same shape; what fills up is left out again.
        padded = np.zeros((self._share, *found.shape[1:]), found.dtype)
        padded[: len(found)] = found
        found = self._workers._gather(padded)
        return np.concatenate(list(found))[: len(self.labels)]


def add_arguments(parser):
    """Adds `--workers` and `--worker` to a parser of arguments.

    Args:
        parser: `argparse.ArgumentParser`.
    """
    parser.add_argument(
        "--workers",
        metavar="HOST:PORT,HOST:PORT",
        help="train on several machines, by the same command on each, with "
        "KERAS_BACKEND=jax and its number as --worker",
    )
    parser.add_argument(
        "--worker",
        type=int,
        metavar="N",
        help="which of --workers this machine is, from 0",
    )


def from_arguments(arguments):
    """The workers that arguments name.

    Args:
        arguments: What a parser made of `add_arguments` returns.

    Returns:
        `Workers`, or `ALONE`.

    Raises:
        As `Workers`.
    """
    if arguments.workers is None and arguments.worker is None:
        return ALONE
    if arguments.workers is None or arguments.worker is None:
        raise ValueError(
            "`workers` and `worker` must be given together. Received: "
            f"workers={arguments.workers} and worker={arguments.worker}."
        )
    return Workers(arguments.workers.split(","), arguments.worker)


def check(addresses, index):
    """Checks the addresses of workers, and the number of one.

    Args:
        addresses: List of strings, `HOST:PORT`.
        index: Integer.

    Returns:
        List of pairs of a host and a port.

    Raises:
        ValueError: if an argument is not what it must be.

    Example:

    >>> check(["10.0.0.1:1234", "10.0.0.2:1234"], 1)[0]
    ('10.0.0.1', 1234)
    """
    found = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]  # IPv6
        number = int(port) if port.isascii() and port.isdecimal() else 0
        if not host or not 0 < number < 65536:
            raise ValueError(
                "`workers` must be addresses HOST:PORT, with commas between "
                f"them. Received: {','.join(addresses)}."
            )
        found.append((host, number))
    if len(set(found)) != len(found) or len(found) < 2:
        raise ValueError(
            "`workers` must be two or more addresses, each once. Received: "
            f"{','.join(addresses)}."
        )
    if not 0 <= index < len(found):
        raise ValueError(
            "`worker` must be the number of one of the workers, from 0 to "
            f"{len(found) - 1}. Received: {index}."
        )
    return found


def _await_others(address, greeting):
    """Waits until each of the other workers has come once."""
    waiting = {}
    missing = set(range(1, greeting["workers"]))
    deadline = time.monotonic() + MEET_SECONDS
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_listening(address[1]))
        _say(f"Waiting for worker {_listed(missing)} on port {address[1]}.")
        while missing:
            server.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                connection, _ = server.accept()
            except TimeoutError as error:
                raise ConnectionError(
                    f"All workers must be started within "
                    f"{MEET_SECONDS:.0f} s. Missing: worker "
                    f"{_listed(missing)}."
                ) from error
            stack.enter_context(connection)
            other = _receive(connection, 5.0)
            if not isinstance(other, dict) or "worker" not in other:
                continue  # nobody of ours
            problem = _problem(greeting, other, waiting)
            if problem:
                _send_message(connection, {"problem": problem})
                for one in waiting.values():
                    _send_message(one, {"problem": problem})
                raise ValueError(problem)
            waiting[other["worker"]] = connection
            missing.discard(other["worker"])
        for connection in waiting.values():
            _send_message(connection, {"problem": None})


def _find_first(address, greeting):
    """Comes to the first worker, and waits until all are there."""
    place = f"{address[0]}:{address[1]}"
    deadline = time.monotonic() + FIND_SECONDS
    said = False
    while True:
        try:
            connection = socket.create_connection(address, 5.0)
            break
        except OSError as error:
            if time.monotonic() > deadline:
                raise ConnectionError(
                    f"Worker 0 must be there, and be reached at {place}, "
                    "before others are started. Received within "
                    f"{FIND_SECONDS:.0f} s: {error}."
                ) from error
            if not said:
                _say(f"Looking for worker 0 at {place}: {error}.")
            said = True
            time.sleep(0.5)
    with connection:
        _send_message(connection, greeting)
        answer = _receive(connection, MEET_SECONDS)
    if not isinstance(answer, dict) or "problem" not in answer:
        raise ConnectionError(
            f"Worker 0 must wait at {place} until all are there. Received: "
            "no answer. Is a training running there already?"
        )
    if answer["problem"]:
        raise ValueError(answer["problem"])


def _problem(own, other, waiting):
    """Why a worker cannot take part, or `None`."""
    who = f"worker {other['worker']}"
    for name in ("workers", "keras", "jax"):
        if own[name] != other.get(name):
            return (
                f"`{name}` must be the same on all workers. Received: "
                f"{own[name]} on worker 0, {other.get(name)} on {who}."
            )
    if other["worker"] in waiting:
        return (
            "`worker` must be another number on each machine. Received: "
            f"{who} twice."
        )
    return None


def _listening(port):
    both = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", port),
            family=socket.AF_INET6 if both else socket.AF_INET,
            dualstack_ipv6=both,
        )
    except OSError as error:
        raise OSError(
            f"The port of worker 0 must be free. Received: {port} ({error})."
        ) from error


def _send_message(connection, message):
    # Who has left in the meantime is missed at the start of JAX.
    with contextlib.suppress(OSError):
        connection.sendall(_to_json(message).encode() + b"\n")


def _receive(connection, seconds):
    """A message of one line, or `None`."""
    connection.settimeout(seconds)
    try:
        with connection.makefile("rb") as lines:
            return json.loads(lines.readline(MESSAGE))
    except (OSError, ValueError):
        return None


def _is_lost(error):
    return any(name in str(error).lower() for name in ("gloo", "nccl"))


def _listed(numbers):
    return ", ".join(str(number) for number in sorted(numbers))


def _to_json(value):
    return json.dumps(value, sort_keys=True)


def _say(text):
    print(text, file=sys.stderr, flush=True)
