"""A whole recipe, killed anywhere: reading, training, testing, writing."""

import json
import pathlib
import random
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

RECIPE = pathlib.Path(__file__).parents[2] / "recipes" / "cifar10.py"
# With all that remembers something, and an end by patience.
SETTINGS = [
    *("--smoke", "--epochs", "12", "--patience", "4", "--ema", "0.9"),
    *(
        "--backbone",
        "paper_networks:WideResNet(depth=10, width=1, dropout=0.2)",
    ),
    *("--mixup", "0.2", "--label-smoothing", "0.1", "--optimizer", "adamw"),
    *("--learning-rate", "0.003", "--attention-factor", "3"),
]
KILLS = 20


def start(out):
    return subprocess.Popen(
        [sys.executable, RECIPE, *SETTINGS, "--out", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def results(out):
    """What a run has found, without when and how long; and its weights."""
    folder = out / "attention" / "seed_0"
    found = json.loads((folder / "results.json").read_text("utf-8"))
    del found["environment"], found["training_seconds"]
    weights = {
        name: keras.saving.load_model(folder / name).get_weights()
        for name in ("model.keras", "best.keras")
    }
    return found, weights


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="WideResNet draws random numbers of another backend",
)
def test_ends_with_the_same_weights_and_results(tmp_path):
    process = start(tmp_path / "whole")
    before = time.monotonic()
    said, _ = process.communicate()
    assert process.returncode == 0, said
    seconds = time.monotonic() - before

    moments = random.Random(1)
    killed = 0
    while killed < KILLS:
        process = start(tmp_path / "killed")
        # What is done grows with each start: from all parts of a run.
        time.sleep(moments.uniform(0.2, 0.9) * seconds)
        process.kill()
        said, _ = process.communicate()
        if process.returncode == 0:
            (tmp_path / "killed").rename(tmp_path / f"done_{killed}")
            continue
        assert process.returncode == -signal.SIGKILL, said
        killed += 1
    process = start(tmp_path / "killed")
    said, _ = process.communicate()
    assert process.returncode == 0, said

    expected, expected_weights = results(tmp_path / "whole")
    assert len(expected["history"]) > 4
    for out in tmp_path.iterdir():
        found, weights = results(out)
        assert found == expected
        for name, arrays in weights.items():
            for mine, own in zip(arrays, expected_weights[name], strict=True):
                np.testing.assert_array_equal(mine, own)
