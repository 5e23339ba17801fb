"""Types of arguments of the command lines."""

import argparse


def integer(minimum):
    """A type of arguments: integers of at least `minimum`."""

    def parse(text):
        if not text.lstrip("+-").isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(
                f"must be an integer of at least {minimum}. Received: {text}."
            )
        return int(text)

    return parse
