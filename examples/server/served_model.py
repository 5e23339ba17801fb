"""An exported model: what it says of itself, and its calls."""

import asyncio
import json
import pathlib

import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

# The signatures that take files, which are those that are served.
SIGNATURES = ("serve_bytes", "explain_bytes")

# Images that the model sees at a time.
BATCH = 16

BLANK = tf.io.encode_png(tf.zeros((64, 64, 3), "uint8")).numpy()


class ServedModel:
    """A SavedModel of `keras_warn.export(..., encoded=True)`.

    Attributes:
        name: What requests call it: the folder's name, unless given.
        metadata: The dictionary that was exported with it.
        size: Height and width of what it sees, and of its masks.
    """

    def __init__(self, folder, name=None):
        self.folder = pathlib.Path(folder).resolve()
        self.name = name or self.folder.name
        about = self.folder / "assets.extra" / "metadata.json"
        self.metadata = json.loads(about.read_text("utf-8"))
        if not set(SIGNATURES) <= set(self.metadata["signatures"]):
            raise ValueError(
                f"The model in {self.folder} must take files: export it with "
                "encoded=True."
            )
        self.size = tuple(self.metadata["size"])
        self._loaded = tf.saved_model.load(str(self.folder))
        for signature in SIGNATURES:  # the first call takes longer
            self(signature, [BLANK])
        self._lock = asyncio.Lock()
        self._waiting = {name: [] for name in SIGNATURES}

    def __call__(self, signature, files):
        """What a signature returns of each file: dictionaries of arrays."""
        function = self._loaded.signatures[signature]
        found = function(image_bytes=tf.constant(files, tf.string))
        found = {key: value.numpy() for key, value in found.items()}
        return [
            {key: value[i] for key, value in found.items()}
            for i in range(len(files))
        ]

    async def predict(self, signature, files):
        """The same, one call at a time: files that wait for it go together."""
        loop = asyncio.get_running_loop()
        mine = [(file, loop.create_future()) for file in files]
        waiting = self._waiting[signature]
        waiting += mine
        async with self._lock:
            while not mine[-1][1].done():
                batch = waiting[:BATCH]
                del waiting[:BATCH]
                await self._call(signature, batch)
        return await asyncio.gather(*(future for _, future in mine))

    async def _call(self, signature, batch):
        files, futures = zip(*batch, strict=True)
        try:
            results = await asyncio.to_thread(self, signature, files)
        except Exception as error:
            for future in futures:
                future.set_exception(error)
        else:
            for future, result in zip(futures, results, strict=True):
                future.set_result(result)

    def signature_defs(self):
        """The signatures as TensorFlow Serving describes them."""
        data = (self.folder / "saved_model.pb").read_bytes()
        saved = saved_model_pb2.SavedModel.FromString(data)
        definitions = saved.meta_graphs[0].signature_def
        return {
            name: json_format.MessageToDict(
                definitions[name],
                always_print_fields_with_no_presence=True,
                preserving_proto_field_name=True,
            )
            for name in SIGNATURES
        }
