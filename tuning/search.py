"""Searches how much attention a recipe needs, and where.

    python tuning/search.py cluttered_mnist --max-trials 30
    python tuning/search.py image_folder --data-dir FOLDER --tuner bayesian \\
        --space depth width=1,4,16 learning_rate --max-overhead 5%
    python tuning/search.py recipes/cub200.py --smoke

RECIPE is a recipe's name, or its file; your own, too, if it has a
`keras_warn.training.Recipe` called RECIPE. All options of the recipe are
options here, and say what the search starts from: `search.py RECIPE --help`.

Trials are judged by the validation pictures, a part of the training pictures.
The first trial is the recipe's own setting. When the search is over, the best
setting, the recipe's own and the network without attention are trained from
scratch by several seeds, and tested.

By several processes: one chief, which chooses trials, and workers, which train
them. They share the folder `--out`; all have the same options otherwise:

    python tuning/search.py RECIPE ... --chief 127.0.0.1:4500
    python tuning/search.py RECIPE ... --chief 127.0.0.1:4500 --worker a
    python tuning/search.py RECIPE ... --chief 127.0.0.1:4500 --worker b

Writes to `--out`: `search.html`, a page about all trials, `trials.csv`,
`results.json`, `tensorboard/` with the HParams dashboard, and `retrained/`
with the models. Stopped or killed, it goes on where it was: start it again,
with a higher `--max-trials`, too. A worker that was killed goes on when it is
started again by the same name.
"""

import argparse
import os
import pathlib
import sys
import tempfile

# Before TensorFlow is imported: its start-up lines are not ours to explain.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import keras_tuner
from searching import limits
from searching import office
from searching import oracles
from searching import space
from searching import subjects
from searching.cost import Costs
from searching.progress import Progress
from searching.search import Renewal
from searching.search import Search
from searching.search import Stopped
from searching.tuner import Tuner

# Of random and Bayesian searches. Grid and Hyperband have an end of their own.
MAX_TRIALS, SMOKE_TRIALS = 30, 2
SEEDS, SMOKE_SEEDS = 3, 1

GOES_ON = "The same command, without --overwrite, goes on."
# Exit codes, as the shell and argparse know them.
FAILED, WRONG, INTERRUPTED = 1, 2, 130


def main(argv=None, renews=False):
    """Runs the command.

    Args:
        argv: List of strings. Defaults to the arguments of the process.
        renews: Whether this process may be replaced by another one that goes
            on, to give back its memory.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0].startswith("-"):
        parser = _parser("RECIPE")
        parser.parse_args([word for word in argv if word in ("-h", "--help")])
        parser.error(f"RECIPE must come first: {', '.join(subjects.names())}.")
    parser = _parser(argv[0])
    try:
        kind, recipe, path = subjects.load(argv[0])
    except ValueError as error:
        parser.error(str(error))
    kind.add_arguments(recipe, parser)
    _add_arguments(parser, path.stem)
    arguments = kind.parse(recipe, parser, argv[1:])
    try:
        with tempfile.TemporaryDirectory() as folder:
            _run(
                arguments,
                lambda: kind(recipe, path, arguments, folder),
                renews,
            )
    except Renewal:
        sys.stdout.flush()
        words = [word for word in argv if word != "--overwrite"]
        os.execv(sys.executable, [sys.executable, __file__, *words])
    except (ImportError, OSError, TypeError, ValueError) as error:
        parser.exit(WRONG, f"search: {error}\n")
    except (Stopped, keras_tuner.errors.FatalError) as error:
        parser.exit(FAILED, f"search: {error}\n{GOES_ON}\n")
    except grpc.RpcError as error:
        parser.exit(
            FAILED, f"search: the chief is gone ({error.code()}).\n{GOES_ON}\n"
        )
    except KeyboardInterrupt:
        parser.exit(INTERRUPTED, f"\nsearch: stopped. {GOES_ON}\n")


def _run(arguments, load, renews):
    """Everything, but for what an earlier start has done.

    Args:
        arguments: What the command line says.
        load: Function that returns what is searched.
        renews: As of `main`.
    """
    here = office.parse(arguments.chief, arguments.worker)
    here.check_free()
    allowed = limits.parse(arguments.max_overhead)
    chosen = space.parse(arguments.space) if arguments.space else None
    here.wait()

    subject = load()
    searched = space.Space(
        subject.setting, subject.points, subject.named, chosen
    )
    costs = Costs(subject.network, subject.attended)
    costs.of(subject.setting.attention)  # or says what is wrong with it
    if chosen:
        _try_each(searched, chosen, costs)
    identity = {
        **_flat(subject.identity()),
        **_flat({"space": searched.identity()}),
        "tuner": arguments.tuner,
        "objective": arguments.objective,
        "limits": allowed,
        "executions": arguments.executions,
        "tuner_seed": arguments.seed,
    }
    bounds = limits.Limits(searched, costs, allowed)
    if not (searched.has_own and bounds.accept({})):
        print(
            "The recipe's own setting is not in the space, or costs more "
            "than is allowed: no trial will have it."
        )
    max_trials = _max_trials(arguments)
    search = Search(
        subject=subject,
        space=searched,
        limits=bounds,
        costs=costs,
        folder=pathlib.Path(arguments.out),
        tuner=arguments.tuner,
        objective=arguments.objective,
        executions=arguments.executions,
        max_trials=max_trials,
        progress=Progress(arguments.objective, max_trials),
        verbose=1 if sys.stdout.isatty() else 2,
        renews=renews,
    )
    with search.opened(identity, here, arguments.overwrite):
        oracle = _oracle(arguments, search)
        tuner = Tuner(oracle, search, here)
        if search.run is not None and search.run.has(search.over):
            search.report()
        elif here.is_chief:
            print(
                f"Waiting for workers at {here}: the same command with "
                "--worker NAME.",
                flush=True,
            )
            with search.reporting():
                tuner.search()
        else:
            search.report()
            tuner.search()
        if not here.is_worker:
            search.end(oracle)
            search.retrain(range(_seeds(arguments)))
            print(f"\nEverything is in {search.folder}.")


def _oracle(arguments, search):
    """What chooses trials."""
    options = {}
    if arguments.tuner == "hyperband":
        options["max_epochs"] = search.subject.epochs
    return oracles.ORACLES[arguments.tuner](
        accept=search.limits.accept,
        objective=keras_tuner.Objective(
            arguments.objective,
            "max" if arguments.objective == "val_accuracy" else "min",
        ),
        hyperparameters=search.space.hyperparameters(),
        max_trials=search.max_trials,
        seed=arguments.seed,
        **options,
    )


def _try_each(searched, chosen, costs):
    """Raises what `augment` says of values that were asked for."""
    others = [
        {one.name: value} for one in searched.varying for value in one.values
    ]
    for name, values in chosen.items():
        for value in searched.dimensions[name].values if values else ():
            problem = None
            # Some values contradict the recipe's own, and no others.
            for other in ({}, *others):
                found = {**other, name: value}
                if not searched.fits(found):
                    continue
                try:
                    costs.of(searched.setting(found).attention)
                except (TypeError, ValueError) as error:
                    problem = problem or error
                else:
                    break
            else:
                if problem is not None:
                    raise ValueError(
                        f"`space` cannot have {name}={value}: {problem}"
                    ) from problem


def _flat(identity, prefix=""):
    """Without dictionaries in it, for errors to name what differs alone."""
    found = {}
    for name, value in identity.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _max_trials(arguments):
    if arguments.max_trials is None:
        if arguments.smoke:
            return SMOKE_TRIALS
        if arguments.tuner in ("random", "bayesian"):
            return MAX_TRIALS
    return arguments.max_trials


def _seeds(arguments):
    if arguments.retrain is None:
        return SMOKE_SEEDS if arguments.smoke else SEEDS
    return arguments.retrain


def _parser(recipe):
    return argparse.ArgumentParser(
        prog=f"search.py {recipe}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _add_arguments(parser, name):
    group = parser.add_argument_group("search")
    add = group.add_argument
    add(
        "--tuner",
        choices=oracles.ORACLES,
        default="random",
        help="how trials are chosen (default: random)",
    )
    add(
        "--max-trials",
        type=_integer(1),
        metavar="N",
        help=f"(default: {MAX_TRIALS}; of grid and hyperband: all they have)",
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
        help="what attention may add to the network: 5%% (of operations), "
        "parameters=20%%",
    )
    add(
        "--executions",
        type=_integer(1),
        default=1,
        metavar="N",
        help="trainings of each trial, whose mean counts (default: 1)",
    )
    add(
        "--retrain",
        type=_integer(0),
        metavar="N",
        help=f"by how many seeds, in the end (default: {SEEDS})",
    )
    add(
        "--seed",
        type=_integer(1),
        default=1,
        metavar="N",
        help="of what is drawn at random (default: 1)",
    )
    add("--chief", metavar="HOST:PORT", help="where the chief listens")
    add("--worker", metavar="NAME", help="train trials for the chief")
    add(
        "--out",
        metavar="FOLDER",
        default=f"runs/search_{name}",
        help=f"folder for everything (default: runs/search_{name})",
    )
    add(
        "--overwrite",
        action="store_true",
        help="throw away the search in --out",
    )


def _integer(minimum):
    def parse(text):
        if not (text.isascii() and text.isdecimal() and int(text) >= minimum):
            raise argparse.ArgumentTypeError(
                f"must be an integer of at least {minimum}. Received: {text}."
            )
        return int(text)

    return parse


if __name__ == "__main__":
    main(renews=True)
