"""Finished trainings beside Tables 2, 3 and 4 of "Attend and Rectify".

    python recipes/paper_tables.py runs/ --out tables/

Reads the `results.json` of all trainings below the folders, and writes

- `tables.md`: the paper's figures beside ours, which is printed, too;
- `tables.csv`: the same numbers, and those of the epoch that is best on
  validation;
- `runs.csv`: every training with its settings and machine.

Accuracies are of the test set, after the last epoch. A seed's value is the
mean over its folds where there are folds. Differences are attention - baseline,
paired by seed on the same data, with the 95 % confidence interval of Student's
t over seeds. Results on other data than the paper's never stand beside its
figures.
"""

import argparse
import collections
import json
import pathlib

import pandas as pd
from scipy import stats

from keras_warn import files
from keras_warn.training import runs

EPOCHS = ("last_epoch", "best_by_validation")
VARIANTS = ("baseline", "attention")
FOLDS = 5

# What the paper's data sets are called there, and hold: classes, training
# images with those for validation, test images, cross-validation.
DataSet = collections.namedtuple("DataSet", "title name classes train test cv")
PAPER = {
    "stanford_dogs": DataSet("Dogs", "Stanford Dogs", 120, 12_000, 8_580, 0),
    "uec_food100": DataSet("Food", "UEC Food", 100, None, None, 0),
    "stanford_cars": DataSet("Cars", "Stanford Cars", 196, 8_144, 8_041, 0),
    "adience_gender": DataSet("Gender", "Adience", 2, None, None, 1),
    "adience_age": DataSet("Age", "Adience", 8, None, None, 1),
    "cub200": DataSet("Birds", "CUB-200-2011", 200, 5_994, 5_794, 0),
    "cifar10": DataSet("CIFAR-10", "CIFAR-10", 10, 50_000, 10_000, 0),
    "cifar100": DataSet("CIFAR-100", "CIFAR-100", 100, 50_000, 10_000, 0),
}

# Table 2: errors (%) of WRN 40, WARN 28 and WARN 40. It has no WRN 28.
TABLE_2 = {"cifar10": (3.80, 3.44, 3.46), "cifar100": (18.30, 18.26, 17.82)}
# Table 3: accuracies (%) of WRN and WARN.
TABLE_3 = {
    "stanford_dogs": (89.6, 92.9),
    "uec_food100": (84.3, 85.5),
    "stanford_cars": (88.5, 90.0),
    "adience_gender": (93.9, 94.6),
    "adience_age": (57.4, 59.7),
    "cub200": (84.3, 85.6),
}
# Table 4: accuracy (%) of WRN per million of its parameters; what WARN adds to
# it per million of parameters that it adds.
TABLE_4 = {
    "stanford_dogs": (1.3, 6.9),
    "uec_food100": (1.2, 2.5),
    "stanford_cars": (1.3, 3.1),
    "adience_gender": (1.4, 1.5),
    "adience_age": (0.8, 4.0),
    "cub200": (1.2, 2.5),
}
TABLE_4_AVERAGE = (1.2, 3.4)


def read_runs(folders):
    """A table of all finished trainings below folders, and what was skipped."""
    paths = {
        path.resolve(): path
        for folder in folders
        for path in sorted(pathlib.Path(folder).rglob(runs.RESULTS))
        if not any(files.is_unfinished(part) for part in path.parts)
    }
    rows, skipped = [], []
    for path in paths.values():
        try:
            content = json.loads(path.read_text("utf-8"))
            if content["settings"]["smoke"]:
                skipped.append(f"{path}: a smoke test")
            else:
                rows.append(_row(path, content))
        except (KeyError, TypeError, ValueError) as error:
            skipped.append(f"{path}: not the results of a recipe: {error!r}")
    return pd.DataFrame(rows), skipped


def _row(path, content):
    settings = dict(content["settings"])
    attention = settings.pop("attention")
    data, fold = content["data"], content["fold"]
    described = {k: v for k, v in data.items() if v != {}}
    if fold is not None:  # how many images there are differs by fold
        described = {k: data[k] for k in ("name", "classes")}
    names = ["recipe", "arm", "seed", "fold", "parameters", "epochs"]
    row = {name: content[name] for name in (*names, "training_seconds")}
    for epoch in EPOCHS:
        metrics = content["metrics"][epoch] or {}
        row[epoch] = metrics.get("epoch")
        for part in ("validation", "test"):
            accuracy = (metrics.get(part) or {}).get("accuracy")
            row[f"{epoch}_{part}_accuracy"] = accuracy
    shared = {"settings": settings, "data": described, "cv": fold is not None}
    return {
        **row,
        "shared": _key(shared),
        "attention": _key(attention),
        "data": _key(data),
        "environment": _key(content["environment"]),
        "path": str(path),
    }


def _key(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def compare(trainings):
    """Pairs attention with the baseline of the same settings, data and seeds.

    A table of a row for each setting of attention (or of a baseline alone)
    and epoch; and a list of what is not counted, and why. Of several trainings
    of the same settings, seed and fold, the first counts.
    """
    trainings = trainings.drop_duplicates(
        ["recipe", "shared", "attention", "seed", "fold"]
    )
    rows, notes = [], []
    seeds = _by_seed(trainings, notes)
    for recipe, of_recipe in seeds.groupby("recipe"):
        labels = _labels(of_recipe.shared.unique())
        for shared, line in of_recipe.groupby("shared"):
            variants = dict(list(line.set_index("seed").groupby("attention")))
            nothing = line.set_index("seed")[:0]
            baseline = variants.pop("null", nothing)
            for attention, mine in (variants or {"null": nothing}).items():
                paired = baseline.merge(mine, on="seed", suffixes=("_0", "_1"))
                paired = paired[paired.data_0 == paired.data_1]
                rows += [
                    {
                        "recipe": recipe,
                        "settings": labels[shared],
                        "attention_settings": attention,
                        "reason": _not_comparable(recipe, shared),
                        "epoch": epoch,
                        **_compared(baseline, mine, paired, epoch),
                    }
                    for epoch in EPOCHS
                ]
    return pd.DataFrame(rows), notes


def _by_seed(trainings, notes):
    """Accuracies, data and parameters of each seed that has all folds."""
    rows, keys = [], ["recipe", "shared", "attention", "seed"]
    for key, own in trainings.groupby(keys):
        missing = sorted(set(range(FOLDS)) - set(own.fold))
        if own.fold.notna().all() and missing:
            fault = f"folds {missing} of seed {key[-1]} are missing"
            notes += [f"{path}: not counted, {fault}" for path in own.path]
            continue
        accuracies = [own[f"{epoch}_test_accuracy"] for epoch in EPOCHS]
        means = [100 * found.mean(skipna=False) for found in accuracies]
        data = _key(sorted(own.data))
        rows.append([*key, *means, own.parameters.max(), data])
    return pd.DataFrame(rows, columns=[*keys, *EPOCHS, "parameters", "data"])


def _compared(baseline, attention, paired, epoch):
    """Both variants, and the difference, as a row."""
    row = {}
    for name, one in zip(VARIANTS, (baseline, attention), strict=True):
        values = one[epoch].astype(float).dropna()
        row[name] = values.mean()
        row[f"{name}_std"] = values.std()
        row[f"{name}_seeds"] = len(values)
        row[f"{name}_parameters"] = one.parameters.max()
    added = paired[f"{epoch}_1"] - paired[f"{epoch}_0"]
    added = added.astype(float).dropna()
    row["paired_seeds"] = len(added)
    row["difference"] = added.mean()
    row["difference_std"] = added.std()
    if len(added) > 1:
        # `stats.t.interval` has no interval of differences that are all alike.
        half = stats.t.ppf(0.975, len(added) - 1) * stats.sem(added)
        row["low"], row["high"] = added.mean() - half, added.mean() + half
    return row


def _labels(known):
    """What tells the settings and data of one recipe apart, by `shared`."""
    flat = pd.json_normalize([json.loads(one) for one in known])
    flat = flat.drop(columns="data.digest", errors="ignore").astype(str)
    flat = flat.loc[:, flat.nunique() > 1]
    return {
        one: ", ".join(
            f"{name.removeprefix('settings.')}={value}"
            for name, value in row.items()
        )
        for one, (_, row) in zip(known, flat.iterrows(), strict=True)
    }


def _not_comparable(recipe, shared):
    """Why results must not stand beside the paper's; empty if they may."""
    if recipe not in PAPER:
        return "not in the paper"
    paper, shared = PAPER[recipe], json.loads(shared)
    data = shared["data"]
    if data["classes"] != paper.classes:
        return f"{data['classes']} of {paper.classes} classes"
    if not data["name"].casefold().startswith(paper.name.casefold()):
        return f"the data are {data['name']}, not {paper.name}"
    if paper.cv and not shared["cv"]:
        return "not cross-validated"
    train = data.get("training", 0) + (data.get("validation") or 0)
    for kind, number, wanted in (
        ("training", train, paper.train),
        ("test", data.get("test", 0), paper.test),
    ):
        if wanted not in (None, number):
            return f"{number:,} of {wanted:,} {kind} images"
    return ""


def document(compared, trainings, notes):
    """All tables as Markdown."""
    parts = [
        "# Finished trainings beside the paper",
        __doc__.split("\n\n")[-1].strip(),
    ]
    compared = compared[compared.epoch == EPOCHS[0]]
    others = set(compared.recipe).difference(PAPER)
    header = ["data", "paper", "paper + attention"]
    for title, recipes, error in (
        ("Table 3: accuracy (%)", TABLE_3, False),
        ("Table 2: error on CIFAR (%)", TABLE_2, True),
        ("Other data: accuracy (%)", others, False),
    ):
        own = compared[compared.recipe.isin(recipes)]
        measured = {*own[own.reason == ""].recipe, *others}
        lines = [_line(row, error) for _, row in own.iterrows()]
        lines += [
            [PAPER[n].title, *_published(n), *["not measured"] * 4]
            for n in recipes
            if n not in measured
        ]
        if lines:
            parts += [f"## {title}", _markdown(lines, [*header, *_OURS])]
    parts += [
        "## Table 4: accuracy (%) per million of parameters",
        "Baseline: accuracy per million of its parameters. Attention: the "
        "difference per million of parameters added. "
        "The paper's averages: {} and {}.".format(*TABLE_4_AVERAGE),
    ]
    own = compared[compared.recipe.isin(TABLE_4)]
    lines = [[PAPER[n].title, *TABLE_4[n], "", ""] for n in TABLE_4]
    lines += [
        [_title(row), "", "", *map("{:.2f}".format, per_million(row))]
        for _, row in own.iterrows()
    ]
    parts.append(_markdown(lines, [*header, "baseline", "attention"]))
    if notes:
        parts += ["## Not counted", _list(notes)]
    machines = trainings.environment.map(_machine).value_counts()
    counts = [f"{name}: {count} runs" for name, count in machines.items()]
    parts += ["## Machines", _list(counts)]
    return "\n\n".join(parts) + "\n"


_OURS = ["baseline", "attention", "difference", "95 % confidence interval"]


def per_million(row):
    """The two figures of Table 4, NaN where there is none."""
    added = row.attention_parameters - row.baseline_parameters
    return (
        row.baseline / (row.baseline_parameters / 1e6),
        row.difference / (added / 1e6) if added > 0 else float("nan"),
    )


def _title(row):
    title = PAPER[row.recipe].title if row.recipe in PAPER else row.recipe
    if row.settings:
        title += f", {row.settings}"
    if row.attention_settings != "null":
        title += f", attention {row.attention_settings}"
    if row.reason and row.recipe in PAPER:
        title += f" (not comparable: {row.reason})"
    return title


def _published(recipe):
    """The paper's figures: without and with attention."""
    if recipe in TABLE_2:
        wrn, *warn = TABLE_2[recipe]
        return f"{wrn:.2f}", " / ".join(f"{one:.2f}" for one in warn)
    return tuple(f"{one:.1f}" for one in TABLE_3[recipe])


def _line(row, error):
    cells = [_title(row), *("  " if row.reason else _published(row.recipe))]
    sign = -1 if error else 1
    for name in VARIANTS:
        mean = 100 - row[name] if error else row[name]
        cells.append(
            _mean_and_std(mean, row[f"{name}_std"], row[f"{name}_seeds"])
        )
    if not row.paired_seeds:
        return [*cells, "not paired", ""]
    added = sign * row.difference, row.difference_std, row.paired_seeds
    cells.append(_mean_and_std(*added, "+"))
    if row.paired_seeds == 1:
        return [*cells, ""]
    low, high = sorted((sign * row.low, sign * row.high))
    return [*cells, f"{low:+.2f} to {high:+.2f}"]


def _mean_and_std(mean, std, seeds, sign=""):
    if not seeds:
        return "not measured"
    if seeds == 1:
        return f"{mean:{sign}.2f} (1 seed)"
    return f"{mean:{sign}.2f} ± {std:.2f} ({seeds} seeds)"


def _machine(environment):
    found = json.loads(environment)
    names = ("cpu", "cores", "devices", "keras_warn", "keras", "backend")
    return ", ".join(f"{n} {found[n]}" for n in names if found.get(n))


def _markdown(lines, header):
    cells = [[str(c).replace("|", "\\|") for c in line] for line in lines]
    frame = pd.DataFrame(cells, columns=header)
    return frame.to_markdown(index=False, disable_numparse=True)


def _list(lines):
    return "\n".join(f"- {line}" for line in lines)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUNS", type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    arguments = parser.parse_args(argv)
    trainings, skipped = read_runs(arguments.runs)
    compared, notes = (trainings, []) if trainings.empty else compare(trainings)
    notes += skipped
    if compared.empty:
        parser.error(
            "RUNS must hold a finished training, with all of its folds. "
            f"Received: none in {', '.join(map(str, arguments.runs))}"
            f"{''.join(f'; {note}' for note in notes)}"
        )
    text = document(compared, trainings, notes)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("tables.md", text),
        ("tables.csv", compared.to_csv(index=False)),
        ("runs.csv", trainings.to_csv(index=False)),
    ):
        with files.replacing(arguments.out / name) as path:
            path.write_text(content, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
