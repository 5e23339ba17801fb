"""What exported models cost, and what quantization takes away.

    python recipes/cluttered_mnist.py --seeds 1
    python benchmarks/export.py runs/cluttered_mnist/attention_0.keras

needs `pip install -e ".[cpu,recipes,onnx,litert]"`.

Two models: the digits' of the recipe, and a MobileNetV2 at 224 pixels with 200
classes and two attention modules on random weights, for its time alone. Each
is exported in all formats. Keras, the SavedModel, ONNX Runtime and LiteRT then
take turns (A B C A B C ...) on one image, each on one thread, in one process;
times are medians over rounds. Keras predicts by `predict_on_batch`; its
explanation is `keras_warn.inspect`, whose masks are not brought to the size of
the image.

The quantized models are compared on the digits that the recipe tests with:
accuracy, and how many predictions are another than the Keras model's. int8 sees
256 training images for the ranges of its numbers.

Writes `export.json` (every sample) and `export.md` to `--out`.
"""

import json
import os
import pathlib
import tempfile
from functools import partial

# Before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import keras
import numpy as np
import pandas as pd
from measuring import command
from measuring.timing import measure_time
from measuring.timing import prediction

import keras_warn
from keras_warn import files
from keras_warn.cli.options import count
from keras_warn.data import cluttered
from keras_warn.data import load_digits
from keras_warn.environment import environment

# Of the recipe: streams of clutter, and its training's.
TEST_SEED, TRAIN_SEED = 1_000_002, 0
REPRESENTATIVE = 256
BATCH = 100

SIGNATURES = ("serve", "explain")
COLUMNS = {
    "accuracy": "accuracy (%)",
    "other_predictions": "other predictions (%)",
    "largest_difference": "largest difference of a probability",
    "megabytes": "MB",
}
# What each is called, and its file.
FORMATS = {
    "SavedModel": ("tf_saved_model", "saved_model"),
    "ONNX": ("onnx", "model.onnx"),
    "LiteRT": ("litert", "model.tflite"),
}


def of_saved_model(path, signature):
    """A SavedModel as a function from images to a dictionary."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)

    def run(images):  # as a closure, it keeps the model alive
        found = getattr(loaded, signature)(tf.constant(images))
        return {name: value.numpy() for name, value in found.items()}

    return run


def of_onnx(path, signature):
    """An ONNX file, the same."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    names = [output.name for output in session.get_outputs()]
    if signature == "serve":
        names = names[:1]
    only_these = onnxruntime.RunOptions()
    only_these.only_execute_path_to_fetches = True

    def run(images):
        values = session.run(names, {"images": images}, only_these)
        return dict(zip(names, values, strict=True))

    return run


def of_litert(path, signature):
    """A LiteRT file, the same."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=1)
    runner = interpreter.get_signature_runner(signature)
    return lambda images: runner(images=images)


def exported(model, folder):
    """Exports a model in all formats; paths by name."""
    paths = {}
    for name, (kind, file) in FORMATS.items():
        paths[name] = pathlib.Path(folder, file)
        keras_warn.export(model, paths[name], kind)
    return paths


def quantized(model, folder, images):
    """Exports a model as LiteRT in smaller numbers, the same."""
    paths = {}
    for kind, seen in (("float16", None), ("int8", images)):
        paths[f"LiteRT {kind}"] = path = pathlib.Path(folder, f"{kind}.tflite")
        keras_warn.export(
            model,
            path,
            "litert",
            masks="maps",
            quantization=kind,
            representative_images=seen,
        )
    return paths


def loaded(paths, signature):
    """The functions of exported models, by name."""
    makers = {"SavedModel": of_saved_model, "ONNX": of_onnx}
    return {
        name: makers.get(name, of_litert)(str(path), signature)
        for name, path in paths.items()
    }


def latency(title, model, paths, image, rounds):
    """Times of both signatures, and how far results are from Keras's."""
    measures = {}
    for signature in SIGNATURES:
        functions = loaded(paths, signature)
        wanted = np.asarray(model(image))
        differences = {
            name: float(np.abs(run(image)["probabilities"] - wanted).max())
            for name, run in functions.items()
        }
        asked = keras_warn.inspect(model) if signature == "explain" else model
        steps = {
            "Keras": prediction(asked, image),
            **{name: partial(run, image) for name, run in functions.items()},
        }
        name = f"{title}, {signature}"
        measures[signature] = {
            **measure_time(name, steps, rounds),
            "differences": differences,
        }
    return measures


def accuracy(model, paths, canvases):
    """What each kind of LiteRT model makes of the test digits."""
    images, labels = canvases.images, canvases.labels
    keras_says = model.predict(images, BATCH, verbose=0)
    found = {"Keras": {"accuracy": np.mean(keras_says.argmax(1) == labels)}}
    for name, run in loaded(paths, "serve").items():
        batches = np.array_split(images, range(BATCH, len(images), BATCH))
        said = [run(batch)["probabilities"] for batch in batches]
        said = np.concatenate(said)
        found[name] = {
            "accuracy": np.mean(said.argmax(1) == labels),
            "other_predictions": np.mean(
                said.argmax(1) != keras_says.argmax(1)
            ),
            "largest_difference": float(np.abs(said - keras_says).max()),
            "megabytes": _bytes(paths[name]) / 1e6,
        }
    return found


def _bytes(path):
    parts = path.rglob("*") if path.is_dir() else [path]
    return sum(part.stat().st_size for part in parts if part.is_file())


def markdown(results):
    """The results as tables."""
    latency = {
        f"{title}, `{signature}`": found["median"]
        for title, measures in results["latency"].items()
        for signature, found in measures.items()
    }
    exactness = pd.DataFrame.from_dict(results["accuracy"], "index")
    # Keras itself has an accuracy alone.
    exactness = exactness.reindex(columns=COLUMNS).rename(columns=COLUMNS)
    exactness.iloc[:, :2] *= 100
    return "\n\n".join(
        table.astype(object)
        .where(table.notna(), None)
        .rename_axis(name)
        .to_markdown(floatfmt=forms, missingval="–")
        for name, table, forms in (
            ("one image, ms", pd.DataFrame(latency).T, ".2f"),
            ("digits", exactness, ("", ".2f", ".2f", ".1e", ".2f")),
        )
    )


def main(argv=None):
    parser = command.plain_parser(__doc__)
    add = parser.add_argument
    add("model", metavar="MODEL", help="attention_0.keras of the recipe")
    add("--out", default="runs/export", help="folder of the results")
    add("--rounds", type=count(1), default=100)
    add("--test-size", type=count(1), default=4000, help="as in the recipe")
    add("--size", type=count(32), default=224, help="of the MobileNetV2")
    s = parser.parse_args(argv)
    out = pathlib.Path(s.out)
    out.mkdir(parents=True, exist_ok=True)

    digits = keras.saving.load_model(s.model)
    train, _, test = load_digits()
    settings = {"distractors": 8}
    canvases = cluttered(*test, s.test_size, seed=TEST_SEED, **settings)
    seen = cluttered(*train, REPRESENTATIVE, seed=TRAIN_SEED, **settings)
    keras.utils.set_random_seed(0)
    large = keras_warn.augment(
        keras.applications.MobileNetV2(
            (s.size, s.size, 3), include_top=False, weights=None
        ),
        classes=200,
        preset="paper",
        depth=2,
    )
    image = np.random.default_rng(0).normal(size=(1, s.size, s.size, 3))
    models = {
        "digits": (digits, canvases.images[:1]),
        "MobileNetV2": (large, image.astype("float32")),
    }
    results = {"settings": vars(s), "environment": environment(), "latency": {}}
    for name, (model, image) in models.items():
        with tempfile.TemporaryDirectory() as folder:
            paths = exported(model, folder)
            if model is digits:
                paths |= quantized(model, folder, seen.images)
                results["accuracy"] = accuracy(model, paths, canvases)
            measured = latency(name, model, paths, image, s.rounds)
            results["latency"][name] = measured
    with files.replacing(out / "export.json") as path:
        path.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    table = markdown(results)
    with files.replacing(out / "export.md") as path:
        path.write_text(table + "\n", "utf-8")
    print(f"\n{table}\n\nEverything is in {out}.")


if __name__ == "__main__":
    main()
