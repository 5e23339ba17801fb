"""The benchmark measures what it says: counts by hand, equal formulations."""

import importlib.util
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from support import to_numpy

import keras_warn

PATH = Path(__file__).parents[2] / "benchmarks" / "overhead.py"
# Every size another prime, so that a swapped one cannot pass.
SIZE, WIDTH, CLASSES, BATCH = 22, 3, 7, 2
# The last maps of the tiny network: positions and channels.
MAPS = ((11 * 11, 5), (5 * 5, 13))


@pytest.fixture(scope="module")
def overhead():
    spec = importlib.util.spec_from_file_location("overhead", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tiny(include_top, weights, input_shape, classes):
    """A network in the manner of `keras.applications`."""
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(5, 2, strides=2, activation="relu")(inputs)
    x = layers.Conv2D(13, 2, strides=2, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(
        inputs, layers.Dense(classes, activation="softmax")(x), name="tiny"
    )


@pytest.fixture
def settings(overhead, monkeypatch, tmp_path):
    known = {**overhead.constructors(), "Tiny": tiny}
    monkeypatch.setattr(overhead, "constructors", lambda: known)

    def parse(*arguments):
        defaults = "--backbone Tiny --depth 2 --batch-size 2 --runs 2"
        sizes = f"--image-size {SIZE} --width {WIDTH} --classes {CLASSES}"
        out = ["--out", str(tmp_path / "out")]
        given = [*defaults.split(), *sizes.split(), *out, *arguments]
        return overhead.parser().parse_args(given), given

    return parse


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("projection", [None, 11])
def test_direct_formulation_computes_the_same(
    overhead, settings, kernel_size, projection
):
    arguments = [] if projection is None else ["--projection", str(projection)]
    models = overhead.build(settings(*arguments)[0], kernel_size, CLASSES, True)
    ours, direct = models["ours"], models["direct"]
    images, _ = overhead.random_batch(ours, BATCH)
    assert overhead.difference(ours, direct, images) < 1e-5
    assert ours.count_params() == direct.count_params()


def test_difference_sees_another_kernel(overhead, settings):
    models = overhead.build(settings()[0], 3, CLASSES, True)
    kernel = models["direct"].get_layer("direct_2_gate_map").kernel
    kernel.assign(ops.flip(kernel, axis=0))
    images, _ = overhead.random_batch(models["ours"], BATCH)
    assert overhead.difference(*list(models.values())[1:], images) > 1e-4


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_attention_alone_is_that_of_the_model(overhead, settings, kernel_size):
    models = overhead.build(settings()[0], kernel_size, CLASSES, True)
    alone = overhead.attention_alone(models)
    inspected = keras.Model(
        models["ours"].inputs, overhead.attention_inputs(models["ours"])
    )
    images, _ = overhead.random_batch(models["ours"], BATCH)
    inputs = inspected(images)
    for name in ("ours", "direct"):
        np.testing.assert_allclose(
            to_numpy(alone[name](inputs)),
            to_numpy(models[name](images)),
            rtol=1e-5,
        )


def products_by_hand(kernel_size, direct):
    """Two for each multiplication of the two modules on `MAPS`."""
    offsets, total = kernel_size**2, 0
    for positions, channels in MAPS:
        # On every position: masks and attended features, or masks, label map
        # and gate map.
        per_head = 2 + CLASSES if direct else 2
        total += 2 * positions * channels * offsets * WIDTH * per_head
        if not direct:
            total += 2 * WIDTH * offsets * channels * CLASSES
        # The sum of the hypotheses under the gates.
        total += 2 * WIDTH * CLASSES
    # The global gates, from the pooled features.
    return total + 2 * MAPS[-1][1] * (len(MAPS) + 1)


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("name", ["ours", "direct"])
def test_operations_by_hand(overhead, settings, kernel_size, name):
    models = overhead.build(settings()[0], kernel_size, CLASSES, True)
    alone = overhead.attention_alone(models)[name]
    counts = overhead.backend().operations(alone)
    expected = products_by_hand(kernel_size, name == "direct")
    backend = keras.backend.backend()
    if backend == "tensorflow":
        products = overhead.TensorFlow.products
        assert sum(counts.get(key, 0) for key in products) == expected
    elif backend == "torch":
        assert sum(counts.values()) == expected
    elif kernel_size == 1 or name == "ours":
        # All arithmetic. No product is missing, and of the rest at most a
        # few dozen are done for each entry of a map of the heads.
        entries = sum(positions for positions, _ in MAPS) * WIDTH
        rest = 8 * entries * (kernel_size**2 + (name == "direct") * CLASSES)
        assert expected <= sum(counts.values()) <= expected + rest


class Overlap(layers.Layer):
    """An einsum that is one to every backend."""

    def call(self, masks):
        return ops.einsum("bhwi,bhwj->bij", masks, masks)


@pytest.mark.parametrize(
    "layer, shape, expected",
    [
        (layers.Conv2D(5, 3, use_bias=False), (7, 11, 3), 2 * 45 * 27 * 5),
        (
            layers.DepthwiseConv2D(3, use_bias=False),
            (7, 11, 3),
            2 * 45 * 9 * 3,
        ),
        (layers.Dense(5, use_bias=False), (7,), 2 * 35),
        (keras_warn.OutputHeads(5), (3, 7), 2 * 3 * 7 * 5),
        (Overlap(), (5, 7, 3), 2 * 35 * 3 * 3),
    ],
)
def test_operations_of_one_layer(overhead, layer, shape, expected):
    inputs = keras.Input(shape)
    counts = overhead.backend().operations(keras.Model(inputs, layer(inputs)))
    assert sum(counts.values()) == expected


def test_ratios_are_taken_within_rounds(overhead):
    # The third round was ten times slower for everyone.
    samples = {"backbone": [1, 2, 10], "ours": [2, 4, 30]}
    values = overhead.measured(samples, "ms", paired=True)
    assert values["median"] == {"backbone": 2, "ours": 4}
    assert values["ratio"] == {"ours / backbone": 2}
    assert values["ratio_quartiles"]["ours / backbone"] == [2, 2.5]


def test_models_take_turns(overhead):
    calls = []
    steps = {name: lambda name=name: calls.append(name) for name in "ABC"}
    samples = overhead.take_turns(steps, 4, "")
    assert "".join(calls) == "ABC" * (4 + overhead.WARM_UP_STEPS)
    assert {name: len(v) for name, v in samples.items()} == dict(A=4, B=4, C=4)


def test_training_step_trains(overhead, settings):
    model = overhead.build(settings()[0], 1, CLASSES, False)["ours"]
    overhead.compile_model(model)
    step = overhead.backend().train(model, *overhead.random_batch(model, 2))
    before = [to_numpy(v) for v in model.trainable_variables]
    step()
    step()
    if keras.backend.backend() == "jax":
        return  # The state of a compiled step is not the model's.
    after = [to_numpy(v) for v in model.trainable_variables]
    assert all(np.any(a != b) for a, b in zip(before, after, strict=True))


def test_whole_run(overhead, settings, capsys, monkeypatch):
    parsed, given = settings("--class-counts", "3", "5")
    memory = {"backbone": 40.0, "ours": 44.0, "direct": 60.0}
    monkeypatch.setattr(
        overhead, "_memory_of", lambda s, k, name: memory[name] * 2**20
    )
    overhead.main(given)
    printed = capsys.readouterr().out
    result = json.loads((parsed.out / "overhead.json").read_text())
    assert (parsed.out / "overhead.md").read_text() in printed
    assert (parsed.out / "overhead.png").stat().st_size > 10_000
    assert result["machine"]["versions"]["keras"] == keras.__version__
    assert set(result["kernel_sizes"]) == {"1", "3"}
    for measures in result["kernel_sizes"].values():
        assert measures["memory"]["ratio"]["ours / backbone"] == 1.1
        for name in ("inference", "training", "modules_inference_5"):
            samples = measures[name]["samples"]["direct"]
            assert len(samples) == 2 and min(samples) > 0
        assert len(overhead.table(measures)) == 2 + 10
    with pytest.raises(SystemExit):
        overhead.main(given)
    assert "earlier result" in capsys.readouterr().err


def test_run_without_direct_and_memory(overhead, settings):
    parsed, given = settings(
        *"--skip-direct --skip-memory --kernel-size 1 --overwrite".split(),
        *"--class-counts 3".split(),
    )
    overhead.main(given)
    result = json.loads((parsed.out / "overhead.json").read_text())
    measures = result["kernel_sizes"]["1"]
    assert set(measures["inference"]["samples"]) == {"backbone", "ours"}
    assert "memory" not in measures


def test_memory_of_a_step(overhead, settings):
    if overhead.backend().memory() is None:
        pytest.skip("memory cannot be read here")
    model = overhead.build(settings()[0], 1, CLASSES, False)["backbone"]
    # The first convolution's map of so many images is 242 MB.
    assert overhead.step_memory(model, 100_000) > 200 * 2**20


@pytest.mark.slow
def test_memory_in_a_process_of_its_own(overhead, settings):
    parsed, _ = settings()
    parsed.backbone, parsed.image_size = "MobileNetV2", 32
    values = overhead.measure_memory(parsed, 1, ("backbone",))
    assert values["median"]["backbone"] >= 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--backbone", "resnet50v3"], "Did you mean: ResNet50"),
        (["--kernel-size", "2"], "must be odd"),
        (["--kernel-size", "3", "3"], "must not repeat"),
        (["--depth", "0"], "at least 1. Received: 0"),
        (["--runs", "many"], "Received: many"),
    ],
)
def test_errors_come_early(overhead, arguments, message, capsys):
    with pytest.raises(SystemExit):
        overhead.main(arguments)
    assert message in capsys.readouterr().err
