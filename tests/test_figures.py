"""Figures are made without a window and say what they should."""

import sys

import keras
import numpy as np
import pytest
from support import to_numpy

import keras_warn
from keras_warn import figures


def model(gates="softmax"):

    x = inputs = keras.Input((24, 20, 1))
    for filters in (3, 5):
        x = keras.layers.Conv2D(filters, 3, 2, "same", activation="relu")(x)
    return keras_warn.augment(
        keras.Model(inputs, x), classes=7, depth=2, width=3, gates=gates
    )


def seen_of(images, **arguments):
    seen = keras_warn.inspect(model(**arguments))(images)
    return {name: np.array(to_numpy(value)) for name, value in seen.items()}


def texts(figure):
    return [
        text
        for axes in figure.axes
        for text in (axes.get_title(), axes.get_xlabel(), axes.get_ylabel())
        if text
    ]


def images(count=3, channels=1):
    return np.random.default_rng(0).random((count, 24, 20, channels), "float32")


def test_table_of_masks(tmp_path):
    batch = images()
    seen = seen_of(batch)
    seen["global_gates"][:] = [0.5, 0.125, 0.375]
    seen["prediction"][:] = np.eye(7)[4]
    seen["network_prediction"][:] = np.eye(7)[2]
    seen["module_2_prediction"][:] = np.eye(7)[6]
    figure = figures.masks_figure(
        batch, seen, ["x", "y", "z"], names=list("abcdefg")
    )
    found = texts(figure)
    assert len(figure.axes) == 3 * 4
    for text in (
        "x",
        "network: c\noutput: e",
        "gates: 0.50",
        "gate: 0.38\nsays: g",
        "module 1 (12×10)",
        "module 2 (6×5)",
    ):
        assert text in found
    figure.savefig(tmp_path / "masks.png")
    assert (tmp_path / "masks.png").stat().st_size > 1000


def test_without_gates_there_are_no_gates_to_show():
    batch = images()
    found = texts(figures.masks_figure(batch, seen_of(batch, gates="linear")))
    assert not any("gate" in text for text in found)


def test_the_strongest_point_is_the_brightest():
    batch = np.zeros((1, 24, 20, 1), "float32")
    seen = seen_of(batch)
    seen["module_1_masks"][:] = 0
    seen["module_1_masks"][:, 7, 3] = 1
    figure = figures.masks_figure(batch, seen)
    pixels = figure.axes[2].images[0].get_array()
    row, column = np.unravel_index(
        pixels.sum(axis=-1).argmax(), pixels.shape[:2]
    )
    assert (row // 2, column // 2) == (7, 3)
    # The image itself stays black.
    assert not figure.axes[0].images[0].get_array().any()


def test_bytes_and_colors():
    batch = images()
    seen = seen_of(batch)
    colored = np.repeat(np.rint(batch * 255).astype("uint8"), 3, axis=-1)
    shown = [
        figures.masks_figure(same, seen).axes[0].images[0].get_array()
        for same in (batch, colored)
    ]
    np.testing.assert_allclose(shown[0], shown[1], atol=1 / 255)


def test_rounding_is_no_error():
    batch = images() * 0 + np.float32(1 + 1e-6)
    figure = figures.masks_figure(batch, seen_of(batch))
    assert figure.axes[0].images[0].get_array().max() == 1


def test_channels_first():
    batch = images().transpose(0, 3, 1, 2)
    # Computed elsewhere: convolutions on CPUs want channels last.
    seen = seen_of(images())
    for i in (1, 2):
        masks = seen[f"module_{i}_masks"]
        seen[f"module_{i}_masks"] = masks.transpose(0, 3, 1, 2)
    figure = figures.masks_figure(batch, seen, data_format="channels_first")
    assert "module 1 (12×10)" in texts(figure)
    assert figure.axes[0].images[0].get_array().shape == (24, 20, 3)


@pytest.mark.parametrize(
    "batch, arguments, message",
    [
        (images(2), {}, "2 images and the outputs for 3"),
        (images(), {"titles": ["x"]}, "1 titles for 3 images"),
        (images(), {"names": list("abc")}, "3 names for 7 classes"),
        (images() * 255, {}, r"`images` .*\[0, 1\].* float32 in \[.*, 25"),
        (images() - 0.1, {}, r"`images` .*\[0, 1\].* in \[-0\.0"),
        (images() * np.nan, {}, r"`images` .*\[0, 1\].* \[nan, nan\]"),
        (images(channels=2), {}, r"\(3, 24, 20, 2\)"),
        (images()[..., 0], {}, r"\(3, 24, 20\)"),
    ],
)
def test_errors_of_masks(batch, arguments, message):
    with pytest.raises(ValueError, match=message):
        figures.masks_figure(batch, seen_of(images()), **arguments)


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


def test_a_curve_of_another_length():
    with pytest.raises(ValueError, match=r"'a'.*\(seeds, 2\).*shape \(1, 3\)"):
        figures.curves_figure([1, 2], {"a": [[1, 2, 3]]}, "x", "y")


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        figures.new_figure(1, 1)


def test_no_window_is_left_open():
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    figures.curves_figure([1], {"a": [[1]]}, "x", "y")
    assert pyplot.get_fignums() == before
