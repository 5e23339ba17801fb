"""What is known of a search: tables, plots, a page, TensorBoard's HParams."""

import base64
import io
import json
import math
import pathlib
import shutil
import time

import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from keras_warn.reporting import pages

# In the folder of each trial.
RESULT = "result.json"
# Columns of trials.csv, before and after those of the hyperparameters.
OUTCOME = ["trial", "status", "accuracy", "loss", "epochs", "resumes"]
COSTS = ["parameters", "operations"]
COSTS += ["parameters_added", "operations_added", "latency_added"]
MEASURED = ["accuracy", "loss", "seconds", *COSTS]

RETRAINED = ["validation_accuracy", "test_accuracy"]
RETRAINED += ["parameters", "operations_added"]
# How columns of all tables are shown: shares as percentages.
FORMATS = {
    **dict.fromkeys(["accuracy", "mean", "std", "max", "validation"], "%"),
    **dict.fromkeys(["validation_std", "test", "test_std"], "%"),
    **dict.fromkeys(["difference", "low", "high"], "+%"),
    **dict.fromkeys([name for name in COSTS if "added" in name], "%"),
    **{"parameters": ",.0f", "operations": ",.0f", "loss": ".4f"},
    **{"seconds": ".1f", "epochs": "d", "count": "d", "seeds": "d"},
}

# What is retrained, in this order: its name, and its marker in the plot.
VARIANTS = {
    "baseline": ("without attention", "s"),
    "baseline_at_best_rate": (
        "without attention, at the best’s learning rate",
        "X",
    ),
    "default": ("the recipe’s own setting", "D"),
    "best": ("best of the search", "^"),
}
# The parts of Figure 4 of the paper that a search shows, too.
EFFECTS = {"depth": "attention modules", "width": "heads of each module"}
BLUE, ORANGE, GRAY = "#0072b2", "#b86500", "#7d8790"


def label(trial_id):
    """What a trial is called: KerasTuner counts from 0, people from 1.

    >>> label("0007")
    '08'
    """
    return f"{int(trial_id) + 1:02d}"


def gist(traceback):
    """The line of a traceback that says what is wrong.

    >>> gist("Traceback (most recent call last):\\n  at\\nValueError: no\\nor")
    'ValueError: no'
    """
    # Of several tracebacks the last; other lines may follow the error's first.
    _, _, last = traceback.rpartition("Traceback (most recent call last):\n")
    lines = [line for line in last.splitlines() if line.strip()]
    return next((line for line in lines if line[0] != " "), lines[-1].strip())


def read(folder):
    """A table of the trials that have ended, each in a folder of its own."""
    found = [
        json.loads(p.read_text("utf-8")) for p in folder.glob(f"*/{RESULT}")
    ]
    rows = [
        {
            **one,
            **one["values"],
            **one.get("cost", {}),
            "reason": gist(one["reason"]) if "reason" in one else None,
        }
        for one in sorted(found, key=lambda one: int(one["trial"]))
    ]
    names = dict.fromkeys(name for one in found for name in one["values"])
    columns = [*OUTCOME, *names, *COSTS, "seconds", "worker", "reason"]
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    return frame.astype(dict.fromkeys(MEASURED, float))


def completed(trials):
    """The trials with a result; `full` tells those that trained longest."""
    found = trials[trials.status == "completed"]
    # Accuracies after fewer epochs, as in Hyperband's early rounds, are not
    # comparable.
    return found.assign(full=found.epochs == found.epochs.max())


def best(trials, objective):
    """The row of the best trial, or `None`."""
    found = completed(trials)
    found = found[found.full]
    if found.empty:
        return None
    if objective == "val_loss":
        return found.loc[found.loss.idxmin()]
    return found.loc[found.accuracy.idxmax()]


def pareto_front(trials):
    """Trials than which no other one is both cheaper and more accurate."""
    found = trials.sort_values(
        ["operations_added", "accuracy"], ascending=[True, False]
    )
    before = found.accuracy.cummax().shift().fillna(-1)
    return found[found.accuracy > before]


def compare(retrained):
    """Variants over their seeds, a row each.

    Differences are of test accuracy, paired by seed, to the recipe's own
    setting, with Student's 95 % confidence interval.
    """
    done = [run for run in retrained if "reason" not in run]
    runs = pd.DataFrame(done, columns=["variant", "seed", *RETRAINED])
    runs = runs.astype(dict.fromkeys(RETRAINED, float))
    found = runs.groupby("variant").agg(
        seeds=("seed", "size"),
        parameters=("parameters", "first"),
        operations_added=("operations_added", "first"),
        validation=("validation_accuracy", "mean"),
        validation_std=("validation_accuracy", "std"),
        test=("test_accuracy", "mean"),
        test_std=("test_accuracy", "std"),
    )
    tests = runs.pivot(index="seed", columns="variant", values="test_accuracy")
    less = tests.sub(tests.get("default", math.nan), axis=0)
    less = less.drop(columns="default", errors="ignore")
    mean = less.mean()
    half = stats.t.ppf(0.975, less.count() - 1) * less.sem()
    found["difference"], found["low"] = mean, mean - half
    found["high"] = mean + half
    found.insert(0, "setting", [VARIANTS[name][0] for name in found.index])
    return found.loc[[name for name in VARIANTS if name in found.index]]


def cost_plot(trials, chosen, variants, limit=None):
    """Accuracy against operations added, with the Pareto front and a limit."""
    figure, axes, y = _axes(trials, (8, 5.2))
    x, full = 100 * trials.operations_added, trials.full
    axes.scatter(x[full], y[full], 30, BLUE, label="trial")
    if not full.all():
        _small(axes, x[~full], y[~full], "trial of fewer epochs")
    front = pareto_front(trials[full]).index
    axes.step(x[front], y[front], "k", where="post", lw=1, label="Pareto front")
    for i in front:
        axes.annotate(
            trials.trial[i],
            (x[i], y[i]),
            (-5, 5),
            textcoords="offset points",
            ha="right",
            weight="bold",
        )
    ring = trials.trial == chosen
    axes.scatter(x[ring], y[ring], 130, "none", edgecolor="k", label="best")
    for variant, row in variants.iterrows():
        name, marker = VARIANTS[variant]
        axes.errorbar(
            *(100 * row[["operations_added", "validation", "validation_std"]]),
            fmt=marker,
            color=ORANGE,
            capsize=3,
            label=f"{name}, retrained",
        )
    if limit is not None:
        axes.axvline(100 * limit, color=GRAY, ls="--", label="budget")
    axes.set_xlabel("operations added (% of the backbone)")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def effect_plot(trials, name):
    """Accuracy by the values of one hyperparameter: trials, and their means."""
    figure, axes, y = _axes(trials, (5.2, 3.6))
    values, full = sorted(trials[name].unique()), trials.full
    place = trials[name].map(values.index)
    # Trials of one value lie beside each other, each always at its place.
    x = place + 0.4 * (0.618 * trials.trial.astype(int) % 1 - 0.5)
    axes.scatter(x[full], y[full], 30, BLUE)
    _small(axes, x[~full], y[~full])
    axes.set_ylim(axes.get_ylim())  # a mean may lie below
    means = 100 * trials.accuracy[full].groupby(place[full]).mean()
    axes.plot(means.index, means, "k_-", ms=16, mew=3, lw=1)
    axes.set_xticks(range(len(values)), values)
    axes.set_xlabel(f"{EFFECTS[name]} ({name})")
    return figure


def _axes(trials, size):
    """A figure, and the heights of trials in it, in percent."""
    figure = Figure(size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_ylabel("validation accuracy (%)")
    axes.grid(axis="y", color="#d4d8dd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    y = 100 * trials.accuracy
    if len(y) > 2:
        # One that diverged would press all others together.
        y = y.clip(lower=y.median() - 2 * (y.max() - y.median()))
    return figure, axes, y


def _small(axes, x, y, label=None):
    axes.scatter(x, y, 16, "white", edgecolor=GRAY, label=label)


def page(summary, trials, retrained):
    """A page about a search, finished or not, that needs no other file.

    `summary` is what `results.json` holds, without its tables.
    """
    by_loss = summary["objective"] == "val_loss"
    ended, chosen = completed(trials), best(trials, summary["objective"])
    variants = compare(retrained)
    worth = "default" if summary["best_is_own"] else "best"
    names = [one["name"] for one in summary["space"] if one["name"] in trials]
    front = [*pareto_front(ended[ended.full]).trial]
    shown = trials.sort_values(
        "loss" if by_loss else "accuracy", ascending=by_loss
    )
    shown["pareto_front"] = ["front" * (t in front) for t in shown.trial]
    shown = shown[[*OUTCOME, "pareto_front", *names, *trials.columns[-8:]]]
    plot, effects = None, []
    if len(ended):
        limit = summary["limits"].get("operations")
        plot = _image(cost_plot(ended, chosen.trial, variants, limit))
    for name in EFFECTS:
        of = ended[ended[name].notna()] if name in ended else ended[:0]
        if len(of):
            means = of[of.full].groupby(name).accuracy
            means = means.agg(["count", "mean", "std", "max"]).reset_index()
            effects.append(
                (name, _image(effect_plot(of, name)), _cells(means, name))
            )
    return pages.template("page", pathlib.Path(__file__).parent).render(
        title=f"{summary['recipe']}: a search for attention",
        summary=summary,
        trials=trials,
        ended=ended,
        shown=_cells(shown, *names),
        best=None if chosen is None else chosen.dropna().to_dict(),
        names=names,
        worth=variants.loc[worth] if worth in variants.index else None,
        retrained=_cells(variants),
        failures=[run for run in retrained if "reason" in run],
        plot=plot,
        effects=effects,
        words=EFFECTS,
        space=_cells(pd.DataFrame(summary["space"])),
        facts=_facts(summary, trials),
    )


def _facts(summary, trials):
    """How the page was made."""
    environment, backbone = summary["environment"], summary["backbone"]
    limits = [
        f"at most {100 * share:g} % more {name} than the backbone"
        for name, share in summary["limits"].items()
    ]
    return {
        "Recipe": summary["recipe"],
        "Backbone": f"{backbone['parameters']:,} parameters, "
        f"{backbone['operations']:,} operations",
        "Tuner": summary["tuner"],
        "Objective": f"{summary['objective']}, after the last epoch",
        "Epochs": summary["epochs"],
        "Trainings of a trial": summary["executions"],
        "Budget": "; ".join(limits) or "none",
        "Time of all trials": f"{trials.seconds.sum() / 60:,.1f} minutes",
        **{name: str(value) for name, value in environment.items()},
    }


def _image(figure):
    """The address of a figure that a page can hold."""
    content = io.BytesIO()
    figure.savefig(content, format="svg")
    text = base64.b64encode(content.getvalue()).decode("ascii")
    return f"data:image/svg+xml;base64,{text}"


def _cells(frame, *names):
    """Heads of a table, and rows of cells: what they sort by, and show."""
    specs = {name: FORMATS.get(name, "") for name in frame}
    heads = [
        (name if name in names else name.replace("_", " ").capitalize())
        + " (%)" * ("%" in spec)
        for name, spec in specs.items()
    ]
    rows = [
        [(value, _text(value, specs[name])) for name, value in row.items()]
        for row in frame.to_dict("records")
    ]
    return {"heads": [*zip(heads, specs.values(), strict=True)], "rows": rows}


def _text(value, spec):
    if pd.isna(value):
        return "–"
    if "%" in spec:
        value, spec = 100 * value, spec.replace("%", ".2f")
    if isinstance(value, float) and not spec:
        spec = ".4g"
    return format(value, spec)


def log(folder, result):
    """Writes a trial for TensorBoard: its curves, and a row of HParams."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.summary import session_end_pb
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    shutil.rmtree(folder, ignore_errors=True)
    writer = EventFileWriter(str(folder))

    def add(summary, step=0):
        event = Event(wall_time=time.time(), step=step)
        # Some come as TensorFlow's own messages.
        event.summary.ParseFromString(summary.SerializeToString())
        writer.add_event(event)

    add(hparams_pb(result["values"], trial_id=result["trial"]))
    for row in result.get("histories", [[]])[0]:
        for name, value in row.items():
            add(scalar_pb(name, value), row["epoch"])
    for name, value in result.get("cost", {}).items():
        add(scalar_pb(f"cost/{name}", value))
    done = result["status"] == "completed"
    status = api_pb2.STATUS_SUCCESS if done else api_pb2.STATUS_FAILURE
    add(session_end_pb(status))
    writer.close()
