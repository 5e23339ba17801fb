"""A search: what is searched, in which folder, and what comes of it."""

import contextlib
import dataclasses
import pathlib
import shutil
import sys
import threading

from keras_warn import files
from keras_warn import runs
from searching import hparams
from searching import page
from searching import records
from searching.space import Setting

# Seconds between two looks at what workers have written.
LOOK = 2.0
# How many models a process trains. TensorFlow 2.21 keeps the graph of each, in
# which they were trained: 50 MB for a small one.
TRAININGS = 10


class Stopped(RuntimeError):
    """What ends a search, and not a trial alone. The same search can go on."""


class Renewal(Exception):
    """A process has trained enough: another one must go on."""


@dataclasses.dataclass
class Search:
    """All that trials need, and all that is made of them.

    Attributes:
        subject: A recipe, one of the classes of `searching.subjects`.
        space: `searching.space.Space`.
        limits: `searching.limits.Limits`.
        costs: `searching.cost.Costs`.
        folder: Path of all that is kept.
        tuner: Name of the tuner.
        objective: `"val_accuracy"` or `"val_loss"`.
        executions: How many trainings a trial has, of the seeds from 0.
        max_trials: How many trials there will be, or `None`.
        progress: `searching.progress.Progress`.
        verbose: As of `model.fit`.
        renews: Whether `Renewal` is raised after a few trainings.
    """

    subject: object
    space: object
    limits: object
    costs: object
    folder: pathlib.Path
    tuner: str
    objective: str
    executions: int
    max_trials: int | None
    progress: object
    verbose: object
    renews: bool = False

    def __post_init__(self):
        self.run = None  # on workers, who write their trials alone
        self.records = None
        self.logs = self.folder / "tensorboard"
        self.finished = False
        self.retrained = []
        self.trainings = 0

    def renew(self):
        """Raises `Renewal` if this process has trained enough."""
        if self.renews and self.trainings >= TRAININGS:
            raise Renewal

    @contextlib.contextmanager
    def opened(self, identity, office, overwrite):
        """Opens the folder; nobody else can meanwhile.

        Args:
            identity: All that the trials depend on, for JSON.
            office: `searching.office.Office`.
            overwrite: Whether a search in the folder is thrown away.

        Raises:
            BlockingIOError: if another process works there, or a worker of
                the same name.
            FileExistsError: if the folder holds another search, or no search.
        """
        with contextlib.ExitStack() as stack:
            if office.is_worker:
                runs.check_same(self.folder, identity)
                own = self.folder / f"parts/{office.name}"
                stack.enter_context(files.locked(own))
            else:
                self.folder.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(files.locked(self.folder))
                self.run = runs.RunFolder(
                    self.folder, identity, overwrite, finished=True
                )
                if not list(self.folder.glob("parts/trials/*")):
                    # Of a search that was overwritten.
                    self._remove("retrained", "tensorboard")
                hparams.describe(
                    self.logs,
                    {one.name: one.domain for one in self.space.varying},
                )
            self.records = records.Records(self.folder / "parts/trials")
            yield

    @property
    def over(self):
        """The part of the run that says that there are no more trials."""
        return f"no_more_than_{self.max_trials}"

    def end(self, oracle):
        """Says that there are no more trials, and why, if they are few.

        Args:
            oracle: What has chosen them.

        Raises:
            Stopped: if too many failed, or none has a result.
        """
        found = self.records.read()
        if oracle.fails:
            reason = found[-1]["reason"] or "it was not recorded"
            raise Stopped(
                "Many trials in a row have failed, the last one by "
                f"{reason.splitlines()[0]}"
            )
        if self.best() is None:
            raise Stopped("No trial has a result.")
        if self.max_trials and len(found) < self.max_trials:
            print(
                f"\nNothing more to try in the space, within the limits: "
                f"{len(found)} of {self.max_trials} trials.",
                flush=True,
            )
        self.run.part(self.over, dict, trials=len(found))
        self._remove("parts/training")

    def _remove(self, *names):
        for name in names:
            if (self.folder / name).exists():
                shutil.rmtree(self.folder / name)

    def best(self):
        """The record of the best trial, or `None`."""
        return records.best(self.records.read(), self.objective)

    def report(self):
        """Writes what is known so far, and says what is new."""
        found = self.records.read()
        self.progress.ended(found)
        if self.run is None:
            return
        names = [one.name for one in self.space.varying]
        summary = self._summary(found)
        self.run.write("trials.csv", records.to_csv(found, names))
        self.run.write("search.html", page.page(summary))
        self.run.write("results.json", summary)

    @contextlib.contextmanager
    def reporting(self):
        """Reports now and then what workers have done."""
        over = threading.Event()

        def look():
            known = -1
            while not over.wait(LOOK):
                found = len(self.records.read())
                if found != known:
                    known = found
                    try:
                        self.report()
                    except OSError as error:
                        print(f"No report: {error}", file=sys.stderr)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def retrain(self, seeds):
        """Trains the best setting, the recipe's own and the network alone.

        From scratch, by several seeds, since the best of many trials is better
        by chance, too. Tested only now.

        Args:
            seeds: List of non-negative integers.
        """
        best = self.best()
        arms = self._arms(best) if best else []
        todo = [(arm, seed) for seed in seeds for arm in arms]
        for i, ((arm, key, setting), seed) in enumerate(todo, start=1):
            name = f"retrained_{key}_{seed}"
            done = " is done already" if self.run.has(name) else ""
            print(
                f"\n[{i}/{len(todo)}] Retraining: {arm}, seed {seed}{done}",
                flush=True,
            )
            found = self.run.part(
                name, self._retrained, setting, seed, f"{key}/seed_{seed}"
            )
            if "failed" in found:
                print(f"Retraining failed: {found['failed']}", flush=True)
            else:
                self.retrained.append({"arm": arm, "seed": seed, **found})
            self.report()
            if i < len(todo):
                self.renew()
        self.finished = True
        self.report()

    def _arms(self, best):
        """What is retrained: name, folder and setting of each."""
        own = self.subject.setting
        setting = self.space.setting(best["values"])
        arms = [
            ("baseline", "baseline", Setting(None, own.learning_rate)),
            ("default", "default", own),
        ]
        if setting.learning_rate != own.learning_rate:
            # Or a better learning rate would be taken for the attention's.
            arms.insert(
                1,
                (
                    "baseline_at_best_rate",
                    f"baseline_{setting.learning_rate:g}",
                    Setting(None, setting.learning_rate),
                ),
            )
        if setting != own:
            arms.append(("best", f"trial_{best['trial']}", setting))
        return arms

    def _retrained(self, setting, seed, name):
        self.trainings += 1
        folder = self.folder / "retrained" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        cost = self.costs.with_latency(setting.attention)
        try:
            found = self.subject.retrain(setting, seed, folder, self.verbose)
        except FloatingPointError as error:
            # As of trials, it is recorded and the others go on.
            return {"failed": str(error)}
        return {**found, "cost": dataclasses.asdict(cost)}

    def _summary(self, found):
        best = records.best(found, self.objective)
        command = None
        if best is not None:
            command = self.subject.command(self.space.setting(best["values"]))
        return {
            "recipe": self.subject.path.stem,
            "tuner": self.tuner,
            "objective": self.objective,
            "epochs": self.subject.epochs,
            "executions": self.executions,
            "max_trials": self.max_trials,
            "finished": self.finished,
            "limits": self.limits.limits,
            "space": [
                {"name": one.name, "values": str(one), "default": one.default}
                for one in self.space.varying
            ],
            "network": {
                "parameters": self.costs.parameters,
                "operations": self.costs.operations,
            },
            "trials": found,
            "best": best and best["trial"],
            "command": command,
            "retrained": self.retrained,
            "environment": runs.environment(),
        }
