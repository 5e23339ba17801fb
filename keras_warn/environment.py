"""What a run ran on, to be kept beside its results."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import shlex
import sys

import keras


def now() -> str:
    """The date and time in UTC, a string."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def environment() -> dict:
    """What a run ran on: versions, hardware, time and command.

    Returns:
        A dictionary of strings and numbers, for JSON.

    Example:

    >>> environment()["keras"] == keras.__version__
    True
    """
    backend = keras.backend.backend()
    return {
        "command": shlex.join(["python", *sys.argv]),
        "date": now(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "keras_warn": importlib.metadata.version("keras-warn"),
        "keras": keras.__version__,
        "backend": backend,
        # Keras has imported it; what its distribution is called varies.
        backend: sys.modules[backend].__version__,
        "numpy": importlib.metadata.version("numpy"),
        "cpu": _cpu(),
        "cores": _cores(),
        "devices": _devices(),
    }


def _cpu():
    """Name of the processor's model, or of its architecture."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text("utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _devices():
    """What the backend computes on, such as `["gpu:0"]`."""
    if keras.backend.backend() == "torch":
        # Keras lists devices of the other backends only.
        count = sys.modules["torch"].cuda.device_count()
        return [f"cuda:{i}" for i in range(count)] or ["cpu"]
    return keras.distribution.list_devices()


def _cores():
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()
