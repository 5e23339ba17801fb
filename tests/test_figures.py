"""Figures are made without a window and say what they should."""

import functools
import itertools
import re

import keras
import matplotlib
import numpy as np
import pytest
from support import two_maps

import keras_warn
from keras_warn.explanation.overlays import attribution_overlay
from keras_warn.explanation.overlays import displayable
from keras_warn.explanation.overlays import mask_overlay
from keras_warn.reporting import figures

pytestmark = pytest.mark.usefixtures("eager")


# No test changes them.
model = functools.cache(two_maps)


def explained(images, gates="softmax"):
    return keras_warn.explain(model(gates=gates), images)


def texts(figure):
    return [
        text
        for axes in figure.axes
        for text in (axes.get_title(), axes.get_xlabel(), axes.get_ylabel())
        if text
    ]


def images(count=3, channels=1):
    return np.random.default_rng(0).random((count, 24, 20, channels), "float32")


def test_table_of_explanations(tmp_path):
    batch = images()
    explanation = explained(batch)
    each = np.arange(3)
    explanation.gates[:] = [0.5, 0.125, 0.375]
    explanation.backbone[:] = 0
    explanation.backbone[each, explanation.targets] = 100.0
    explanation.backbone[each, explanation.contrast] = 50.0
    explanation.backbone_probabilities[:] = 0.9 * np.eye(7)[2]
    explanation.intermediates["module_2_prediction"][:] = np.eye(7)[6]
    figure = figures.explanation_figure(
        batch, explanation, ["x", "y", "z"], names=list("abcdefg")
    )
    found = texts(figure)
    assert len(figure.axes) == 3 * 5
    for text in (
        "x",
        "gate 0.38\nsays g",
        "module 1 (12×10)",
        "module 2 (6×5)",
        "difference in log-probability",
    ):
        assert text in found
    assert any(text.startswith("backbone: c 0.90\n") for text in found)
    target, other = explanation.targets[0], explanation.contrast[0]
    assert f"for {'abcdefg'[target]}\nagainst {'abcdefg'[other]}" in found
    backbone, *_, total = figure.axes[4].patches
    assert backbone.get_width() == 50
    assert total.get_width() == pytest.approx(
        explanation.contributions[0].sum()
    )
    figure.savefig(tmp_path / "table.svg")
    # Letters and bars are not pixels.
    assert (tmp_path / "table.svg").read_text().count("<image") == 3 * 4


def test_without_gates_there_are_no_gates_to_show():
    batch = images()
    explanation = explained(batch, gates="linear")
    found = texts(figures.explanation_figure(batch, explanation))
    assert not any("gate" in text for text in found)


def test_images_are_those_of_overlays():
    batch = images(channels=1)
    explanation = explained(batch)
    figure = figures.explanation_figure(batch, explanation)
    displayed = displayable(batch)
    columns = [
        displayed,
        attribution_overlay(displayed, explanation.attribution),
        mask_overlay(displayed, explanation.masks[:, 0]),
        mask_overlay(displayed, explanation.masks[:, 1]),
    ]
    for (row, column), axes in np.ndenumerate(np.reshape(figure.axes, (3, 5))):
        if column < len(columns):
            shown = axes.images[0].get_array()
            np.testing.assert_array_equal(shown, columns[column][row])


def test_tokens_without_a_grid_have_no_images():
    x = inputs = keras.Input((24, 20, 1))
    x = keras.layers.Conv2D(4, 4, 4)(x)
    x = keras.layers.Reshape((30, 4))(x)
    x = keras.layers.Dense(4, activation="relu")(x[:, :20])
    tokens = keras_warn.augment(
        keras.Model(inputs, x), classes=7, depth=1, width=3
    )
    batch = images()
    with pytest.warns(UserWarning, match="behind the layer 'get_item"):
        explanation = keras_warn.explain(tokens, batch)
    assert explanation.attribution is None
    figure = figures.explanation_figure(batch, explanation)
    assert sum(len(axes.images) for axes in figure.axes) == 3
    assert "module 1 (20)" in texts(figure)


def test_long_names_are_wrapped_and_stay_in_their_place():
    batch = images()
    names = np.array([f"Yellow_headed {'a' * 40} {i}" for i in range(7)])
    titles = ["IMG_20240508_" * 6 + ".jpeg", "x" * 60, "short"]
    explanation = explained(batch)
    figure = figures.explanation_figure(batch, explanation, titles, names)
    figure.draw_without_rendering()
    height = figure.bbox.height
    names = [name.replace(" ", "") for name in names]
    for row, title in enumerate(titles):
        cells = figure.axes[5 * row : 5 * row + 5]
        below = [axes.xaxis.label for axes in cells[:4]]
        said = names[explanation.targets[row]]
        assert said in re.sub(r"\s", "", below[1].get_text())
        boxes = [label.get_window_extent() for label in below]
        for left, right in itertools.pairwise(boxes):
            assert left.x1 < right.x0
        beside = cells[0].yaxis.label
        assert beside.get_text().replace("\n", "") == title
        box = beside.get_window_extent()
        assert 0 <= box.x0 and box.x1 < cells[0].bbox.x0
        assert boxes[0].y1 <= box.y0 + 2 and box.y1 <= height
        assert boxes[0].y0 >= 0


@pytest.mark.parametrize(
    "letter, message",
    [
        ("\u2316", None),  # in a font that matplotlib brings, not its default
        ("\U000f0001", r"No installed font has .*\(U\+F0001\)"),
    ],
)
def test_letters_of_other_fonts(letter, message, recwarn):
    batch = images(1)
    names = [f"a{letter}"] * 7
    explanation = explained(batch)
    recwarn.clear()
    figure = figures.explanation_figure(batch, explanation, ["x"], names)
    (label, *_) = [axes.xaxis.label for axes in figure.axes]
    if message is None:
        assert len(label.get_fontfamily()) == 2
        figure.draw_without_rendering()
        assert not recwarn.list
    else:
        assert re.search(message, str(recwarn.pop(UserWarning).message))


def test_dollars_in_names_are_no_formulas(tmp_path):
    batch = images()
    titles = ["$a_1$", "$x^$", r"\$5"]
    figure = figures.explanation_figure(
        batch, explained(batch), titles, names=["$x^$"] * 7
    )
    # Letters as text, not as outlines.
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(tmp_path / "table.svg")
    drawn = (tmp_path / "table.svg").read_text()
    for text in (*titles, "for $x^$", "says $x^$", "backbone: $x^$"):
        assert f">{text}" in drawn


@pytest.mark.parametrize(
    "batch, message",
    [
        (images(2), r"3 of \(24, 20\).* \(2, 24, 20, 1\)"),
        (images(channels=2), r"\(3, 24, 20, 2\)"),
        (images()[..., 0], r"\(3, 24, 20\)"),
    ],
)
def test_errors_of_explanations(batch, message):
    explanation = explained(images())
    with pytest.raises(ValueError, match=message):
        figures.explanation_figure(batch, explanation)


def test_curves(tmp_path):
    curves = {
        "one seed": [[0.9, 0.5, 0.3]],
        "two": np.array([[0.8, 0.6, 0.2], [0.6, 0.4, 0.2]]),
    }
    figure = figures.curves_figure(
        [4, 8, 16], curves, "distractors", "accuracy", log2=True
    )
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["one seed", "two"]
    means = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    np.testing.assert_allclose(means["two"], [0.7, 0.5, 0.2])
    # A band of one deviation, where there is one.
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].max() == pytest.approx(0.7 + np.sqrt(0.02))
    assert [t.get_text() for t in axes.get_xticklabels()] == ["4", "8", "16"]
    figure.savefig(tmp_path / "curves.png")


def test_no_window_is_left_open():
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    figures.curves_figure([1], {"a": [[1]]}, "x", "y")
    assert pyplot.get_fignums() == before
