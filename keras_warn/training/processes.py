"""One training by several processes, each of which runs the same command.

By Keras's own `keras.distribution.DataParallel` and plain `fit`, on JAX. Not on
TensorFlow, where `fit` of Keras 3 fails under `MultiWorkerMirroredStrategy`
(keras-team/keras#20585, open with Keras 3.15 and TensorFlow 2.21).

All processes do the same, on their own part of each batch. The first one, index
0, has the folder of results, and tells the others what is in it. If one ends,
or does not come within five minutes, JAX ends the others.
"""

import contextlib
import hashlib
import json
import sys
import weakref

import keras
import numpy as np

# What `initialize` makes.
_distribution = None
# Models that one process can use without the others, by what they are of.
_copies = weakref.WeakKeyDictionary()


def initialize(addresses, index) -> None:
    """Makes this process one of several. Before JAX computes anything.

    Args:
        addresses: List of strings, `HOST:PORT` of each process. The first one
            must be reached by all others: there they meet.
        index: Which of them this process is, from 0.
    """
    if len(set(addresses)) < 2 or index not in range(len(addresses)):
        raise ValueError(
            "`processes` must be two or more addresses HOST:PORT, and "
            "`process` the index of one of them, from 0. Received: "
            f"processes={','.join(addresses)} and process={index}."
        )
    if keras.backend.backend() != "jax":
        raise ValueError(
            "`processes` must run on the JAX backend: set KERAS_BACKEND=jax. "
            f"Received: {keras.backend.backend()}."
        )
    import jax

    # As many devices in each process.
    print(f"Waiting for {len(addresses)} processes.", file=sys.stderr)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    keras.distribution.initialize(",".join(addresses), len(addresses), index)
    global _distribution
    _distribution = keras.distribution.DataParallel(auto_shard_dataset=False)


def scope() -> contextlib.AbstractContextManager:
    """The context in which a model is built, compiled and trained."""
    return _distribution.scope() if _several() else contextlib.nullcontext()


def count() -> int:
    """How many processes train together."""
    return _jax().process_count() if _several() else 1


def index() -> int:
    """Which of them this one is, from 0."""
    return _jax().process_index() if _several() else 0


def devices() -> int:
    """How many devices all of them have."""
    return _jax().device_count() if _several() else 1


def broadcast(content=b"") -> bytes:
    """The bytes of the first process, in all of them."""
    if not _several():
        return content
    from jax.experimental import multihost_utils

    # As bytes: JAX has 32 bits for a number.
    size = np.frombuffer(len(content).to_bytes(8, "big"), "uint8")
    size = multihost_utils.broadcast_one_to_all(size).tobytes()
    padded = np.zeros(int.from_bytes(size, "big"), "uint8")
    if index() == 0:
        padded[:] = np.frombuffer(content, "uint8")
    if not len(padded):
        return b""
    return multihost_utils.broadcast_one_to_all(padded).tobytes()


def on_first(function, *args) -> object:
    """What a function returns in the first process, in all of them.

    Args:
        function: Returns what JSON can hold.
        *args: Its arguments. A model among them is replaced by a copy of the
            same weights, which needs no other process.
    """
    if not _several():
        return function(*args)
    found = None
    if index() == 0:
        distribution = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            found = function(*map(_local, args))
        finally:
            keras.distribution.set_distribution(distribution)
    return json.loads(broadcast(json.dumps(found).encode()))


def check_same(name, value) -> None:
    """Raises a `ValueError` in all processes unless JSON of all is the same."""
    if not _several():
        return
    from jax.experimental import multihost_utils

    own = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    own = np.frombuffer(own, "uint8")
    digests = multihost_utils.process_allgather(own)
    others = np.flatnonzero((digests != digests[0]).any(axis=1))
    if len(others):
        raise ValueError(
            f"{name} must be the same in all processes. Received: others in "
            f"process {', '.join(map(str, others))} than in process 0."
        )


def _local(value):
    if not isinstance(value, keras.Model):
        return value
    if value not in _copies:
        _copies[value] = keras.models.clone_model(value)
    copy = _copies[value]
    for own, other in zip(copy.variables, value.variables, strict=True):
        own.assign(keras.ops.convert_to_numpy(other))
    return copy


def _several():
    return _distribution is not None


def _jax():
    import jax

    return jax
