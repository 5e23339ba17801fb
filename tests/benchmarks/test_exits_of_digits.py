"""What early exits save and lose, as it is written down."""

import exits
import numpy as np
import pandas as pd
from exported import augmented

from keras_warn.exits import EarlyExits


def data(count):
    random = np.random.default_rng(0)
    images = random.normal(size=(count, 29, 31, 3)).astype("float32")
    return images, np.arange(count) % 5


def test_digits_are_added_once(tmp_path, monkeypatch, small_digits, eager):
    monkeypatch.setattr(exits, "times", lambda *_: {"time": 1.0})
    out = tmp_path / "exits.csv"
    arguments = ["--epochs", "1", "--seeds", "0", "--out", str(out)]
    exits.main(arguments)
    rows = pd.read_csv(out)
    found = rows[rows["table"] == "exits"]
    assert [*found["row"].unique()] == [
        *(f"last two maps, after module {i}" for i in (1, 2)),
        "last two maps, whole model",
        *(f"last three maps, after module {i}" for i in (1, 2, 3)),
        "last three maps, whole model",
        *(f"all four maps, after module {i}" for i in (1, 2, 3, 4)),
        "all four maps, whole model",
    ]
    cost = found[found["measure"] == "operations (%)"]["value"].to_numpy()
    assert np.sum(np.diff(cost) < 0) == 2 and cost.max() == 100
    # Of 50 validation images, nothing can be promised.
    found = rows[rows["row"] == "all four maps, 1 points"]
    found = found.set_index("measure")["value"]
    assert found["operations saved (%)"] == 0
    assert found["a threshold is found (%)"] == 0 and "time" not in found
    exits.main(arguments)
    assert pd.read_csv(out).equals(rows)


def test_without_a_promise_no_accuracy_is_lost(eager):
    compared = exits.compare(augmented(preset="side_by_side"), data(40))
    threshold = exits.without_a_promise(compared)
    assert 0 < threshold < 1
    at = compared.cascade([threshold])
    assert at.accuracies[0] >= compared.output.accuracy()


def test_time_is_that_of_the_export():
    found = exits.times(
        augmented(preset="side_by_side"),
        EarlyExits(1.0, 0.01, (0.5, 0.5), 0.5, 300),
        data(4)[0],
        {1: 3, 2: 3},
    )
    assert [*found] == [f"time saved, {n} at once (%)" for n in (1, 2)]
    assert all(value < 100 for value in found.values())
