"""What is attached where, and its cost, by hand."""

import dataclasses
import functools
import json

import keras
import pytest
from keras import layers
from support import without_weights

import keras_warn
from keras_warn._summary import _preset
from keras_warn._summary import summary
from keras_warn.attention import attention_of
from keras_warn.augmenting import PRESETS
from keras_warn.operations import PRODUCTS
from keras_warn.operations import operations

# Every size another prime, so that a swapped one cannot pass. The maps are of
# 11x13 positions and 5 channels, and of 5x6 and 17.
SIZE, MAPS, CLASSES, WIDTH = (22, 26), ((11 * 13, 5), (5 * 6, 17)), 7, 3


def network(size=SIZE):
    x = inputs = keras.Input((*size, 3))
    x = layers.Conv2D(5, 2, 2, activation="relu", name="fine")(x)
    x = layers.Conv2D(17, 2, 2, activation="relu", name="coarse")(x)
    return keras.Model(inputs, x, name="tiny")


def build(size=SIZE, backbone=None, **arguments):
    # Without a penalty, whose products are counted, too.
    own = {"preset": "paper", "diversity_weight": 0, "depth": 2, "width": WIDTH}
    backbone = backbone or network(size)
    return keras_warn.augment(backbone, CLASSES, **{**own, **arguments})


@functools.cache
def summarised(size=SIZE, **arguments):
    return summary(build(size, **arguments))


def products(positions, channels, offsets):
    """Multiplications and additions of a module's products of matrices."""
    mask_scores = 2 * positions * channels * WIDTH * offsets
    attended = 2 * WIDTH * positions * channels * offsets
    heads = 2 * WIDTH * offsets * channels * CLASSES
    gated = 2 * WIDTH * CLASSES
    return mask_scores + attended + heads + gated


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_modules_by_hand(kernel_size):
    offsets = kernel_size**2
    found = summarised(kernel_size=kernel_size)
    names = ["module_1", "module_2"]
    assert [module.name for module in found.modules] == names
    assert [module.reads for module in found.modules] == ["fine", "coarse"]
    shapes = [(11, 13, 5), (5, 6, 17)]
    assert [module.shape for module in found.modules] == shapes
    for module, (positions, channels) in zip(found.modules, MAPS, strict=True):
        assert (module.num_heads, module.kernel_size) == (WIDTH, kernel_size)
        assert (module.projection, module.mask_activation) == (None, "softmax")
        # Masks, hypotheses of each head, head gates.
        weights = offsets * channels * (WIDTH + WIDTH * CLASSES + WIDTH)
        assert module.cost.parameters == weights
        expected = products(positions, channels, offsets)
        counted = module.cost.operations
        if keras.backend.backend() == "torch":
            # The head gates are no product of matrices.
            assert counted == expected
        else:
            # The softmax, shifts and gates come on top: few operations for
            # each entry of a mask and of the attended features.
            entries = WIDTH * (positions + channels) * offsets
            assert expected <= counted <= expected + 12 * entries
    assert found.gating.parameters == 17 * 3


def test_products_of_the_whole_by_hand():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow tells products from the rest")
    model = build(kernel_size=3)
    counts = operations(model)
    convolutions = 2 * (11 * 13 * 4 * 3 * 5 + 5 * 6 * 4 * 5 * 17)
    expected = convolutions + 2 * 17 * CLASSES + 2 * 17 * 3
    expected += sum(products(*shape, 9) for shape in MAPS)
    assert sum(counts.get(name, 0) for name in PRODUCTS) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 3, "projection": 2, "gradient_scale": 0.5},
        {"kernel_size": 3, "rank": 2},
        {"gates": "average", "mask_activation": "sigmoid"},
        {"gates": "linear", "combination": "probabilities"},
        {"gates": "sigmoid", "gate_batch_norm": True, "diversity_weight": 0.1},
    ],
    ids=str,
)
def test_parts_add_up_and_say_what_was_asked_for(arguments, tmp_path):
    model = build(**arguments)
    found = summary(model)
    alone = keras_warn.inspect(model).output["backbone_prediction"]
    alone = keras.Model(model.input, alone)
    assert found.backbone.parameters == alone.count_params()
    assert found.backbone.operations == sum(operations(alone).values())
    assert found.total.parameters == model.count_params()
    parts = [found.gating, *(module.cost for module in found.modules)]
    for kind in ("parameters", "operations"):
        each = [getattr(part, kind) for part in parts]
        assert sum(each) == getattr(found.attention, kind) and min(each) >= 0
        whole = getattr(found.backbone, kind) + sum(each)
        assert whole == getattr(found.total, kind)

    for name in arguments.keys() & {"gates", "combination"}:
        assert getattr(found, name) == arguments[name]
    for name in arguments.keys() & {"projection", "rank", "mask_activation"}:
        assert {getattr(m, name) for m in found.modules} == {arguments[name]}
    if "projection" in arguments:  # the same of a model from disk
        model.save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras")
        assert summary(model) == found


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({}, "side_by_side"),
        # Sizes are their user's.
        ({"width": 16, "rank": 2, "projection": 2}, "side_by_side"),
        ({"preset": "paper"}, "paper"),
        ({"preset": "reference"}, "reference"),
        # However it is asked for.
        ({"preset": "paper", **PRESETS["reference"]}, "reference"),
        *[
            (given, "custom")
            for given in (
                {"kernel_size": 3},
                {"kernel_initializer": "zeros"},
                {"mask_activation": "sigmoid"},
                {"gates": "linear"},
                {"preset": "paper", "gate_batch_norm": True},
                {"preset": "paper", "gate_score_activation": None},
                {"preset": "paper", "combination": "probabilities"},
                {"agreement_weight": 0.5},
                {"gradient_scale": 0.5},
                {"diversity_weight": 0.1},
                {"preset": "reference", "diversity_pool": 1},
            )
        ],
    ],
    ids=str,
)
def test_the_preset_is_read_off_the_layers(arguments, expected):
    with without_weights():
        model = keras_warn.augment(network(), classes=CLASSES, **arguments)
        for one in (model, keras.models.clone_model(model)):
            assert _preset(attention_of(one)) == expected


@pytest.mark.parametrize(
    "given, size", [(None, (224, 224)), ((22, 26, 3), (22, 26))]
)
def test_a_model_that_takes_any_size(given, size):
    found = summary(build((None, None)), given)
    assert found.inputs == [(*size, 3)]
    assert found.nominal == (given is None)
    assert ("a size chosen here" in str(found)) == (given is None)
    fixed = summarised(size)
    assert (found.total, found.modules) == (fixed.total, fixed.modules)


def test_tokens():
    x = inputs = keras.Input((22, 26, 3))
    x = layers.Conv2D(5, 2, 2)(x)
    x = layers.Reshape((-1, 5))(x)
    x = layers.Dense(17, activation="relu", name="tokens")(x)
    found = summary(build(backbone=keras.Model(inputs, x), depth=1))
    (module,) = found.modules
    assert (module.reads, module.shape) == ("tokens", (11 * 13, 17))
    assert "143x17" in str(found)


def test_a_word_where_attention_multiplies_the_cost():
    found = summarised(kernel_size=3)
    parameters = found.total.parameters / found.backbone.parameters
    assert f"multiplies the parameters by {parameters:.1f} and" in str(found)
    found = summary(build(depth=1, width=1, projection=1))
    assert "multiplies" not in str(found)


def test_json_and_text():
    found = summarised()
    assert found.classes == CLASSES
    restored = json.loads(json.dumps(dataclasses.asdict(found)))
    cost = dataclasses.asdict(found.modules[1].cost)
    assert restored["modules"][1]["cost"] == cost
    text = str(found)
    for cost in (found.backbone, found.total, found.modules[0].cost):
        assert f"{cost.parameters:,}" in text and f"{cost.operations:,}" in text
    assert "preset custom, softmax gates over log-probabilities" in text
    ratio = found.total.operations / found.backbone.operations
    rows = text.split("\n\n")[1].splitlines()
    assert rows[-1].split()[-1] == f"{ratio:.3f}"
    assert "22x26x3" in text and "fine" in text and "11x13x5" in text
    # Aligned: numbers end in one column.
    assert len({len(row) for row in rows}) == 1


@pytest.mark.parametrize(
    "given, message",
    [
        ((22, 26), r"input_shape=\(22, 26\)"),
        ((22, 25, 3), r"input_shape=\(22, 25, 3\), a model with \(22, 26, 3\)"),
        ((None, 26, 3), "input_shape=.None"),
    ],
)
def test_shapes_that_do_not_fit(given, message):
    with pytest.raises(ValueError, match=message):
        summary(build(), given)
