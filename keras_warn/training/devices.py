"""What a training runs on: one device, or all of a machine's."""

import contextlib
from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    import tensorflow as tf


def strategy(devices=None) -> "tf.distribute.Strategy | None":
    """How TensorFlow shares the work of a training among devices.

    Args:
        devices: List of their names, such as `["GPU:0", "GPU:1"]`. Defaults
            to all GPUs of this machine. `["CPU:0", "CPU:1"]`, to try it out,
            divides the processor. A single one, such as `["GPU:1"]`, becomes
            the only one that this process uses. Both must come before
            anything is computed.

    Returns:
        A `tf.distribute.MirroredStrategy` of several devices, or `None` where
        there is one, or where Keras runs on another backend.

    Raises:
        RuntimeError: if TensorFlow uses others already.
        ValueError: if there is no such device, or Keras's backend is not
            TensorFlow and `devices` are given.

    Example:

    >>> strategy(["CPU:0"]) is None
    True
    """
    if keras.backend.backend() != "tensorflow":
        if devices is not None:
            raise ValueError(
                "`devices` can be chosen with the TensorFlow backend alone. "
                f"Received: devices={devices} on {keras.backend.backend()}."
            )
        return None
    import tensorflow as tf

    if devices is None:
        number = len(tf.config.get_visible_devices("GPU"))
        if number < 2:
            return None
        devices = [f"GPU:{i}" for i in range(number)]
    devices = [name.upper() for name in devices]
    if len(devices) == 1:
        # By their numbers in the machine: no device is in use yet.
        there = {
            device.name.removeprefix("/physical_device:"): device
            for device in tf.config.list_physical_devices()
        }
        _check_there(devices, there)
        # There is always a processor, which prepares batches.
        used = [*tf.config.list_physical_devices("CPU"), there[devices[0]]]
        tf.config.set_visible_devices([*dict.fromkeys(used)])
        return None
    processors = [name for name in devices if name.startswith("CPU:")]
    if len(processors) > 1:
        parts = [tf.config.LogicalDeviceConfiguration()] * len(processors)
        # TensorFlow may have begun already: fine, if it has as many devices.
        with contextlib.suppress(RuntimeError):
            tf.config.set_logical_device_configuration(
                tf.config.list_physical_devices("CPU")[0], parts
            )
    there = [
        device.name.removeprefix("/device:")
        for device in tf.config.list_logical_devices()
    ]
    _check_there(devices, there)
    # Of processors, the default reduction clashes with other strategies.
    reduction = tf.distribute.ReductionToOneDevice() if processors else None
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=reduction)


def replicas(strategy) -> int:
    """Into how many parts a strategy divides each batch."""
    return 1 if strategy is None else strategy.num_replicas_in_sync


def scope(strategy) -> contextlib.AbstractContextManager:
    """The scope of a strategy, or of none, to build and compile a model in."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def check_batch_size(batch_size, number) -> None:
    """Raises unless a batch can be divided among so many devices."""
    if batch_size % number:
        near = max(number, batch_size - batch_size % number)
        raise ValueError(
            "`batch_size` must be divisible by the number of devices, "
            f"{number}, for each to have the same part. Received: "
            f"batch_size={batch_size}; {near} would do."
        )


def _check_there(devices, there):
    own = set(devices)
    if not own or not own <= set(there) or len(own) < len(devices):
        raise ValueError(
            "`devices` must be devices of this machine, each once: "
            f"{', '.join(sorted(there))}. Received: {', '.join(devices)}."
        )


def jit_compile() -> bool | str:
    """Whether to compile by XLA: not for processors in TensorFlow.

    There its convolutions by channel, as MobileNetV2 has them, are many times
    slower (TensorFlow 2.21).
    """
    if keras.backend.backend() != "tensorflow":
        return "auto"
    import tensorflow as tf

    return "auto" if tf.config.list_physical_devices("GPU") else False
