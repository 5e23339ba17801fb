"""The backend in use, and what each does in its own way.

`backend` is one of the modules `on_tensorflow`, `on_jax` and `on_torch`, each
with

- `predict(model, inputs)`, `train(model, inputs, labels)`: functions without
  arguments that take one step of a compiled model, until its results are there,
- `gradient(model, inputs, labels)`: the same, for gradients of the mean loss
  with respect to weights and inputs,
- `memory()`: a `device_memory.Memory`, or `None`,
- `gpus()`: names of the GPUs.
"""

import importlib

import keras

NAMES = ("tensorflow", "jax", "torch")

if keras.backend.backend() not in NAMES:
    raise ImportError(
        f"KERAS_BACKEND must be one of {', '.join(NAMES)}. "
        f"Received: {keras.backend.backend()}"
    )
backend = importlib.import_module(f"measuring.on_{keras.backend.backend()}")
