"""`keras-warn summary`: a table of where attention is, and what it costs."""

from keras_warn import metadata
from keras_warn._summary import summary
from keras_warn.cli import errors
from keras_warn.cli import inputs
from keras_warn.cli.options import add_options

EPILOG = f"""\
outputs:
  a table: which layers the attention modules read, their heads and kernels,
  and parameters and operations of each, of the backbone alone, and of both;
  and what the model's file says of its use: names, images, training

preprocessing:
  none is needed; no image is read

{errors.EXIT_CODES}

examples:
  keras-warn summary birds.keras
  keras-warn summary birds.keras --size 320x480"""


def add_arguments(parser) -> None:
    """Adds the options of this command."""
    add_options(parser, "model", "--size")


def run(arguments) -> int:
    """Runs the command, and returns its exit code."""
    model = inputs.load_model(arguments.model)
    shape = None
    if arguments.size is not None:
        data_format, size, channels = inputs.image_input(model, arguments)
        shape = (*size, channels)
        if data_format == "channels_first":
            shape = (channels, *size)
    with errors.usage_errors(
        ImportError, ValueError, before=f"{arguments.model}: "
    ):
        found = summary(model, shape)
    about = metadata.described(metadata.of_model(model))
    found = f"{found}\n\n{about}" if about else found
    print(found)
    return errors.GOOD
