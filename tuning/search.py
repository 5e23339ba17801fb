"""Searches how much attention a recipe needs, and where.

    python tuning/search.py cluttered_mnist --max-trials 30
    python tuning/search.py image_folder --data-dir FOLDER --tuner bayesian \\
        --space depth width=1,4,16 learning_rate --max-overhead 5%
    python tuning/search.py recipes/cub200.py --smoke

RECIPE is a recipe's name, or its file; your own, too, if it has a `Recipe`
called RECIPE. All options of the recipe are options here, and say what the
search starts from: `search.py RECIPE --help`.

tuning/README.md says how, and what comes out. With `--chief` and `--worker`,
one process chooses trials and others train them; they share the folder `--out`
and all other options.

Stopped or killed, the same command resumes it, with a higher `--max-trials`,
too. A worker that was killed resumes when it is started again by the same name.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import sys
import tempfile

# Before TensorFlow is imported: its start-up lines are not ours to explain.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import adapters
import cluster
import costs
import grpc
import keras_tuner
import pandas as pd
import results
import space
import tuner

from keras_warn import files
from keras_warn.cli.options import count
from keras_warn.environment import environment
from keras_warn.training import runs

# Of random and Bayesian searches. Grid and Hyperband have an end of their own.
MAX_TRIALS = 30
# By how many seeds the best setting is retrained.
SEEDS = 3
# How many models a process trains. TensorFlow 2.21 keeps the graph of each, in
# which they were trained: 50 MB for a small one.
TRAININGS = 10

RESUMES = "The same command, without --overwrite, resumes."
# Exit codes, as the shell and argparse know them.
FAILED, WRONG, INTERRUPTED = 1, 2, 130


def main(argv=None, renews=False):
    """Runs the command; with `renews`, new processes give back its memory."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog=f"search.py {argv[0] if argv else 'RECIPE'}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if not argv or argv[0].startswith("-"):
        parser.parse_args([word for word in argv if word in ("-h", "--help")])
        parser.error(f"RECIPE must come first: {', '.join(adapters.names())}.")
    try:
        kind, recipe, path = adapters.load(argv[0])
    except ValueError as error:
        parser.error(str(error))
    kind.add_arguments(recipe, parser)
    _add_arguments(parser, path.stem)
    arguments = parser.parse_args(argv[1:])
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    _add_arguments(own, path.stem)
    words = own.parse_known_args(argv[1:])[1]
    try:
        with tempfile.TemporaryDirectory() as folder:
            group = cluster.Cluster(arguments.chief, arguments.worker)
            group.wait()
            adapter = kind(recipe, arguments, folder)
            command = [path, *adapter.words(words)]
            search = Search(arguments, adapter, command, group, renews)
            with search.opened(arguments.overwrite):
                search.run()
    except tuner.Renewal:
        sys.stdout.flush()
        words = [word for word in argv if word != "--overwrite"]
        os.execv(sys.executable, [sys.executable, __file__, *words])
    except (ImportError, OSError, TypeError, ValueError) as error:
        parser.exit(WRONG, f"search: {error}\n")
    except (tuner.Stopped, keras_tuner.errors.FatalError) as error:
        parser.exit(FAILED, f"search: {error}\n{RESUMES}\n")
    except grpc.RpcError as error:
        gone = f"the chief is gone ({error.code()})"
        parser.exit(FAILED, f"search: {gone}.\n{RESUMES}\n")
    except KeyboardInterrupt:
        parser.exit(INTERRUPTED, f"\nsearch: stopped. {RESUMES}\n")


class Search:
    """A search of one recipe in one folder.

    `command` is the recipe's path, and its own words of the command line.
    """

    def __init__(self, arguments, adapter, command, cluster, renews=False):
        self.arguments, self.adapter = arguments, adapter
        self.command, self.cluster = command, cluster
        self.renews, self.trainings = renews, 0
        self.retrained, self.finished = [], False
        self.verbose = 1 if sys.stdout.isatty() else 2
        smoke = "_smoke" * arguments.smoke
        name = pathlib.Path(command[0]).stem
        default = f"runs/search_{name}{smoke}"
        self.folder = pathlib.Path(arguments.out or default)
        self.trials = self.folder / "parts/trials"
        self.logs = self.folder / "tensorboard"
        endless = arguments.tuner in ("random", "bayesian")
        if arguments.max_trials is None and (arguments.smoke or endless):
            arguments.max_trials = 2 if arguments.smoke else MAX_TRIALS
        if arguments.retrain is None:
            arguments.retrain = 1 if arguments.smoke else SEEDS
        limits = costs.parse(arguments.max_overhead)
        chosen = space.parse(arguments.space) if arguments.space else None
        self.space = space.Space(
            adapter.setting, adapter.points, adapter.named, chosen
        )
        self.costs = costs.Costs(
            adapter.backbone, adapter.attended, self.space, limits
        )
        self.costs.check(chosen or ())
        own = self.space.setting({}) == adapter.setting
        if not (own and self.costs.accept({})):
            print(
                "The recipe's own setting is not in the space, or costs more "
                "than is allowed: no trial will have it."
            )

    @contextlib.contextmanager
    def opened(self, overwrite):
        """Opens the folder; nobody else can meanwhile."""
        # Flat, for an error to name what differs alone.
        (identity,) = pd.json_normalize(self.adapter.identity()).to_dict(
            "records"
        )
        for name in self.space.values:
            identity[f"space.{name}"] = self.space.describe(name)
        for name in ("tuner", "objective", "executions", "seed"):
            identity[f"search.{name}"] = getattr(self.arguments, name)
        identity["limits"] = self.costs.limits
        with contextlib.ExitStack() as stack:
            if self.cluster.worker:
                runs.check_same(self.folder, identity)
                own = self.folder / f"parts/worker_{self.cluster.worker}"
                stack.enter_context(files.locked(own))
            else:
                self.folder.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(files.locked(self.folder))
                self.parts = runs.RunFolder(
                    self.folder, identity, overwrite, finished=True
                )
                if not self.trials.exists():  # of a search before this one
                    for path in (self.logs, self.folder / "retrained"):
                        shutil.rmtree(path, ignore_errors=True)
            self.trials.mkdir(exist_ok=True)
            yield

    def run(self):
        """Everything, but for what an earlier start has done."""
        if self.cluster.worker:
            tuner.Tuner(self.oracle(), self).search()
            return
        most = self.arguments.max_trials
        over = f"no_more_than_{most}"
        if not self.parts.has(over):
            oracle = self.oracle()
            searching = tuner.Tuner(oracle, self)
            self.report()
            searching.search()
            found = results.read(self.trials)
            if oracle.failing:
                raise tuner.Stopped(
                    "Many trials in a row have failed, the last one by "
                    f"{found.reason.iloc[-1]}"
                )
            if results.completed(found).empty:
                raise tuner.Stopped("No trial has a result.")
            if most and len(found) < most:
                print(
                    "\nNothing more to try in the space, within the limits: "
                    f"{len(found)} of {most} trials."
                )
            self.parts.part(over, dict)
            for state in self.trials.glob("*/seed_*"):
                shutil.rmtree(state)
        self.retrain()
        print(f"\nEverything is in {self.folder}.")

    def renew(self):
        """Raises `Renewal` if this process has trained enough models."""
        if self.renews and self.trainings >= TRAININGS:
            raise tuner.Renewal

    def oracle(self):
        """What chooses trials."""
        options = {"max_trials": self.arguments.max_trials}
        if self.arguments.tuner == "hyperband":
            options["max_epochs"] = self.adapter.epochs
        return tuner.ORACLES[self.arguments.tuner](
            accept=self.costs.accept,
            folder=self.folder / "parts/tuner",
            report=self.report,
            objective=keras_tuner.Objective(
                self.arguments.objective,
                "max" if self.arguments.objective == "val_accuracy" else "min",
            ),
            hyperparameters=self.space.hyperparameters(),
            seed=self.arguments.seed,
            **options,
        )

    def retrain(self):
        """Trains the best setting, the recipe's own and the backbone alone."""
        # By several seeds, since the best of many trials is better by chance,
        # too. Tested only now.
        found = results.read(self.trials)
        trial = results.best(found, self.arguments.objective)
        own, best = self.adapter.setting, self._setting(trial)
        rate, alone = best.learning_rate, space.Setting(None, own.learning_rate)
        variants = {
            "baseline": ("baseline", alone),
            "default": ("default", own),
        }
        if rate != own.learning_rate:
            # Or a better learning rate would be taken for the attention's.
            one = f"baseline_{rate:g}", space.Setting(None, rate)
            variants["baseline_at_best_rate"] = one
        if best != own:
            variants["best"] = (f"trial_{trial.trial}", best)
        for seed in range(self.arguments.retrain):
            for variant, (name, setting) in variants.items():
                self.renew()
                print(f"\nRetraining {name}, seed {seed}", flush=True)
                part = f"retrained_{name}_{seed}"
                folder = self.folder / f"retrained/{name}/seed_{seed}"
                given = setting, seed, folder
                found = self.parts.part(part, self._retrain, *given)
                row = {"variant": variant, "seed": seed, **found}
                self.retrained.append(row)
                self.report()
        self.finished = True
        self.report()

    def _retrain(self, setting, seed, folder):
        self.trainings += 1
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            found = self.adapter.retrain(setting, seed, folder, self.verbose)
        except FloatingPointError as error:
            # As of trials, it is recorded and the others follow.
            print(f"Retraining failed: {error}", flush=True)
            return {"reason": str(error)}
        cost = self.costs.of(setting.attention)
        return {
            **{f"{part}_accuracy": value for part, value in found.items()},
            "parameters": self.costs.alone["parameters"] + cost["parameters"],
            "operations_added": cost["operations_added"],
        }

    def report(self):
        """Writes what is known so far."""
        trials, s = results.read(self.trials), self.arguments
        best, own, command = results.best(trials, s.objective), None, None
        if best is not None:
            setting = self._setting(best)
            own = setting == self.adapter.setting
            command = adapters.command(*self.command, setting=setting)
        summary = {
            "recipe": self.command[0].stem,
            "tuner": s.tuner,
            "objective": s.objective,
            "epochs": self.adapter.epochs,
            "executions": s.executions,
            "max_trials": s.max_trials,
            "finished": self.finished,
            "limits": self.costs.limits,
            "backbone": self.costs.alone,
            "space": self.space.table(),
            "best": None if best is None else best.trial,
            "best_is_own": own,
            "command": command,
            "environment": environment(),
            "retrained": self.retrained,
        }
        page = results.page(summary, trials, self.retrained)
        table = trials.to_json(orient="records")
        try:
            self.parts.write("trials.csv", trials.to_csv(index=False))
            self.parts.write("search.html", page)
            summary["trials"] = json.loads(table)
            self.parts.write("results.json", summary)
        except OSError as error:
            # In a chief, it would leave all workers waiting.
            print(f"No report: {error}", file=sys.stderr)

    def _setting(self, trial):
        return self.space.setting(trial.dropna().to_dict())


def _add_arguments(parser, name):
    add = parser.add_argument_group("search").add_argument
    add(
        "--tuner",
        choices=tuner.ORACLES,
        default="random",
        help="how trials are chosen (default: random)",
    )
    add(
        "--max-trials",
        type=count(1),
        metavar="N",
        help=f"how many at most (default: {MAX_TRIALS}; of grid and hyperband: "
        "all they have)",
    )
    add(
        "--objective",
        choices=("val_accuracy", "val_loss"),
        default="val_accuracy",
        help="of the last epoch, on validation (default: val_accuracy)",
    )
    add(
        "--space",
        nargs="+",
        metavar="NAME[=VALUES]",
        help="what varies, such as: depth width=1,4,16 (default: all of "
        f"{', '.join(space.VALUES)})",
    )
    add(
        "--max-overhead",
        nargs="+",
        default=[],
        metavar="LIMIT",
        help="what attention may add to the backbone: 5%% (of operations), "
        "parameters=20%%",
    )
    add(
        "--executions",
        type=count(1),
        default=1,
        metavar="N",
        help="trainings of each trial, whose mean counts (default: 1)",
    )
    add(
        "--retrain",
        type=count(0),
        metavar="N",
        help=f"by how many seeds, in the end (default: {SEEDS})",
    )
    add(
        "--seed",
        type=count(1),
        default=1,
        metavar="N",
        help="of what is drawn at random (default: 1)",
    )
    add("--chief", metavar="HOST:PORT", help="where the chief listens")
    add("--worker", metavar="NAME", help="train trials for the chief")
    add(
        "--out",
        metavar="FOLDER",
        help=f"folder for everything (default: runs/search_{name}, with "
        f"--smoke runs/search_{name}_smoke)",
    )
    text = "throw away the search in --out"
    add("--overwrite", action="store_true", help=text)


if __name__ == "__main__":
    main(renews=True)
