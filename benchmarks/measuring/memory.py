"""Memory of training steps, as the framework's allocator counts it."""

import keras

from measuring.environment import gpus
from measuring.timing import WARM_UP_STEPS
from measuring.timing import summary
from measuring.timing import training_step


def measure_memory(built, inputs, labels, rounds):
    """The `summary` of the MiB that a training step of each model needs.

    Beyond what lay in memory before it: activations, gradients and work space.
    On JAX it is what the compiled step asks for, and the same each time.
    """
    title = f"training step memory, batch of {len(labels)}"
    print(title, flush=True)
    if keras.backend.backend() == "jax":
        found = [_of_compiled_steps(built, inputs, labels)]
    else:
        found = _of_allocations(built, inputs, labels, rounds)
    mebibytes = [{k: n / 2**20 for k, n in used.items()} for used in found]
    return summary(title, "MiB", mebibytes)


def why_not_counted():
    """What keeps memory from being counted, and what helps; or `None`."""
    if keras.backend.backend() == "torch" and not gpus():
        return "PyTorch counts memory on GPUs only: use --skip-memory"
    if keras.backend.backend() == "tensorflow":
        _, peak = _statistics()
        try:
            peak()
        except ValueError as error:  # where TensorFlow runs without oneDNN
            return f"{error}: set TF_CPU_ALLOCATOR_USE_BFC=1"
    return None


def _of_allocations(built, inputs, labels, rounds):
    reset, peak = _statistics()
    steps = {k: training_step(m, inputs, labels) for k, m in built.items()}
    found = []
    for i in range(WARM_UP_STEPS + rounds):
        used = {}
        for name, step in steps.items():
            reset()
            before = peak()
            step()
            used[name] = peak() - before
        if i >= WARM_UP_STEPS:
            found.append(used)
    return found


def _statistics():
    """Functions: what makes the present the peak, and bytes at the peak."""
    if keras.backend.backend() == "torch":
        from torch import cuda

        return cuda.reset_peak_memory_stats, cuda.max_memory_allocated
    import tensorflow as tf

    device = "GPU:0" if gpus() else "CPU:0"
    counted = tf.config.experimental
    return (
        lambda: counted.reset_memory_stats(device),
        lambda: counted.get_memory_info(device)["peak"],
    )


def _of_compiled_steps(built, inputs, labels):
    import jax

    used = {}
    for name, model in built.items():
        state = tuple(
            [variable.value for variable in variables]
            for variables in (
                model.trainable_variables,
                model.non_trainable_variables,
                model.optimizer.variables,
                model.metrics_variables,
            )
        )
        step = jax.jit(model.train_step, donate_argnums=0)
        compiled = step.lower(state, (inputs, labels)).compile()
        used[name] = compiled.memory_analysis().temp_size_in_bytes
    return used
