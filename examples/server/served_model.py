"""An exported model: what it says of itself, and its calls in batches."""

import asyncio
import collections
import json
import pathlib

import numpy as np
import tensorflow as tf

# The signatures that take files, which are those that are served.
SIGNATURES = ("serve_bytes", "explain_bytes")

# As TensorFlow Serving writes them.
TYPES = {
    tf.bool: "DT_BOOL",
    tf.float32: "DT_FLOAT",
    tf.string: "DT_STRING",
}


class ServedModel:
    """A SavedModel of `keras_warn.export(..., encoded=True)`.

    Attributes:
        name: What requests call it: the folder's name, unless given.
        metadata: The dictionary that was exported with it.
        size: Height and width of what it sees, and of its masks.
    """

    def __init__(self, folder, name=None):
        folder = pathlib.Path(folder).resolve()
        about = folder / "assets.extra" / "metadata.json"
        if not about.is_file():
            raise FileNotFoundError(
                f"{folder} must hold a model of `keras_warn.export`, with the "
                "file assets.extra/metadata.json."
            )
        self.name = name or folder.name
        self.metadata = json.loads(about.read_text("utf-8"))
        missing = set(SIGNATURES) - set(self.metadata["signatures"])
        if missing:
            raise ValueError(
                f"The model in {folder} must take files: export it with "
                f"encoded=True. It lacks {', '.join(sorted(missing))}."
            )
        self.size = tuple(self.metadata["size"])
        # The functions live as long as what was loaded.
        self._loaded = tf.saved_model.load(str(folder))
        self._functions = {
            name: self._loaded.signatures[name] for name in SIGNATURES
        }

    def __call__(self, signature, files):
        """What a signature returns of each file: dictionaries of arrays."""
        (name,) = self.inputs(signature)
        given = {name: tf.constant(files, tf.string)}
        found = self._functions[signature](**given)
        found = {key: value.numpy() for key, value in found.items()}
        return [
            {key: value[i] for key, value in found.items()}
            for i in range(len(files))
        ]

    def inputs(self, signature):
        """`tf.TensorSpec`s by name."""
        return self._functions[signature].structured_input_signature[1]

    def signature_defs(self):
        """The signatures as TensorFlow Serving describes them."""
        return {
            name: {
                "inputs": _described(self.inputs(name)),
                "outputs": _described(function.structured_outputs),
                "method_name": "tensorflow/serving/predict",
            }
            for name, function in self._functions.items()
        }


def _described(specs):
    found = {}
    for name, spec in sorted(specs.items()):
        sizes = [-1 if length is None else length for length in spec.shape]
        dim = [{"size": str(size), "name": ""} for size in sizes]
        found[name] = {
            "dtype": TYPES[spec.dtype],
            "tensor_shape": {"dim": dim, "unknown_rank": False},
            "name": spec.name,
        }
    return found


class Batches:
    """Calls of one signature: what waits while the model is busy goes together.

    Nothing waits for company: a file that finds the model idle is seen at once.
    `call` is a function from a list of at most `most` files to their results.
    """

    def __init__(self, call, executor, most):
        self._call, self._executor, self._most = call, executor, most
        self._waiting = collections.deque()
        self._worker = None

    async def __call__(self, file):
        """The result of one file, or the error that it raised."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._waiting.append((file, done))
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        return await done

    async def _work(self):
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = []
            while self._waiting and len(batch) < self._most:
                file, done = self._waiting.popleft()
                if not done.cancelled():
                    batch.append((file, done))
            call = loop.run_in_executor(
                self._executor, self._results, [file for file, _ in batch]
            )
            await asyncio.wait([call])
            # Whatever went wrong is an answer for those who wait.
            failed = call.exception()
            results = [failed] * len(batch) if failed else call.result()
            for (_, done), result in zip(batch, results, strict=True):
                if done.cancelled():
                    continue
                if isinstance(result, Exception):
                    done.set_exception(result)
                else:
                    done.set_result(result)
        self._worker = None

    def _results(self, files):
        """A result for each file, or an error for those that are broken."""
        if not files:
            return []
        try:
            return self._call(files)
        except tf.errors.InvalidArgumentError as error:
            if len(files) == 1:
                return [error]
        # One of them; the others are none the worse for it.
        return [self._results([file])[0] for file in files]


def rows(results):
    """Results as TensorFlow Serving's rows: arrays of numbers, and strings."""
    return [
        {key: _plain(value) for key, value in result.items()}
        if len(result) > 1
        else _plain(*result.values())
        for result in results
    ]


def _plain(value):
    if value.dtype == object:
        return [one.decode() for one in value.tolist()]
    return np.ascontiguousarray(value) if value.ndim else value.item()
