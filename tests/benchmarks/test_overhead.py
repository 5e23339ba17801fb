"""The benchmark measures what it says: counts by hand, equal formulations."""

import json
import pathlib

import keras
import overhead
import pandas as pd
import pytest
from keras import layers
from keras import ops
from measuring import memory
from measuring import models
from measuring import timing
from measuring.direct_formulation import difference
from measuring.overhead_report import matrix_table

from keras_warn.operations import PRODUCTS
from keras_warn.operations import operations

pytestmark = pytest.mark.usefixtures("eager")

# Every size another prime, so that a swapped one cannot pass.
SIZE, WIDTH, CLASSES, BATCH = 22, 3, 7, 2
# The last maps of the tiny network: positions and channels.
MAPS = ((11 * 11, 5), (5 * 5, 13))


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
def given(monkeypatch):
    """Arguments of the command line, for small models."""
    monkeypatch.setattr(keras.applications, "Tiny", tiny, raising=False)
    monkeypatch.setattr(timing, "WARM_UP_STEPS", 1)
    return (
        f"--backbone Tiny --image-size {SIZE} --depth 2 --width {WIDTH} "
        f"--classes {CLASSES} --batch-size {BATCH} --runs 2"
    ).split()


@pytest.fixture
def build(given):
    def build(kernel_size, *arguments):
        settings = overhead.make_parser().parse_args([*given, *arguments])
        return models.build(settings, kernel_size)

    return build


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize(
    "arguments", [[], ["--projection", "11"], ["--preset", "side_by_side"]]
)
def test_direct_formulation_computes_the_same(build, kernel_size, arguments):
    built = build(kernel_size, *arguments)
    ours, direct = built["ours"], built["direct"]
    images, _ = models.random_batch(ours, BATCH)
    assert difference(ours, direct, images) < 1e-5
    assert ours.count_params() == direct.count_params()


def test_difference_sees_another_kernel(build):
    _, ours, direct = build(3).values()
    kernel = direct.get_layer("direct_module_2_gate_map").kernel
    kernel.assign(ops.flip(kernel, axis=0))
    images, _ = models.random_batch(ours, BATCH)
    assert difference(ours, direct, images) > 1e-4


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
def test_operations_by_hand(build, kernel_size, name):
    counts = operations(models.attention_alone(build(kernel_size))[name])
    expected = products_by_hand(kernel_size, name == "direct")
    if keras.backend.backend() == "tensorflow":
        assert sum(counts.get(k, 0) for k in PRODUCTS) == expected
    elif keras.backend.backend() == "torch":
        assert sum(counts.values()) == expected
    elif kernel_size == 1 or name == "ours":
        # All arithmetic. No product is missing, and of the rest at most a
        # few dozen are done for each entry of a map of the heads.
        entries = sum(positions for positions, _ in MAPS) * WIDTH
        rest = 8 * entries * (kernel_size**2 + (name == "direct") * CLASSES)
        assert expected <= sum(counts.values()) <= expected + rest


def test_ratios_are_taken_within_rounds():
    # The third round was ten times slower for everyone, and direct missed it.
    rounds = [
        {"backbone": 1, "ours": 2, "direct": 8},
        {"backbone": 2, "ours": 4, "direct": 16},
        {"backbone": 10, "ours": 30},
    ]
    found = timing.summary("time", "ms", rounds)
    assert found["median"] == {"backbone": 2, "ours": 4, "direct": 12}
    assert found["ratio"]["ours / backbone"] == 2
    assert found["ratio_quartiles"]["ours / backbone"] == [2, 2.5]
    assert found["ratio"]["direct / ours"] == 4
    assert found["samples"]["direct"] == [8, 16]


def test_models_take_turns():
    calls = []
    steps = {
        name: lambda name=name: calls.append(name[0])
        for name in ("backbone", "ours", "direct")
    }
    timing.take_turns("", steps, 6)
    turns = "bod" * timing.WARM_UP_STEPS + "bod bo bo bo bod bo"
    assert "".join(calls) == turns.replace(" ", "")


@pytest.fixture
def run(given, monkeypatch, tmp_path):
    """Runs the command, whose models need 40, 44, ... MiB.

    The allocator's own memory drowns that of a tiny model.
    """

    def measure_memory(built, *arguments):
        mebibytes = {name: 40 + 4 * i for i, name in enumerate(built)}
        return timing.summary("memory", "MiB", [mebibytes])

    monkeypatch.setattr(overhead, "measure_memory", measure_memory)
    monkeypatch.setattr(overhead, "why_not_counted", lambda: None)
    monkeypatch.setattr(overhead, "MATRIX", (("Tiny", SIZE),))

    def run(what, *arguments):
        overhead.main([what, *given, *arguments, "--out", str(tmp_path)])
        return tmp_path

    return run


def test_one_network(run, capsys):
    out = run("network", "--kernel-size", "3")
    assert (out / "overhead.md").read_text() in capsys.readouterr().out
    assert (out / "overhead.png").stat().st_size > 10_000
    result = json.loads((out / "results.json").read_text())
    (measures,) = result["kernel_sizes"].values()
    assert measures["memory"]["ratio"]["ours / backbone"] == 1.1
    for name in ("inference", "training", "modules_inference_10"):
        samples = measures[name]["samples"]
        assert len(samples["ours"]) == 2 and min(samples["ours"]) > 0
        assert len(samples["direct"]) == 1


def test_matrix(run):
    found = pd.read_csv(run("matrix", "--runs", "1") / "matrix.csv")
    # Masks, output heads and gates of 4 or 16 heads, and global gates.
    weights = [
        sum(heads * size**2 * c * (1 + CLASSES + 1) for _, c in MAPS)
        + MAPS[-1][1] * (len(MAPS) + 1)
        for heads in (4, 16)
        for size in (1, 3)
    ]
    own = tiny(True, None, (SIZE, SIZE, 3), CLASSES).count_params()
    expected = [1 + added / own for added in weights]
    assert found["parameters"].tolist() == pytest.approx(expected, 1e-3)
    assert found["memory"].tolist() == [1.1, 1.2, 1.3, 1.4]
    for time in ("inference", "training"):
        assert found[[time, f"{time}, wall"]].gt(0).all(axis=None)


def test_memory_of_gradients(run):
    found = pd.read_csv(run("memory") / "memory.csv")
    maps = sum(BATCH * positions * c for positions, c in MAPS) * 4 / 2**20
    column = found["gradients of maps, MiB"].tolist()
    assert column == pytest.approx([0, 0, maps] * 2, 1e-3)


def test_page_has_the_table_of_its_runs():
    docs = pathlib.Path(overhead.__file__).parents[1] / "docs"
    rows = pd.read_csv(docs / "results" / "overhead_matrix.csv")
    assert matrix_table(rows) in (docs / "costs.md").read_text("utf-8")


def test_memory_of_a_step(build):
    if why := memory.why_not_counted():
        pytest.skip(why)
    built = build(1)
    del built["direct"]
    for model in built.values():
        models.compile_model(model)
    # The first convolution's map alone is 12 MB.
    images, labels = models.random_batch(built["ours"], 5_000)
    found = memory.measure_memory(built, images, labels, 2)["median"]
    assert 11.5 < found["backbone"] < found["ours"] < 10 * found["backbone"]
