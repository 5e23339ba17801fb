"""How far long work is, for whoever waits."""

import sys
import time

# Between lines of progress where they cannot be overwritten, in seconds.
SECONDS = 30


class Progress:
    """How far long work is, on stderr.

    On a terminal one line that changes, elsewhere a line now and then.

    Args:
        what: What is counted.
        total: How many there are.
    """

    def __init__(self, what, total):
        self.what = what
        self.total = total
        self._on_terminal = sys.stderr.isatty()
        self._last = time.monotonic()
        self._open = False

    def update(self, done):
        """Shows that `done` of them are done."""
        text = f"{done} of {self.total} {self.what}"
        if self._on_terminal:
            print(f"\r{text}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif time.monotonic() - self._last > SECONDS:
            self._last = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def say(self, message):
        """Shows a message on a line of its own."""
        self.end()
        print(message, file=sys.stderr, flush=True)

    def end(self):
        """Ends the line that changes."""
        if self._open:
            print(file=sys.stderr)
            self._open = False
