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
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

from measuring import command  # isort: skip
import cluttered_mnist
import keras
import numpy as np
import pandas as pd
from measuring.timing import measure_time
from measuring.timing import prediction

import keras_warn
from keras_warn import files
from keras_warn.cli.options import count
from keras_warn.data import cluttered
from keras_warn.data import load_digits
from keras_warn.environment import environment

DISTRACTORS = 8  # as in the recipe's training
REPRESENTATIVE = 256
BATCH = 100

SIGNATURES = ("serve", "explain")
COLUMNS = {
    "accuracy": "accuracy (%)",
    "other_predictions": "other predictions (%)",
    "largest_difference": "largest difference of a probability",
    "megabytes": "MB",
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


def exported(model, folder, images=None):
    """Exports a model in all formats; paths by name.

    With images also as LiteRT in smaller numbers, as these ask for.
    """
    paths = {}

    def add(name, file, kind, **options):
        paths[name] = pathlib.Path(folder, file)
        keras_warn.export(model, paths[name], kind, **options)

    add("SavedModel", "saved_model", "tf_saved_model")
    add("ONNX", "model.onnx", "onnx")
    add("LiteRT", "model.tflite", "litert")
    if images is not None:
        small = {"kind": "litert", "masks": "maps"}
        add("LiteRT float16", "f.tflite", quantization="float16", **small)
        small["representative_images"] = images
        add("LiteRT int8", "i.tflite", quantization="int8", **small)
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
        asked = keras_warn.inspect(model) if signature == "explain" else model
        steps = {"Keras": prediction(asked, image)}
        steps |= {name: partial(run, image) for name, run in functions.items()}
        found = measure_time(f"{title}, {signature}", steps, rounds)
        wanted = np.asarray(model(image))
        found["differences"] = {
            name: float(np.abs(run(image)["probabilities"] - wanted).max())
            for name, run in functions.items()
        }
        measures[signature] = found
    return measures


def accuracy(model, paths, canvases):
    """What each kind of LiteRT model makes of the test digits."""
    images, labels = canvases.images, canvases.labels
    wanted = model.predict(images, BATCH, verbose=0)
    found = {"Keras": {"accuracy": np.mean(wanted.argmax(1) == labels)}}
    for name, run in loaded(paths, "serve").items():
        batches = np.array_split(images, range(BATCH, len(images), BATCH))
        said = [run(batch)["probabilities"] for batch in batches]
        said = np.concatenate(said)
        chosen = said.argmax(1)
        parts = [paths[name], *paths[name].rglob("*")]
        size = sum(x.stat().st_size for x in parts if x.is_file())
        found[name] = {
            "accuracy": np.mean(chosen == labels),
            "other_predictions": np.mean(chosen != wanted.argmax(1)),
            "largest_difference": float(np.abs(said - wanted).max()),
            "megabytes": size / 1e6,
        }
    return found


def markdown(results):
    """The results as tables."""
    latency = {
        f"{title}, `{signature}`": found["median"]
        for title, measures in results["latency"].items()
        for signature, found in measures.items()
    }
    exactness = pd.DataFrame(results["accuracy"]).T
    exactness[["accuracy", "other_predictions"]] *= 100
    exactness = exactness.rename(columns=COLUMNS)
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
    data = load_digits()
    settings = cluttered_mnist.Settings(test_size=s.test_size)
    canvases = cluttered_mnist.test_canvases(DISTRACTORS, data, settings)
    seen = cluttered(*data.train, REPRESENTATIVE, distractors=DISTRACTORS)
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
            of_digits = model is digits
            paths = exported(model, folder, seen.images if of_digits else None)
            if of_digits:
                results["accuracy"] = accuracy(model, paths, canvases)
            measured = latency(name, model, paths, image, s.rounds)
            results["latency"][name] = measured
    table = markdown(results)
    texts = {"json": json.dumps(results, indent=2), "md": table}
    for ending, text in texts.items():
        with files.replacing(out / f"export.{ending}") as path:
            path.write_text(f"{text}\n", "utf-8")
    print(f"\n{table}\n\nEverything is in {out}.")


if __name__ == "__main__":
    main()
