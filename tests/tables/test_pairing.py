"""Which runs are compared with which, and what is said of others."""

import pytest
from written import faces
from written import markdown
from written import notes
from written import pair
from written import results
from written import row
from written import rows


def test_seeds_of_one_arm_are_not_in_the_difference(made):
    out = made(
        *pair(0, 0.84, 0.85),
        results("baseline", 1, 0.7),
        results("attention", 2, 0.9),
        results("attention", 3, 0.9),
    )
    (cells,) = markdown(out, "Birds")
    assert cells[2] == "77.0 ± 9.9 (2 seeds)"
    assert cells[6] == "+1.0 (one seed)"
    assert row(out, "table4", "Birds")["attention"] == "2.0"
    assert notes(out) == [
        "- Birds: the difference is without seed 1, which the baseline alone "
        "has.",
        "- Birds: the difference is without seeds 2 and 3, which attention "
        "alone has.",
    ]


def test_folds_with_other_data_are_not_paired(made):
    other = faces("attention", 0, [0.92] * 5)
    other[3]["data"]["test"] = 2999
    out = made(*faces("baseline", 0, [0.9] * 5), *other)
    (cells,) = markdown(out, "Gender")
    assert cells[6] == "not paired"
    assert notes(out) == [
        "- Gender: seed 0 is not paired, as the data differ: `data.test=2999` "
        "with attention, `data.test=3003` without (fold 3)."
    ]


@pytest.mark.parametrize(
    "changes, said, label",
    [
        (
            {"settings": {"epochs": 20, "rate": {"network": 0.2}}},
            "`epochs=20`, `rate.network=0.2` with attention, `epochs=30`, "
            "`rate.network=0.1` without.",
            "`epochs=20`, `rate.network=0.2`",
        ),
        (
            {"settings": {"crop": "pad"}},
            '`crop="pad"` with attention, no `crop` without',
            '`crop="pad"`',
        ),
        (
            {"data": {"left_out": {"cannot be read": 1}}},
            "differs: `data.left_out.cannot be read=1` with attention, no "
            "`data.left_out.cannot be read` without.",
            "`data.left_out.cannot be read=1`",
        ),
        (
            {"data": {"test": 9, "digest": "0123456789abcdef"}},
            "differs: `data.test=9` with attention, `data.test=5794` without.",
            "`data.test=9` (not comparable: 9 of 5,794 test images)",
        ),
        (
            {"data": {"digest": "0123456789abcdef"}},
            '`data.digest="0123456789abcdef"` with attention, `data.digest=',
            '`data.digest="0123456789abcdef"`',
        ),
    ],
)
def test_arms_of_other_settings_are_not_paired(made, changes, said, label):
    out = made(
        results("baseline", 0, 0.84), results("attention", 0, 0.86, **changes)
    )
    first, second = markdown(out, "Birds")
    assert second[0].endswith(label)
    assert first[2] == "84.0 (one seed)" and first[4] == "not yet measured"
    assert second[2] == "not yet measured" and second[4] == "86.0 (one seed)"
    assert first[6] == second[6] == "–"
    (note,) = notes(out)
    assert note.startswith(f"- {second[0]}: attention and baseline are not")
    assert said in note


def test_the_baseline_that_is_nearest_is_compared(made):
    far = {"rate": {"network": 0.2}, "crop": "pad"}
    out = made(
        results("baseline", 0, 0.84, settings=far),
        results("baseline", 0, 0.84, settings={"epochs": 20}),
        results("attention", 0, 0.86),
    )
    (note,) = notes(out)
    assert note.endswith(
        "differs: `epochs=30` with attention, `epochs=20` without."
    )


def test_runs_of_other_settings_have_lines_of_their_own(made):
    out = made(
        *pair(0, 0.80, 0.82),
        *pair(0, 0.70, 0.73, settings={"epochs": 20}),
        results("attention", 0, 0.84, settings={"attention": {"depth": 9}}),
    )
    lines = [[c[0], c[2], c[4], c[6]] for c in markdown(out, "Birds")]
    one = "(one seed)"
    deep = "`attention.depth=9`, no `attention.width`"
    plain = "`attention.depth=3`, `attention.width=4`"
    assert lines == [
        [f"Birds, `epochs=30`, {plain}"]
        + [f"80.0 {one}", f"82.0 {one}", f"+2.0 {one}"],
        [f"Birds, `epochs=30`, {deep}"]
        + [f"80.0 {one}", f"84.0 {one}", f"+4.0 {one}"],
        [f"Birds, `epochs=20`, {plain}"]
        + [f"70.0 {one}", f"73.0 {one}", f"+3.0 {one}"],
    ]
    # The baseline is in two lines, and counted in each.
    (shared,) = (
        r["lines"]
        for r in rows(out, "runs")
        if float(r["last_epoch_test_accuracy"]) == 0.8
    )
    assert shared == f"{lines[0][0]}; {lines[1][0]}"
    assert not notes(out)


def test_a_part_of_the_classes_beside_all(made):
    """Labelled by their number, not by all that differs with it."""
    part = {"classes": 50, "training": 1500, "test": 1400}
    out = made(*pair(0, 0.9, 0.9, data=part), *pair(0, 0.8, 0.8))
    assert [cells[0] for cells in markdown(out, "Birds")] == [
        "Birds, `data.classes=200`",
        "Birds, `data.classes=50` (not comparable: 50 of 200 classes)",
    ]
