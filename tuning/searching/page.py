"""A search as a page: what was tried, what it cost, and what came of it.

The page needs no other file and no network, and can be made at any time of a
search. Jinja2 is imported when it is made.
"""

import pathlib

from scipy import stats

from keras_warn import pages
from keras_warn import runs
from searching import plots

# What the arms that are trained again are called, in their order, and how they
# are drawn.
ARMS = {
    "baseline": "without attention",
    "baseline_at_best_rate": "without attention, at the best’s learning rate",
    "default": "the recipe’s own setting",
    "best": "best of the search",
}
# Beside which the others are set.
REFERENCE = "default"

TUNERS = {
    "random": "random search",
    "bayesian": "Bayesian optimisation",
    "hyperband": "Hyperband",
    "grid": "grid search",
}
OBJECTIVES = {
    "val_accuracy": "highest validation accuracy",
    "val_loss": "lowest validation loss",
}

# The parts of Figure 4 of the paper that a search shows, too.
EFFECTS = {
    "depth": "attention modules",
    "width": "heads of each module",
}


def page(search):
    """A page about a search, finished or not.

    Args:
        search: Dictionary about the search, as JSON can hold it:

            - `recipe`, `tuner`, `epochs` and `executions` (trainings of each
              trial); `objective`, `"val_accuracy"` or `"val_loss"`;
              `max_trials`, or `None`; `finished`, whether nothing more will
              come; `data`, in words, if there is something to say;
            - `limits`, the budget: the most that may be added, as shares of
              the network alone, by `"operations"` and `"parameters"`;
            - `space`, a list of dictionaries with `name`, `values` (in words)
              and `default`;
            - `network`, `parameters` and `operations` without attention;
            - `trials`, a list of those that have ended, and `best`, the number
              of the best one, or `None`;
            - `command`, which trains the best setting, or `None`;
            - `retrained`, a list of trainings of the arms by seed, empty until
              they are done;
            - `environment`, as `keras_warn.runs.environment` returns it.

            A trial has `trial` (its number, a string), `status`
            (`"completed"` or `"failed"`), `reason`, `values`, `epochs`,
            `goes_on_from`, `accuracy` and `loss` on the validation part,
            `executions`, `cost`, `seconds`, `worker` and `ended`.

    Returns:
        HTML, a string.

    Raises:
        ImportError: if Jinja2 is not installed.
    """
    template = pages.template("page", pathlib.Path(__file__).parent)
    trials = _in_order(search)
    completed = [trial for trial in trials if trial["status"] == "completed"]
    shown = [trial for trial in completed if trial["cost"] is not None]
    arms = retrained(search)
    best = next((t for t in trials if t["trial"] == search["best"]), None)

    def full(trial):
        return trial["epochs"] >= search["epochs"]

    # Not those that were trained for less, unless it is one of them.
    rivals = [t for t in completed if full(t) or not (best and full(best))]
    y = plots.accuracy_axis(completed, [arm["validation"] for arm in arms])
    cost_plot, effects = None, []
    if shown or arms:
        cost_plot = plots.cost_plot(
            shown,
            full,
            search["best"],
            arms,
            search["limits"].get("operations"),
            y,
        )
    for name in EFFECTS:
        having = [trial for trial in completed if name in trial["values"]]
        if having:
            effects.append(
                plots.effect_plot(name, having, full, search["best"], y)
            )
    return template.render(
        title=f"{search['recipe']}: a search for attention",
        search=search,
        state=_state(search),
        about=_about(search),
        trials=trials,
        completed=completed,
        rivals=rivals,
        best=best,
        best_arm=next((arm for arm in arms if arm["kind"] == "best"), None),
        arms=arms,
        reference=ARMS[REFERENCE],
        cost_plot=cost_plot,
        effects=effects,
        effect_names=EFFECTS,
        names=_names(search),
        numeric=_numeric(trials),
        facts=_facts(search),
        settings={
            trial["trial"]: described(trial, search["epochs"])
            for trial in trials
        },
        short=short,
        size=plots,
    )


def retrained(search):
    """What the arms that were trained again come to, over their seeds.

    Args:
        search: As of `page`.

    Returns:
        A list of dictionaries, one an arm, with `kind`, `name`, `seeds`,
        `parameters` (all of them), `operations_added`, `validation` and
        `test`: mean and deviation as of `keras_warn.runs.spread`, and
        `difference` and `interval`: of test accuracy to the recipe's own
        setting, by seed, or `None`.
    """
    by_arm = {}
    for run in search["retrained"]:
        by_arm.setdefault(run["arm"], {})[run["seed"]] = run
    known = [arm for arm in ARMS if arm in by_arm]
    arms = []
    for kind in known + [arm for arm in by_arm if arm not in ARMS]:
        of_seeds = by_arm[kind]
        own = by_arm.get(REFERENCE, {}) if kind != REFERENCE else {}
        differences = [
            of_seeds[seed]["test"]["accuracy"] - own[seed]["test"]["accuracy"]
            for seed in of_seeds
            if seed in own
        ]
        cost = next(iter(of_seeds.values()))["cost"]
        arms.append(
            {
                "kind": kind,
                "name": ARMS.get(kind, kind),
                "seeds": sorted(of_seeds),
                "runs": [of_seeds[seed] for seed in sorted(of_seeds)],
                "parameters": search["network"]["parameters"]
                + cost["parameters"],
                "operations_added": cost["operations_added"],
                **{
                    part: runs.spread(
                        [run[part]["accuracy"] for run in of_seeds.values()]
                    )
                    for part in ("validation", "test")
                },
                "difference": runs.spread(differences) if differences else None,
                "interval": _interval(differences),
            }
        )
    return arms


def described(trial, epochs):
    """A trial in one line, for whoever points at its dot.

    Args:
        trial: As of `page`.
        epochs: How many the search asks for.

    Returns:
        A string.
    """
    parts = []
    if trial["accuracy"] is not None:
        parts.append(f"{100 * trial['accuracy']:.1f} %")
    if trial["cost"] is not None:
        added = 100 * trial["cost"]["operations_added"]
        parts.append(f"{pages.signed(added, 1)} % operations")
    if trial["epochs"] < epochs:
        parts.append(f"after {trial['epochs']} of {epochs} epochs")
    parts += [f"{name}={short(v)}" for name, v in trial["values"].items()]
    return f"Trial {trial['trial']}: {', '.join(parts)}"


def short(value):
    """A value of a hyperparameter as it stands in tables.

    Example:

    >>> short(0.0123456), short(8), short(True), short("softmax")
    ('0.01235', '8', 'True', 'softmax')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def gist(reason):
    """The line of a reason that says most: the first, or that of the error.

    Example:

    >>> gist("Too large: 7 %\\nof 5 %")
    'Too large: 7 %'
    >>> gist("Traceback (most recent call last):\\n  ...\\nValueError: no")
    'ValueError: no'
    """
    lines = [line for line in reason.splitlines() if line.strip()] or [""]
    return lines[-1 if lines[0].startswith("Traceback") else 0].strip()


def _in_order(search):
    """All trials, the best first, those that failed last."""
    name, sign = "accuracy", -1
    if search["objective"] == "val_loss":
        name, sign = "loss", 1
    trials = [
        {**trial, "gist": trial["reason"] and gist(trial["reason"])}
        for trial in search["trials"]
    ]
    return sorted(
        trials,
        key=lambda t: (t[name] is None, t[name] and sign * t[name]),
    )


def _names(search):
    """Names of all hyperparameters, those of the space first."""
    names = {entry["name"]: None for entry in search["space"]}
    for trial in search["trials"]:
        names |= dict.fromkeys(trial["values"])
    return [*names]


def _numeric(trials):
    """Names of hyperparameters that are sorted as numbers."""
    found = {}
    for trial in trials:
        for name, value in trial["values"].items():
            number = type(value) in (int, float)
            found[name] = found.get(name, True) and number
    return {name for name, number in found.items() if number}


def _state(search):
    count = f"{len(search['trials'])}"
    if search["max_trials"] is not None:
        count += f" of {search['max_trials']}"
    one = count == "1"
    failed = sum(trial["status"] == "failed" for trial in search["trials"])
    return (
        f"{count} trial{'' if one else 's'}"
        f"{f', {failed} failed' if failed else ''}; "
        f"{'finished' if search['finished'] else 'running'}"
    )


def _about(search):
    """What was searched, by whom, for what."""
    executions = search["executions"]
    found = {"Recipe": search["recipe"]}
    if search.get("data"):
        found["Data"] = search["data"]
    network = search["network"]
    return found | {
        "Network alone": f"{network['parameters']:,} parameters, "
        f"{network['operations']:,} operations",
        "Tuner": TUNERS.get(search["tuner"], search["tuner"]),
        "Objective": OBJECTIVES.get(search["objective"], search["objective"])
        + ", after the last epoch",
        "Epochs": f"{search['epochs']}",
        "Trainings of a trial": f"{executions}"
        + (", of which the mean counts" if executions > 1 else ""),
        "Budget": "; ".join(
            f"at most {100 * share:g} % more {name} than the network alone"
            for name, share in search["limits"].items()
        )
        or "none",
    }


def _facts(search):
    """How the page was made."""
    environment = search["environment"]
    backend = environment["backend"]
    seconds = sum(trial["seconds"] or 0 for trial in search["trials"])
    return {
        "Command": environment["command"],
        "Time of all trials": f"{seconds / 60:,.1f} minutes",
        "keras_warn": environment["keras_warn"],
        "Keras": environment["keras"],
        "Backend": f"{backend} {environment[backend]}",
        "Python": environment["python"],
        "NumPy": environment["numpy"],
        "Processor": f"{environment['cpu']}, {environment['cores']} cores",
        "Devices": ", ".join(environment["devices"]),
        "System": environment["system"],
        "Date": environment["date"].replace("T", " ").replace("+00:00", " UTC"),
    }


def _interval(values):
    """The 95 % confidence interval of a mean; `None` of a single value."""
    if len(values) < 2:
        return None
    mean = runs.spread(values)["mean"]
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return mean - half, mean + half
