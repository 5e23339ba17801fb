"""What trainings write, and what the command makes of it."""

import csv
import json

BIRDS = {"name": "CUB-200-2011", "classes": 200}
BIRDS |= {"training": 5394, "validation": 600, "test": 5794}
BIRDS |= {"left_out": {}, "digest": "3c3fb6ffe2ccf7b0"}
FACES = {"name": "Adience", "classes": 2}
FACES |= {"training": 12000, "validation": 1000, "test": 3000}
FACES |= {"left_out": {}, "digest": "c451261695c894e8"}
CIFAR = {"name": "CIFAR-10", "classes": 10}
CIFAR |= {"training": 45_000, "validation": 5_000, "test": 10_000}
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
    settings["smoke"] = False
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


def pair(seed, baseline, attention, best=(None, None), **changes):
    return [
        results("baseline", seed, baseline, best[0], **changes),
        results("attention", seed, attention, best[1], **changes),
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


def save(folder, content):
    """Saves what is a string as it is, and anything else as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str):
        content = json.dumps(content)
    (folder / "results.json").write_text(content)


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
