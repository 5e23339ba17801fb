"""The numbers in the tables, worked out by hand."""

import json
import math

import pytest
from written import CIFAR
from written import faces
from written import markdown
from written import notes
from written import pair
from written import results
from written import row
from written import rows

from keras_warn import tables


def test_two_seeds(made, capsys):
    """Mean differences 1 and 3, so 2 ± 1.41 with 2 ∓ 12.706 * 1.41 / 1.41."""
    out = made(*pair(0, 0.84, 0.85), *pair(1, 0.83, 0.86))
    assert markdown(out, "Birds") == [
        [
            "Birds",
            "84.3",
            "83.5 ± 0.7 (2 seeds)",
            "85.6",
            "85.5 ± 0.7 (2 seeds)",
            "+1.3",
            "+2.0 ± 1.4 (2 seeds)",
            "[-10.7, +14.7]",
        ]
    ]
    found = row(out, "table3", "Birds")
    assert found["measured"] == "yes" and found["difference_seeds"] == "0 1"
    for name, value in {
        "baseline_paper": 84.3,
        "attention_paper": 85.6,
        "difference_paper": 1.3,
        "baseline_mean": 83.5,
        "baseline_std": math.sqrt(0.5),
        "attention_mean": 85.5,
        "difference_mean": 2,
        "difference_std": math.sqrt(2),
        "difference_low": 2 - 12.7062,
        "difference_high": 2 + 12.7062,
    }.items():
        assert float(found[name]) == pytest.approx(value, abs=1e-4), name
    # 83.5 / 20, and 2 / 0.5.
    found = row(out, "table4", "Birds")
    assert (found["baseline"], found["attention"]) == ("4.175", "4.0")
    assert markdown(out, "Birds", "## Table 4") == [
        ["Birds", "1.2", "4.2", "2.5", "4.0", "20.00 M", "0.50 M"]
    ]
    said = capsys.readouterr()
    assert said.out == (out / "tables.md").read_text() + "\n"
    assert "The tables of 4 runs are in out" in said.err
    assert not notes(out)
    assert "by `keras-warn tables runs --out out`. 4 runs." in said.out
    assert (
        "- Slow One, 2 cores, cpu:0, keras_warn 0.1.0, keras 3.15.1, "
        "tensorflow 2.21.0: 4 runs, 2026-11-24\n" in said.out
    )


def test_one_seed_has_no_interval(made):
    (cells,) = markdown(made(*pair(5, 0.84, 0.85)), "Birds")
    assert cells[2:] == [
        "84.0 (one seed)",
        "85.6",
        "85.0 (one seed)",
        "+1.3",
        "+1.0 (one seed)",
        "–",
    ]


def test_one_arm_alone(made):
    out = made(results("attention", 0, 0.85))
    (cells,) = markdown(out, "Birds")
    assert cells[2] == "not yet measured" and cells[4] == "85.0 (one seed)"
    assert cells[6:] == ["–", "–"]
    measured = row(out, "table3", "Birds")["measured"]
    assert measured == "baseline not yet measured"
    assert row(out, "table3", "Cars")["measured"] == "not yet measured"


def test_the_epoch_chosen_by_validation_stands_apart(made):
    out = made(*pair(0, 0.8, 0.81, (0.83, 0.85)), *pair(1, 0.8, 0.81))
    assert markdown(out, "Birds")[0][4] == "81.0 ± 0.0 (2 seeds)"
    best = markdown(out, "Birds", "### The same, after the epoch that is best")
    assert best == [
        ["Birds", "83.0 (one seed)", "85.0 (one seed)", "+2.0 (one seed)", "–"]
    ]
    found = row(out, "table3", "Birds", epoch="best_by_validation")
    assert found["difference_mean"] == "2.0" and not found["baseline_paper"]


def test_nothing_held_out(made):
    changed = pair(0, 0.8, 0.81)
    for one in changed:
        one["metrics"]["last_epoch"]["validation"] = None
        one["data"].update(training=5994, validation=None)
    out = made(*changed)
    assert markdown(out, "Birds")[0][6] == "+1.0 (one seed)"
    assert "best on the validation" not in (out / "tables.md").read_text()


def test_attention_that_adds_no_parameters(made):
    out = made(
        results("baseline", 0, 0.8),
        results("attention", 0, 0.9, parameters=20_000_000),
    )
    (cells,) = markdown(out, "Birds", "## Table 4")
    assert cells[2:] == ["4.0", "2.5", "–", "20.00 M", "0.00 M"]


def test_errors_on_cifar(made):
    out = made(
        *pair(0, 0.960, 0.965, (0.97, 0.98), recipe="cifar10", data=CIFAR)
    )
    assert markdown(out, "CIFAR-10 ", "## CIFAR") == []
    cells, _ = markdown(out, "CIFAR-10", "## CIFAR")
    assert cells == [
        "CIFAR-10",
        "3.80",
        "4.00 (one seed)",
        "3.44 / 3.46",
        "3.50 (one seed)",
        "-0.34",
        "-0.50 (one seed)",
        "–",
        "20.00 M",
        "0.50 M",
    ]
    found = row(out, "cifar", "CIFAR-10")
    assert found["wrn_40_paper"] == "3.8" and found["warn_28_paper"] == "3.44"
    assert found["warn_40_paper"] == "3.46" and found["unit"] == "error (%)"
    assert float(found["difference_mean"]) == -0.5
    assert (
        row(out, "cifar", "CIFAR-10", epoch="best_by_validation")[
            "attention_mean"
        ]
        == "2.0"
    )


def test_other_recipes_have_a_table_without_the_paper(made):
    data = {"name": "my|birds", "classes": 7}
    out = made(*pair(0, 0.5, 0.55, recipe="image_folder", data=data))
    assert markdown(out, "image_folder", "## Other data") == [
        ["image_folder", r"my\|birds", "7"]
        + ["50.0 (one seed)", "55.0 (one seed)", "+5.0 (one seed)", "–"]
    ]
    (last, _) = rows(out, "others")
    assert last["data"] == "my|birds" and last["difference_mean"] == "5.0"
    assert not any("paper" in name for name in last)


def all_data_sets():
    """Of each data set of Table 3, what one seed makes, Birds the best."""
    for recipe in tables.TABLE_3:
        known = tables.PUBLISHED[recipe]
        if known.folds:
            for arm, accuracy in (("baseline", 0.8), ("attention", 0.86)):
                for one in faces(arm, 0, [accuracy] * 5, classes=known.classes):
                    yield {**one, "recipe": recipe}
            continue
        data = {"name": known.name, "classes": known.classes}
        data |= {"training": known.training, "validation": None}
        data |= {"test": known.test}
        attention = 0.9 if recipe == "cub200" else 0.86
        yield from pair(0, 0.8, attention, recipe=recipe, data=data)


def test_the_average_needs_each_data_set_once(made):
    contents = list(all_data_sets())
    out = made(*contents[:-1])
    cells = markdown(out, "Average", "## Table 4")[0]
    assert cells[1:5] == ["1.2", "4.0", "3.4", "not yet measured"]
    out = made(*contents)
    # 80 / 20; and five times 6 and once 10 for half a million.
    cells = markdown(out, "Average", "## Table 4")[0]
    assert cells[1:5] == ["1.2", "4.0", "3.4", "13.3"]
    found = row(out, "table4", "Average")
    assert (found["baseline"], found["attention"]) == ("4.0", "13.333333")
    # Of two lines of Birds, neither is the one.
    out = made(*contents, *pair(0, 0.8, 0.9, settings={"epochs": 1}))
    cells = markdown(out, "Average", "## Table 4")[0]
    assert cells[1:5] == ["1.2", "–", "3.4", "–"]


def test_every_run_is_in_a_file_of_its_own_lines(made):
    out = made(*pair(3, 0.84, 0.85, (0.86, None)), *faces("baseline", 1, [0.9]))
    (first, second, third) = rows(out, "runs")
    for name, value in {
        "recipe": "cub200",
        "arm": "baseline",
        "seed": "3",
        "fold": "",
        "lines": "Birds",
        "not_counted": "",
        "data": "CUB-200-2011",
        "classes": "200",
        "training": "5394",
        "validation": "600",
        "test": "5794",
        "left_out": "{}",
        "parameters": "20000000",
        "epochs": "30",
        "training_seconds": "1234.5",
        "last_epoch": "30",
        "last_epoch_test_accuracy": "0.84",
        "best_by_validation": "22",
        "best_by_validation_validation_accuracy": "0.86",
        "date": "2026-11-24T10:00:00+00:00",
        "command": "python recipes/cub200.py",
        "cpu": "Slow One",
        "devices": "cpu:0",
        "keras": "3.15.1",
        "backend": "tensorflow",
        "backend_version": "2.21.0",
        "file": "runs/00/results.json",
    }.items():
        assert first[name] == value, name
    assert json.loads(first["settings"])["rate"] == {"network": 0.1}
    assert second["best_by_validation"] == ""
    assert third["fold"] == "0" and third["lines"] == ""
    assert third["not_counted"] == "folds 1, 2, 3 and 4 are missing"
