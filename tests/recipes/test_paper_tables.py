"""`recipes/paper_tables.py`: ours beside the paper's, worked out by hand."""

import json
import re

import pandas as pd
import paper_tables as tables
import pytest

BIRDS = {"name": "CUB-200-2011", "classes": 200}
BIRDS |= {"training": 5394, "validation": 600, "test": 5794, "digest": "3c3f"}
FACES = {"name": "Adience", "classes": 2, "digest": "c451"}


def results(variant, seed, accuracy, **changes):
    """What a training writes; `settings` and `data` are changes of them."""
    attention = {"depth": 3} if variant == "attention" else None
    settings = {"epochs": 30, "attention": attention, "smoke": False}
    metrics = {"last_epoch": {"test": {"accuracy": accuracy}}}
    return {
        "keras_warn_results": 1,
        "recipe": "cub200",
        "arm": variant,
        "seed": seed,
        "fold": None,
        "environment": {"cpu": "Slow One", "cores": 2},
        "parameters": 20_000_000 if variant == "baseline" else 20_500_000,
        "epochs": 30,
        "training_seconds": 1234.5,
        "metrics": {**metrics, "best_by_validation": None},
        **changes,
        "settings": {**settings, **changes.get("settings", {})},
        "data": {**BIRDS, **changes.get("data", {})},
    }


def pair(seed, baseline, attention, **changes):
    return [
        results("baseline", seed, baseline, **changes),
        results("attention", seed, attention, **changes),
    ]


def faces(variant, seed, accuracies, **data):
    return [
        results(
            variant,
            seed,
            accuracy,
            fold=fold,
            recipe="adience_gender",
            data={**FACES, **data},
        )
        for fold, accuracy in enumerate(accuracies)
    ]


@pytest.fixture
def made(tmp_path, monkeypatch, capsys):
    """Writes results, runs the command: rows of `tables.csv`, and the text."""
    monkeypatch.chdir(tmp_path)

    def make(*contents):
        for i, content in enumerate(contents):
            path = tmp_path / "runs" / str(i)
            path.mkdir(parents=True)
            (path / "results.json").write_text(
                content if isinstance(content, str) else json.dumps(content)
            )
        tables.main(["runs", "--out", "out"])
        rows = pd.read_csv("out/tables.csv", keep_default_na=False)
        rows = rows[rows.epoch == "last_epoch"].to_dict("records")
        text = (tmp_path / "out" / "tables.md").read_text()
        assert text in capsys.readouterr().out
        return rows, text

    return make


def test_two_seeds(made):
    """Differences of 1 and 3: 2 ± 1.41, and 2 ∓ 12.706 of 95 % over seeds."""
    (row,), text = made(*pair(0, 0.84, 0.85), *pair(1, 0.83, 0.86))
    found = [row[n] for n in ("baseline", "attention", "difference", "low")]
    found = [float(value) for value in found]
    assert found == pytest.approx([83.5, 85.5, 2, 2 - 12.7062], abs=1e-4)
    ours = "84.3 | 85.6 | 83.50 ± 0.71 (2 seeds) | 85.50 ± 0.71 (2 seeds)"
    text = " ".join(text.split())
    assert f"| {ours} | +2.00 ± 1.41 (2 seeds) | -10.71 to +14.71 |" in text
    assert '| Birds, attention {"depth": 3} |' in text
    # Table 4: 83.5 / 20 and 2 / 0.5.
    assert re.search(r"\| 4.1[78] \| 4.00 \|", text)
    assert "cpu Slow One, cores 2: 4 runs" in text


def test_errors_on_cifar(made):
    data = {"name": "CIFAR-10", "classes": 10, "training": 50_000}
    data |= {"validation": 0, "test": 10_000}
    _, text = made(
        *pair(0, 0.96, 0.97, recipe="cifar10", data=data),
        *pair(1, 0.96, 0.98, recipe="cifar10", data=data),
    )
    text = " ".join(text.split())
    assert '| CIFAR-10, attention {"depth": 3} |' in text
    assert "| 3.80 | 3.44 / 3.46 | 4.00 ± 0.00 (2 seeds) | 2.50 ± 0.71" in text
    assert "| -1.50 ± 0.71 (2 seeds) | -7.85 to +4.85 |" in text


def test_folds(made):
    """A seed is the mean of its folds, and counts only with all of them."""
    complete = faces("baseline", 0, [0.9] * 4 + [0.8])
    complete += faces("attention", 0, [0.9] * 5)
    (row,), text = made(*complete, *faces("baseline", 1, [0.1] * 4))
    assert float(row["baseline"]) == pytest.approx(88)
    assert float(row["difference"]) == pytest.approx(2)
    assert "folds [4] of seed 1 are missing" in text


def test_what_is_not_paired(made):
    """One of both, another data set, and what was trained twice."""
    rows, _ = made(
        *pair(0, 0.8, 0.9),
        *pair(1, 0.8, 0.9)[:1],
        *faces("baseline", 0, [0.8] * 5),
        *faces("attention", 0, [0.9] * 5, digest="other"),
        *pair(0, 0.8, 0.7),
    )
    gender, birds = sorted(rows, key=lambda row: row["recipe"])
    assert gender["paired_seeds"] == 0
    assert birds["paired_seeds"] == 1
    assert float(birds["difference"]) == pytest.approx(10)


def test_other_settings_have_rows_of_their_own(made):
    rows, _ = made(
        *pair(0, 0.8, 0.9), *pair(0, 0.5, 0.6, settings={"epochs": 3})
    )
    labels = sorted(row["settings"] for row in rows)
    assert labels == ["epochs=3", "epochs=30"]


@pytest.mark.parametrize(
    "recipe_name, data, reason",
    [
        ("cub200", {"classes": 50}, "50 of 200 classes"),
        ("cub200", {"test": 5790}, "5,790 of 5,794 test images"),
        ("cub200", {"training": 94}, "694 of 5,994 training images"),
        ("cub200", {"name": "My birds"}, "the data are My birds"),
        ("adience_gender", FACES, "not cross-validated"),
    ],
)
def test_other_data_never_stand_beside_the_paper(
    made, recipe_name, data, reason
):
    _, text = made(*pair(0, 0.8, 0.9, recipe=recipe_name, data=data))
    title = tables.PAPER[recipe_name].title
    text = " ".join(text.split())
    assert re.search(rf"\(not comparable: {reason}[^|]*\) \| \| \| 80.00", text)
    assert re.search(rf"\| {title} \| [0-9.]+ \| [0-9.]+ \| not mea", text)


def test_what_is_no_training_is_named(made):
    smoke = results("baseline", 0, 0.5, settings={"smoke": True})
    others = "{", "[1, 2]", '{"other": 1}'
    rows, text = made(*pair(0, 0.8, 0.9), *others, smoke)
    assert len(rows) == 1
    for i in (2, 3, 4):
        assert f"runs/{i}/results.json: not the results of a recipe" in text
    assert "runs/5/results.json: a smoke test" in text


def test_without_a_training(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit:
        tables.main([str(tmp_path), "--out", str(tmp_path / "out")])
    assert exit.value.code == 2
    assert "must hold a finished training" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tables_of_the_paper_agree_with_each_other():
    """Averages; and WRN has 65 to 73 million parameters by all columns."""
    for column, average in enumerate(tables.TABLE_4_AVERAGE):
        figures = [row[column] for row in tables.TABLE_4.values()]
        assert sum(figures) / 6 == pytest.approx(average, abs=0.05)
    for name, (accuracy, _) in tables.TABLE_3.items():
        least, most = (
            accuracy / (tables.TABLE_4[name][0] + d) for d in (0.05, -0.05)
        )
        assert least < 77 and most > 66
