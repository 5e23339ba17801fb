"""The networks of Table 2 are counted and timed as the benchmark says."""

import json

import keras
import paper_networks
import pytest
import table2
from measuring import table2_report
from measuring import timing
from measuring.products import products
from measuring.table2_networks import IMAGES
from measuring.table2_networks import OPERATIONS_PER_SECOND
from measuring.table2_networks import PUBLISHED
from measuring.table2_networks import attended
from measuring.table2_networks import constructors
from support import without_weights

from keras_warn.operations import operations

pytestmark = pytest.mark.usefixtures("eager")

HEADS, MODULES, OFFSETS, CLASSES = 4, 3, 9, 10


def maps(width):
    """Positions and channels of the three maps that WARN attends to."""
    return ((32**2, 16 * width), (16**2, 32 * width), (8**2, 64 * width))


def attention(width):
    """Parameters to train and products of WARN's attention, by hand."""
    parameters = count = 0
    for positions, channels in maps(width):
        kernel = channels * OFFSETS
        # Masks, hypotheses and gates of the heads.
        parameters += kernel * HEADS * (1 + CLASSES + 1)
        # Masks, and attended features; the rest is of these, not of maps.
        count += positions * kernel * HEADS * 2
        count += kernel * HEADS * (CLASSES + 1) + HEADS * CLASSES
    gates = (MODULES + 1) * 64 * width
    parameters += gates + 2 * (MODULES + 1)  # and their normalisation
    return parameters, count + gates + (MODULES + 1) * CLASSES


def direct_products(width):
    """Of the label-space maps that the paper's formulation computes."""
    per_position = OFFSETS * HEADS * (1 + CLASSES + 1)
    return sum(p * c * per_position for p, c in maps(width))


@pytest.mark.parametrize("depth, width", [(10, 1), (10, 3)])
def test_attention_by_hand(depth, width):
    alone = table2.counts(paper_networks.WideResNet(depth, width))
    whole = table2.counts(attended(depth, width))
    parameters, count = attention(width)
    assert whole["parameters"] - alone["parameters"] == parameters
    assert whole["products"] - alone["products"] == count


@pytest.mark.parametrize("depth", [28, 40])
def test_warn_in_the_paper(depth):
    """Its operations are those of its formulation, give or take 0.1 billion.

    With WRN-28-10, that makes 5.37 billion, where the paper says 5.3; with
    WRN-40-10, 8.20. Ours are 5.26 and 8.10.
    """
    paper = PUBLISHED[f"WARN-{depth}-10"]
    with without_weights():
        alone = table2.counts(paper_networks.WideResNet(depth, 10))
    parameters, count = attention(10)
    assert round((alone["parameters"] + parameters) / 1e6) == paper.parameters
    direct = alone["products"] + direct_products(10)
    assert direct / 1e9 == pytest.approx(paper.products, abs=0.1)
    ours = alone["products"] + count
    assert ours / 1e9 == pytest.approx({28: 5.26, 40: 8.10}[depth], abs=0.005)


@pytest.mark.parametrize(
    "name",
    ["ResNeXt-29 (16x64d)", "DenseNet-190 (k=40)", "WRN-att2", "WARN-40-10"],
)
def test_products_are_what_backends_count(name):
    network = constructors(smoke=True)[name]()
    counted = sum(operations(network).values())
    if keras.backend.backend() == "jax":
        # Only inside the borders, which on maps of 8x8 are a sixth.
        assert 0.8 < counted / (2 * products(network)) < 1.1
    else:
        assert counted == pytest.approx(2 * products(network), rel=0.05)


def test_products_of_an_unknown_layer():
    """None is counted as nothing."""
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Conv2DTranspose(2, 3)(inputs)
    with pytest.raises(TypeError, match="Conv2DTranspose .* are not known"):
        products(keras.Model(inputs, outputs))


def test_the_papers_seconds_are_too_few():
    """Each of its networks would outrun the GPU it ran on."""
    for paper in PUBLISHED.values():
        rate = 2 * paper.products * 1e9 * IMAGES / paper.seconds
        assert rate > 2.5 * OPERATIONS_PER_SECOND
    assert "would take 29 to 911 trillion" in table2_report.doubt()


def test_whole_run(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(timing, "WARM_UP_STEPS", 1)
    arguments = f"--smoke --images 4 --pair-images 4 --out {tmp_path}".split()
    table2.main(arguments)
    text = (tmp_path / "table2.md").read_text()
    assert text in capsys.readouterr().out
    assert "forwarded 4 images, 2 batches of 2" in text
    assert "times 5000" in text and "A smoke test" in text
    assert (tmp_path / "figure5.png").stat().st_size > 10_000
    result = json.loads((tmp_path / "results.json").read_text())
    assert list(result["networks"]) == list(constructors(smoke=True))
    for name, found in result["networks"].items():
        samples = found["time"]["samples"]["ours"]
        assert len(samples) == 2 and min(samples) > 0
        assert f"| {name} " in text
    for pair in result["pairs"].values():
        assert pair["parameters"] > 1 and pair["products"] > 1
    with pytest.raises(SystemExit):
        table2.main(arguments)
    assert "finished run" in capsys.readouterr().err
