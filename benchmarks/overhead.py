"""What attention adds to a network: parameters, operations, time, memory.

    python benchmarks/overhead.py
    KERAS_BACKEND=jax python benchmarks/overhead.py --backbone MobileNetV2
    python benchmarks/overhead.py matrix --preset side_by_side --batch-size 4
    python benchmarks/overhead.py growth --backbone MobileNetV2
    python benchmarks/overhead.py explain --backbone MobileNetV2
    python benchmarks/overhead.py memory

Three models are compared, of the same weights:

- backbone: a network of `keras.applications`, randomly initialised;
- ours: `keras_warn.augment(backbone, preset, diversity_weight=0)`;
- direct: the paper's formulation as it is written. A convolution to the
  label-space map `(b, h, w, k * n)` and one to the gate map, which are then
  masked and summed. Its outputs are checked against ours before anything is
  measured. Slow as it is, it takes part in every 4th round.

Models take turns (A B C A B A B ...) on a batch that lies on the device, and a
ratio is the median over rounds of the ratio within a round, so that a machine
that slows down for a while slows all of them. On a CPU time is that of all
threads of the process, as others may use it, too, and beside it that on the
wall. Memory is what a training step needs beyond what lay there before it, as
the framework's allocator counts it; on JAX, as its compiler plans it. *Modules*
are the attention layers alone, on fixed feature maps.

Writes `results.json` (with every single sample), `overhead.md` and
`overhead.png` to `--out`; a table of several models as `.csv`, and its `.png`.
A run that was stopped resumes where it was: start it again.
"""

import itertools
import math
import os

# First, for what it sets before TensorFlow is imported.
from measuring import command  # isort: skip
import keras
import pandas as pd
from measuring import environment
from measuring import models
from measuring import overhead_report as report
from measuring import timing
from measuring.direct_formulation import difference
from measuring.memory import measure_memory
from measuring.memory import why_not_counted
from measuring.models import changed

import keras_warn
from keras_warn.attachment import attachment_points
from keras_warn.attention import attention_of
from keras_warn.augmenting import PRESETS
from keras_warn.cli.options import count
from keras_warn.operations import COUNTERS
from keras_warn.operations import operations
from keras_warn.training import backbones

TOLERANCE = 1e-4
# For which the modules are timed alone.
CLASS_COUNTS = (10, 1000)

MATRIX = tuple(
    itertools.product(
        ("ResNet50V2", "MobileNetV2", "EfficientNetB0", "ConvNeXtTiny"),
        (128, 224, 320),
    )
)
# Whose training steps of 4 images take 9 s of a processor each.
NOT_TRAINED = ("ConvNeXtTiny",)
GROWTH = {
    "width": (1, 4, 16, 64),
    "classes": (10, 100, 1_000, 10_000),
    "image_size": (128, 224, 320, 512),
    "depth": (1, 2, 4, None),  # all
}


def measure(s, kernel_size):
    """Everything of one kernel size: measures by name."""
    print(f"\nKernels of {kernel_size}x{kernel_size}")
    keras.backend.clear_session()
    built = models.build(s, kernel_size)
    images, labels = models.random_batch(built["ours"], s.batch_size)
    found = difference(built["ours"], built["direct"], images)
    if not found <= TOLERANCE:
        raise RuntimeError(
            "The direct formulation must compute what ours does, to "
            f"{TOLERANCE:g}. Received: a difference of {found:g}."
        )
    millions = {k: m.count_params() / 1e6 for k, m in built.items()}
    alone = models.attention_alone(built)
    return {
        "difference": found,
        "parameters": timing.summary("parameters", "million", [millions]),
        "operations": measure_operations("operations", built),
        "modules_operations": measure_operations(
            f"modules, {s.classes} classes", alone
        ),
        **measure_steps(s, built, images, labels),
        **{
            f"modules_inference_{n}": measure_modules(s, kernel_size, n)
            for n in CLASS_COUNTS
        },
    }


def measure_steps(s, built, images, labels, training=True):
    """Times of inference and of training steps, and memory of these."""
    size = f"batch of {s.batch_size}"
    steps = predictions(built, images)
    found = timing.measure_times(f"inference, {size}", steps, s.runs)
    measures = {"inference": found}
    if training:
        for model in built.values():
            models.compile_model(model, s.xla)
        steps = {
            k: timing.training_step(m, images, labels) for k, m in built.items()
        }
        found = timing.measure_times(f"training step, {size}", steps, s.runs)
        measures["training"] = found
    if training and s.memory:
        measures["memory"] = measure_memory(built, images, labels, s.runs)
    return measures


def predictions(built, inputs):
    """Functions of models by name, which predict a batch."""
    return {k: timing.prediction(m, inputs) for k, m in built.items()}


def measure_operations(title, built):
    details = {k: operations(m) for k, m in built.items()}
    giga = {k: sum(counts.values()) / 1e9 for k, counts in details.items()}
    return {**timing.summary(title, "GFLOP", [giga]), "details": details}


def measure_modules(s, kernel_size, classes):
    """Times of the attention alone."""
    keras.backend.clear_session()
    built = models.build(changed(s, classes=classes), kernel_size)
    alone = models.attention_alone(built)
    inputs, _ = models.random_batch(alone["ours"], s.batch_size)
    title = f"modules, {classes} classes, inference"
    return timing.measure_times(title, predictions(alone, inputs), s.runs)


def measure_matrix(s, name, image_size):
    """What attention of some widths and kernels adds to a network: rows.

    Training steps, which take most of the time, at `--image-size` alone.
    """
    training = image_size == s.image_size and name not in NOT_TRAINED
    keras.backend.clear_session()
    print(f"\n{name}, {image_size} px")
    s = changed(s, backbone=name, image_size=image_size)
    backbone = models.build_backbone(s)
    attended = {
        (width, size): models.augmented(backbone, changed(s, width=width), size)
        for width, size in itertools.product((4, 16), (1, 3))
    }
    built = {"backbone": backbone, **attended}
    counts = {k: sum(operations(model).values()) for k, model in built.items()}
    batch = models.random_batch(backbone, s.batch_size)
    measures = measure_steps(s, built, *batch, training)
    rows = []
    for (width, size), model in attended.items():
        pair = f"{width, size} / backbone"
        row = {
            "network": name,
            "pixels": image_size,
            "width": width,
            "kernel": f"{size}×{size}",
            "parameters": model.count_params() / backbone.count_params(),
            "operations": counts[width, size] / counts["backbone"],
        }
        for measure, found in measures.items():
            row |= ratio(found, pair, measure)
            if "wall" in found:
                row[f"{measure}, wall"] = found["wall"]["ratio"][pair]
        rows.append(row)
    return rows


def measure_growth(s, axis):
    """Time and memory of the attention alone, of one setting's values: rows."""
    keras.backend.clear_session()
    steps, read, mebibytes = {}, {}, {}
    for value in GROWTH[axis]:
        s = changed(s, **{axis: value})
        backbone = models.build_backbone(s)
        if s.depth is None:
            value = s.depth = len(attachment_points(backbone))
        ours = models.augmented(backbone, s, kernel_size=1)
        alone = models.attention_alone({"ours": ours})
        inputs, labels = models.random_batch(alone["ours"], s.batch_size)
        steps[value] = timing.prediction(alone["ours"], inputs)
        read[value] = map_entries(ours)
        if s.memory:
            models.compile_model(alone["ours"], s.xla)
            found = measure_memory(alone, inputs, labels, s.runs)
            mebibytes[value] = found["median"]["ours"]
    time = timing.measure_times(axis, steps, s.runs)
    return [
        {
            "setting": axis,
            "value": value,
            "map entries": read[value],
            "ms": time["median"][value] / s.batch_size,
            "wall ms": time["wall"]["median"][value] / s.batch_size,
            "MiB": mebibytes.get(value),
        }
        for value in steps
    ]


def measure_gradients(s, kernel_size):
    """Memory of training steps, and what gradients have in it: rows."""
    keras.backend.clear_session()
    backbone = models.build_backbone(s)
    built = {"backbone": backbone}
    for scale in (0, 1):
        built[f"gradient_scale={scale}"] = models.augmented(
            backbone, s, kernel_size, gradient_scale=scale
        )
    for model in built.values():
        models.compile_model(model, s.xla)
    images, labels = models.random_batch(backbone, s.batch_size)
    found = measure_memory(built, images, labels, s.runs)
    rows = []
    for name, model in built.items():
        added = model.count_params() - backbone.count_params()
        read = map_entries(model) if name == "gradient_scale=1" else 0
        rows.append(
            {
                "backend": keras.backend.backend() + ", XLA" * s.xla,
                "XLA_FLAGS": os.environ.get("XLA_FLAGS"),
                "preset": s.preset,
                "kernel": f"{kernel_size}×{kernel_size}",
                "model": name,
                "MiB": found["median"][name],
                **ratio(found, f"{name} / backbone", "times the backbone"),
                # In float32.
                "gradients of new parameters, MiB": 4 * added / 2**20,
                "gradients of maps, MiB": 4 * s.batch_size * read / 2**20,
            }
        )
    return rows


def measure_explain(s, number):
    """How long `explain` takes beside `predict`: a row."""
    keras.backend.clear_session()
    model = models.augmented(models.build_backbone(s), s, kernel_size=1)
    images = keras.ops.convert_to_numpy(models.random_batch(model, number)[0])
    steps = {
        "predict": lambda: model.predict(images, verbose=0),
        "explain": lambda: keras_warn.explain(model, images),
    }
    title = f"explain, {number} images"
    time = timing.measure_times(title, steps, s.runs)
    row = {"network": s.backbone, "images": number, **time["median"]}
    return [{**row, **ratio(time, "explain / predict")}]


def map_entries(model):
    """Numbers in the feature maps of an image that modules read."""
    modules = attention_of(model).modules
    return sum(math.prod(module.source.shape[1:]) for module in modules)


def ratio(measure, pair, name=None):
    """The median of a ratio and its quartiles, as columns of a row."""
    prefix = f"{name}, " if name else ""
    names = name or pair, f"{prefix}lower quartile", f"{prefix}upper quartile"
    return dict(zip(names, timing.quartiles(measure, pair), strict=True))


def network(s, run):
    """Writes all measures of one network."""
    result = {
        "settings": vars(s),
        "environment": environment.environment(),
        "counter": COUNTERS[keras.backend.backend()],
        "kernel_sizes": {
            k: run.part(f"kernel_{k}", measure, s, k) for k in s.kernel_size
        },
    }
    plots = {"overhead": report.plot(result)}
    command.finish(run, result, "overhead", report.markdown(result), plots)


def survey(s, run):
    """Writes a table of one kind, and its figure."""
    measure, keys, figure = {
        "matrix": (measure_matrix, MATRIX, report.matrix_figure),
        "growth": (measure_growth, zip(GROWTH), report.growth_figure),
        "explain": (measure_explain, zip((1, 8, 32)), None),
        "memory": (measure_gradients, zip(s.kernel_size), None),
    }[s.what]
    parts = [
        run.part("_".join(map(str, (s.what, *key))), measure, s, *key)
        for key in keys
    ]
    rows = pd.DataFrame(itertools.chain(*parts))
    run.write(f"{s.what}.csv", rows.to_csv(index=False, float_format="%.4g"))
    if figure is not None:
        with run.replacing(f"{s.what}.png") as path:
            figure(rows).savefig(path)
    run.finish({"settings": vars(s), "environment": environment.environment()})
    print(f"\n{rows.to_markdown(index=False, floatfmt='.3f')}")
    print(f"{environment.machine_and_versions()}. Everything is in {run.path}.")


def make_parser():
    parser = command.make_parser(__doc__, "runs/overhead")
    add = parser.add_argument
    add(
        "--backbone",
        choices=backbones.applications(),
        default="ResNet50V2",
        metavar="NAME",
        help="a network of keras.applications",
    )
    add(
        "what",
        nargs="?",
        choices=("network", "matrix", "growth", "explain", "memory"),
        default="network",
        help="one network in all respects (the default); several networks, "
        "image sizes,\nwidths and kernels; growth with each setting; `explain` "
        "beside `predict`;\nwhat gradients have in the memory of a step",
    )
    add("--preset", choices=PRESETS, default="paper", help="of `augment`")
    add("--depth", type=count(1), default=4, help="attention modules")
    add("--width", type=count(1), default=4, help="heads of a module")
    add("--classes", type=count(2), default=200)
    add("--kernel-size", type=count(1), nargs="+", default=[1, 3])
    add("--projection", type=count(1), help="channels, none by default")
    add("--batch-size", type=count(1), default=8)
    add("--image-size", type=count(1), default=224)
    add("--runs", type=count(1), default=20, help="rounds of timing")
    add("--skip-memory", dest="memory", action="store_false")
    add("--xla", action="store_true", help="steps of training compiled by XLA")
    return parser


def main(argv=None):
    parser = make_parser()
    s = parser.parse_args(argv)
    if s.what != "explain" and s.memory and (why := why_not_counted()):
        parser.error(why)
    run = command.opened(parser, s)
    (network if s.what == "network" else survey)(s, run)


if __name__ == "__main__":
    main()
