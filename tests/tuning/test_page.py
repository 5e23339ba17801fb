"""The page of a search says what was found, at any time of the search."""

import html.parser
import random
import re
import statistics

import pytest
from browser import browser
from browser import opened
from searching import page
from searching.front import front
from test_report_page import CONTRASTS
from test_report_page import elements
from test_report_page import emulate
from test_report_page import press

from keras_warn import runs

OWN = {"baseline": 0.925, "default": 0.953, "best": 0.958}
TEST = {
    "baseline": [0.921, 0.934, 0.919],
    "default": [0.951, 0.949, 0.957],
    "best": [0.955, 0.958, 0.956],
}
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def cost(random):
    share = random.uniform(0.002, 0.05)
    return {
        "parameters": int(136602 * share),
        "operations": int(12345678 * share),
        "parameters_added": share / 2,
        "operations_added": share,
        "latency_added": random.choice([None, share * 3]),
    }


def trial(i, **changed):
    """A completed trial, the same whenever it is asked for."""
    of_trial = random.Random(i)
    depth, width = of_trial.choice([1, 2, 3, 4]), of_trial.choice([1, 2, 4, 8])
    accuracy = 0.9 + 0.008 * depth + of_trial.gauss(0, 0.01)
    values = {
        "depth": depth,
        "width": width,
        "gates": of_trial.choice(["softmax", "sigmoid"]),
        "learning_rate": 10 ** of_trial.uniform(-3, -1),
    }
    if values["gates"] == "softmax":
        values["gate_batch_norm"] = of_trial.random() < 0.5
    return {
        "trial": f"{i:02}",
        "status": "completed",
        "reason": None,
        "values": values,
        "epochs": 8,
        "goes_on_from": None,
        "accuracy": accuracy,
        "loss": 3 * (1 - accuracy),
        "executions": [
            {"seed": 0, "accuracy": accuracy, "loss": 3 * (1 - accuracy)}
        ],
        "cost": cost(of_trial),
        "seconds": of_trial.uniform(40, 90),
        "worker": None,
        "ended": "2026-11-25T20:00:00+00:00",
        **changed,
    }


def failed(i, reason):
    return trial(
        i,
        status="failed",
        reason=reason,
        accuracy=None,
        loss=None,
        executions=[],
        cost=None,
    )


def search(trials=(), retrained=(), **changed):
    completed = [t for t in trials if t["status"] == "completed"]
    best = max(completed, key=lambda t: t["accuracy"], default=None)
    return {
        "recipe": "cluttered_mnist",
        "tuner": "random",
        "objective": "val_accuracy",
        "epochs": 8,
        "executions": 1,
        "max_trials": 30,
        "finished": False,
        "limits": {"operations": 0.05},
        "space": [
            {"name": "depth", "values": "1, 2, 3, 4", "default": 4},
            {"name": "width", "values": "1, 2, 4, 8", "default": 4},
            {"name": "gates", "values": "softmax, sigmoid", "default": None},
            {
                "name": "learning_rate",
                "values": "0.001 to 0.1, log",
                "default": 0.01,
            },
        ],
        "network": {"parameters": 136602, "operations": 12345678},
        "trials": list(trials),
        "best": best and best["trial"],
        "command": best
        and "python recipes/cluttered_mnist.py --learning-rate 0.0123 "
        "--attention "
        + " ".join(f"{k}={v}" for k, v in best["values"].items()),
        "retrained": list(retrained),
        "environment": {
            **runs.environment(),
            "command": "python tuning/search.py cluttered_mnist",
        },
        **changed,
    }


def trained_again(seeds=(0, 1, 2)):
    nothing = {
        "parameters": 0,
        "operations": 0,
        "parameters_added": 0.0,
        "operations_added": 0.0,
        "latency_added": 0.0,
    }
    some = {
        "parameters": 6016,
        "operations": 246914,
        "parameters_added": 0.044,
        "operations_added": 0.02,
        "latency_added": 0.05,
    }
    return [
        {
            "arm": arm,
            "seed": seed,
            "validation": {"accuracy": OWN[arm] + seed / 300, "loss": 0.31},
            "test": {"accuracy": TEST[arm][seed], "loss": 0.33},
            "cost": nothing if arm == "baseline" else some,
        }
        for arm in ("best", "baseline", "default")
        for seed in seeds
    ]


def finished_search(**changed):
    """All that can be on a page."""
    trials = [trial(i) for i in range(24)]
    trials += [
        trial(i, epochs=3, accuracy=0.99 - i / 1000) for i in range(24, 27)
    ]
    trials[20] = trial(20, goes_on_from="24")
    trials[21] = trial(21, accuracy=0.113, loss=2.3)  # diverged
    trials[7] = trial(7, worker="a")
    trials.append(failed(27, f"Traceback (most recent\n  {EVIL}\nLast: line"))
    trials.append(failed(28, "Too many operations: 7 % of at most 5 %."))
    best = max(trials[:24], key=lambda t: t["accuracy"])["trial"]
    return search(
        trials,
        trained_again(),
        **{"finished": True, "best": best, "max_trials": 29, **changed},
    )


class Page(html.parser.HTMLParser):
    """Elements, texts and cells of tables of a page."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.tables, self.source = {}, source
        self._rows = self._cell = self._caption = None
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th", "caption"):
            self._cell = []

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass
        if tag in ("td", "th", "caption"):
            text = " ".join("".join(self._cell).split())
            if tag == "caption":
                self._caption = text
            else:
                self._rows[-1].append(text)
            self._cell = None
        elif tag == "table":
            assert self._caption not in self.tables
            self.tables[self._caption] = self._rows

    def handle_data(self, data):
        if {"script", "style"} & set(self.open):
            return
        self.texts.append(data)
        if self._cell is not None:
            self._cell.append(data)

    def all(self, tag, name=None):
        """Attributes of all elements `tag`, or one attribute of those."""
        found = [of for element, of in self.elements if element == tag]
        return found if name is None else [x[name] for x in found if name in x]

    def table(self, start):
        """Rows of the table whose caption starts so, by their heads."""
        (rows,) = (r for c, r in self.tables.items() if c.startswith(start))
        head, *rest = rows
        return [dict(zip(head, row, strict=True)) for row in rest]

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))


def shown(of):
    return Page(page.page(of))


def test_the_front_is_what_nothing_beats():
    """By its definition, over points with equal ones among them."""
    of = random.Random(0)
    for count in range(30):
        points = [(of.randrange(6), of.randrange(6)) for _ in range(count)]
        expected = {
            i
            for i, (cost, value) in enumerate(points)
            if not any(
                c <= cost and v >= value and (c, v) != (cost, value)
                for c, v in points
            )
        }
        found = front(points)
        assert set(found) == expected and len(found) == len(expected)
        assert [points[i] for i in found] == sorted(points[i] for i in found)


def test_the_front_on_the_page():
    """Of trials of full length alone, though shorter ones are better here."""
    of = finished_search()
    whole = [t for t in of["trials"] if t["accuracy"] and t["epochs"] == 8]
    points = [(t["cost"]["operations_added"], t["accuracy"]) for t in whole]
    expected = [whole[i]["trial"] for i in front(points)]
    found = shown(of)
    assert found.all("tr", "data-front") == expected
    assert len(expected) > 1
    # Each dot is there, one a completed trial; and as many are emphasised.
    dots = [x for x in found.all("circle") if "dot" in x["class"].split()]
    emphasised = [x for x in dots if "front" in x["class"].split()]
    assert len(emphasised) == len(expected) + 1  # and in the legend


def test_the_best_and_what_it_is_worth():
    of = finished_search()
    found = shown(of)
    best = next(t for t in of["trials"] if t["trial"] == of["best"])
    again = 100 * statistics.mean(OWN["best"] + s / 300 for s in range(3))
    for text in (
        f"Trial {best['trial']} : depth = {best['values']['depth']} ,",
        f"Validation accuracy {100 * best['accuracy']:.1f} %",
        f"Trained again {again:.1f} %",
        "It has the highest validation accuracy of 24 completed trials of 8 "
        "epochs, after the last epoch",
        "looks better than it is",
        of["command"],
        "29 of 29 trials, 2 failed; finished",
    ):
        assert text in found.text


def test_arms_over_seeds():
    rows = {
        row["Setting"]: row for row in shown(finished_search()).table("Acc")
    }
    assert [*rows] == [
        "without attention",
        "the recipe’s own setting",
        "best of the search",
    ]
    best = rows["best of the search"]
    assert best["Parameters"] == "142,618"  # 136,602 + 6,016
    assert best["Operations added (%)"] == "2.00"
    test = [100 * x for x in TEST["best"]]
    assert best["Test"] == (
        f"{statistics.mean(test):.1f} ± {statistics.stdev(test):.1f}"
    )
    # By hand: differences 0.4, 0.9 and -0.1 points, deviation 0.5, and 4.3027
    # is Student's t of two degrees of freedom.
    half = 4.3027 * 0.5 / 3**0.5
    assert best["Test, difference to the recipe’s own setting"] == "+0.40"
    ends = best["95 % interval"].replace("−", "-").split(" to ")
    assert [float(x) for x in ends] == pytest.approx(
        [0.4 - half, 0.4 + half], abs=0.006
    )
    own = rows["the recipe’s own setting"]
    assert own["Test, difference to the recipe’s own setting"] == "–"


def test_trials_best_first_and_complete():
    of = finished_search()
    rows = shown(of).table("All trials")
    assert [row["Trial"] for row in rows] == [
        t["trial"]
        for t in sorted(of["trials"], key=lambda t: -(t["accuracy"] or 0))
    ]
    by_number = {row["Trial"]: row for row in rows}
    for t in of["trials"]:
        row = by_number[t["trial"]]
        for name, value in t["values"].items():
            assert row[name] == page.short(value)
        if t["accuracy"] is not None:
            assert row["Accuracy (%)"] == f"{100 * t['accuracy']:.2f}"
            added = 100 * t["cost"]["operations_added"]
            assert row["Operations added (%)"] == f"{added:.2f}"
    assert by_number["20"]["Epochs"] == "8 from 24"
    assert by_number["07"]["Worker"] == "a"
    assert "failed: Too many operations" in by_number["28"]["Status"]
    assert "failed: Last: line" in by_number["27"]["Status"]
    assert EVIL in by_number["27"]["Status"]  # unfolded


def test_by_loss_the_lowest_is_first():
    trials = [trial(i) for i in range(5)]
    trials[3] = trial(3, loss=0.01, accuracy=0.5)
    found = shown(search(trials, objective="val_loss", best="03"))
    assert found.table("All trials")[0]["Trial"] == "03"
    assert "It has the lowest validation loss" in found.text
    assert "need not be the most accurate" in found.text


def test_effects_are_means_of_trials_of_full_length():
    of = finished_search()
    found = shown(of)
    whole = [t for t in of["trials"] if t["accuracy"] and t["epochs"] == 8]
    for name in ("depth", "width"):
        rows = found.table(f"Trials of 8 epochs by {name}")
        assert sum(int(row["Trials"]) for row in rows) == len(whole) == 24
        for row in rows:
            here = [
                100 * t["accuracy"]
                for t in whole
                if str(t["values"][name]) == row[name.capitalize()]
            ]
            mean, deviation = statistics.mean(here), statistics.stdev(here)
            assert row["Trials"] == str(len(here))
            assert row["Mean ± deviation"] == f"{mean:.1f} ± {deviation:.1f}"
            assert row["Best"] == f"{max(here):.1f}"


def test_nothing_is_far_outside_of_a_plot():
    """Nor does a trial that diverged press the others together."""
    found = shown(finished_search())
    dots = [
        (float(x["cx"]), float(x["cy"]))
        for x in found.all("circle")
        if "dot" in x["class"].split() and x["cx"] != "0.0"
    ]
    assert all(0 < x < 640 and 0 < y < 400 for x, y in dots)
    heights = [y for _, y in dots]
    assert max(heights) - min(heights) > 150
    assert "less accurate than the axis reaches (1)" in found.text


STATES = {
    "nothing": {},
    "all_failed": {"trials": [failed(0, "no"), failed(1, None)]},
    "short_ones": {"trials": [trial(0, epochs=2), trial(1, epochs=3)]},
    "one": {"trials": [trial(0)]},
    "few": {"trials": [trial(0), failed(1, "no"), trial(2)]},
    "no_limits": {
        "trials": [trial(i) for i in range(4)],
        "limits": {},
        "max_trials": None,
    },
    "parameters": {"trials": [trial(0)], "limits": {"parameters": 0.1}},
    "one_seed": {
        "trials": [trial(0)],
        "retrained": trained_again(seeds=[0]),
        "finished": True,
    },
    "half_retrained": {
        "trials": [trial(0)],
        "retrained": trained_again()[:2],
    },
    "same": {
        "trials": [
            trial(i, accuracy=0.9, values={"depth": 2}) for i in range(3)
        ]
    },
    "other_arguments": {"trials": [trial(0, values={"kernel_size": 3})]},
    "no_cost": {"trials": [trial(0, cost=None)]},
    "executions": {"trials": [trial(0)], "executions": 3},
    "no_space": {"trials": [], "space": [], "best": None},
}


@pytest.mark.parametrize("state", STATES)
def test_any_time_of_a_search(state):
    of = search(**STATES[state])
    found = shown(of)
    assert not re.search(r"\b(None|nan|inf|undefined)\b", found.text)
    assert ("running" in found.text) != of["finished"]
    completed = [t for t in of["trials"] if t["status"] == "completed"]
    links = [x for x in found.all("a", "href") if x.startswith("#")]
    ids = [x["id"] for _, x in found.elements if "id" in x]
    assert {link[1:] for link in links} <= set(ids)
    assert len(ids) == len(set(ids))
    if not completed:
        assert "There is nothing to draw" in found.text
        assert not any("viewbox" in x for x in found.all("svg"))
    limited = "operations" in of["limits"] and completed
    drawn = bool(limited and any(t["cost"] for t in completed))
    assert ("budget" in found.text) == drawn


def test_states_in_words():
    assert "0 of 30 trials; running" in shown(search()).text
    assert "No trial has ended yet." in shown(search()).text
    few = shown(search(**STATES["few"])).text
    assert "3 of 30 trials, 1 failed; running" in few
    assert "Best setting so far" in few and "when the search is done" in few
    none = shown(search(**STATES["all_failed"])).text
    assert "No trial was completed yet: 2 failed." in none
    assert "1 trial; running" in shown(search([trial(0)], max_trials=None)).text


def test_everything_is_text():
    of = finished_search()
    of["recipe"] = of["command"] = of["data"] = EVIL
    of["space"][0] = {"name": EVIL, "values": EVIL, "default": EVIL}
    of["trials"][3]["values"][EVIL] = EVIL
    of["trials"][4]["worker"] = EVIL
    found = shown(of)
    assert "<script>alert" not in found.source
    assert len(found.all("script")) == 1 and not found.all("img")
    assert not any("onerror" in attributes for _, attributes in found.elements)
    assert found.text.count("<script>alert(1)</script>") > 8


def test_the_page_needs_nothing_else():
    found = shown(finished_search())
    for _, attributes in found.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert attributes.get(name, "#").startswith("#")
    assert not {"link", "iframe", "object", "base"} & {
        tag for tag, _ in found.elements
    }
    assert not re.search(r"https?:|@import|url\((?!#)", found.source)
    (policy,) = (x["content"] for x in found.all("meta") if "http-equiv" in x)
    assert policy.startswith("default-src 'none';")
    assert "unsafe-inline'; script" in policy  # of the style alone


def test_in_a_browser(tmp_path):
    """Everything that needs one, in one: nothing complains, or is cut off."""
    paths = {"finished": finished_search(), "nothing": search()}
    for name, of in paths.items():
        paths[name] = tmp_path / f"{name}.html"
        paths[name].write_text(page.page(of), "utf-8")
    with browser() as driver:
        for path in paths.values():
            for width in (320, 768, 1280):
                emulate(driver, width)
                opened(driver, path.as_uri())
                driver.execute_script(
                    "document.querySelectorAll('details').forEach("
                    "e => { e.open = true })"
                )
                assert not_fitting(driver) == []
        emulate(driver)
        opened(driver, paths["finished"].as_uri())
        check_dots(driver)
        check_sorting(driver)
        check_copying(driver)
        assert driver.get_log("browser") == []
        for scheme in ("light", "dark"):
            emulate(driver, scheme=scheme)
            found = driver.execute_script(CONTRASTS)
            assert found["text"][0] >= 4.5, found["text"]
        for element in elements(
            driver, "svg:not([aria-hidden]), button, summary, section, figure a"
        ):
            assert element.accessible_name.strip()
        assert not elements(driver, "table:not(:has(> caption))")
        assert not elements(driver, "th:not([scope])")
        # A4 and Letter, less the margins, in pixels of CSS.
        emulate(driver, 718, media="print")
        cut = driver.execute_script(
            """return [...document.querySelectorAll(".scroll")].filter(
            e => e.scrollWidth > e.clientWidth).map(e => e.ariaLabel)"""
        )
        assert cut == []


def not_fitting(driver):
    """What makes the page wider than the window."""
    return driver.execute_script(
        """const wide = document.documentElement.scrollWidth > innerWidth;
        return [...(wide ? ["page"] : []),
          ...[...document.querySelectorAll("main *")].filter(e =>
          e.checkVisibility() && !e.closest(".scroll, svg")
          && e.getBoundingClientRect().right > innerWidth + 0.5
          ).map(e => e.outerHTML.slice(0, 200))]"""
    )


def check_dots(driver):
    """By keyboard, a dot says its trial, and leads to its row."""
    dots = elements(driver, "#cost .point")
    assert len(dots) == 27  # of 29, less those that failed
    stops = [dot for dot in dots if dot.get_attribute("tabindex") is None]
    fronts = elements(driver, "tr[data-front]")
    assert len(stops) == len(fronts)
    name = stops[0].accessible_name
    number = re.match(r"Trial (\d+): \d+\.\d %.*depth=\d", name)[1]
    press(driver, stops[0], "\ue007")
    assert elements(driver, "#cost .readout")[0].text == name
    assert driver.current_url.endswith(f"#trial-{number}")
    (row,) = elements(driver, "tr:target")
    assert row.get_attribute("data-trial") == number
    assert row.is_displayed()


def check_sorting(driver):
    def column(i):
        cells = elements(driver, f".trials tbody tr > :nth-child({i})")
        return [cell.get_attribute("data-value") for cell in cells]

    heads = [e.text for e in elements(driver, ".trials thead th")]
    i = 1 + heads.index("learning_rate")
    (head,) = elements(driver, f".trials thead th:nth-child({i})")
    (button,) = head.find_elements("css selector", "button")
    for direction in ("descending", "ascending"):
        press(driver, button, "\ue007")
        assert head.get_attribute("aria-sort") == direction
        rates = [float(value) for value in column(i)]
        ordered = sorted(rates, reverse=direction == "descending")
        assert rates == ordered and len(set(rates)) == 29
        assert len(elements(driver, ".trials th[aria-sort]")) == 1
    # What has no value stays below.
    (button,) = elements(driver, ".trials thead th:nth-child(3) button")
    for _ in range(2):
        press(driver, button, "\ue007")
        assert column(3)[-2:] == ["", ""] and "" not in column(3)[:-2]


def check_copying(driver):
    driver.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    (button,) = elements(driver, "button[data-copy]")
    press(driver, button, " ")
    copied = driver.execute_async_script(
        "const done = arguments[0];"
        "navigator.clipboard.readText().then(done, e => done(String(e)))"
    )
    assert copied == elements(driver, "#command")[0].text
