"""Reads what finished trainings say of themselves."""

import dataclasses
import json
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
