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

import argparse
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
QUANTIZATIONS = ("none", "float16", "int8")


def of_saved_model(path, signature):
    """A SavedModel as a function from images to a dictionary."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    # Which keeps the model alive.
    function = getattr(loaded, signature)

    def run(images, loaded=loaded):
        found = function(tf.constant(images))
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


def exported(model, folder, representative=None):
    """Exports a model in all formats; paths by name."""
    paths = {
        "SavedModel": folder / "saved_model",
        "ONNX": folder / "model.onnx",
        "LiteRT": folder / "model.tflite",
    }
    formats = ("tf_saved_model", "onnx", "litert")
    for path, name in zip(paths.values(), formats, strict=True):
        keras_warn.export(model, path, name)
    if representative is not None:
        for kind in QUANTIZATIONS[1:]:
            images = representative if kind == "int8" else None
            paths[f"LiteRT {kind}"] = folder / f"{kind}.tflite"
            keras_warn.export(
                model,
                paths[f"LiteRT {kind}"],
                "litert",
                masks="maps",
                quantization=kind,
                representative_images=images,
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
    found = {"Keras": {"accuracy": _share(keras_says.argmax(1) == labels)}}
    for name, run in loaded(paths, "serve").items():
        said = np.concatenate(
            [
                run(images[i : i + BATCH])["probabilities"]
                for i in range(0, len(images), BATCH)
            ]
        )
        found[name] = {
            "accuracy": _share(said.argmax(1) == labels),
            "other_predictions": _share(said.argmax(1) != keras_says.argmax(1)),
            "largest_difference": float(np.abs(said - keras_says).max()),
            "megabytes": _bytes(paths[name]) / 1e6,
        }
    return found


def _share(values):
    return float(np.mean(values))


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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
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
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            name: pathlib.Path(folder, name) for name in ("small", "large")
        }
        for path in paths.values():
            path.mkdir()
        small = exported(digits, paths["small"], seen.images)
        measured = {
            "digits": latency(
                "digits", digits, small, canvases.images[:1], s.rounds
            ),
            "MobileNetV2": latency(
                "MobileNetV2",
                large,
                exported(large, paths["large"]),
                image.astype("float32"),
                s.rounds,
            ),
        }
        results = {
            "settings": vars(s),
            "environment": environment(),
            "latency": measured,
            "accuracy": accuracy(digits, small, canvases),
        }
    with files.replacing(out / "export.json") as path:
        path.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    table = markdown(results)
    with files.replacing(out / "export.md") as path:
        path.write_text(table + "\n", "utf-8")
    print(f"\n{table}\n\nEverything is in {out}.")


if __name__ == "__main__":
    main()
