"""The command line as a whole: its parser and its exit code."""

import argparse
import sys
import warnings

import keras_warn
from keras_warn.cli import explain
from keras_warn.cli import export
from keras_warn.cli import report
from keras_warn.cli import summary
from keras_warn.cli.errors import INTERRUPTED
from keras_warn.cli.errors import REFUSED
from keras_warn.cli.errors import Refused

# Each has `HELP`, `EPILOG`, `add_arguments(parser)` and `run(arguments)`, which
# returns an exit code.
COMMANDS = {
    "explain": explain,
    "export": export,
    "report": report,
    "summary": summary,
}

DESCRIPTION = """\
Show what gated attention does in a model that keras_warn.augment made, and
that model.save wrote: for images of yours, on a test set, or as a table of
where it is attached and what it costs."""


def main(argv=None):
    """Runs the command `keras-warn`.

    Args:
        argv: List of strings, its arguments. Defaults to those of the process.

    Returns:
        The exit code, an integer.

    Raises:
        SystemExit: after `--help`, or if the arguments are wrong, as argparse
            does.
    """
    arguments = _parser().parse_args(argv)
    # Pillow's, of large photos. They are fine; what is too large is an error.
    warnings.filterwarnings("ignore", "Image size .* exceeds limit")
    try:
        return COMMANDS[arguments.command].run(arguments)
    except Refused as error:
        print(f"keras-warn {arguments.command}: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print(f"\nkeras-warn {arguments.command}: stopped.", file=sys.stderr)
        return INTERRUPTED


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-warn",
        description=DESCRIPTION,
        epilog="keras-warn COMMAND --help says more about each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=keras_warn.__version__
    )
    parsers = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND"
    )
    for name, command in COMMANDS.items():
        added = parsers.add_parser(
            name,
            help=command.HELP,
            description=f"{command.HELP[0].upper()}{command.HELP[1:]}.",
            epilog=command.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(added)
    return parser
