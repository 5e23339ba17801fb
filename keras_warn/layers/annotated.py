"""Layers that carry what a model's file should say of its use."""

import json

import keras


class Annotated(keras.layers.Layer):
    """A layer with metadata, which change nothing that it computes.

    Keras saves of a functional model what its layers' configurations say, so
    metadata lie in one of them: they are in every file of the model, in its
    clones, and still there when the file is loaded and saved again.

    Args:
        metadata: Dictionary for JSON, or `None`, see `keras_warn.metadata`.
        **kwargs: As of `keras.layers.Layer`.
    """

    def __init__(self, *, metadata=None, **kwargs):
        super().__init__(**kwargs)
        self.metadata = metadata

    @property
    def metadata(self) -> dict | None:
        # As a string: Keras would track a dictionary.
        return json.loads(self._metadata)

    @metadata.setter
    def metadata(self, value) -> None:
        self._metadata = json.dumps(value)

    def get_config(self) -> dict:
        config = super().get_config()
        if self.metadata is not None:
            config["metadata"] = self.metadata
        return config
