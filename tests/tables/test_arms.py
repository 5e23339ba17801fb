"""Runs of one arm: seeds, folds and parameters."""

from written import faces
from written import markdown
from written import notes
from written import pair
from written import results
from written import rows


def test_a_cross_validated_seed_is_the_mean_of_its_folds(made):
    out = made(
        *faces("baseline", 0, [0.90, 0.91, 0.92, 0.93, 0.94]),
        *faces("attention", 0, [0.92, 0.92, 0.92, 0.92, 0.97]),
    )
    (cells,) = markdown(out, "Gender")
    assert cells[2] == "92.0 (one seed)" and cells[4] == "93.0 (one seed)"
    assert cells[6] == "+1.0 (one seed)"
    assert not notes(out)


def test_seeds_without_all_folds_are_not_counted(made):
    out = made(
        *faces("baseline", 0, [0.9] * 5),
        *faces("attention", 0, [0.92] * 5),
        *faces("attention", 1, [0.5] * 3),
        *faces("baseline", 1, [0.5] * 4),
    )
    (cells,) = markdown(out, "Gender")
    assert cells[2] == "90.0 (one seed)" and cells[4] == "92.0 (one seed)"
    assert notes(out) == [
        "- Gender, baseline: seed 1 is not counted: fold 4 is missing.",
        "- Gender, attention: seed 1 is not counted: folds 3 and 4 are "
        "missing.",
    ]
    counted = [one["not_counted"] for one in rows(out, "runs")]
    assert counted.count("") == 10
    assert counted.count("folds 3 and 4 are missing") == 3
    assert "17 runs; 7 not counted" in (out / "tables.md").read_text()


def test_no_seed_is_complete(made):
    (cells,) = markdown(made(*faces("baseline", 1, [0.5] * 4)), "Gender")
    assert cells[2] == "not yet measured"


def test_folds_that_differ_by_seed_are_noted(made):
    other = faces("baseline", 1, [0.9] * 5)
    other[2]["data"]["test"] = 1
    out = made(*faces("baseline", 0, [0.9] * 5), *other)
    assert notes(out) == [
        "- Gender, baseline: the data of fold 2 differ by seed."
    ]


def test_the_same_run_twice_counts_once(made):
    out = made(*pair(0, 0.80, 0.82), results("baseline", 0, 0.90))
    assert markdown(out, "Birds")[0][2] == "80.0 (one seed)"
    (note,) = notes(out)
    assert "runs/02/results.json is not counted" in note
    assert "runs/00/results.json is of the same settings" in note


def test_what_is_noted_of_a_baseline_is_noted_once(made):
    """Though it stands in the lines of two attentions."""
    out = made(
        *pair(0, 0.80, 0.82),
        results("baseline", 0, 0.90),
        results("attention", 0, 0.84, settings={"attention": {"depth": 9}}),
    )
    assert len(markdown(out, "Birds")) == 2 and len(notes(out)) == 1


def test_different_numbers_of_parameters(made):
    out = made(
        results("baseline", 0, 0.8),
        results("baseline", 1, 0.8, parameters=21_000_000),
        results("attention", 0, 0.9),
    )
    (cells,) = markdown(out, "Birds", "## Table 4")
    assert cells == ["Birds", "1.2", "–", "2.5", "–", "–", "–"]
    assert notes(out)[0] == (
        "- Birds, baseline: runs have different numbers of parameters, "
        "20,000,000 and 21,000,000."
    )
