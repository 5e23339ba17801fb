"""What a model file says of its use, and files of earlier versions."""

import dataclasses
import json
import pathlib
import zipfile

import keras
import numpy as np
import pytest
from exported import NAMES
from exported import augmented
from support import reads_saved_files

import keras_warn
from keras_warn.metadata import Metadata
from keras_warn.metadata import attach
from keras_warn.metadata import described
from keras_warn.metadata import of_model
from keras_warn.metadata import read_file

# Written by earlier versions, each with what its model made of `images`.
SAVED = [
    pathlib.Path(__file__).parent / f"saved/0.1.0_{gates}.keras"
    for gates in ("linear", "sigmoid", "softmax")
]

FULL = Metadata(
    class_names=NAMES,
    size=(29, 31),
    resize_shorter_edge=37,
    preprocessing="mobilenet_v2",
    training={"recipe": "birds", "test_accuracy": 0.5, "seeds": (1, 2)},
)


def test_survives_loading_and_saving(tmp_path):
    model = augmented()
    attach(model, FULL)
    for i in range(2):
        model.save(tmp_path / f"{i}.keras")
        model = keras.saving.load_model(tmp_path / f"{i}.keras")
        assert of_model(model) == FULL == read_file(tmp_path / f"{i}.keras")
    assert of_model(keras.models.clone_model(model)) == FULL
    assert of_model(model).training["seeds"] == [1, 2]
    assert of_model(model).keras_warn == keras_warn.__version__
    # Read by whatever opens zip archives and reads JSON.
    with zipfile.ZipFile(tmp_path / "1.keras") as archive:
        config = json.loads(archive.read("config.json"))
    (found,) = [
        layer["config"]["metadata"]
        for layer in config["config"]["layers"]
        if layer["config"]["name"] == "rectified"
    ]
    assert (found["class_names"], found["size"]) == (NAMES, [29, 31])
    # What later versions add is omitted.
    model.get_layer("rectified").metadata = {**found, "licence": "CC0"}
    assert of_model(model) == FULL


@reads_saved_files
@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_models_of_earlier_versions_predict_the_same(path, tmp_path):
    model = keras.saving.load_model(path)
    with np.load(path.with_suffix(".npz")) as wanted:
        pixels = wanted["images"].astype("float32")
        intermediates = keras_warn.inspect(model).predict(pixels, verbose=0)
        names = set(wanted) - {"images"}
        assert "prediction" in names
        assert np.ptp(wanted["prediction"]) > 0.01
        for name in names:
            # As it was called before 0.2.
            key = name.replace("network_prediction", "backbone_prediction")
            np.testing.assert_allclose(
                intermediates[key], wanted[name], rtol=1e-5, atol=1e-6
            )
    nothing = Metadata(keras_warn=None)
    assert of_model(model) == nothing == read_file(path)
    assert described(nothing) == ""
    # They can be told what they lacked.
    attach(model, Metadata(class_names=NAMES))
    model.save(tmp_path / "m.keras")
    assert read_file(tmp_path / "m.keras").class_names == tuple(NAMES)


def test_says_what_it_knows():
    lines = described(FULL).splitlines()
    assert lines[0] == "classes: finch, wren, jay, crow, ..."
    assert "images: 29x31, the middle of a shorter edge of 37" in lines
    assert "test accuracy: 0.5" in lines


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"class_names": "finch"}, TypeError, "must be a list of strings"),
        ({"class_names": ["finch", ""]}, ValueError, "not empty"),
        ({"size": 29}, TypeError, "must be a pair"),
        ({"size": (29, 31), "resize": "fit"}, ValueError, "must be one of"),
        ({"resize_shorter_edge": 37}, ValueError, "must come with `size`"),
        (
            {"size": (29, 31), "resize_shorter_edge": 7},
            ValueError,
            "integer of at least 29",
        ),
        ({"preprocessing": "imagenet"}, ValueError, "must be one of"),
        ({"training": "long"}, TypeError, "must be a dictionary"),
        ({"training": {"loss": float("nan")}}, ValueError, "JSON"),
    ],
)
def test_wrong_metadata(arguments, error, message):
    with pytest.raises(error, match=message):
        Metadata(**arguments)


def test_metadata_of_another_model():
    model = augmented()
    with pytest.raises(ValueError, match="each of the 5 classes"):
        attach(model, Metadata(class_names=["a", "b"]))
    with pytest.raises(ValueError, match="29x31"):
        attach(model, Metadata(size=(31, 29)))
    with pytest.raises(TypeError, match="must be a `keras_warn.metadata"):
        attach(model, dataclasses.asdict(FULL))
    assert of_model(model) == Metadata(keras_warn=None)


def test_names_are_kept_in_one_form_of_unicode():
    """A folder from a Mac has "é" as two characters."""
    found = Metadata(class_names=["cafe\u0301", "tea"])
    assert found.class_names == ("caf\u00e9", "tea")
