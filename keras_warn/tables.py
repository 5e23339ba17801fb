"""Finished trainings beside the figures of the paper."""

import csv
import dataclasses
import datetime
import io
import json
import math
import os
import pathlib

from keras_warn import checks
from keras_warn import files
from keras_warn import runs

# Tells results of trainings from the `results.json` of others. The number is
# the version of what is in them, and how.
MARKER = "keras_warn_results"
VERSION = 1

ARMS = ("baseline", "attention")
EPOCHS = ("last_epoch", "best_by_validation")
# Of cross-validation, counted from 0.
FOLDS = 5
# What runs of one line may differ in, if it is in the settings at all.
IDENTITY = ("arm", "seed", "fold", "smoke")

NOT_MEASURED = "not yet measured"


@dataclasses.dataclass(frozen=True)
class Published:
    """A data set as the paper used it.

    Attributes:
        title: What the paper's tables call it.
        name: How its name begins in results.
        classes: Number of classes.
        training: Number of images to train with, a validation part included;
            `None` if there is no published split.
        test: Number of images of the test set, or `None`.
        folds: Whether the paper measures by cross-validation.
    """

    title: str
    name: str
    classes: int
    training: int | None = None
    test: int | None = None
    folds: bool = False


# In the order of the paper's columns.
PUBLISHED = {
    "stanford_dogs": Published("Dogs", "Stanford Dogs", 120, 12_000, 8_580),
    "uec_food100": Published("Food", "UEC Food", 100),
    "stanford_cars": Published("Cars", "Stanford Cars", 196, 8_144, 8_041),
    "adience_gender": Published("Gender", "Adience", 2, folds=True),
    "adience_age": Published("Age", "Adience", 8, folds=True),
    "cub200": Published("Birds", "CUB-200-2011", 200, 5_994, 5_794),
    "cifar10": Published("CIFAR-10", "CIFAR-10", 10, 50_000, 10_000),
    "cifar100": Published("CIFAR-100", "CIFAR-100", 100, 50_000, 10_000),
}

# Table 2 of the paper: errors (%) of WRN 40, WARN 28 and WARN 40, and their
# parameters in millions. It has no WRN 28.
TABLE_2 = {"cifar10": (3.80, 3.44, 3.46), "cifar100": (18.30, 18.26, 17.82)}
TABLE_2_PARAMETERS = (56, 37, 56)

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

INTRODUCTION = """\
Accuracies are of the test set, after the last epoch: mean ± standard deviation
over seeds. With cross-validation, the value of a seed is the mean over its
five folds. Differences are attention − baseline, paired by seed, with the 95 %
interval of Student's t over seeds."""

NETWORKS = """\
The paper's figures are of a WRN-50-4 pretrained on ImageNet (WRN), and of the
same with attention (WARN). What ours are of stands in the settings in
`runs.csv`."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One finished training, as its `results.json` tells of it.

    Attributes:
        path: `pathlib.Path` of that file.
        recipe: String, such as `"cub200"`.
        arm: `"baseline"` or `"attention"`.
        seed: Integer.
        fold: Integer that tells what of cross-validation was tested on, or
            `None`.
        settings: Dictionary. `"attention"` is what only that arm has, `None`
            for the baseline.
        environment: Dictionary, as of `runs.environment`.
        data: Dictionary with `"name"` and `"classes"`, and the numbers of
            images.
        parameters: Integer.
        epochs: Integer.
        training_seconds: Float.
        metrics: Dictionary from `EPOCHS` to dictionaries with `"epoch"`,
            `"validation"` and `"test"`; that of the best epoch may be `None`.
    """

    path: pathlib.Path
    recipe: str
    arm: str
    seed: int
    fold: int | None
    settings: dict
    environment: dict
    data: dict
    parameters: int
    epochs: int
    training_seconds: float
    metrics: dict

    def accuracy(self, epoch):
        """Accuracy (%) on the test set at one of `EPOCHS`, or `None`."""
        metrics = self.metrics[epoch]
        return None if metrics is None else 100 * metrics["test"]["accuracy"]


@dataclasses.dataclass(frozen=True)
class Found:
    """What `find_runs` finds.

    Attributes:
        runs: List of `Run`, in the order of their paths.
        failed: List of strings: which files cannot be read, and why.
        others: How many `results.json` are of another kind.
        smoke: How many are of trainings that only tried whether all works.
    """

    runs: list
    failed: list
    others: int
    smoke: int


@dataclasses.dataclass(frozen=True)
class Arm:
    """Runs that differ in seed and fold alone.

    Attributes:
        runs: List of `Run`, those that are counted.
        accuracy: Dictionary from `EPOCHS` to dictionaries from seeds to
            accuracies (%).
        parameters: Integer; `None` if not all runs have the same.
    """

    runs: list
    accuracy: dict
    parameters: int | None


@dataclasses.dataclass(frozen=True)
class Line:
    """What one line of a table is about.

    Attributes:
        recipe: String.
        label: Which settings tell it from other lines of the recipe; empty
            if there are none.
        data: Name and number of classes of the data, a tuple, or `None`.
        baseline: `Arm`, or `None`.
        attention: `Arm`, or `None`.
        paired: Tuple of the seeds of which both arms have runs on the same
            data.
        not_comparable: Why it must not stand beside the paper's figures, or
            `None`.
    """

    recipe: str
    label: str = ""
    data: tuple | None = None
    baseline: Arm | None = None
    attention: Arm | None = None
    paired: tuple = ()
    not_comparable: str | None = None

    @property
    def title(self):
        """What it is called in tables."""
        published = PUBLISHED.get(self.recipe)
        title = published.title if published else self.recipe
        if self.label:
            title += f", {self.label}"
        if self.not_comparable:
            title += f" (not comparable: {self.not_comparable})"
        return title

    def values(self, arm, epoch="last_epoch", error=False):
        """Accuracies (%) of an arm, or errors, as a dictionary by seed."""
        arm = getattr(self, arm)
        found = {} if arm is None else arm.accuracy[epoch]
        return {s: 100 - v if error else v for s, v in sorted(found.items())}

    def differences(self, epoch="last_epoch", error=False):
        """What attention adds, as a dictionary by seed, paired ones alone."""
        baseline, attention = (self.values(arm, epoch, error) for arm in ARMS)
        return {
            seed: attention[seed] - baseline[seed]
            for seed in self.paired
            if seed in baseline and seed in attention
        }

    def per_million(self):
        """The two figures of the paper's Table 4, `None` where there is none.

        Returns:
            A tuple: accuracy (%) of the baseline per million of its
            parameters; and the paired difference per million of parameters
            that attention adds.
        """
        baseline = added = None
        accuracies = [*self.values("baseline").values()]
        if accuracies and self.baseline.parameters:
            mean = runs.spread(accuracies)["mean"]
            baseline = mean / (self.baseline.parameters / 1e6)
        differences = [*self.differences().values()]
        more = self.added_parameters()
        if differences and more is not None and more > 0:
            added = runs.spread(differences)["mean"] / (more / 1e6)
        return baseline, added

    def added_parameters(self):
        """How many parameters attention adds, or `None`."""
        counts = [
            arm and arm.parameters for arm in (self.baseline, self.attention)
        ]
        return None if None in counts else counts[1] - counts[0]


@dataclasses.dataclass(frozen=True)
class Tables:
    """What `gather` makes. `str` is all of it as Markdown.

    Attributes:
        lines: List of `Line`: the paper's data sets in its order, measured or
            not, then CIFAR, then others.
        notes: List of strings: what is not counted, paired or comparable.
        found: The `Found` that they were made of.
        uncounted: Dictionary from paths of runs to why they are not counted.
        date: When they were made, a string.
        command: What made them, a string, or `None`.
    """

    lines: list
    notes: list
    found: Found
    uncounted: dict
    date: str
    command: str | None

    def __str__(self):
        return "\n\n".join(_sections(self)) + "\n"

    def files(self):
        """Contents of the files that `write` writes, by name."""
        return {
            "table3.csv": _csv(_table_3_rows(self.lines)),
            "table4.csv": _csv(_table_4_rows(self.lines)),
            "cifar.csv": _csv(_cifar_rows(self.lines)),
            "others.csv": _csv(
                _other_rows(self.lines), header=next(_rows(Line("other")))
            ),
            "runs.csv": _csv(_run_rows(self)),
            "tables.md": str(self),
        }

    def write(self, folder):
        """Writes all tables, each file whole or not at all.

        Args:
            folder: Where to. It is made if it does not exist; files of the
                same names in it are replaced.

        Raises:
            OSError: if something cannot be written.
        """
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files().items():
            with files.replacing(folder / name) as path:
                path.write_text(content, "utf-8")


def find_runs(folders):
    """Finds the `results.json` of finished trainings.

    Args:
        folders: List of folders, which are searched with all that is below
            them. What lies in two of them is found once.

    Returns:
        A `Found`.

    Raises:
        NotADirectoryError: if one of `folders` is no folder.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "results.json").write_text("[1, 2]")
    ...     find_runs([folder])
    Found(runs=[], failed=[], others=1, smoke=0)
    """
    paths, failed = {}, []

    def fail(error):
        failed.append(f"{error.filename}: {error.strerror}.")

    for folder in folders:
        if not os.path.isdir(folder):
            raise NotADirectoryError(
                f"`folders` must be folders that exist. Received: {folder}."
            )
        for parent, inside, names in os.walk(folder, onerror=fail):
            inside[:] = [
                n for n in sorted(inside) if not files.is_unfinished(n)
            ]
            if runs.RESULTS in names:
                path = pathlib.Path(parent, runs.RESULTS)
                paths.setdefault(path.resolve(), path)
    found, others, smoke = [], 0, 0
    for path in sorted(paths.values()):
        try:
            run = _read(path)
        except OSError as error:
            fail(error)
        except (TypeError, ValueError) as error:
            failed.append(f"{path}: {error}")
        else:
            if run is None:
                others += 1
            elif run.settings.get("smoke"):
                smoke += 1
            else:
                found.append(run)
    return Found(found, failed, others, smoke)


def gather(found, command=None):
    """Makes the paper's tables of runs.

    Runs of one recipe are grouped by all that they depend on but arm, seed
    and fold, a line of a table each. Of a line, attention and baseline have
    the same settings but for `"attention"`, and the same data.

    Args:
        found: A `Found`.
        command: What it is done by, for whoever wants to repeat it.

    Returns:
        A `Tables`.

    Example:

    >>> tables = gather(Found([], [], others=0, smoke=0))
    >>> tables.lines[0].title, tables.lines[0].values("baseline")
    ('Dogs', {})
    """
    notes, uncounted, lines = [], {}, []
    recipes = {run.recipe for run in found.runs} - set(PUBLISHED)
    for recipe in [*PUBLISHED, *sorted(recipes)]:
        own = _lines(
            recipe,
            [run for run in found.runs if run.recipe == recipe],
            notes,
            uncounted,
        )
        if recipe in PUBLISHED and all(line.not_comparable for line in own):
            own.insert(0, Line(recipe))
        lines += own
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Tables(lines, notes, found, uncounted, date, command)


def interval(values):
    """The 95 % interval of a mean, by Student's t.

    Args:
        values: Numbers, one a seed.

    Returns:
        Its lower and upper end; `None` of a single value.

    Example:

    >>> low, high = interval([1.0, 3.0])  # 2 -+ 12.706 * sqrt(2) / sqrt(2)
    >>> round(low, 3), round(high, 3)
    (-10.706, 14.706)
    """
    spread = runs.spread(values)
    count = len(spread["values"])
    if count < 2:
        return None
    half = student_t(count - 1) * spread["std"] / math.sqrt(count)
    return spread["mean"] - half, spread["mean"] + half


def student_t(freedom):
    """What Student's t stays below in 95 of 100 cases, in absolute value.

    Args:
        freedom: Positive integer, degrees of freedom.

    Returns:
        A float.

    Example:

    >>> round(student_t(4), 3)
    2.776

    Reference:

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and
    26.7.4.
    """
    freedom = checks.integer("freedom", freedom)
    # The angle whose tangent is t / sqrt(freedom), halved down to.
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _within(middle, freedom) < 0.95:
            low = middle
        else:
            high = middle
    return math.tan(low) * math.sqrt(freedom)


def _within(angle, freedom):
    """The chance that |t| is below `tan(angle) * sqrt(freedom)`."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = cosine if odd else 1.0, 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    if odd:
        return 2 / math.pi * (angle + sine * total)
    return sine * total


# Reading.


def _read(path):
    """The `Run` in a file; `None` if it is of another kind."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"it is not JSON ({error}).") from error
    if not isinstance(content, dict) or MARKER not in content:
        return None
    if content[MARKER] != VERSION:
        raise ValueError(
            f"`{MARKER}` must be {VERSION}, of this version. Received: "
            f"{content[MARKER]!r}."
        )
    settings = _part(content, "settings")
    data = _part(content, "data")
    arm = checks.one_of("arm", content.get("arm"), ARMS)
    attention = settings.get("attention", "nothing")
    if not isinstance(attention, dict if arm == "attention" else type(None)):
        rule = "an object" if arm == "attention" else "null"
        raise ValueError(
            f"`settings.attention` must be {rule} for arm={arm!r}. "
            f"Received: {attention!r}."
        )
    for name, value in (
        ("recipe", content.get("recipe")),
        ("data.name", data.get("name")),
    ):
        if not isinstance(value, str):
            raise TypeError(f"`{name}` must be a string. Received: {value!r}.")
    checks.integer("data.classes", data.get("classes"))
    for name in ("training", "validation", "test"):
        if data.get(name) is not None:
            checks.integer(f"data.{name}", data[name], 0)
    fold = content.get("fold")
    if fold is not None and checks.integer("fold", fold, 0) >= FOLDS:
        raise ValueError(
            f"`fold` must be at most {FOLDS - 1}. Received: fold={fold}."
        )
    return Run(
        path=path,
        recipe=content["recipe"],
        arm=arm,
        seed=checks.integer("seed", content.get("seed"), 0),
        fold=fold,
        settings=settings,
        environment=_part(content, "environment"),
        data=data,
        parameters=checks.integer("parameters", content.get("parameters")),
        epochs=checks.integer("epochs", content.get("epochs")),
        training_seconds=checks.real(
            "training_seconds", content.get("training_seconds")
        ),
        metrics=_metrics(_part(content, "metrics")),
    )


def _metrics(metrics):
    """The metrics of both epochs, checked."""
    last, best = (metrics.get(epoch) for epoch in EPOCHS)
    found = {EPOCHS[0]: _part(metrics, EPOCHS[0]), EPOCHS[1]: best}
    for epoch, one in found.items():
        if one is None:
            continue
        if not isinstance(one, dict):
            raise TypeError(f"`{epoch}` must be an object. Received: {one!r}.")
        accuracy = _part(one, "test").get("accuracy")
        checks.real(f"{epoch}.test.accuracy", accuracy, 0, 1)
        if one.get("validation") is not None:
            _part(one, "validation")
    return found


def _part(content, name):
    """The object called `name` in another one."""
    part = content.get(name)
    if not isinstance(part, dict):
        raise TypeError(f"`{name}` must be an object. Received: {part!r}.")
    return part


# Grouping.


def _lines(recipe, found, notes, uncounted):
    """The lines of the runs of one recipe."""
    # All that arms share, then those of each, by what is written of them.
    shared, groups = {}, {}
    for run in found:
        common = {
            name: value
            for name, value in run.settings.items()
            if name not in ("attention", *IDENTITY)
        }
        about = {"settings": common, "data": _constant_data(run)}
        about["cross-validation"] = run.fold is not None
        key = _key(_flat(about))
        shared[key] = about
        attention = run.settings["attention"]
        arms = groups.setdefault(key, {})
        arms.setdefault(_key(attention), (attention, []))[1].append(run)
    drafts = []
    for key, arms in groups.items():
        _, baseline = arms.pop(_key(None), (None, []))
        for attention, runs_of in arms.values() or [(None, [])]:
            drafts.append((shared[key], attention, baseline, runs_of))
    labels = _labels(drafts)
    # A baseline is in as many lines as there are attentions of its settings.
    lines, made = [], {}
    for label, (about, _, *members) in zip(labels, drafts, strict=True):
        name, classes = about["data"]["name"], about["data"]["classes"]
        line = Line(
            recipe,
            label,
            (name, classes),
            not_comparable=_not_comparable(
                recipe, about["data"], about["cross-validation"]
            ),
        )
        arms = []
        for arm, runs_of in zip(ARMS, members, strict=True):
            if runs_of and id(runs_of) not in made:
                made[id(runs_of)] = _arm(
                    runs_of, f"{line.title}, {arm}", notes, uncounted
                )
            arms.append(made.get(id(runs_of)))
        paired = _paired(*arms, line.title, notes)
        lines.append(
            dataclasses.replace(
                line, baseline=arms[0], attention=arms[1], paired=paired
            )
        )
    notes += _not_paired(drafts, lines)
    return sorted(lines, key=lambda line: line.not_comparable is not None)


def _constant_data(run):
    """What is the same about the data of all runs of a line."""
    if run.fold is None:
        return {"classes": run.data["classes"], **run.data}
    # How many images there are differs by fold, and is compared by fold.
    return {name: run.data[name] for name in ("classes", "name")}


def _arm(found, where, notes, uncounted):
    """An `Arm` of runs that differ in seed and fold alone."""
    seeds = {}
    for run in found:
        first = seeds.setdefault(run.seed, {}).setdefault(run.fold, run)
        if first is not run:
            why = f"{first.path} is of the same settings, seed and fold"
            uncounted[run.path] = why
            notes.append(f"{where}: {run.path} is not counted: {why}.")
    counted, accuracy = [], {epoch: {} for epoch in EPOCHS}
    for seed, by_fold in sorted(seeds.items()):
        missing = sorted(set(range(FOLDS)) - set(by_fold))
        if None not in by_fold and missing:
            why = f"{_named('fold', missing)} missing"
            notes.append(f"{where}: seed {seed} is not counted: {why}.")
            uncounted.update((run.path, why) for run in by_fold.values())
            continue
        counted += by_fold.values()
        for epoch in EPOCHS:
            values = [run.accuracy(epoch) for run in by_fold.values()]
            if None not in values:
                accuracy[epoch][seed] = runs.spread(values)["mean"]
    parameters = {run.parameters for run in counted}
    if len(parameters) > 1:
        notes.append(
            f"{where}: runs have different numbers of parameters, "
            f"{' and '.join(f'{n:,}' for n in sorted(parameters))}."
        )
    for fold in range(FOLDS):
        data = {_key(_flat(run.data)) for run in counted if run.fold == fold}
        if len(data) > 1:
            notes.append(f"{where}: the data of fold {fold} differ by seed.")
    return Arm(
        counted, accuracy, parameters.pop() if len(parameters) == 1 else None
    )


def _paired(baseline, attention, title, notes):
    """The seeds that both arms have, on the same data."""
    if baseline is None or attention is None:
        return ()
    data = [
        {(run.seed, run.fold): _flat(run.data) for run in arm.runs}
        for arm in (baseline, attention)
    ]
    seeds = [{seed for seed, _ in one} for one in data]
    for arm, alone in (
        ("the baseline", seeds[0] - seeds[1]),
        ("attention", seeds[1] - seeds[0]),
    ):
        if alone:
            notes.append(
                f"{title}: the difference is without "
                f"{_listed('seed', sorted(alone))}, which {arm} alone has."
            )
    paired = []
    for seed in sorted(seeds[0] & seeds[1]):
        # By fold, which have different numbers of images.
        differ = []
        for key in sorted(data[0].keys() & data[1].keys(), key=str):
            if key[0] == seed:
                said = _differences(data[1][key], data[0][key])
                differ += [f"{said} (fold {key[1]})"] if said else []
        if differ:
            notes.append(
                f"{title}: seed {seed} is not paired, as the data differ: "
                f"{'; '.join(differ)}."
            )
        else:
            paired.append(seed)
    return tuple(paired)


def _not_paired(drafts, lines):
    """Says why attention has no baseline, where there is one after all."""
    baselines = [_flat(about) for about, _, baseline, _ in drafts if baseline]
    notes = []
    for line, (about, _, baseline, attention) in zip(
        lines, drafts, strict=True
    ):
        if baseline or not attention or not baselines:
            continue
        own = _flat(about)
        nearest = min(
            baselines, key=lambda other: len(_differing([own, other]))
        )
        notes.append(
            f"{line.title}: attention and baseline are not paired, as more "
            f"than attention differs: {_differences(own, nearest)}."
        )
    return notes


def _not_comparable(recipe, data, folds):
    """Why results must not stand beside the paper's, or `None`."""
    published = PUBLISHED.get(recipe)
    if published is None:
        return None
    if data["classes"] != published.classes:
        return f"{data['classes']} of {published.classes} classes"
    reasons = []
    if not data["name"].casefold().startswith(published.name.casefold()):
        reasons.append(f"the data are {data['name']}, not {published.name}")
    if published.folds and not folds:
        reasons.append("not cross-validated")
    training = data.get("training")
    if training is not None:
        training += data.get("validation") or 0
    for kind, number, wanted in (
        ("training", training, published.training),
        ("test", data.get("test"), published.test),
    ):
        if None not in (number, wanted) and number != wanted:
            reasons.append(f"{number:,} of {wanted:,} {kind} images")
    return ", ".join(reasons) or None


def _labels(drafts):
    """What tells each line from the others of its recipe."""
    abouts = [_flat(about) for about, *_ in drafts]
    shared = []
    for name in _differing(abouts):
        # All settings, but of the data only what tells more lines apart: with
        # other classes, all numbers of images are others, too.
        if name.startswith("settings.") or _kinds(
            abouts, [*shared, name]
        ) > _kinds(abouts, shared):
            shared.append(name)
    # A line of a baseline alone says nothing about attention.
    flat = [
        None if attention is None else _flat({"attention": attention})
        for _, attention, *_ in drafts
    ]
    own = _differing([one for one in flat if one is not None])
    return [
        ", ".join(
            [
                *(_said(name, about) for name in shared),
                *(_said(name, one) for name in own if one is not None),
            ]
        )
        for about, one in zip(abouts, flat, strict=True)
    ]


def _kinds(flat, names):
    """How many of flat dictionaries differ in the values of these keys."""
    return len({_key([_said(name, one) for name in names]) for one in flat})


def _flat(content, start=""):
    """Nested dictionaries as one, whose keys are paths with dots.

    Empty ones are as good as none.
    """
    found = {}
    for name, value in content.items():
        if isinstance(value, dict):
            found.update(_flat(value, f"{start}{name}."))
        else:
            found[f"{start}{name}"] = value
    return found


def _differing(flat):
    """The keys by which flat dictionaries differ, in their order."""
    names = {name: None for one in flat for name in one}
    return [
        name
        for name in names
        if len({_key(one[name]) if name in one else "" for one in flat}) > 1
    ]


def _differences(attention, baseline):
    """Says what differs between the arms, of flat dictionaries."""
    return ", ".join(
        f"{_said(name, attention)} with attention, {_said(name, baseline)} "
        "without"
        for name in _differing([attention, baseline])
    )


def _said(name, flat):
    """A setting and its value."""
    short = name.removeprefix("settings.")
    if name not in flat:
        return f"no `{short}`"
    return f"`{short}={json.dumps(flat[name], ensure_ascii=False)}`"


def _key(value):
    """What equal values have in common, and others do not."""
    return json.dumps(value, sort_keys=True)


def _listed(word, numbers):
    """`"seed 1"`, `"seeds 1 and 2"`."""
    *most, last = map(str, numbers)
    listed = f"{', '.join(most)} and {last}" if most else last
    return f"{word}{'s' if most else ''} {listed}"


def _named(word, numbers):
    """`"fold 1 is"`, `"folds 1 and 2 are"`."""
    return f"{_listed(word, numbers)} {'is' if len(numbers) == 1 else 'are'}"


# Rows of the CSV files.


def _table_3_rows(lines):
    for line in lines:
        if line.recipe in TABLE_3:
            yield from _rows(
                line,
                ("baseline", "attention", "difference"),
                _with_difference(TABLE_3[line.recipe], 1),
            )


def _cifar_rows(lines):
    for line in lines:
        if line.recipe in TABLE_2:
            yield from _rows(
                line,
                ("wrn_40", "warn_28", "warn_40"),
                TABLE_2[line.recipe],
                error=True,
            )


def _other_rows(lines):
    for line in lines:
        if line.recipe not in PUBLISHED:
            yield from _rows(line)


def _rows(line, columns=(), figures=(), error=False):
    """Rows of one line: of the last epoch, and of the best by validation."""
    for epoch in EPOCHS:
        # The paper's figures stand where they can be compared with, once.
        beside = epoch == EPOCHS[0] and not line.not_comparable
        row = {
            **_start(line),
            "epoch": epoch,
            "unit": "error (%)" if error else "accuracy (%)",
            **{
                f"{name}_paper": figure if beside else None
                for name, figure in zip(columns, figures, strict=True)
            },
        }
        values = {arm: line.values(arm, epoch, error) for arm in ARMS}
        row["measured"] = _measured(values)
        for arm in ARMS:
            row.update(_spread_cells(arm, values[arm]))
            held = getattr(line, arm)
            row[f"{arm}_parameters"] = held and held.parameters
        differences = line.differences(epoch, error)
        row.update(_spread_cells("difference", differences))
        ends = interval(differences.values()) if differences else None
        for name, end in zip(("low", "high"), ends or [None] * 2, strict=True):
            row[f"difference_{name}"] = _rounded(end)
        yield row


def _table_4_rows(lines):
    for line in lines:
        if line.recipe in TABLE_4:
            figures = TABLE_4[line.recipe]
            if line.not_comparable:
                figures = None, None
            ours = line.per_million()
            values = {arm: line.values(arm) for arm in ARMS}
            yield {
                **_start(line),
                "baseline_paper": figures[0],
                "attention_paper": figures[1],
                "measured": _measured(values),
                "baseline": _rounded(ours[0]),
                "attention": _rounded(ours[1]),
                "baseline_parameters": line.baseline
                and line.baseline.parameters,
                "added_parameters": line.added_parameters(),
                "paired_seeds": _seeds(line.differences()),
            }
    ours = _average(lines)
    yield {
        **_start(Line("average")),
        "data_set": "Average",
        "baseline_paper": TABLE_4_AVERAGE[0],
        "attention_paper": TABLE_4_AVERAGE[1],
        "measured": _measured(dict(zip(ARMS, ours, strict=True))),
        "baseline": _rounded(ours[0]),
        "attention": _rounded(ours[1]),
    }


def _run_rows(tables):
    titles = {}
    for line in tables.lines:
        for arm in (line.baseline, line.attention):
            for run in arm.runs if arm else ():
                titles.setdefault(run.path, []).append(line.title)
    for run in tables.found.runs:
        environment, data = run.environment, run.data
        row = {
            "recipe": run.recipe,
            "arm": run.arm,
            "seed": run.seed,
            "fold": run.fold,
            "lines": "; ".join(titles.get(run.path, [])),
            "not_counted": tables.uncounted.get(run.path),
            "data": data["name"],
            "classes": data["classes"],
            "training": data.get("training"),
            "validation": data.get("validation"),
            "test": data.get("test"),
            "left_out": _key(data.get("left_out")),
            "parameters": run.parameters,
            "epochs": run.epochs,
            "training_seconds": run.training_seconds,
        }
        for epoch in EPOCHS:
            metrics = run.metrics[epoch] or {}
            row[epoch] = metrics.get("epoch")
            for part in ("validation", "test"):
                for name in ("loss", "accuracy"):
                    value = (metrics.get(part) or {}).get(name)
                    row[f"{epoch}_{part}_{name}"] = value
        backend = environment.get("backend")
        row.update(
            {
                name: environment.get(name)
                for name in ("date", "command", "cpu", "cores")
            }
        )
        row["devices"] = " ".join(map(str, environment.get("devices") or []))
        row["keras_warn"] = environment.get("keras_warn")
        row["keras"] = environment.get("keras")
        row["backend"] = backend
        row["backend_version"] = environment.get(backend)
        row["settings"] = _key(run.settings)
        row["file"] = str(run.path)
        yield row


def _start(line):
    """The first cells of a row."""
    published = PUBLISHED.get(line.recipe)
    name, classes = line.data or (None, None)
    return {
        "recipe": line.recipe,
        "data_set": published.title if published else None,
        "data": name,
        "classes": classes,
        "line": line.label,
        "not_comparable": line.not_comparable,
    }


def _spread_cells(start, values):
    """Mean, standard deviation and seeds of values by seed."""
    spread = runs.spread(values.values()) if values else {}
    return {
        f"{start}_mean": _rounded(spread.get("mean")),
        f"{start}_std": _rounded(spread.get("std")),
        f"{start}_seeds": _seeds(values),
    }


def _rounded(value):
    """Without the noise of sums of floats."""
    return None if value is None else round(value, 6)


def _seeds(values):
    return " ".join(map(str, values))


def _measured(values):
    """Which arms there is a value of."""
    there = [arm for arm in ARMS if values[arm] not in (None, {})]
    if len(there) == 1:
        missing = ARMS[1 - ARMS.index(there[0])]
        return f"{missing} {NOT_MEASURED}"
    return "yes" if there else NOT_MEASURED


def _average(lines):
    """Averages of our Table 4, if each data set has one figure, else `None`."""
    found = [
        line.per_million()
        for line in lines
        if line.recipe in TABLE_4 and not line.not_comparable
    ]
    if len(found) != len(TABLE_4):
        return None, None
    return tuple(
        None if None in column else runs.spread(column)["mean"]
        for column in zip(*found, strict=True)
    )


def _with_difference(figures, digits):
    return *figures, round(figures[1] - figures[0], digits)


def _csv(rows, header=()):
    """The text of a CSV file.

    Args:
        rows: Dictionaries of the same keys.
        header: These keys, for where there are no rows.
    """
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(
        text, rows[0] if rows else header, lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


# Markdown.


def _sections(tables):
    """The parts of the Markdown, in their order."""
    found = tables.found
    by = f" by `{tables.command}`" if tables.command else ""
    yield "# Finished trainings beside the paper"
    yield f"Made {tables.date}{by}. {_counts(found, tables.uncounted)}"
    yield INTRODUCTION

    yield "## Table 3: accuracy (%)"
    yield NETWORKS
    lines = [line for line in tables.lines if line.recipe in TABLE_3]
    header = [
        "data set",
        "WRN, paper",
        "baseline, ours",
        "WARN, paper",
        "attention, ours",
        "difference, paper",
        "difference, ours",
        "95 % interval",
    ]
    yield _table(header, [_table_3_cells(line) for line in lines])
    yield from _best(lines)

    yield "## Table 4: accuracy (%) per million of parameters"
    yield (
        "WRN and baseline: accuracy per million of their parameters. WARN and "
        "attention:\nthe difference per million of parameters added."
    )
    header = [
        "data set",
        "WRN, paper",
        "baseline, ours",
        "WARN, paper",
        "attention, ours",
        "parameters of the baseline, ours",
        "added, ours",
    ]
    ours = _average(lines)
    # Of two lines of a data set, none is the one for the average.
    all_measured = all(line.values(arm) for line in lines for arm in ARMS)
    yield _table(
        header,
        [
            *(_table_4_cells(line) for line in lines),
            [
                "Average",
                *_in_turn(
                    TABLE_4_AVERAGE,
                    [_figure(one, all_measured) for one in ours],
                ),
                "",
                "",
            ],
        ],
    )

    yield "## CIFAR: error (%)"
    yield (
        "The paper's figures are from its Table 2, where WRN 40, WARN 28 and "
        "WARN 40 have\n"
        + ", ".join(f"{count} M" for count in TABLE_2_PARAMETERS[:2])
        + f" and {TABLE_2_PARAMETERS[2]} M parameters; its difference is "
        "WARN 40 − WRN 40."
    )
    lines = [line for line in tables.lines if line.recipe in TABLE_2]
    header = [
        "data set",
        "WRN 40, paper",
        "baseline, ours",
        "WARN 28 / 40, paper",
        "attention, ours",
        "difference, paper",
        "difference, ours",
        "95 % interval",
        "parameters, ours",
        "added, ours",
    ]
    yield _table(header, [_cifar_cells(line) for line in lines])
    yield from _best(lines, error=True)

    lines = [line for line in tables.lines if line.recipe not in PUBLISHED]
    if lines:
        yield "## Other data: accuracy (%)"
        header = [
            "recipe",
            "data",
            "classes",
            "baseline",
            "attention",
            "difference",
            "95 % interval",
        ]
        yield _table(
            header,
            [
                [line.title, *map(str, line.data), *_ours(line, 1)]
                for line in lines
            ],
        )
        yield from _best(lines)

    for title, items in (
        ("Notes", tables.notes),
        ("Files that cannot be read", found.failed),
        ("Machines", _machines(found.runs)),
    ):
        if items:
            yield f"## {title}"
            yield "\n".join(f"- {_one_line(item)}" for item in items)


def _counts(found, uncounted):
    """How many runs there are, and what is left out."""
    counts = [
        (len(uncounted), "not counted, see the notes"),
        (found.smoke, "left out, as smoke tests"),
        (found.others, f"{runs.RESULTS} of another kind ignored"),
        (len(found.failed), "could not be read, see below"),
    ]
    count = len(found.runs)
    return (
        "; ".join(
            [
                f"{count} run{'' if count == 1 else 's'}",
                *(f"{count} {what}" for count, what in counts if count),
            ]
        )
        + "."
    )


def _table_3_cells(line):
    paper = ["–"] * 3
    if not line.not_comparable:
        *figures, difference = _with_difference(TABLE_3[line.recipe], 1)
        paper = [*map(str, figures), f"{difference:+.1f}"]
    *ours, ends = _ours(line, 1)
    return [line.title, *_in_turn(paper, ours), ends]


def _cifar_cells(line):
    paper = ["–"] * 3
    if not line.not_comparable:
        wrn, *warns = TABLE_2[line.recipe]
        paper = [
            f"{wrn:.2f}",
            " / ".join(f"{warn:.2f}" for warn in warns),
            f"{warns[1] - wrn:+.2f}",
        ]
    *ours, ends = _ours(line, 2, error=True)
    return [line.title, *_in_turn(paper, ours), ends, *_parameters(line)]


def _table_4_cells(line):
    paper = TABLE_4[line.recipe]
    if line.not_comparable:
        paper = ["–"] * 2
    ours = [
        _figure(one, line.values(arm))
        for one, arm in zip(line.per_million(), ARMS, strict=True)
    ]
    return [line.title, *_in_turn(paper, ours), *_parameters(line)]


def _best(lines, error=False):
    """The table of epochs that were chosen on the validation part, if any."""
    epoch = EPOCHS[1]
    lines = [
        line for line in lines if any(line.values(arm, epoch) for arm in ARMS)
    ]
    if not lines:
        return
    yield "### The same, after the epoch that is best on the validation part"
    digits = 2 if error else 1
    yield _table(
        ["data set", "baseline", "attention", "difference", "95 % interval"],
        [[line.title, *_ours(line, digits, epoch, error)] for line in lines],
    )


def _ours(line, digits, epoch=EPOCHS[0], error=False):
    """Cells of a line: both arms, the difference, and its interval."""
    arms = [line.values(arm, epoch, error) for arm in ARMS]
    none = NOT_MEASURED if epoch == EPOCHS[0] else "–"
    cells = [_plus_minus(values, digits) or none for values in arms]
    differences = line.differences(epoch, error)
    missing = "not paired" if all(arms) else "–"
    cells.append(_plus_minus(differences, digits, "+z") or missing)
    if len(differences) < 2:
        return [*cells, "–"]
    ends = interval(differences.values())
    return [*cells, f"[{', '.join(f'{end:+z.{digits}f}' for end in ends)}]"]


def _plus_minus(values, digits, sign=""):
    """Mean and standard deviation of values by seed; empty without any."""
    if not values:
        return ""
    spread = runs.spread(values.values())
    mean = f"{spread['mean']:{sign}.{digits}f}"
    if len(values) == 1:
        return f"{mean} (one seed)"
    return f"{mean} ± {spread['std']:.{digits}f} ({len(values)} seeds)"


def _figure(value, measured):
    """A figure of Table 4, or why there is none."""
    if value is None:
        return "–" if measured else NOT_MEASURED
    return f"{value:.1f}"


def _parameters(line):
    """Cells: parameters of the baseline, and those that attention adds."""
    baseline = line.baseline and line.baseline.parameters
    return [
        "–" if count is None else f"{count / 1e6:.2f} M"
        for count in (baseline, line.added_parameters())
    ]


def _in_turn(paper, ours):
    """The paper's and our cells, by turns."""
    return [
        str(cell) for pair in zip(paper, ours, strict=True) for cell in pair
    ]


def _machines(found):
    """What runs ran on, and when, a string each."""
    machines = {}
    for run in found:
        environment = run.environment
        backend = environment.get("backend")
        cores = environment.get("cores")
        parts = [
            environment.get("cpu"),
            cores and f"{cores} cores",
            " ".join(map(str, environment.get("devices") or [])),
            *(
                environment.get(name) and f"{name} {environment[name]}"
                for name in ("keras_warn", "keras", backend)
            ),
        ]
        text = ", ".join(part for part in parts if part) or "unknown"
        machines.setdefault(text, []).append(environment.get("date"))
    said = []
    for text, dates in machines.items():
        days = sorted({str(date)[:10] for date in dates if date})
        when = (
            f", {' to '.join(dict.fromkeys([days[0], days[-1]]))}"
            if days
            else ""
        )
        count = len(dates)
        said.append(f"{text}: {count} run{'' if count == 1 else 's'}{when}")
    return said


def _table(header, rows):
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(_one_line(cell, '|') for cell in line)} |"
        for line in lines
    )


def _one_line(text, escaped=""):
    """Text without line breaks, and with one character escaped."""
    text = " ".join(text.split())
    return text.replace(escaped, f"\\{escaped}") if escaped else text
