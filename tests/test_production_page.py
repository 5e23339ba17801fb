"""The code of docs/production.md that loads exported models."""

import importlib.util
import pathlib
import re
import shutil

import keras
import numpy as np
import pytest
from exported import NAMES
from exported import augmented
from exported import run_elsewhere
from PIL import Image

import keras_warn

PAGE = pathlib.Path(__file__).parents[1] / "docs/production.md"
CODE = dict(
    re.findall(
        r"<!-- (\w+), executed by .*?-->\n```python\n(.*?)```",
        PAGE.read_text(),
        re.S,
    )
)
# What must not be there, and what must. That of TensorFlow runs here: without
# Keras, `test_export.py` loads a model.
WITHOUT = {
    "saved_model": ([], ["tensorflow"]),
    "onnx": (
        ["keras_warn", "keras", "tensorflow"],
        ["tf2onnx", "onnxruntime"],
    ),
    "litert": (["keras_warn", "keras", "tensorflow"], ["ai_edge_litert"]),
}

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="models are exported on TensorFlow",
)


@pytest.mark.parametrize("name", WITHOUT)
def test_code_that_loads_models(tmp_path, name, monkeypatch, capsys):
    without, needed = WITHOUT[name]
    missing = [one for one in needed if not importlib.util.find_spec(one)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    options = {"class_names": NAMES, "preprocessing": "rescale"}
    path, more = {
        "saved_model": ("birds", {"encoded": True}),
        "onnx": ("birds.onnx", {"format": "onnx"}),
        "litert": ("birds.tflite", {"format": "litert"}),
    }[name]
    model = augmented()
    keras_warn.export(model, tmp_path / path, **options, **more)
    pixels = np.random.default_rng(0).integers(0, 256, (29, 31, 3), "uint8")
    # Without loss, whatever the name says: of the model's size, it is taken
    # as it is.
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    shutil.move(tmp_path / "photo.png", tmp_path / "photo.jpg")
    np.save(tmp_path / "images.npy", pixels[None].astype("float32"))
    if without:
        script = f"import os; os.chdir({str(tmp_path)!r})\n{CODE[name]}"
        printed = run_elsewhere(script, without=without)
    else:
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        exec(CODE[name], {})
        printed = capsys.readouterr().out
    printed = printed.split("\n")
    wanted = int(np.argmax(model(pixels[None] / 255)))
    assert printed[0] == NAMES[wanted]
    assert "29, 31" in printed[1]
