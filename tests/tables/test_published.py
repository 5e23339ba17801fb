"""The figures of the paper, and what may stand beside them."""

import pytest
from written import CIFAR
from written import FACES
from written import markdown
from written import pair
from written import row

from keras_warn import tables


def test_without_runs_there_are_the_figures_of_the_paper():
    nothing = tables.Found([], [], others=0, smoke=0)
    text = str(tables.gather(nothing))
    for line in (
        "| Dogs | 89.6 | not yet measured | 92.9 | not yet measured | +3.3 |",
        "| Age | 57.4 | not yet measured | 59.7 | not yet measured | +2.3 |",
        "| Birds | 1.2 | not yet measured | 2.5 | not yet measured | – | – |",
        "| Average | 1.2 | not yet measured | 3.4 | not yet measured |  |  |",
        "| CIFAR-10 | 3.80 | not yet measured | 3.44 / 3.46 | not yet measured "
        "| -0.34 |",
        "| CIFAR-100 | 18.30 | not yet measured | 18.26 / 17.82 |",
    ):
        assert line in text
    assert "Other data" not in text and "Notes" not in text


def test_tables_of_the_paper_agree_with_each_other():
    """Averages; and WRN has 65 to 73 million parameters by all columns."""
    for column, average in enumerate(tables.TABLE_4_AVERAGE):
        figures = [row[column] for row in tables.TABLE_4.values()]
        assert sum(figures) / 6 == pytest.approx(average, abs=0.05)
    for recipe, (accuracy, _) in tables.TABLE_3.items():
        per_million = tables.TABLE_4[recipe][0]
        least, most = (accuracy / (per_million + d) for d in (0.05, -0.05))
        assert least < 77 and most > 66


@pytest.mark.parametrize(
    "recipe, data, reason",
    [
        ("cub200", {"classes": 50, "test": 1}, "50 of 200 classes"),
        ("cub200", {"test": 5790}, "5,790 of 5,794 test images"),
        ("cub200", {"training": 94}, "694 of 5,994 training images"),
        (
            "cub200",
            {"name": "My birds", "validation": 599},
            "the data are My birds, not CUB-200-2011, 5,993 of 5,994 training "
            "images",
        ),
        ("adience_gender", FACES, "not cross-validated"),
    ],
)
def test_other_data_never_stand_beside_the_paper(made, recipe, data, reason):
    out = made(*pair(0, 0.8, 0.9, recipe=recipe, data=data))
    title = tables.PUBLISHED[recipe].title
    paper, ours = markdown(out, title)
    assert paper[0] == title and paper[2] == paper[4] == "not yet measured"
    assert ours[0] == f"{title} (not comparable: {reason})"
    assert ours[1] == ours[3] == ours[5] == "–"
    assert ours[2] == "80.0 (one seed)"
    assert markdown(out, ours[0], "## Table 4")[0][1:4:2] == ["–", "–"]
    for name in ("table3", "table4"):
        found = row(out, name, title, not_comparable=reason)
        assert not found["baseline_paper"] and not found["attention_paper"]
        assert row(out, name, title, not_comparable="")["baseline_paper"]


def test_lossy_cifar_is_not_comparable(made):
    data = {**CIFAR, "name": "JPEG CIFAR-10"}
    out = made(*pair(0, 0.960, 0.965, recipe="cifar10", data=data))
    _, ours, _ = markdown(out, "CIFAR-10", "## CIFAR")
    assert "the data are JPEG CIFAR-10, not CIFAR-10)" in ours[0]
    assert ours[1] == ours[3] == ours[5] == "–"


def test_what_ours_are_of_stands_beside_what_the_paper_is_of(made):
    small = {"backbone": "MobileNetV2(alpha=0.35)", "image_size": 128}
    out = made(
        *pair(0, 0.8, 0.9, settings=small),
        *pair(0, 0.8, 0.9, settings={**small, "epochs": 20}),
    )
    assert (
        "WARN).\n\nOurs are trained with "
        '`backbone="MobileNetV2(alpha=0.35)"`, `image_size=128`, `epochs=30` '
        "or `epochs=20`. All settings" in (out / "tables.md").read_text()
    )
