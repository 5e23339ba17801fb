"""Statistics against hand-computed cases; data in each form gives the same."""

import functools
import math

import keras
import numpy as np
import pytest
from support import two_maps

import keras_warn
from keras_warn.explanation.decomposition import outcomes
from keras_warn.reporting.comparison import Comparison
from keras_warn.reporting.comparison import Predictions
from keras_warn.reporting.comparison import compare
from keras_warn.reporting.comparison import mask_entropies
from keras_warn.reporting.comparison import predictions as predictions_of

pytestmark = pytest.mark.usefixtures("eager")


def predictions(classes, labels, confidences=0.5):
    """Predictions whose true class is the second one where it is not first."""
    classes = np.array(classes)
    confidences = np.full(len(classes), confidences)
    ranks = (classes != labels).astype(int)
    return Predictions(classes, confidences, confidences.copy(), ranks)


def comparison(labels, network, output):
    labels = np.array(labels)
    return Comparison(
        n=4,
        labels=labels,
        backbone=predictions(network, labels),
        modules=predictions(network, labels),
        output=predictions(output, labels),
        gates=None,
        head_gates=None,
        entropies=np.zeros((len(labels), 1)),
    )


def of_counts(fixed, broken, right=0, wrong=0):
    """A comparison with these outcomes, in this order."""
    network = [1] * fixed + [0] * broken + [0] * right + [1] * wrong
    output = [0] * fixed + [1] * broken + [0] * right + [1] * wrong
    return comparison([0] * len(network), network, output)


def model(**arguments):
    return two_maps(**{"preset": "paper", **arguments})


# For tests that do not change it.
unchanged_model = functools.cache(model)


def test_set(count=11):
    random = np.random.default_rng(0)
    images = random.normal(size=(count, 24, 20, 1)).astype("float32")
    return images, random.integers(0, 7, count)


test_set.__test__ = False


def assert_same(found, expected):
    np.testing.assert_array_equal(found.labels, expected.labels)
    for name in ("backbone", "modules", "output"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        np.testing.assert_array_equal(ours.label_ranks, theirs.label_ranks)
        np.testing.assert_array_equal(ours.classes, theirs.classes)
        np.testing.assert_allclose(
            ours.confidences, theirs.confidences, rtol=1e-5
        )
    np.testing.assert_allclose(found.gates, expected.gates, rtol=1e-5)


def test_counts_and_gain():
    found = of_counts(fixed=5, broken=2, right=3, wrong=1)
    difference = found.over_backbone
    assert (difference.fixed, difference.broken, len(found)) == (5, 2, 11)
    assert found.outcomes.tolist() == (
        ["fixed"] * 5 + ["broken"] * 2 + ["correct"] * 3 + ["wrong"]
    )
    assert found.backbone.accuracy() == 5 / 11
    assert found.output.accuracy() == 8 / 11
    assert difference.gain == 3 / 11


def test_exact_test_and_interval_by_hand():
    for fixed, broken, expected in (
        (0, 0, 1),
        (1, 5, 2 * (1 + 6) / 2**6),
        (8, 1, 2 * (1 + 9) / 2**9),
    ):
        found = of_counts(fixed, broken, right=2).over_backbone.p_value
        assert found == pytest.approx(expected)
    # One more fixed, one more broken, two more images.
    found = of_counts(fixed=5, broken=2, right=3).over_backbone.gain_interval
    middle, variance = 3 / 12, (6 / 12 + 3 / 12 - (3 / 12) ** 2) / 12
    half = 1.96 * variance**0.5
    assert found == pytest.approx((middle - half, middle + half), abs=1e-4)
    # Between all lost and all gained.
    assert of_counts(1, 0).over_backbone.gain_interval[1] == 1
    assert of_counts(0, 1).over_backbone.gain_interval[0] == -1


def test_statistics_of_classes():
    #                   0: 1 fixed  1: 1 broken, 1 right  3: wrong
    found = comparison([0, 1, 1, 3], [2, 1, 1, 0], [0, 0, 1, 2])
    found = found.over_backbone.per_class
    assert found["count"].tolist() == [1, 2, 0, 1]
    assert found["fixed"].tolist() == [1, 0, 0, 0]
    assert found["broken"].tolist() == [0, 1, 0, 0]
    # Class 2 has no images, and thus no accuracy.
    np.testing.assert_array_equal(found["before"], [0, 1, np.nan, 0])
    np.testing.assert_array_equal(found["after"], [1, 0.5, np.nan, 0])
    np.testing.assert_array_equal(found["gain"], [1, -0.5, np.nan, 0])


def test_pairs_that_attention_separates_and_confuses():
    labels = [0, 0, 0, 0, 1, 1, 3]
    network = [1, 1, 1, 2, 1, 2, 2]
    output = [0, 0, 1, 2, 0, 0, 0]
    separated, confused = comparison(labels, network, output).confusions
    # Three zeros were ones; two no longer are.
    assert (separated.label, separated.other) == (0, 1)
    assert (separated.backbone, separated.output) == (3, 1)
    assert (separated.fixed, separated.broken, separated.gain) == (2, 0, 2)
    # Of two ones that become zeros, one was right before.
    assert (confused.label, confused.other) == (1, 0)
    assert (confused.backbone, confused.output) == (0, 2)
    assert (confused.fixed, confused.broken, confused.gain) == (0, 1, -1)


def test_calibration_by_hand():
    """Bins hold their upper end, and what rounding takes beyond 1."""
    one = np.nextafter(1, 2)
    found = predictions([0, 0, 1, 0, 1], 0, [one, 0.7, 0.8, 0.3, 0.3])
    reliability = found.reliability(bins=5)
    assert reliability.counts.tolist() == [0, 2, 0, 2, 1]
    np.testing.assert_allclose(
        reliability.confidences, [np.nan, 0.3, np.nan, 0.75, 1]
    )
    np.testing.assert_allclose(
        reliability.accuracies, [np.nan, 0.5, np.nan, 0.5, 1]
    )
    expected = (2 * 0.2 + 2 * 0.25) / 5
    assert reliability.expected_calibration_error == pytest.approx(expected)


@pytest.mark.parametrize(
    "arguments",
    [
        {"mask_activation": "sigmoid"},
        {"combination": "probabilities", "classifier_activation": None},
        {"gates": "linear"},
    ],
    ids=str,
)
def test_of_a_model(arguments):
    images, labels = test_set()
    augmented = unchanged_model(**arguments)
    found = compare(augmented, (images, labels), batch_size=4, verbose=0)
    assert (found.n, len(found)) == (7, 11)

    explanation = keras_warn.explain(augmented, images)
    for part, expected in (
        (found.backbone, explanation.backbone_probabilities),
        (found.modules, explanation.attention_probabilities),
        (found.output, explanation.probabilities),
    ):
        np.testing.assert_array_equal(part.classes, expected.argmax(axis=1))
        np.testing.assert_allclose(
            part.confidences, expected.max(axis=1), rtol=1e-4
        )
        np.testing.assert_allclose(
            part.label_confidences, expected[range(11), labels], rtol=1e-4
        )
        assert part.accuracy() == np.mean(expected.argmax(axis=1) == labels)
        best = np.argsort(-expected, axis=1)[:, :5]
        assert part.accuracy(5) == np.mean((best == labels[:, None]).any(1))
    masks = explanation.intermediates["module_2_masks"]
    expected = mask_entropies(masks, "channels_last")
    np.testing.assert_allclose(found.entropies[:, 1], expected, rtol=1e-5)
    if arguments.get("gates") == "linear":
        assert found.gates is None and found.head_gates is None
    else:
        np.testing.assert_allclose(found.gates, explanation.gates, rtol=1e-5)
        assert [gates.shape for gates in found.head_gates] == [(11, 3)] * 2


def test_equal_probabilities_count_as_argmax_does():
    """An untrained head that says nothing predicts the first class."""
    found = predictions_of(np.full((4, 4), 0.25), np.arange(4))
    assert found.label_ranks.tolist() == [0, 1, 2, 3]
    assert found.classes.tolist() == [0] * 4


def test_spread_of_masks():
    masks = np.zeros((4, 5, 7, 1))
    masks[0, 2, 3] = 0.1  # a point
    masks[1] = 0.7  # everywhere
    masks[3, 1:2] = 1  # 7 of 35 places; image 2 stays empty
    found = mask_entropies(masks, "channels_last")
    expected = [0, 1, 1, math.log(7) / math.log(35)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(
        mask_entropies(masks.transpose(0, 3, 1, 2), "channels_first"), found
    )


class Batches(keras.utils.PyDataset):
    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(4 * index, 4 * index + 4)
        return self.images[part], self.labels[part]


FORMS = {
    "sparse columns": lambda x, y: (x, y[:, None].astype("float32")),
    "one-hot": lambda x, y: (x.tolist(), np.eye(7)[y].tolist()),
    "tensors": lambda *data: tuple(map(keras.ops.convert_to_tensor, data)),
    "PyDataset": lambda *data: Batches(*data),
    "with weights": lambda x, y: [(x[:6], y[:6], 1), (x[6:], y[6:], 1)],
}


@pytest.mark.parametrize("form", FORMS)
def test_data_in_each_form(form):
    augmented, data = unchanged_model(), test_set()
    expected = compare(augmented, data, verbose=0)
    assert_same(compare(augmented, FORMS[form](*data), verbose=0), expected)


def test_tf_data(capsys):
    tf = pytest.importorskip("tensorflow")
    augmented, (images, labels) = unchanged_model(), test_set()
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    expected = compare(augmented, (images, labels), verbose=0)
    assert capsys.readouterr().out == ""
    assert_same(compare(augmented, data), expected)
    assert "3/3" in capsys.readouterr().out
    # Of unknown length.
    data = data.filter(lambda images, labels: True)
    assert_same(compare(augmented, data, verbose=0), expected)
    with pytest.raises(ValueError, match="`data` must come to an end"):
        compare(augmented, data.repeat(), verbose=0)


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda x, y: (x, y * 0 + 7), ValueError, "from 0 to 6.*label 7"),
        (lambda x, y: (x, y * 0 - 1), ValueError, "from 0 to 6.*label -1"),
        (lambda x, y: (x, y + 0.5), ValueError, "integers from 0"),
        (lambda x, y: (x, np.ones((11, 7))), ValueError, "one-hot"),
        (lambda x, y: (x, np.eye(6)[y % 6]), ValueError, r"\(11, 6\)"),
        (lambda x, y: (x, y[:-1]), ValueError, "one label an image.*10 lab"),
        (lambda x, y: (x[:, :-1], y), ValueError, r"Received: \(11, 23, 20"),
        (lambda x, y: (x[:0], y[:0]), ValueError, r"Received: \(0, 24, 20"),
        (lambda x, y: [], ValueError, "at least one image"),
        (lambda x, y: iter([(x, y)]), TypeError, "more than once"),
        (lambda x, y: 3, TypeError, "of type int"),
    ],
)
def test_errors(change, error, message):
    with pytest.raises(error, match=message):
        compare(unchanged_model(), change(*test_set()), verbose=0)


@pytest.mark.parametrize(
    "units, activation, message",
    [(7, "sigmoid", "ends in a sigmoid"), (5, None, r"7 classes.*\(None, 5\)")],
)
def test_baselines_that_do_not_fit(units, activation, message):
    alone = keras.Sequential(
        [
            keras.Input((24, 20, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation),
        ]
    )
    with pytest.raises(ValueError, match=f"`baseline` must .*{message}"):
        compare(unchanged_model(), test_set(), verbose=0, baseline=alone)


def test_outcomes_are_image_by_image():
    with pytest.raises(ValueError, match=r"same shape. .* and \(2, 1\)"):
        outcomes([1, 2], [1, 2], [[1], [2]])
