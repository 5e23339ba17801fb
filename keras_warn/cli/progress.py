"""How far long work is."""

import contextlib
import signal
import threading

from rich import console
from rich import progress

from keras_warn.cli.errors import say

_interrupted = threading.Event()


@contextlib.contextmanager
def interruptible():
    """A context in which Ctrl-C is not lost.

    Python drops what is raised in a callback of its garbage collector, and JAX
    has one, wherever it is installed. `Progress.update` raises it again.
    """

    def stop(number, frame):
        _interrupted.set()
        raise KeyboardInterrupt

    _interrupted.clear()
    usual = signal.default_int_handler
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not usual
    ):
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


class Progress:
    """A bar on stderr, where that is a terminal, and files that fail."""

    def __init__(self, what, total):
        stderr = console.Console(stderr=True)
        self._bar = progress.Progress(
            progress.MofNCompleteColumn(),
            progress.TextColumn(what),
            progress.BarColumn(),
            progress.TimeRemainingColumn(),
            console=stderr,
            disable=not stderr.is_terminal,
        )
        self._task = self._bar.add_task(what, total=total)
        self.failed = {}  # what is wrong, by paths

    def update(self, done) -> None:
        """Shows that `done` of them are done."""
        if _interrupted.is_set():
            raise KeyboardInterrupt
        self._bar.start()
        self._bar.update(self._task, completed=done)

    def fail(self, path, message) -> None:
        """Says what is wrong with a file, once, above the bar."""
        if path not in self.failed:
            say(message)
        self.failed[path] = message

    def end(self) -> None:
        """Leaves the bar as it is."""
        self._bar.stop()
