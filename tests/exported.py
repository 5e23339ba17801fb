"""Models to export, and processes that know nothing of this package."""

import json
import pathlib
import re
import subprocess
import sys
import textwrap

import fresh
import keras
import numpy as np

import keras_warn
from keras_warn import metadata
from keras_warn.confidence import Calibration
from keras_warn.explanation import masks

NAMES = ["finch", "wren", "jay", "crow", "tit"]
PAGE = pathlib.Path(__file__).parents[1] / "docs/production.md"
# The code of that page that loads exported models, by format.
LOADING = dict(
    re.findall(
        r"<!-- (\w+), executed by .*?-->\n```python\n(.*?)```",
        PAGE.read_text(),
        re.S,
    )
)


def network(size=(29, 31), channels=3):
    """A small network with two maps, whose pixels make a difference."""
    x = inputs = keras.Input((*size, channels))
    for i, filters in enumerate((7, 11), start=1):
        x = keras.layers.Conv2D(
            filters, 3, strides=2, activation="relu", name=f"conv{i}"
        )(x)
        x = keras.layers.Dropout(0.5)(x)  # of training alone
    return keras.Model(inputs, x, name="small")


def augmented(backbone=None, **arguments):
    """A model with attention that is sure of something, on random weights."""
    options = {"preset": "paper", "depth": 2, "width": 3, **arguments}
    model = keras_warn.augment(backbone or network(), len(NAMES), **options)
    lively(model)
    return model


def calibrated(model, **values):
    """The `Calibration` with these values, which the model is given."""
    given = {"temperature": 1.0, "threshold": 0.0, "least_backbone_logit": -99}
    given |= {"accuracy": 0.9, "answered": 1.0, "images": 100, **values}
    found = Calibration(len(NAMES), **given)
    metadata.attach(model, metadata.Metadata(calibration=found))
    return found


def lively(model, seed=0):
    """Draws weights of attention and classifier that tell images apart."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.name.startswith(("module_", "global_", "classifier")):
            layer.set_weights(
                [
                    random.normal(0, 2 / np.sqrt(max(w.shape[0], 1)), w.shape)
                    for w in layer.get_weights()
                ]
            )


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=0)


def assert_explains(found, model, taken, calibration=None):
    """What `explain` returned is what the model makes of images it takes."""
    inside = keras_warn.inspect(model)(taken)
    said = np.array(inside["prediction"])
    assert np.ptp(said) > 0.1  # there is something to agree on
    if calibration is not None:
        said = calibration.probabilities(said)
    close(found["probabilities"], said)
    backbone = keras.ops.softmax(inside["backbone_prediction"])
    close(found["backbone_probabilities"], backbone)
    close(found["global_gates"], inside["global_gates"])
    close(found["module_2_head_gates"], inside["module_2_head_gates"])
    close(found["masks"], masks.module_masks(model, inside, (29, 31)))


def run_elsewhere(script, *arguments, without):
    """Runs a script in a process of its own, where packages are not there.

    Args:
        script: Python code, which finds `arguments` in `sys.argv[1:]`.
        *arguments: Strings.
        without: Names of packages that cannot be imported.

    Returns:
        What it printed.
    """
    script = f"""
import sys
for name in [*sys.modules]:
    if name.split(".")[0] in {list(without)!r}:
        del sys.modules[name]
for name in {list(without)!r}:
    sys.modules[name] = None
{textwrap.dedent(script)}"""
    if "tensorflow" not in without:  # which takes seconds to import
        return fresh.run(script, *arguments).stdout
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        cwd=pathlib.Path(sys.executable).parent,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def metadata_of(path):
    text = pathlib.Path(path, "assets.extra/metadata.json").read_text("utf-8")
    return json.loads(text)
