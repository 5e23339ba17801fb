"""Memory of training steps, in processes of their own."""

import concurrent.futures
import gc
import multiprocessing

import keras

from measuring import models
from measuring.backends import backend
from measuring.summary import summary

STEPS = 3
ROUNDS = 2


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
    step = backend.train(model, *models.random_batch(model, batch_size))
    memory = backend.memory()
    if memory is None:
        raise RuntimeError(
            "Memory can be measured on Linux and on GPUs. Use --skip-memory."
        )
    gc.collect()
    memory.reset_peak()
    before = memory.in_use()
    for _ in range(STEPS):
        step()
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
