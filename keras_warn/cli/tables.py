"""`keras-warn tables`: finished trainings beside the figures of the paper."""

import pathlib
import shlex
import sys

from keras_warn import files
from keras_warn.cli.errors import EXIT_CODES
from keras_warn.cli.errors import GOOD
from keras_warn.cli.errors import INCOMPLETE
from keras_warn.cli.errors import Refused
from keras_warn.cli.printing import printed
from keras_warn.tables import find_runs
from keras_warn.tables import gather

HELP = "gather finished trainings into the tables of the paper"

EPILOG = f"""\
inputs:
  the results.json of finished trainings, in RUNS and all folders below.
  Smoke tests, and files of that name that are of other programs, are left out
  and counted

outputs:
  FOLDER/tables.md   Tables 3 and 4 and the errors on CIFAR, the paper's
                     figures beside ours, which are means over seeds after the
                     last epoch; runs of other data; and what is not counted,
                     paired or comparable. The same is printed
  FOLDER/table3.csv  the same in numbers, and so table4.csv, cifar.csv and
                     others.csv
  FOLDER/runs.csv    every run: what it measured, its settings and machine
  Files of these names in FOLDER are replaced, others stay.

{EXIT_CODES}

examples:
  keras-warn tables runs/ --out tables
  keras-warn tables runs/cub200 runs/stanford_dogs --out tables"""


def add_arguments(parser):
    """Adds what this command can be told."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUNS",
        help="a folder that is searched for finished trainings",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FOLDER",
        help="folder of the tables; those that are there are replaced",
    )


def run(arguments):
    """Runs the command, and returns its exit code."""
    out = pathlib.Path(arguments.out)
    _check_out(out)
    for folder in arguments.runs:
        if not pathlib.Path(folder).is_dir():
            raise Refused(
                f"RUNS must be folders that exist. Received: {folder}."
            )
    found = find_runs(arguments.runs)
    for message in found.failed:
        print(f"keras-warn tables: {message}", file=sys.stderr)
    if not found.runs:
        raise Refused(
            "RUNS must hold a finished training. There is none in "
            f"{', '.join(arguments.runs)}{_left_out(found)}."
        )
    command = ["keras-warn", "tables", *arguments.runs, "--out", arguments.out]
    tables = gather(found, shlex.join(command))
    try:
        tables.write(out)
    except OSError as error:
        print(
            f"keras-warn tables: --out {out} cannot be written to: "
            f"{error.strerror or error}.",
            file=sys.stderr,
        )
        return INCOMPLETE
    whole = printed(tables, "keras-warn tables: the tables")
    count = len(found.runs)
    print(
        f"The tables of {count} run{'' if count == 1 else 's'} are in {out}"
        f"{_left_out(found)}.",
        file=sys.stderr,
    )
    return GOOD if whole and not found.failed else INCOMPLETE


def _left_out(found):
    """How many files hold no run that is counted; empty if none."""
    counts = [
        (found.smoke, "of smoke tests"),
        (found.others, "of another kind"),
        (len(found.failed), "that cannot be read"),
    ]
    said = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"; left out: {said}" if said else ""


def _check_out(path):
    """Whether tables may be written to the folder `path`."""
    if path.exists() and not path.is_dir():
        raise Refused(f"--out must be a folder. {path} is a file.")
    # Where it will be made, if it is not there.
    folder = path
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        # A name that is in the folder.
        files.check_replacing(folder / "tables.md")
    except OSError as error:
        raise Refused(
            f"--out {path} cannot be written to. {folder}: {error.strerror}."
        ) from error
