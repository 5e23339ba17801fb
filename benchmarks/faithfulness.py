"""How far masks and evidence can be trusted, beside Grad-CAM and priors.

    python benchmarks/faithfulness.py \\
        --digits runs/cluttered_mnist/attention_*.keras \\
        --cub data/CUB_200_2011

`--digits` takes models that `recipes/cluttered_mnist.py` saved, of
scikit-learn's digits. `--cub` is the folder of CUB-200-2011, or of some of its
classes in the same layout: MobileNetV2 (alpha 0.35, 128 px) with attention is
first fine-tuned on its training images, once a seed, from weights of
ImageNet, which Keras downloads unless `--weights` is their file.

All maps (`measuring/saliency.py`) get the same test images and models, and all
measures are of the class that the model predicts, correct or not;
docs/faithfulness.md says what each is, and what it does not show. Gradients
need the TensorFlow backend.

Writes `faithfulness.md`, `results.json`, `results.csv`,
`faithfulness_curves.png`, `faithfulness_examples.png` and the trained models to
`--out`. A run that was stopped resumes where it was, one model at a time: start
it again.
"""

import dataclasses
import hashlib
import pathlib

# First, for what it sets before TensorFlow is imported.
from measuring import command  # isort: skip
import cluttered_mnist
import keras
import numpy as np
from measuring import faithfulness_report as report
from measuring import recipe_of
from measuring import saliency
from measuring import tables

from keras_warn import training
from keras_warn.cli.options import count
from keras_warn.data import images
from keras_warn.data import load_digits
from keras_warn.environment import environment
from keras_warn.explanation import masks

DISTRACTORS = 8
# Images of each kind in the figure.
EXAMPLES = 3
# Of training on birds, small enough for a processor.
BIRDS = training.Settings(
    backbone="MobileNetV2(alpha=0.35)",
    attention={"preset": "paper", "depth": 3, "diversity_weight": 0},
    image_size=128,
    resize_shorter_edge=146,
    batch_size=32,
    optimizer="adamw",
    attention_factor=1,
    weight_decay=1e-2,
    schedule="cosine",
    validation_share=0,
)


def birds(s, cub):
    """Images, labels and boxes to test with, evenly from all classes."""
    chosen = cub.splits["test"]
    chosen = chosen[np.arange(s.images) * len(chosen) // s.images]
    found = [centre(cub.paths[i], cub.boxes[i]) for i in chosen]
    crops, boxes = zip(*found, strict=True)
    return np.stack(crops), cub.labels[chosen], np.stack(boxes)


def centre(path, box):
    """The middle of an image, and the box in it, rounded to the outside."""
    image, size = images.read_image(path), (BIRDS.image_size,) * 2
    given = size, "crop", BIRDS.resize_shorter_edge
    seen, _ = images.placement(image.shape[:2], *given)
    (start, end), box = np.reshape(seen, (2, 2)), np.reshape(box, (2, 2))
    first, last = (box - start) * size / (end - start)
    box = np.concatenate([np.floor(first), np.ceil(last)])
    box = np.clip(box, 0, BIRDS.image_size).astype("int32")
    return images.fit_image(image, *given), box


def train(seed, cub, s, folder):
    """Trains on birds; what it is worth on all that are left."""
    settings = dataclasses.replace(
        BIRDS, epochs=s.epochs, warmup=s.epochs / 10, weights=s.weights
    )
    one = recipe_of("cub200").experiment(cub, settings, seed)
    found = one.run(folder, verbose=2)["over_backbone"]
    return {"backbone": found["backbone"], "output": found["attention"]}


def rounded(of):
    return {key: np.round(value, 5).tolist() for key, value in of.items()}


def measure(path, images, labels, boxes):
    """All maps of one model: each measure, image by image, and mean curves."""
    print(f"\nMeasuring {path}", flush=True)
    model = keras.saving.load_model(path)
    maps, explained = saliency.maps(model, images, boxes, seed=0)
    images = images.astype("float32")
    blurred, mean = saliency.blurred(images), saliency.mean_colour(images)
    classes = explained.targets, explained.contrast
    backbone = explained.backbone_probabilities.argmax(axis=1)
    measures, curves = {}, {}
    progress = keras.utils.Progbar(len(maps))
    for name, found in maps.items():
        order = saliency.order(found, seed=0)
        of_map = {}
        for kind, *ends in (
            ("insertion", blurred, images),
            ("deletion", images, mean),
        ):
            both = saliency.curves(model, *ends, order, *classes)
            of_map[kind], of_map[f"{kind}, margin"] = both
        of_images = {
            "pointing": saliency.pointing(found, boxes),
            "energy": saliency.energy(found, boxes),
            **{key: saliency.area(value) for key, value in of_map.items()},
        }
        means = {key: value.mean(axis=0) for key, value in of_map.items()}
        measures[name], curves[name] = rounded(of_images), rounded(means)
        progress.add(1)
    return {
        "accuracy": {
            "backbone": float(np.mean(backbone == labels)),
            "output": float(np.mean(explained.targets == labels)),
        },
        "changed": float(np.mean(backbone != explained.targets)),
        "random_baseline": masks.random_baseline(boxes, images.shape[1:3]),
        "measures": measures,
        "curves": curves,
    }


def examples(path, names, images, labels, boxes):
    """Rows of the figure: some images, whatever became of them."""
    model = keras.saving.load_model(path)
    chosen = np.arange(EXAMPLES) * len(images) // EXAMPLES
    images, labels, boxes = images[chosen], labels[chosen], boxes[chosen]
    maps, explained = saliency.maps(model, images, boxes, seed=0)
    return [
        {
            "image": images[i],
            "box": boxes[i],
            "label": names[labels[i]],
            "output": names[explained.targets[i]],
            "against": names[explained.contrast[i]],
            "maps": {name: found[i] for name, found in maps.items()},
        }
        for i in range(EXAMPLES)
    ]


def main(argv=None):
    parser = command.make_parser(__doc__, "runs/faithfulness")
    add = parser.add_argument
    add(
        "--digits",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="models of recipes/cluttered_mnist.py, of scikit-learn's digits",
    )
    add(
        "--cub", metavar="FOLDER", help="of CUB-200-2011, or some classes of it"
    )
    add(
        "--weights",
        default="imagenet",
        metavar="FILE",
        help="of MobileNetV2 without its top, if they are not downloaded",
    )
    add("--images", type=count(2), default=300, help="of the test images")
    add("--epochs", type=count(1), default=30, help="of training on birds")
    add("--seeds", type=count(1), default=3, help="trainings on birds")
    s = parser.parse_args(argv)
    if not s.digits and not s.cub:
        parser.error("--digits or --cub must be given, or both.")
    if keras.backend.backend() != "tensorflow":
        parser.error("Gradients are taken with the TensorFlow backend.")
    models = [pathlib.Path(path) for path in s.digits]
    digests = [hashlib.sha256(x.read_bytes()).hexdigest() for x in models]
    run = command.opened(parser, s, models=digests)

    # Data sets, each with its models and what they are tested with.
    tests, trained = {}, []
    if s.digits:
        settings = cluttered_mnist.Settings(test_size=s.images)
        test = cluttered_mnist.test_canvases(
            DISTRACTORS, load_digits(), settings
        )
        tests["digits"] = models, [str(i) for i in range(10)], test
    if s.cub:
        cub = recipe_of("cub200").read(s.cub)
        folders = [run / f"birds_{seed}" for seed in range(s.seeds)]
        for seed, folder in enumerate(folders):
            print(f"\nTraining on birds, seed {seed}", flush=True)
            trained.append(train(seed, cub, s, folder))
        paths = [folder / "model.keras" for folder in folders]
        tests["birds"] = paths, cub.names, birds(s, cub)
    found, rows = {}, []
    for name, (paths, names, data) in tests.items():
        found[name] = [
            run.part(f"{name}_{i}", measure, path, *data)
            for i, path in enumerate(paths)
        ]
        rows += examples(paths[0], names, *data)
    result = {
        "settings": vars(s),
        "environment": environment(),
        "birds_accuracy": {
            name: tables.summary([of_seed[name] for of_seed in trained])
            for name in (trained[0] if trained else ())
        },
        "summary": {name: report.summary(of) for name, of in found.items()},
    }
    run.write("results.csv", report.to_csv(found))
    plots = {
        "faithfulness_curves": report.curves_figure(result["summary"]),
        "faithfulness_examples": report.examples_figure(rows),
    }
    command.finish(run, result, "faithfulness", report.markdown(result), plots)


if __name__ == "__main__":
    main()
