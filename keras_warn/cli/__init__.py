"""The command `keras-warn`: models are trained, used and looked into."""

import importlib
import logging
import warnings

import keras_warn_cli
from keras_warn.cli import errors

# Modules with `EPILOG`, `add_arguments(parser)` and `run(arguments)`, which
# returns an exit code.
COMMANDS = {
    name: importlib.import_module(f"keras_warn.cli.{name}")
    for name in keras_warn_cli.COMMANDS
}


def main(argv=None) -> int:
    """Runs the command `keras-warn`, and returns its exit code."""
    arguments = _parser().parse_args(argv)
    # TensorFlow's, which takes several models for one that is traced anew.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Pillow's, of large photos. They are fine; what is too large is an error.
    warnings.filterwarnings("ignore", "Image size .* exceeds limit")
    try:
        return COMMANDS[arguments.command].run(arguments)
    except errors.UsageError as error:
        errors.say(f"keras-warn {arguments.command}: {error}")
        return errors.WRONG_USAGE
    except KeyboardInterrupt:
        resumes = " The same command resumes." * (arguments.command == "train")
        errors.say(f"\nkeras-warn {arguments.command}: stopped.{resumes}")
        return errors.INTERRUPTED


def _parser():
    parser, parsers = keras_warn_cli.make_parser()
    for name, command in COMMANDS.items():
        parsers[name].epilog = command.EPILOG
        command.add_arguments(parsers[name])
    return parser
