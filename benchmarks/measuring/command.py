"""What benchmarks do before they measure, and when they have."""

import argparse

import keras

import keras_warn
from keras_warn.training import runs


def plain_parser(description):
    """A parser of arguments, whose help shows the description as it is."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )


def make_parser(description, out):
    """The same, with the options of a `RunFolder`."""
    parser = plain_parser(description)
    add = parser.add_argument
    add("--out", default=out, help="folder for all results")
    add("--overwrite", action="store_true", help="throw away the run in --out")
    return parser


def opened(parser, s, **code):
    """The run in `--out`; what is left in `s` is what results depend on."""
    out, overwrite = s.out, s.overwrite
    del s.out, s.overwrite
    code["backend"] = keras.backend.backend()
    code["keras_warn"] = keras_warn.__version__
    try:
        return runs.RunFolder(out, {**vars(s), **code}, overwrite)
    except OSError as error:
        parser.error(str(error))


def finish(run, result, name, text, plots):
    """Writes a result as JSON, as Markdown, and as figures by name."""
    run.write(f"{name}.md", text)
    for name, figure in plots.items():
        with run.replacing(f"{name}.png") as path:
            figure.savefig(path)
    run.finish(result)
    print(f"\n{text}\nEverything is in {run.path}.")
