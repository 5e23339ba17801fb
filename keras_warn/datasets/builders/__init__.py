"""Data sets that TensorFlow Datasets does not have, as builders for it.

Importing `UecFood100` or `Adience` from here registers it, so that
`tfds.load("uec_food100", ...)` finds it. Until then nothing of TensorFlow
Datasets is imported: the classes derive from one of its own, so each is made
when it is asked for.

Example:

>>> from keras_warn.datasets.builders import UecFood100
>>> UecFood100.name
'uec_food100'
"""

from keras_warn.datasets.builders.adience import adience_builder
from keras_warn.datasets.builders.uec_food100 import uec_food100_builder

__all__ = ["adience_builder", "uec_food100_builder"]


def __getattr__(name):
    makers = {"Adience": adience_builder, "UecFood100": uec_food100_builder}
    if name in makers:
        return makers[name]()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
