"""What several tests share."""

import contextlib
import re
import resource

import keras
import numpy as np
import pytest
from keras import ops

import keras_warn

TENSORFLOW = keras.backend.backend() == "tensorflow"
needs_tensorflow = pytest.mark.skipif(
    not TENSORFLOW, reason="exports, strategies and data sets of TensorFlow"
)

# The files in `saved/` are of Keras 3.15, and an older one does not know all
# arguments of its layers.
reads_saved_files = pytest.mark.skipif(
    tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15),
    reason="Keras reads no files of a later Keras",
)


def to_numpy(x):
    return ops.convert_to_numpy(x)


def assert_all_equal(found, expected):
    """Two lists of arrays, to the bit."""
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def assert_all_close(found, expected, **tolerance):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), **tolerance)


def refuses(error, rule, **arguments):
    """Expects an error with the last argument, its rule, and its value."""
    name, value = list(arguments.items())[-1]
    received = re.escape(f"{name}={value!r}")
    return pytest.raises(error, match=f"`{name}` must .*{rule}.*{received}")


@contextlib.contextmanager
def full_disk(size):
    """A limit on the bytes of files, which stands for a disk that is full."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def in_tensorboard(folder):
    """What TensorBoard shows of a folder, `{tag: events}`."""
    # That of its pages. `event_accumulator` keeps what was trained again.
    from tensorboard.backend.event_processing import plugin_event_accumulator

    every = {plugin_event_accumulator.TENSORS: 0}
    found = plugin_event_accumulator.EventAccumulator(str(folder), every)
    found.Reload()
    return {tag: found.Tensors(tag) for tag in found.Tags()["tensors"]}


def gradients(function, arrays):
    """Gradients of `function(*tensors)`, a scalar, with respect to `arrays`.

    The one thing that each backend does in its own way.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tensors = [tf.constant(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        found = tape.gradient(value, tensors)
    elif backend == "jax":
        import jax

        tensors = [ops.convert_to_tensor(array) for array in arrays]
        found = jax.grad(function, argnums=tuple(range(len(arrays))))(*tensors)
    else:
        import torch

        tensors = [
            ops.convert_to_tensor(array).detach().requires_grad_()
            for array in arrays
        ]
        found = torch.autograd.grad(
            function(*tensors), tensors, allow_unused=True
        )
    return [
        np.zeros_like(array) if gradient is None else to_numpy(gradient)
        for gradient, array in zip(found, arrays, strict=True)
    ]


def two_replicas():
    """A strategy that trains on two, for a process that has no device yet."""
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    return tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


def two_maps(**arguments):
    """A model of seven classes that attends to two maps, of 12x10 and 6x5."""
    x = inputs = keras.Input((24, 20, 1))
    for filters in (3, 5):
        x = keras.layers.Conv2D(filters, 3, 2, "same", activation="relu")(x)
    arguments = {"depth": 2, "width": 3, **arguments}
    return keras_warn.augment(keras.Model(inputs, x), classes=7, **arguments)


def no_places(**arguments):
    """The same, but of tokens that have no place in the image, nor gates."""
    inputs = keras.Input((24, 20, 1))
    x = keras.layers.Reshape((160, 3), name="tokens")(inputs)
    x = keras.layers.Dense(5, activation="relu", name="map")(x)
    arguments = {"attend_at": "map", "gates": "linear", **arguments}
    return keras_warn.augment(keras.Model(inputs, x), classes=7, **arguments)


def call(layer, weights, *inputs):
    """`layer(*inputs)` with its weights set to `weights`, for gradients."""
    frozen = [variable.value for variable in layer.non_trainable_variables]
    outputs, _ = layer.stateless_call(weights, frozen, *inputs)
    return outputs


def prepared(model, labels=None):
    """The model, with all variables that `fit` makes in its first step.

    A step that makes variables is traced twice by TensorFlow, which takes
    longer than what most tests train.
    """
    model.optimizer.build(model.trainable_variables)
    if labels is not None:
        shape = (len(labels), *model.output_shape[1:])
        model.compute_metrics(None, labels, ops.zeros(shape))
        model.reset_metrics()
    return model


@contextlib.contextmanager
def without_weights():
    """Networks are built in a moment: their variables have no values."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        # Or the next scope would give values to all of them.
        keras.utils.clear_session(free_memory=False)


def convolves_channels_first():
    """Whether the backend has such convolutions for this machine."""
    images = np.zeros((1, 1, 5, 5), "float32")
    kernel = np.zeros((3, 3, 1, 2), "float32")
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    try:
        ops.conv(images, kernel, data_format="channels_first")
    except tf.errors.UnimplementedError:
        return False
    return True
