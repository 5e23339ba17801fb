"""Memory in use, and its peak."""

import dataclasses
import pathlib
from collections.abc import Callable


@dataclasses.dataclass
class Memory:
    """Bytes in use, their peak, and how to set the peak back to the present."""

    in_use: Callable
    peak: Callable
    reset_peak: Callable


def host_memory():
    """Resident memory of this process, or `None` where it cannot be read.

    Linux keeps the highest resident set (`VmHWM`, the `ru_maxrss` of
    `getrusage`) and lets a process set that mark back; so the peak is that of
    the steps, not of building the model.
    """
    marks = pathlib.Path("/proc/self/clear_refs")
    if not marks.exists():
        return None

    def read(field):
        status = pathlib.Path("/proc/self/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        return int(lines[field].split()[0]) * 1024

    return Memory(
        in_use=lambda: read("VmRSS"),
        peak=lambda: read("VmHWM"),
        reset_peak=lambda: marks.write_text("5"),
    )
