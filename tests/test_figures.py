"""Figures are made without a window and say what they should."""

import functools
import itertools
import re

import matplotlib
import numpy as np
import pytest
from support import no_places
from support import two_maps

import keras_warn
from keras_warn.explanation.overlays import attribution_overlay
from keras_warn.explanation.overlays import displayable
from keras_warn.explanation.overlays import mask_overlay
from keras_warn.reporting import figures

pytestmark = pytest.mark.usefixtures("eager")


model = functools.cache(two_maps)  # no test changes it


def explained(images):
    return keras_warn.explain(model(), images)


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
    """Dollars in names are no formulas."""
    names = [f"${letter}^$" for letter in "abcdefg"]
    titles = ["$x_1$", r"\$5", "z"]
    batch = images()
    explanation = explained(batch)
    attribution, masks = explanation.attribution, explanation.masks
    each = np.arange(3)
    explanation.gates[:] = [0.5, 0.125, 0.375]
    explanation.backbone[:] = 0
    explanation.backbone[each, explanation.targets] = 100.0
    explanation.backbone[each, explanation.contrast] = 50.0
    explanation.backbone_probabilities[:] = 0.9 * np.eye(7)[2]
    explanation.intermediates["module_2_prediction"][:] = np.eye(7)[6]
    figure = figures.explanation_figure(batch, explanation, titles, names)
    found = texts(figure)
    displayed = displayable(batch)
    columns = [
        displayed,
        attribution_overlay(displayed, attribution),
        mask_overlay(displayed, masks[:, 0]),
        mask_overlay(displayed, masks[:, 1]),
    ]
    cells = np.reshape(figure.axes, (3, 5))
    for column, wanted in enumerate(columns):
        for axes, image in zip(cells[:, column], wanted, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), image)
    for text in (
        "$x_1$",
        "gate 0.38\nsays $g^$",
        "module 1 (12×10)",
        "module 2 (6×5)",
        "difference in log-probability",
    ):
        assert text in found
    assert any(text.startswith("backbone: $c^$ 0.90\n") for text in found)
    target, other = explanation.targets[0], explanation.contrast[0]
    assert f"for {names[target]}\nagainst {names[other]}" in found
    backbone, *_, total = figure.axes[4].patches
    assert backbone.get_width() == 50
    assert total.get_width() == pytest.approx(
        explanation.contributions[0].sum()
    )
    # Letters as text, not as outlines.
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(tmp_path / "table.svg")
    drawn = (tmp_path / "table.svg").read_text()
    # Letters and bars are not pixels.
    assert drawn.count("<image") == 3 * 4
    for text in (*titles, "says $g^$", "backbone: $c^$"):
        assert f">{text}" in drawn


def test_tokens_without_a_grid_have_no_images_nor_linear_ones_gates():
    batch = images()
    with pytest.warns(UserWarning, match="behind the layer 'tokens"):
        explanation = keras_warn.explain(no_places(), batch)
    assert explanation.attribution is None
    figure = figures.explanation_figure(batch, explanation)
    assert sum(len(axes.images) for axes in figure.axes) == 3
    found = texts(figure)
    assert "module 1 (160)" in found
    assert not any("gate" in text for text in found)


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


def test_letters_of_other_fonts(recwarn):
    batch = images(1)
    explanation = explained(batch)
    recwarn.clear()
    # In a font that matplotlib brings, not its default.
    names = ["a\u2316"] * 7
    figure = figures.explanation_figure(batch, explanation, names=names)
    figure.draw_without_rendering()
    assert len(figure.axes[0].xaxis.label.get_fontfamily()) == 2
    assert not recwarn.list
    names = ["a\U000f0001"] * 7
    with pytest.warns(UserWarning, match=r"No installed .*\(U\+F0001\)"):
        figures.explanation_figure(batch, explanation, names=names)


def test_images_of_others():
    with pytest.raises(ValueError, match=r"3 of \(24, 20\).* \(2, 24, 20, 1\)"):
        figures.explanation_figure(images(2), explained(images()))


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
