"""`keras-warn export`: a model for where this package is not installed."""

from keras_warn import exporting
from keras_warn.cli import errors
from keras_warn.cli import inputs
from keras_warn.cli.options import add_options
from keras_warn.data import images
from keras_warn.data import model_inputs

EPILOG = f"""\
formats:
  tf_saved_model  a folder, for TensorFlow and TensorFlow Serving
  onnx            a file that ends in .onnx; needs the extra onnx
  litert          a file that ends in .tflite, for phones and small machines

outputs:
  serve    what the model predicts, and names of classes in a SavedModel
  explain  the same, and masks, gates and what the backbone alone predicts
  Without --preprocessing and --resize both take what the model takes. With
  --encoded a SavedModel has serve_bytes and explain_bytes, too, which take
  files of JPEG or PNG. What the model's file says of names, size, crop and
  preprocessing holds there where options are not given. A file of ONNX has
  the outputs of explain. int8 for LiteRT needs images, and so Python:
  keras_warn.export.

{errors.EXIT_CODES}

examples:
  keras-warn export birds.keras --out birds --encoded
  keras-warn export birds.keras --out birds.onnx --format onnx
  keras-warn export birds.keras --out birds.tflite --format litert \\
      --quantization float16"""


def add_arguments(parser) -> None:
    """Adds the options of this command."""
    add_options(parser, "model")
    add = parser.add_argument
    add("--out", required=True, metavar="PATH", help="what to write")
    add(
        "--format",
        choices=list(exporting.FORMATS),
        default="tf_saved_model",
        help="see below (default: tf_saved_model)",
    )
    add(
        "--masks",
        choices=exporting.MASKS,
        default=exporting.MASKS[0],
        help="of explain: modules, one for each at the size of the images; "
        "heads, one for each head at that size; or maps, those of the heads "
        "as they are (default: modules)",
    )
    add(
        "--encoded",
        action="store_true",
        help="add signatures that take files of JPEG or PNG",
    )
    add(
        "--preprocessing",
        choices=model_inputs.PREPROCESSING,
        metavar="NAME",
        help="take pixels in [0, 255], and do this with them: "
        f"{', '.join(model_inputs.PREPROCESSING)}",
    )
    add(
        "--resize",
        choices=images.RESIZES,
        help="take pixels of images of any size, and bring them to the "
        "model's so",
    )
    add_options(parser, "--resize-shorter-edge", "--names", "--size")
    add(
        "--quantization",
        choices=("float16",),
        help="with litert: store weights in 16 bits",
    )
    add("--overwrite", action="store_true", help="replace an exported model")


def run(arguments) -> int:
    """Runs the command, and returns its exit code."""
    model = inputs.load_model(arguments.model)
    names = inputs.find_names(model, arguments.names)
    options = ("masks", "preprocessing", "resize", "size", "encoded")
    options += ("resize_shorter_edge", "quantization", "overwrite")
    try:
        exporting.export(
            model,
            arguments.out,
            arguments.format,
            class_names=names,
            **{name: getattr(arguments, name) for name in options},
        )
    except FileExistsError as error:
        raise errors.UsageError(
            f"--out {arguments.out} exists. --overwrite replaces a model of "
            "the same format, and nothing else."
        ) from error
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        raise errors.UsageError(str(error)) from error
    except OSError as error:
        errors.say(
            f"keras-warn export: --out {arguments.out} cannot be written: "
            f"{error.strerror or error}."
        )
        return errors.INCOMPLETE
    errors.say(f"The model is in {arguments.out}.")
    return errors.GOOD
