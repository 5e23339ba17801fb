"""What README and docs show: code runs, and commands have their options."""

import functools
import re
import runpy
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_warn
from keras_warn import cli
from keras_warn import data

pytestmark = pytest.mark.usefixtures("eager")

ROOT = Path(__file__).parents[1]
# The guides run when the site is built: `website/test_site.py`.
PAGES = sorted(
    path
    for folder in (".", "docs", "recipes", "tuning", "examples/server")
    for path in (ROOT / folder).glob("*.md")
)
SIZE = 32
# What stands for numbers of pages: pixels, classes, and images of a batch.
SMALLER = {"224": SIZE, "256": 36, "200": 4, "64": 8}
# Exports take long; that of README is enough.
SLOW = {ROOT / "docs/production.md", ROOT / "examples/server/README.md"}


def blocks(page, language):
    """Fenced blocks of a language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S
    )


def tiny(include_top=False, input_shape=(SIZE, SIZE, 3), **ignored):
    """Stands for networks of `keras.applications`, in size and weights."""
    x = inputs = keras.Input(input_shape)
    for strides in (16, 4):
        x = keras.layers.Conv2D(4, 3, strides, padding="same")(x)
    return keras.Model(inputs, x)


@pytest.fixture
def given(tmp_path, monkeypatch):
    """What pages take for granted: names, and files in the folder."""
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("pages export, and read by tf.data")
    monkeypatch.chdir(tmp_path)
    for name in ("ResNet50V2", "MobileNetV2"):
        # Of its name and module, as `build_network` looks there.
        like = functools.wraps(getattr(keras.applications, name))
        monkeypatch.setattr(
            keras.applications, name, like(lambda *a, **k: tiny(*a, **k))
        )
    images = np.random.default_rng(0).uniform(-1, 1, (4, SIZE, SIZE, 3))
    images = images.astype("float32")
    labels = np.array([0, 1, 0, 1])
    np.save("images.npy", images)
    keras.utils.save_img("photo.jpg", images[0])
    data.synthetic.write_image_folder("photos", 4, train=5, test=1)
    model = keras_warn.augment(tiny(), classes=2)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return {
        "keras": keras,
        "keras_warn": keras_warn,
        "model": model,
        "images": images,
        "labels": labels,
        "train": tf.data.Dataset.from_tensor_slices((images, labels)).batch(2),
    }


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, marks=pytest.mark.slow) if p in SLOW else p
        for p in PAGES
        if blocks(p, "python")
    ],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_code_runs_in_order(page, given, request):
    """All blocks of a page, one after the other, as a reader would."""
    for block in blocks(page, "python"):
        if "export(" in block:
            request.getfixturevalue("traced")
        # As many as `model` has classes, which a page may have made anew.
        classes = given["model"].output_shape[-1]
        given["names"] = [f"class {i}" for i in range(classes)]
        block = re.sub(r"\b(epochs|views)=\d+", r"\1=1", block)
        for number, smaller in SMALLER.items():
            block = re.sub(rf"\b{number}\b", f"{smaller}", block)
        exec(compile(block, page.name, "exec"), given)


def commands():
    """Pairs of program and options, of all lines that run what is ours."""
    found = {}
    for page in PAGES:
        text = page.read_text("utf-8").replace("\\\n", " ")
        for line in re.findall(r"^(?: {4}|\$ )?(\S.*)$", text, re.M):
            match = re.match(
                r"(?:[A-Z_]+=\S+ )*"
                r"(?:python (\S+\.py)|(?:python -m )?keras[-_]warn ([a-z]+)) "
                r"(.*)",
                line,
            )
            if match:
                program = match[1] or match[2]
                options = re.findall(r"(?<=\s)--[a-z][a-z-]*", f" {match[3]}")
                found.setdefault(program, set()).update(options)
    return sorted(found.items())


@pytest.mark.parametrize(
    ("program", "options"), commands(), ids=[name for name, _ in commands()]
)
def test_commands_have_the_options(program, options, monkeypatch, capsys):
    # A search has the options of its recipe, too.
    recipe = ["cub200"] if program == "tuning/search.py" else []
    with pytest.raises(SystemExit) as end:
        if program.endswith(".py"):
            path = ROOT / program
            monkeypatch.setattr(sys, "argv", [program, *recipe, "--help"])
            monkeypatch.syspath_prepend(path.parent)
            runpy.run_path(str(path), run_name="__main__")
        else:
            cli.main([program, "--help"])
    assert not end.value.code
    text = capsys.readouterr().out
    assert options <= set(re.findall(r"--[a-z][a-z-]*", text))
