"""TensorFlow: `tf.function`, as `fit` and `predict` compile."""

import functools

import tensorflow as tf

from measuring.device_memory import Memory
from measuring.device_memory import host_memory
from measuring.models import mean_loss

GPUS = tf.config.list_physical_devices("GPU")


def gpus():
    details = tf.config.experimental.get_device_details
    return [details(gpu).get("device_name", gpu.name) for gpu in GPUS]


def predict(model, inputs):
    step = _compiled(model, model.predict_step)
    return functools.partial(_finish, step, (inputs,))


def train(model, inputs, labels):
    step = _compiled(model, model.train_step)
    step.get_concrete_function((inputs, labels))
    return functools.partial(_finish, step, (inputs, labels))


def gradient(model, inputs, labels):
    def function(inputs, labels):
        weights = [v.value for v in model.trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = mean_loss(labels, model(inputs, training=True))
        return tape.gradient(loss, [weights, inputs])

    step = _compiled(model, function)
    return functools.partial(_finish, step, inputs, labels)


def _compiled(model, function):
    return tf.function(
        function, jit_compile=model.jit_compile or None, autograph=False
    )


def _finish(step, *args):
    result = step(*args)
    if GPUS:
        tf.test.experimental.sync_devices()
    return result


def memory():
    if not GPUS:
        return host_memory()
    on_gpu = tf.config.experimental
    return Memory(
        in_use=lambda: on_gpu.get_memory_info("GPU:0")["current"],
        peak=lambda: on_gpu.get_memory_info("GPU:0")["peak"],
        reset_peak=lambda: on_gpu.reset_memory_stats("GPU:0"),
    )
