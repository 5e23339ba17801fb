"""A whole recipe, killed anywhere: reading, training, testing, writing."""

import itertools
import json
import pathlib
import random
import signal
import time

import fresh
import keras
import pytest
from support import assert_all_equal
from support import needs_tensorflow

RECIPE = pathlib.Path(__file__).parents[2] / "recipes" / "cifar10.py"
# With all that remembers something, and an end by patience.
SETTINGS = (
    "--smoke --epochs 12 --patience 4 --ema 0.9 --mixup 0.2 --optimizer adamw "
    "--label-smoothing 0.1 --learning-rate 0.003 --attention-factor 3"
).split()
BACKBONE = "paper_networks:WideResNet(depth=10, width=1, dropout=0.2)"
KILLS = 20


def start(out):
    arguments = [*SETTINGS, "--backbone", BACKBONE, "--out", out]
    return fresh.Process(RECIPE, *arguments)


def results(out):
    """What a run has found, without when and how long; and its weights."""
    folder = out / "attention" / "seed_0"
    found = json.loads((folder / "results.json").read_text("utf-8"))
    del found["environment"], found["training_seconds"]
    models = [folder / name for name in ("model.keras", "best.keras")]
    return found, [
        array
        for path in models
        for array in keras.saving.load_model(path).get_weights()
    ]


@pytest.mark.slow
@needs_tensorflow  # others draw other random numbers for dropout
def test_ends_with_the_same_weights_and_results(tmp_path):
    before = time.monotonic()
    whole = start(tmp_path / "whole").wait()
    assert whole.returncode == 0, whole.stderr
    seconds = time.monotonic() - before

    moments = random.Random(1)
    killed, done = 0, itertools.count()
    while killed < KILLS:
        process = start(tmp_path / "killed")
        # What is done grows with each start: from all parts of a run.
        time.sleep(moments.uniform(0.2, 0.9) * seconds)
        process.kill()
        if process.wait().returncode == 0:
            (tmp_path / "killed").rename(tmp_path / f"done_{next(done)}")
            continue
        assert process.returncode == -signal.SIGKILL, process.stderr
        killed += 1
    last = start(tmp_path / "killed").wait()
    assert last.returncode == 0, last.stderr

    expected, expected_weights = results(tmp_path / "whole")
    assert len(expected["history"]) > 4
    for out in tmp_path.iterdir():
        found, weights = results(out)
        assert found == expected
        assert_all_equal(weights, expected_weights)
