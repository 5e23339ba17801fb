"""The command `keras-warn`, as far as it needs neither Keras nor a backend.

It lies beside the package, since `import keras_warn.anything` imports Keras
and its backend: seconds, for a line of help.
"""

import argparse
import os
import pathlib
import runpy
import sys

DESCRIPTION = """\
Train a model with gated attention on images of yours, predict with it, and
show what attention does: for images, on a test set, or as a table of where it
is attached and what it costs. All but train take a model that
keras_warn.augment made, and that model.save wrote."""

# What each does. It is a module of this name in `keras_warn.cli`.
COMMANDS = {
    "explain": "explain a model's predictions for images",
    "export": "write a model for where keras_warn is not installed",
    "predict": "write the classes that a model predicts for images",
    "report": "show what attention does on a test set",
    "summary": "show what attention is attached where, and what it costs",
    "train": "train a model with attention on images of yours",
}


def make_parser() -> tuple:
    """The parser of `keras-warn`, without the options of its commands.

    Returns:
        The parser, and a dictionary from commands to theirs.
    """
    # Run as a file: its package is not imported.
    version = pathlib.Path(__file__).parent / "keras_warn" / "_version.py"
    parser = argparse.ArgumentParser(
        prog="keras-warn",
        description=DESCRIPTION,
        epilog="keras-warn COMMAND --help says more about each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=runpy.run_path(version)["__version__"],
    )
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND"
    )
    for name, does in COMMANDS.items():
        commands.add_parser(
            name,
            help=does,
            description=f"{does[0].upper()}{does[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    return parser, commands.choices


def main() -> int:
    """What the console script runs: returns the exit code."""
    if not COMMANDS.keys() & set(sys.argv[1:2]):
        # Ends the process: with help, the version, or a refusal.
        make_parser()[0].parse_args()
    # Before TensorFlow is imported: its start-up lines are not ours to
    # explain.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from keras_warn import cli

    return cli.main()
