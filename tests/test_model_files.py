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


def packed(members, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, value in members.items():
            archive.writestr(name, value)
    return buffer.getvalue()


def with_member(name, value):
    return lambda good: packed({**good, name: value})


def without(name):
    return lambda good: packed({k: v for k, v in good.items() if k != name})


def with_config(change):
    """A file whose configuration was changed in place."""

    def make(good):
        config = json.loads(good["config.json"])
        change(config)
        return packed({**good, "config.json": json.dumps(config)})

    return make


def with_layer(class_name, **settings):
    """A file with other settings of the first layer of a class."""

    def change(config):
        for layer in config["config"]["layers"]:
            if layer["class_name"] == class_name:
                layer["config"].update(settings)
                return

    return with_config(change)


def with_byte(offset, value):
    """A file with another byte in what its directory says of config.json."""

    def make(good):
        content = bytearray(packed(good))
        # The name follows the 46 bytes of its entry.
        content[content.rindex(b"config.json") - 46 + offset] = value
        return bytes(content)

    return make


def with_code(**others):
    """A file of a layer that needs code of its own."""

    def change(config):
        config["config"]["layers"][1].update(class_name="Sharpen", **others)

    return with_config(change)


WEIGHTS = "model.weights.h5"
DAMAGED = {
    "empty": lambda good: b"",
    "text": lambda good: b"no model",
    "cut": lambda good: packed(good)[:5000],
    "no_config": without("config.json"),
    "no_weights": without(WEIGHTS),
    "config_is_no_json": with_member("config.json", b"{"),
    "config_is_no_text": with_member("config.json", b"\xff\xfe\x00"),
    "config_is_a_list": with_member("config.json", b"[]"),
    "config_is_null": with_member("config.json", b"null"),
    "config_is_empty": with_member("config.json", b"{}"),
    "config_is_deep": with_member("config.json", b"[" * 100_000),
    "layers_are_a_number": with_config(lambda c: c["config"].update(layers=5)),
    "no_layers": with_config(lambda c: c["config"].update(layers=[])),
    "no_settings": with_config(lambda c: c.update(config={})),
    "a_layer_alone": with_config(lambda c: c.update(c["config"]["layers"][1])),
    "code": with_code(module=None, registered_name="my>Sharpen"),
    "code_of_a_module": with_code(module="my_layers"),
    "negative_filters": with_layer("Conv2D", filters=-1),
    "more_filters": with_layer("Conv2D", filters=8),
    "strides_of_text": with_layer("Conv2D", strides="x"),
    "kernel_of_zero": with_layer("Conv2D", kernel_size=[0, 0]),
    "weights_are_text": with_member(WEIGHTS, b"no weights"),
    "weights_are_cut": lambda good: packed(
        {**good, WEIGHTS: good[WEIGHTS][: len(good[WEIGHTS]) // 2]}
    ),
    "unknown_compression": with_byte(10, 77),
    "damaged_compression": with_byte(10, zipfile.ZIP_LZMA),
    "encrypted": with_byte(8, 1),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_named(name, good, tmp_path, capsys):
    path = tmp_path / f"{name}.keras"
    path.write_bytes(DAMAGED[name](good))
    with pytest.raises(ValueError, match=f"{name}.keras"):
        build_network(path, len(NAMES), SIZE)
    assert cli.main(["summary", str(path)]) == 2
    said = capsys.readouterr().err
    assert f"{name}.keras" in said and said.count("\n") == 1
    assert len(said) < 800
    if "code" in name:
        assert "Sharpen" in said and "needs code of its own" in said


def test_a_folder_is_no_model(tmp_path, capsys):
    (tmp_path / "folder.keras").mkdir()
    assert cli.main(["summary", str(tmp_path / "folder.keras")]) == 2
    assert "folder.keras" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
@pytest.mark.parametrize("content", [b"", b"no model"])
def test_old_files_are_named(suffix, content, tmp_path):
    path = (tmp_path / "old").with_suffix(suffix)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"old{suffix} cannot be loaded"):
        _model_files.load_model(path)


def backbone_of_two():
    first, second = (keras.Input((SIZE, SIZE, 3)) for _ in range(2))
    return keras.Model(
        [first, second], keras.layers.Conv2D(2, 3)(first + second)
    )


def backbone_of_vectors():
    inputs = keras.Input((7,))
    return keras.Model(inputs, keras.layers.Dense(3)(inputs))


@pytest.mark.parametrize(
    "make", [backbone_of_two, backbone_of_vectors, network]
)
def test_backbones_that_do_not_fit_are_named(make, tmp_path):
    """Of two images, of none, or of another size."""
    make().save(tmp_path / "mine.keras")
    with pytest.raises(ValueError, match="mine.keras"):
        build_network(tmp_path / "mine.keras", 3, SIZE)


# What later versions add is omitted.
RIGHT = [("training", {"a": 1}), (None, {"a": 1})]


@pytest.mark.parametrize("value", [5, "x", [1], {"a": 1}, [None], True, -1.5])
@pytest.mark.parametrize(
    "field",
    [
        *(
            "class_names",
            "size",
            "resize",
            "resize_shorter_edge",
            "preprocessing",
        ),
        *("training", None),
    ],
)
def test_metadata_of_the_wrong_type(field, value, good, tmp_path):
    path = tmp_path / "model.keras"
    told = value if field is None else {"size": [SIZE, SIZE], field: value}
    path.write_bytes(with_layer("GatedSum", metadata=told)(good))
    if (field, value) in RIGHT:
        metadata.read_file(path)
        return
    with pytest.raises(ValueError, match="model.keras holds wrong metadata"):
        metadata.read_file(path)


def test_metadata_for_other_classes(good, tmp_path, capsys):
    path = tmp_path / "model.keras"
    told = {"class_names": NAMES[:2]}
    path.write_bytes(with_layer("GatedSum", metadata=told)(good))
    assert cli.main(["summary", str(path)]) == 2
    said = capsys.readouterr().err
    assert "model.keras holds wrong metadata. `class_names`" in said
    assert "Received: 2 names" in said
