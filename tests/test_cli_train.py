"""`keras-warn train` and `predict`: from a folder to a table of predictions."""

import csv
import json
import re

import keras
import numpy as np
import pytest
from PIL import Image

import keras_warn
from keras_warn import metadata
from keras_warn.cli import main
from keras_warn.data import synthetic

pytestmark = pytest.mark.usefixtures("eager")

NETWORK = "small_network:Small"
SMALL = (
    *("--backbone", NETWORK, "--weights", "none"),
    *("--image-size", "32", "--resize-shorter-edge", "36", "--batch-size", "8"),
    *("--epochs", "2", "--frozen-views", "2", "--attention", "width=2"),
    *("--validation-share", "0.5"),
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    synthetic.write_image_folder(folder, classes=3, train=12, test=4)
    return folder


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    """The folder of a finished training."""
    out = tmp_path_factory.mktemp("trained") / "out"
    assert main(["train", f"{photos}", "--out", f"{out}", *SMALL]) == 0
    return out


def test_train_writes_a_model_a_report_and_results(trained):
    wanted = {"model.keras", "report.html", "results.json", "saved_model"}
    assert wanted <= {path.name for path in trained.iterdir()}
    assert (trained / "saved_model" / "saved_model.pb").exists()
    # What can be computed again is not left behind.
    assert not (trained / "parts" / "features").exists()
    results = json.loads((trained / "results.json").read_text())
    found = results["over_backbone"]
    assert found["images"] == 12
    assert (
        found["attention"]
        == results["metrics"]["last_epoch"]["test"]["accuracy"]
        == pytest.approx(found["backbone"] + found["difference"])
    )
    assert found["interval"][0] <= found["difference"] <= found["interval"][1]


def test_the_backbone_was_not_trained(trained):
    model = keras.saving.load_model(trained / "model.keras", compile=False)
    parts = r"(classifier|module_[123]_(masks|hypotheses))/.*"
    for weight in model.trainable_weights:
        assert re.fullmatch(parts, weight.path)


def test_train_again_is_done(photos, trained, capsys):
    before = (trained / "model.keras").stat().st_mtime_ns
    assert main(["train", f"{photos}", "--out", f"{trained}", *SMALL]) == 0
    said = capsys.readouterr()
    assert "holds a finished training" in said.err
    assert "Of 12 test images" in said.out and "linear probe" in said.out
    assert (trained / "model.keras").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "options, message",
    [
        (["--batch-size", "500"], "`batch_size` must be at most"),
        (["--backbone", "NoNet"], "`backbone` must be a constructor"),
        (["--backbone", "no.keras"], "`backbone` must be a file"),
        (["--mixup", "0.2"], "`mixup` and `cutmix` must be 0"),
        (["--seed", "1"], "run with the same settings"),
    ],
)
def test_train_refuses(photos, trained, capsys, options, message):
    out = trained if "--seed" in options else trained / "new"
    command = ["train", f"{photos}", "--out", f"{out}", *SMALL, *options]
    assert main(command) == 2
    assert message in capsys.readouterr().err
    assert not (trained / "new").exists()


def test_train_keeps_a_limit_of_features(photos, tmp_path, capsys):
    command = ["train", f"{photos}", "--out", f"{tmp_path / 'new'}", *SMALL]
    assert main([*command, "--features-limit", "1e-9"]) == 2
    assert "`limit` must be at least the size" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.npy"))


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_predict(trained, photos, tmp_path):
    model, out = f"{trained / 'model.keras'}", tmp_path / "out.csv"
    images = [*sorted((photos / "test").rglob("*.jpg"))[:3]]
    for i, path in enumerate(images):
        Image.open(path).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").write_text("no image")
    # What cannot be read is named, and skipped.
    assert main(["predict", model, f"{tmp_path}", "--out", f"{out}"]) == 1
    header, *found = rows(out)
    assert header == (
        "id,label,probability,label_2,probability_2,label_3,probability_3,"
        "backbone_logit,answered"
    ).split(",")
    assert [row[0] for row in found] == ["0.png", "1.png", "2.png"]
    calibration = metadata.of_model(
        keras.saving.load_model(model, compile=False)
    ).calibration
    assert calibration.images == 18  # of 36
    for row in found:
        answered, logit = row.pop(), float(row.pop())
        sure = float(row[2]) >= calibration.threshold
        known = logit >= calibration.least_backbone_logit
        assert answered == f"{sure and known}"
    probabilities = np.array([row[2::2] for row in found], "float64")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (np.diff(probabilities, axis=1) <= 0).all()
    names = {path.name for path in (photos / "train").iterdir()}
    assert all(set(row[1::2]) == names for row in found)

    short = ["predict", model, f"{tmp_path / '0.png'}", "--top", "0"]
    assert main([*short, "--out", f"{out}"]) == 2  # which exists
    assert main([*short, "--out", f"{out}", "--overwrite"]) == 0
    assert rows(out) == [["id", "label"], found[0][:2]]


def test_predict_tells_files_of_one_name_apart(trained, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (40, 40)).save(tmp_path / folder / "x.png")
    model, out = f"{trained / 'model.keras'}", tmp_path / "out.csv"
    paths = [f"{tmp_path / folder / 'x.png'}" for folder in ("a", "b")]
    assert main(["predict", model, *paths, "--out", f"{out}"]) == 0
    assert [row[0] for row in rows(out)] == ["id", *paths]


def test_predict_writes_probabilities_of_a_model_of_logits(tmp_path):
    x = inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, 2, activation="relu")(x)
    model = keras_warn.augment(
        keras.Model(inputs, x), 3, classifier_activation=None
    )
    model.save(tmp_path / "logits.keras")
    Image.new("RGB", (16, 16), "red").save(tmp_path / "x.png")
    command = ["predict", f"{tmp_path / 'logits.keras'}"]
    command += [f"{tmp_path / 'x.png'}", "--out", f"{tmp_path / 'out.csv'}"]
    assert main([*command, "--preprocessing", "rescale"]) == 0
    (row,) = rows(tmp_path / "out.csv")[1:]
    assert sum(map(float, row[2::2])) == pytest.approx(1, abs=1e-5)
