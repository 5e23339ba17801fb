"""Runs beside the paper's figures, with numbers worked out by hand."""

import csv
import json
import math
import os
import subprocess
import sys

import pytest

from keras_warn import tables
from keras_warn.cli import main

BIRDS = {"name": "CUB-200-2011", "classes": 200}
BIRDS |= {"training": 5394, "validation": 600, "test": 5794, "left_out": {}}
FACES = {"name": "Adience", "classes": 2}
FACES |= {"training": 12000, "validation": 1000, "test": 3000, "left_out": {}}
ENVIRONMENT = {
    "command": "python recipes/cub200.py",
    "date": "2026-11-24T10:00:00+00:00",
    "cpu": "Slow One",
    "cores": 2,
    "devices": ["cpu:0"],
    "keras_warn": "0.1.0",
    "keras": "3.15.1",
    "backend": "tensorflow",
    "tensorflow": "2.21.0",
}


def results(arm, seed, accuracy, best=None, **changes):
    """What a training writes; `settings` and `data` are changes of them."""
    settings = {"epochs": 30, "rate": {"network": 0.1}, "attention": None}
    if arm == "attention":
        settings["attention"] = {"depth": 3, "width": 4}

    def at(epoch, accuracy):
        part = {"loss": 1.5, "accuracy": accuracy}
        return {"epoch": epoch, "validation": dict(part), "test": part}

    return {
        "keras_warn_results": 1,
        "recipe": "cub200",
        "arm": arm,
        "seed": seed,
        "fold": None,
        "environment": ENVIRONMENT,
        "parameters": 20_000_000 if arm == "baseline" else 20_500_000,
        "epochs": 30,
        "training_seconds": 1234.5,
        "metrics": {
            "last_epoch": at(30, accuracy),
            "best_by_validation": None if best is None else at(22, best),
        },
        **changes,
        "settings": {**settings, **changes.get("settings", {})},
        "data": {**BIRDS, **changes.get("data", {})},
    }


def save(folder, content):
    """Saves what is a string as it is, and anything else as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str):
        content = json.dumps(content)
    (folder / "results.json").write_text(content)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def made(work):
    """A function that makes tables of results, by the command."""

    def make(*contents, code=0):
        for i, content in enumerate(contents):
            save(work / f"runs/{i:02}", content)
        assert main(["tables", "runs", "--out", "out"]) == code
        return work / "out"

    return make


def rows(out, name):
    with (out / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def row(out, name, data_set, **wanted):
    """The one row of a data set with these cells."""
    (found,) = (
        one
        for one in rows(out, name)
        if one["data_set"] == data_set
        and one.get("epoch", "last_epoch") == wanted.get("epoch", "last_epoch")
        and all(one[key] == value for key, value in wanted.items())
    )
    return found


def markdown(out, start, part="## Table 3"):
    """Cells of the lines of a table whose first cell starts so."""
    text = (out / "tables.md").read_text()
    text = text.split(f"\n{part}", 1)[1].split("\n#", 1)[0]
    found = [line[2:-2].split(" | ") for line in text.splitlines()]
    return [cells for cells in found if cells[0].startswith(start)]


def notes(out):
    text = (out / "tables.md").read_text()
    if "## Notes\n" not in text:
        return []
    return text.split("## Notes\n\n")[1].split("\n\n")[0].splitlines()


def pair(seed, baseline, attention, best=(None, None), **changes):
    return [
        results("baseline", seed, baseline, best[0], **changes),
        results("attention", seed, attention, best[1], **changes),
    ]


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


@pytest.mark.parametrize(
    "freedom, expected",
    # Of printed tables.
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622)]
    + [(10, 2.2281), (30, 2.0423), (120, 1.9799)],
)
def test_students_t(freedom, expected):
    assert tables.student_t(freedom) == pytest.approx(expected, abs=1e-4)


def test_interval_of_three():
    """Of 1, 2, 6: mean 3, standard deviation sqrt(7), t 4.3027."""
    half = 4.3027 * math.sqrt(7 / 3)
    expected = (3 - half, 3 + half)
    assert tables.interval([1, 2, 6]) == pytest.approx(expected, abs=1e-3)
    assert tables.interval([1]) is None


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


def faces(arm, seed, accuracies, **changes):
    """Results of each fold; the folds differ in how many images they have."""
    return [
        results(
            arm,
            seed,
            accuracy,
            fold=fold,
            recipe="adience_gender",
            data={**FACES, "test": 3000 + fold, **changes},
        )
        for fold, accuracy in enumerate(accuracies)
    ]


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


def test_folds_with_other_data_are_not_paired(made):
    other = faces("attention", 0, [0.92] * 5)
    other[3]["data"]["test"] = 2999
    out = made(*faces("baseline", 0, [0.9] * 5), *other)
    (cells,) = markdown(out, "Gender")
    assert cells[6] == "not paired"
    assert notes(out) == [
        "- Gender: seed 0 is not paired, as the data differ: `test=2999` with "
        "attention, `test=3003` without (fold 3)."
    ]


def test_folds_that_differ_by_seed_are_noted(made):
    other = faces("baseline", 1, [0.9] * 5)
    other[2]["data"]["test"] = 1
    out = made(*faces("baseline", 0, [0.9] * 5), *other)
    assert notes(out) == [
        "- Gender, baseline: the data of fold 2 differ by seed."
    ]


@pytest.mark.parametrize(
    "changes, said, label",
    [
        (
            {"settings": {"epochs": 20, "rate": {"network": 0.2}}},
            "`epochs=20` with attention, `epochs=30` without, "
            "`rate.network=0.2` with attention, `rate.network=0.1` without",
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


def test_the_same_run_twice_counts_once(made):
    out = made(*pair(0, 0.80, 0.82), results("baseline", 0, 0.90))
    assert markdown(out, "Birds")[0][2] == "80.0 (one seed)"
    (note,) = notes(out)
    assert "runs/02/results.json is not counted" in note
    assert "runs/00/results.json is of the same settings" in note


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


def test_attention_that_adds_no_parameters(made):
    out = made(
        results("baseline", 0, 0.8),
        results("attention", 0, 0.9, parameters=20_000_000),
    )
    (cells,) = markdown(out, "Birds", "## Table 4")
    assert cells[2:] == ["4.0", "2.5", "–", "20.00 M", "0.00 M"]


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


def test_a_part_of_the_classes_beside_all(made):
    """Labelled by their number, not by all that differs with it."""
    part = {"classes": 50, "training": 1500, "test": 1400}
    out = made(*pair(0, 0.9, 0.9, data=part), *pair(0, 0.8, 0.8))
    assert [cells[0] for cells in markdown(out, "Birds")] == [
        "Birds, `data.classes=200`",
        "Birds, `data.classes=50` (not comparable: 50 of 200 classes)",
    ]


CIFAR = {"name": "CIFAR-10", "classes": 10}
CIFAR |= {"training": 45_000, "validation": 5_000, "test": 10_000}


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


def test_lossy_cifar_is_not_comparable(made):
    data = {**CIFAR, "name": "JPEG CIFAR-10"}
    out = made(*pair(0, 0.960, 0.965, recipe="cifar10", data=data))
    _, ours, _ = markdown(out, "CIFAR-10", "## CIFAR")
    assert "the data are JPEG CIFAR-10, not CIFAR-10)" in ours[0]
    assert ours[1] == ours[3] == ours[5] == "–"


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


def test_what_is_no_run_is_counted(made, capsys):
    """Smoke tests, files of other programs, and what cannot be read."""
    out = made(
        *pair(0, 0.84, 0.85),
        results("attention", 1, 0.1, settings={"smoke": True}),
        {"keras_warn_run": 1},
        [1, 2],
        '{"keras_warn_results": 1, "recipe"',
        code=1,
    )
    said = capsys.readouterr().err
    assert "keras-warn tables: runs/05/results.json: it is not JSON" in said
    assert (
        "The tables of 2 runs are in out; left out: 1 of smoke tests, 2 of "
        "another kind, 1 that cannot be read." in said
    )
    text = (out / "tables.md").read_text()
    assert (
        "2 runs; 1 left out, as smoke tests; 2 results.json of another kind "
        "ignored; 1 could not be read, see below." in text
    )
    assert "- runs/05/results.json: it is not JSON" in text
    assert markdown(out, "Birds")[0][6] == "+1.0 (one seed)"
    assert not notes(out)


def without(content, *path):
    """A deep copy that lacks what is at a path."""
    content = json.loads(json.dumps(content))
    inner = content
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return content


GOOD = results("attention", 1, 0.8, 0.9)


@pytest.mark.parametrize(
    "content, message",
    [
        ({**GOOD, "keras_warn_results": 2}, "`keras_warn_results` must be 1"),
        ({**GOOD, "arm": "both"}, "`arm` must be one of 'baseline', 'atten"),
        ({**GOOD, "arm": "baseline"}, "`settings.attention` must be null"),
        (without(GOOD, "settings", "attention"), "must be an object for arm="),
        (without(GOOD, "settings"), "`settings` must be an object. Received"),
        (without(GOOD, "recipe"), "`recipe` must be a string. Received: None"),
        (without(GOOD, "data", "name"), "`data.name` must be a string."),
        (without(GOOD, "data", "classes"), "`data.classes` must be a positive"),
        ({**GOOD, "data": {**BIRDS, "test": "all"}}, "`data.test` must be a"),
        ({**GOOD, "seed": -1}, "`seed` must be a non-negative integer."),
        ({**GOOD, "fold": 5}, "`fold` must be at most 4. Received: fold=5"),
        ({**GOOD, "parameters": 0}, "`parameters` must be a positive integer"),
        ({**GOOD, "training_seconds": None}, "`training_seconds` must be a"),
        (without(GOOD, "environment"), "`environment` must be an object."),
        (without(GOOD, "metrics", "last_epoch"), "`last_epoch` must be an obj"),
        (
            without(GOOD, "metrics", "last_epoch", "test", "accuracy"),
            "`last_epoch.test.accuracy` must be a number.",
        ),
        (results("attention", 1, math.nan), "must be finite, at least 0"),
        (results("attention", 1, 84.0), "at least 0 and at most 1. Received"),
        (results("attention", 1, 0.8, -0.1), "`best_by_validation.test.acc"),
        ("ÿ{", "it is not JSON"),
    ],
)
def test_results_that_cannot_be_understood(made, capsys, content, message):
    made(*pair(0, 0.84, 0.85), content, code=1)
    said = capsys.readouterr().err
    assert "keras-warn tables: runs/02/results.json: " in said
    assert message in said and "The tables of 2 runs" in said


def test_what_lies_in_two_folders_is_found_once(work):
    save(work / "runs/birds/attention", results("attention", 0, 0.8))
    save(work / "runs/birds/.unfinished-x", results("attention", 1, 0.8))
    (run,) = tables.find_runs(["runs/birds", work / "runs", "runs/."]).runs
    assert str(run.path) == "runs/birds/attention/results.json"


def everything(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("empty --out out", "There is none in empty, but 0 of smoke tests, 0"),
        ("bad --out out", "0 of another kind, 1 that cannot be read."),
        ("runs nowhere --out out", "RUNS must be folders that exist. Received"),
        ("runs/results.json --out out", "Received: runs/results.json."),
        ("runs --out file", "--out must be a folder. file is a file."),
        ("runs --out file/out", "--out file/out cannot be written to. file"),
        ("runs --out /proc/out", "--out /proc/out cannot be written to. /proc"),
    ],
)
def test_bad_input(work, capsys, arguments, message):
    save(work / "runs", results("attention", 0, 0.8))
    save(work / "bad", "{")
    (work / "empty").mkdir()
    (work / "file").write_text("here first")
    before = everything(work)
    assert main(["tables", *arguments.split()]) == 2
    said = capsys.readouterr()
    assert message in said.err and not said.out
    assert said.err.splitlines()[-1].startswith("keras-warn tables: ")
    assert everything(work) == before


def test_tables_are_replaced_and_other_files_stay(made, work):
    (work / "out").mkdir()
    (work / "out/notes.txt").write_text("mine")
    (work / "out/tables.md").write_text("old")
    out = made(*pair(0, 0.84, 0.85))
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "tables.md").read_text().startswith("# Finished trainings")
    assert everything(out) == [
        "cifar.csv",
        "notes.txt",
        "others.csv",
        "runs.csv",
        "table3.csv",
        "table4.csv",
        "tables.md",
    ]
    # A header, though there are no others.
    assert (out / "others.csv").read_text().startswith("recipe,data_set,")


def test_a_table_that_cannot_be_replaced(made, work, capsys):
    (work / "out/runs.csv").mkdir(parents=True)
    out = made(*pair(0, 0.84, 0.85), code=1)
    said = capsys.readouterr().err
    assert "--out out cannot be written to: Is a directory." in said
    assert not (out / "tables.md").exists()


def test_tables_that_nobody_reads(work):
    """As of `keras-warn tables runs --out out | head -1`."""
    save(work / "runs", results("attention", 0, 0.8))
    unread, out = os.pipe()
    os.close(unread)
    finished = subprocess.run(
        [sys.executable, "-m", "keras_warn", "tables", "runs", "--out", "out"],
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(out)
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    assert "The tables of 1 run are in out" in finished.stderr
    assert (work / "out/tables.md").exists()


def test_folders_that_do_not_exist(work):
    with pytest.raises(NotADirectoryError, match="`folders` must be folders"):
        tables.find_runs([work / "nowhere"])
