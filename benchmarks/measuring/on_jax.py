"""JAX: `jax.jit` with donated state, as `fit` and `predict` compile."""

import jax

from measuring.device_memory import Memory
from measuring.device_memory import host_memory
from measuring.models import mean_loss


def gpus():
    devices = jax.devices()
    return [d.device_kind for d in devices if d.platform != "cpu"]


def predict(model, inputs):
    state = _weights(model)
    step = jax.jit(model.predict_step)
    return lambda: jax.block_until_ready(step(state, (inputs,))[0])


def train(model, inputs, labels):
    state = (
        *_weights(model),
        _copies(model.optimizer.variables),
        _copies(model.metrics_variables),
    )
    data = (inputs, labels)
    step = jax.jit(model.train_step, donate_argnums=0)
    step = step.lower(state, data).compile()

    def run():
        nonlocal state
        _, state = step(state, data)
        jax.block_until_ready(state)

    return run


def gradient(model, inputs, labels):
    weights, others = _weights(model)

    def loss(weights, inputs, labels):
        outputs, _ = model.stateless_call(
            weights, others, inputs, training=True
        )
        return mean_loss(labels, outputs)

    step = jax.jit(jax.grad(loss, argnums=(0, 1)))
    return lambda: jax.block_until_ready(step(weights, inputs, labels))


def _weights(model):
    return [
        _copies(model.trainable_variables),
        _copies(model.non_trainable_variables),
    ]


def _copies(variables):
    """Arrays of their own: the models share those of the backbone, and a
    training step gives its arrays away.
    """
    return [jax.numpy.copy(variable.value) for variable in variables]


def memory():
    device = jax.devices()[0]
    if device.platform == "cpu":
        return host_memory()
    return Memory(
        in_use=lambda: device.memory_stats()["bytes_in_use"],
        peak=lambda: device.memory_stats()["peak_bytes_in_use"],
        # It cannot be set back, and need not be: the process is fresh, and
        # nothing before the first step takes as much.
        reset_peak=lambda: None,
    )
