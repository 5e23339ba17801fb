"""Memory of training steps, in processes of their own."""

import collections
import concurrent.futures
import gc
import multiprocessing
import pathlib

import keras

from measuring import models
from measuring.timing import summary

STEPS = 3
ROUNDS = 2

# Functions: bytes in use, their peak, and setting it back to the present.
Memory = collections.namedtuple("Memory", "in_use peak reset_peak")


def measure_memory(settings, kernel_size):
    """`step_memory` of each model, each time in a fresh process.

    A process's memory does not fall back to where it was, so only the first
    model of a process could be measured.
    """
    title = f"training step memory, batch of {settings.batch_size}"
    print(f"{title}, kernels of {kernel_size}x{kernel_size}", flush=True)
    progress = keras.utils.Progbar(ROUNDS * len(models.NAMES))
    rounds = []
    for _ in range(ROUNDS):
        rounds.append({})
        for name in models.NAMES:
            used = _in_a_fresh_process(
                _memory_of_new_model, settings, kernel_size, name
            )
            rounds[-1][name] = used / 2**20
            progress.add(1)
    return summary(title, "MiB", rounds)


def step_memory(model, batch_size):
    """Bytes that training steps of `model` need beyond what was in use.

    Counted from after the model, the batch and the optimizer were made and the
    step was traced or compiled, to the peak over a few steps: activations,
    gradients and work space, with what the framework's allocator keeps.
    """
    models.compile_model(model)
    step = _compiled_step(model, models.random_batch(model, batch_size))
    memory = device_memory()
    if memory is None:
        raise RuntimeError(
            "Memory can be measured on Linux and on GPUs. Use --skip-memory."
        )
    gc.collect()
    memory.reset_peak()
    before = memory.in_use()
    for _ in range(STEPS):
        float(step()["loss"])  # until it is there
    return memory.peak() - before


def _memory_of_new_model(settings, kernel_size, name):
    built = models.build(
        settings, kernel_size, settings.classes, direct=name == "direct"
    )
    return step_memory(built[name], settings.batch_size)


def _in_a_fresh_process(function, *args):
    with concurrent.futures.ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn")
    ) as process:
        return process.submit(function, *args).result()


def _compiled_step(model, data):
    """A training step as `fit` compiles it, before it has run."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        step = tf.function(
            model.train_step,
            jit_compile=model.jit_compile or None,
            autograph=False,
        )
        step.get_concrete_function(data)
        return lambda: step(data)
    if keras.backend.backend() == "torch":
        return lambda: model.train_step(data)
    import jax

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
    step = step.lower(state, data).compile()

    def run():
        nonlocal state
        logs, state = step(state, data)
        return logs

    return run


def device_memory():
    """`Memory` of the GPU, or of this process; `None` if nothing tells.

    Linux keeps the highest resident set (`VmHWM`, the `ru_maxrss` of
    `getrusage`) and lets a process set that mark back; so the peak is that of
    the steps, not of building the model.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if tf.config.list_physical_devices("GPU"):
            on_gpu = tf.config.experimental
            return Memory(
                lambda: on_gpu.get_memory_info("GPU:0")["current"],
                lambda: on_gpu.get_memory_info("GPU:0")["peak"],
                lambda: on_gpu.reset_memory_stats("GPU:0"),
            )
    elif keras.backend.backend() == "torch":
        from torch import cuda

        if cuda.is_available():
            return Memory(
                cuda.memory_allocated,
                cuda.max_memory_allocated,
                cuda.reset_peak_memory_stats,
            )
    else:
        import jax

        device = jax.devices()[0]
        if device.platform != "cpu":
            return Memory(
                lambda: device.memory_stats()["bytes_in_use"],
                lambda: device.memory_stats()["peak_bytes_in_use"],
                # It cannot be set back, and need not be: the process is fresh,
                # and nothing before the first step takes as much.
                lambda: None,
            )
    marks = pathlib.Path("/proc/self/clear_refs")
    if not marks.exists():
        return None

    def read(field):
        status = pathlib.Path("/proc/self/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        return int(lines[field].split()[0]) * 1024

    return Memory(
        lambda: read("VmRSS"),
        lambda: read("VmHWM"),
        lambda: marks.write_text("5"),
    )
