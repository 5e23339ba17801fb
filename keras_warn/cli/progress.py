"""How far long work is, for whoever waits."""

import sys

from rich import console
from rich import progress


class Progress:
    """A bar on stderr, where that is a terminal.

    Args:
        what: What is counted.
        total: How many there are.
    """

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

    def update(self, done) -> None:
        """Shows that `done` of them are done."""
        self._bar.start()
        self._bar.update(self._task, completed=done)

    def say(self, message) -> None:
        """Shows a message on a line of its own."""
        print(message, file=sys.stderr, flush=True)  # above the bar

    def end(self) -> None:
        """Leaves the bar as it is."""
        self._bar.stop()
