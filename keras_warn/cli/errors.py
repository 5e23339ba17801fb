"""How commands end: exit codes, and what users are told of their errors."""

import collections.abc
import contextlib
import sys

# Exit codes. Others are errors of this program.
GOOD, INCOMPLETE, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

EXIT_CODES = """\
exit codes:
  0    all is done
  1    something could not be read or written; the rest is done
  2    wrong usage or input; nothing is done
  130  stopped by Ctrl-C"""


class UsageError(Exception):
    """Wrong input, said in one paragraph."""


@contextlib.contextmanager
def usage_errors(*kinds, before="", after="") -> collections.abc.Iterator:
    """Makes `UsageError` of errors whose message is meant for users.

    Example:

    >>> with usage_errors(ValueError, before="--size: "):
    ...     raise ValueError("must be positive.")
    Traceback (most recent call last):
    keras_warn.cli.errors.UsageError: --size: must be positive.
    """
    try:
        yield
    except kinds as error:
        raise UsageError(f"{before}{error}{after}") from error


def say(message) -> None:
    """Shows a message beside what a command prints."""
    print(message, file=sys.stderr, flush=True)
