"""Model files that cannot be used are refused by their name."""

import io
import json
import zipfile

import keras
import pytest
from exported import NAMES
from exported import network

import keras_warn
from keras_warn import _model_files
from keras_warn import cli
from keras_warn import metadata
from keras_warn.training import build_network

SIZE = 32


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The members of a file of a model with attention."""
    path = tmp_path_factory.mktemp("good") / "model.keras"
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    backbone = keras.Model(inputs, network((SIZE, SIZE))(x))
    model = keras_warn.augment(backbone, classes=len(NAMES), depth=1)
    metadata.attach(model, metadata.Metadata(NAMES, (SIZE, SIZE)))
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def file_of(good, members=None, layer=None, **settings):
    """The same with other members, or settings of the first layer of a kind."""
    config = json.loads(good["config.json"])
    for one in config["config"]["layers"]:
        if one["class_name"] == layer:
            changed = one if "class_name" in settings else one["config"]
            changed.update(settings)
            break
    good = {**good, "config.json": json.dumps(config), **(members or {})}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, value in good.items():
            if value is not None:
                archive.writestr(name, value)
    return file.getvalue()


DAMAGED = {
    "no_config": {"members": {"config.json": None}},
    "no_weights": {"members": {"model.weights.h5": None}},
    "weights_are_text": {"members": {"model.weights.h5": b"no weights"}},
    "config_is_no_json": {"members": {"config.json": b"{"}},
    "config_is_a_list": {"members": {"config.json": b"[]"}},
    # A layer that needs code of its own.
    "code": {
        "layer": "Conv2D",
        "class_name": "Sharpen",
        "module": None,
        "registered_name": "my>Sharpen",
    },
    "more_filters": {"layer": "Conv2D", "filters": 8},
    "strides_of_text": {"layer": "Conv2D", "strides": "x"},
    "kernel_of_zero": {"layer": "Conv2D", "kernel_size": [0, 0]},
}


@pytest.mark.parametrize("name", ["empty", "cut", *DAMAGED])
def test_damaged_files_are_named(name, good, tmp_path, capsys):
    path = tmp_path / f"{name}.keras"
    end = {"empty": 0, "cut": 5000}.get(name)
    path.write_bytes(file_of(good, **DAMAGED.get(name, {}))[:end])
    with pytest.raises(ValueError, match=f"{name}.keras"):
        build_network(path, len(NAMES), SIZE)
    assert cli.main(["summary", str(path)]) == 2
    said = capsys.readouterr().err
    assert f"{name}.keras" in said and said.count("\n") == 1
    assert len(said) < 800
    if name == "code":
        assert "Sharpen" in said and "needs code of its own" in said


def test_folders_old_files_and_layers_are_named(tmp_path):
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "old.h5").write_bytes(b"no model")
    keras.saving.save_model(keras.layers.ReLU(), tmp_path / "layer.keras")
    with pytest.raises(ValueError, match="layer.keras must hold a model"):
        _model_files.load_model(tmp_path / "layer.keras")
    with pytest.raises(OSError, match="folder.keras"):
        _model_files.load_model(tmp_path / "folder.keras")
    with pytest.raises(ValueError, match="old.h5 cannot be loaded"):
        _model_files.load_model(tmp_path / "old.h5")


def test_backbones_that_do_not_take_an_image_are_named(tmp_path):
    first, second = (keras.Input((SIZE, SIZE, 3)) for _ in range(2))
    vector = keras.Input((7,))
    for inputs, x in (
        ([first, second], keras.layers.Conv2D(2, 3)(first + second)),
        (vector, keras.layers.Dense(3)(vector)),
    ):
        keras.Model(inputs, x).save(tmp_path / "mine.keras")
        with pytest.raises(ValueError, match="mine.keras"):
            build_network(tmp_path / "mine.keras", 3, SIZE)


@pytest.mark.parametrize(
    "told",
    [{"class_names": NAMES[:2]}, {"size": "x"}, {"training": [1]}, 5],
    ids=str,
)
def test_wrong_metadata_is_named(told, good, tmp_path, capsys):
    path = tmp_path / "model.keras"
    path.write_bytes(file_of(good, layer="GatedSum", metadata=told))
    assert cli.main(["summary", str(path)]) == 2
    wrong = "model.keras holds wrong metadata"
    assert wrong in capsys.readouterr().err
    if told != {"class_names": NAMES[:2]}:  # of whose number it knows nothing
        with pytest.raises(ValueError, match=wrong):
            metadata.read_file(path)
