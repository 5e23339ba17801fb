"""Tables, plots and the page of a search, and what TensorBoard shows."""

import html
import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
import results
from browser import browser
from browser import opened

EVIL = "<script>alert(1)</script>\"'&"


def trial(i, **changes):
    depth, width = i % 4 + 1, (1, 4)[i % 2]
    accuracy = 0.9 + 0.01 * depth + 0.001 * ((7 * i) % 5)
    cost = dict.fromkeys(results.COSTS, 0.1)
    cost["operations_added"] = 0.01 * depth * width
    return {
        **{"trial": results.label(i), "status": "completed", "epochs": 8},
        **{"accuracy": accuracy, "loss": 1 - accuracy, "seconds": 60.0},
        **{"values": {"depth": depth, "width": width}, "cost": cost},
        **{"worker": None, **changes},
    }


def failed(i, reason):
    return {
        **{"trial": results.label(i), "status": "failed", "epochs": 8},
        **{"values": {"depth": 1}, "reason": reason, "worker": "a"},
    }


def summary(**changes):
    space = {"name": "depth", "values": "1, 2, 3, 4", "default": 4}
    return {
        **{"recipe": "toy", "tuner": "random", "objective": "val_accuracy"},
        **{"epochs": 8, "executions": 1, "max_trials": 30, "finished": False},
        **{"limits": {"operations": 0.2}, "best_is_own": False},
        "backbone": {"parameters": 1000, "operations": 2000},
        "space": [space, {**space, "name": "width"}],
        **{"command": "python recipes/toy.py", "environment": {"keras": "3"}},
        **changes,
    }


def retrained(*variants, seeds=3):
    gains = (0.01, 0.03, 0.02)
    return [
        {
            **{"variant": variant, "seed": seed, "parameters": 1000},
            "validation_accuracy": 0.9 + 0.01 * seed,
            "test_accuracy": 0.8 + (variant == "best") * gains[seed],
            "operations_added": 0.01,
        }
        for variant, seed in itertools.product(variants, range(seeds))
    ]


@pytest.fixture
def table(tmp_path):
    """Writes results of trials, and reads them as a table."""

    def table(trials):
        for one in trials:
            path = tmp_path / one["trial"] / results.RESULT
            path.parent.mkdir()
            path.write_text(json.dumps(one))
        return results.read(tmp_path)

    return table


def texts(page):
    page = re.sub(r"(?s)<(style|script)>.*?</\1>", "", page)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_the_front_is_what_nothing_beats():
    """Of equal ones, the first."""
    points = [(1, 2), (0, 1), (0, 3), (2, 3), (3, 4), (3, 4), (4, 1), (5, 5)]
    frame = pd.DataFrame(points, columns=["operations_added", "accuracy"])
    assert [*results.pareto_front(frame).index] == [2, 4, 7]


def test_the_best_is_among_those_that_trained_longest(table):
    trials = [trial(0), trial(1, loss=0.01), trial(2, accuracy=0.99, epochs=3)]
    found = table([*trials, trial(3, accuracy=0.98), failed(4, "no")])
    assert results.best(found, "val_accuracy").trial == "04"
    assert results.best(found, "val_loss").trial == "02"
    assert results.best(found[4:], "val_accuracy") is None


def test_variants_over_seeds():
    found = results.compare(retrained("best", "default", "baseline"))
    assert [*found.index] == ["baseline", "default", "best"]
    best = found.loc["best"]
    assert best.validation == pytest.approx(0.91)
    assert best.validation_std == pytest.approx(0.01)
    # By hand: differences 1, 3 and 2 points, deviation 1, and 4.3027 is
    # Student's t of two degrees of freedom.
    half = 0.043027 / 3**0.5
    np.testing.assert_allclose(
        [best.low, best.difference, best.high],
        [0.02 - half, 0.02, 0.02 + half],
        1e-4,
    )
    assert pd.isna(found.loc["default"].difference)
    alone = results.compare(retrained("best", "default", seeds=1))
    assert pd.isna(alone.low).all()


@pytest.mark.parametrize("best_is_own", [False, True])
def test_the_best_was_retrained_when_it_is_the_recipes_own(table, best_is_own):
    trials = table([trial(0), trial(3)])
    of = summary(finished=True, best_is_own=best_is_own)
    runs = retrained("baseline", "default", *(["best"] * (not best_is_own)))
    found = texts(results.page(of, trials, runs))
    assert "Retrained 91.0 %" in found
    assert ("It is the recipe’s own setting." in found) == best_is_own
    # Otherwise it says so.
    assert "which has not been done" in texts(results.page(of, trials, []))
    lost = [{"variant": "default", "seed": 0, "reason": "The loss is nan."}]
    found = texts(results.page(of, trials, lost))
    assert "Retraining failed: default, seed 0: The loss is nan." in found


STATES = {
    "nothing": [],
    "all failed": [failed(0, "no")],
    "short": [trial(0, epochs=2), trial(1, epochs=3)],
    "one": [trial(0)],
    "few": [trial(0), failed(1, EVIL), trial(2, values={"kernel_size": 3})],
    "equal": [trial(0, accuracy=0.9), trial(4, accuracy=0.9)],
}


@pytest.mark.parametrize("state", STATES)
def test_any_time_of_a_search(table, state):
    trials = table(STATES[state])
    page = results.page(summary(recipe=EVIL, command=EVIL), trials, [])
    found = texts(page)
    assert not re.search(r"\b(None|nan|inf|undefined)\b", found)
    assert f"{len(trials)} of 30 trials" in found and "running" in found
    assert ("There is nothing to draw" in found) == ("data:image" not in page)
    # Everything is text, and nothing is from elsewhere.
    assert page.count("<script>") == 1 and EVIL in html.unescape(found)
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_a_trial_that_diverged_presses_no_others_together(table):
    trials = results.completed(
        table([*map(trial, range(8)), trial(8, accuracy=0.1)])
    )
    figure = results.effect_plot(trials, "depth")
    low, high = figure.axes[0].get_ylim()
    assert 80 < low < high < 100
    # The mean is nevertheless that of all.
    (line,) = figure.axes[0].lines
    means = trials.groupby("depth").accuracy.mean()
    np.testing.assert_allclose(line.get_ydata(), 100 * means)


def test_in_a_browser(tmp_path, table):
    trials = table(
        [*map(trial, range(24)), failed(24, "ValueError: " + "no " * 50)]
    )
    runs = retrained("baseline", "default", "best")
    path = tmp_path / "search.html"
    page = results.page(summary(finished=True), trials, runs)
    path.write_text(page, "utf-8")
    with browser(width=500) as driver:
        opened(driver, path.as_uri())
        assert driver.get_log("browser") == []
        assert not driver.execute_script(
            "return document.documentElement.scrollWidth > innerWidth ||"
            "[...document.images].some(i => !i.naturalWidth)"
        )
        assert not driver.execute_script(
            "return [...document.querySelectorAll('nav a')].filter("
            "a => !document.querySelector(a.hash)).length"
        )
        driver.execute_script(
            "document.querySelector('#trials th:nth-child(4) button').click()"
        )
        losses = driver.execute_script(
            "return [...document.querySelectorAll('#trials td:nth-child(4)')]"
            ".map(e => e.dataset.value)"
        )
        numbers = [float(value) for value in losses[:-1]]
        assert numbers == sorted(numbers, reverse=True) and losses[-1] == ""


def test_tensorboard_shows_each_trial_once(tmp_path):
    """As its HParams page is made: values, metrics, and how it ended."""
    from tensorboard.backend.event_processing.event_accumulator import (
        EventAccumulator,
    )
    from tensorboard.plugins.hparams import metadata

    history = [{"epoch": e, "val_loss": 1.0 / e} for e in (1, 2)]
    done = trial(0, histories=[history, history])
    for _ in range(2):  # killed when all was written
        results.log(tmp_path / "01", done)
    results.log(tmp_path / "02", failed(1, "no"))
    for name, status, losses in (("01", 1, [1.0, 0.5]), ("02", 2, [])):
        found = EventAccumulator(str(tmp_path / name)).Reload()
        start, end = (
            parse(found.summary_metadata[tag].plugin_data.content)
            for parse, tag in (
                (
                    metadata.parse_session_start_info_plugin_data,
                    metadata.SESSION_START_INFO_TAG,
                ),
                (
                    metadata.parse_session_end_info_plugin_data,
                    metadata.SESSION_END_INFO_TAG,
                ),
            )
        )
        assert start.group_name == name
        assert start.hparams["depth"].number_value == 1
        assert end.status == status
        tags = found.Tags()["tensors"]
        shown = found.Tensors("val_loss") if "val_loss" in tags else []
        assert [one.tensor_proto.float_val[0] for one in shown] == losses
