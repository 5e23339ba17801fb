"""How far long work is."""

from rich import console
from rich import progress

from keras_warn.cli.errors import say


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
