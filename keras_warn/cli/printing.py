"""Tables on stdout, for whoever may not want all of them."""

import os
import sys


def printed(text, what):
    """Whether all of a text could be printed.

    Args:
        text: What to print.
        what: What to call it where it cannot be printed.

    Returns:
        A boolean. Where it is `False`, the reason is said on stderr.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        # What is left would fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Whoever reads by `| head` has seen enough.
        if not isinstance(error, BrokenPipeError):
            print(
                f"{what} cannot be written: {error.strerror}.", file=sys.stderr
            )
        return False
    return True
