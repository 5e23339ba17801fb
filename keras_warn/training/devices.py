"""What a training runs on: one device, or all of a machine's."""

import contextlib

import keras


def strategy(devices=None):
    """How TensorFlow shares the work of a training among devices.

    Args:
        devices: List of their names, such as `["GPU:0", "GPU:1"]`. Defaults
            to all GPUs of this machine. `["CPU:0", "CPU:1"]`, to try it out,
            divides the processor; it must come before anything is computed.

    Returns:
        A `tf.distribute.MirroredStrategy` of several devices, or `None` where
        there is one, or where Keras runs on another backend.

    Raises:
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
        devices = [
            f"GPU:{i}"
            for i, _ in enumerate(tf.config.list_physical_devices("GPU"))
        ]
    if len(devices) < 2:
        return None
    processors = [name for name in devices if name.upper().startswith("CPU:")]
    if len(processors) > 1:
        _divide_processor(len(processors))
    there = {
        device.name.removeprefix("/device:")
        for device in tf.config.list_logical_devices()
    }
    missing = [name for name in devices if name.upper() not in there]
    if missing or len(set(devices)) < len(devices):
        raise ValueError(
            "`devices` must be devices of this machine, each once: "
            f"{', '.join(sorted(there))}. Received: {', '.join(devices)}."
        )
    # Of processors, the default reduction clashes with other strategies.
    reduction = tf.distribute.ReductionToOneDevice() if processors else None
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=reduction)


def replicas(strategy):
    """Into how many parts a strategy divides each batch."""
    return 1 if strategy is None else strategy.num_replicas_in_sync


def scope(strategy):
    """The scope of a strategy, or of none, to build and compile a model in."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def check_batch_size(batch_size, number):
    """Raises unless a batch can be divided among so many devices."""
    if batch_size % number:
        near = max(number, batch_size - batch_size % number)
        raise ValueError(
            "`batch_size` must be divisible by the number of devices, "
            f"{number}, for each to have the same part. Received: "
            f"batch_size={batch_size}; {near} would do."
        )


def _divide_processor(number):
    import tensorflow as tf

    (processor,) = tf.config.list_physical_devices("CPU")[:1]
    try:
        tf.config.set_logical_device_configuration(
            processor, [tf.config.LogicalDeviceConfiguration()] * number
        )
    except RuntimeError:
        # TensorFlow has begun already. Fine, if it has as many devices.
        return
