"""`keras-warn train` and `predict`: from a folder to a table of predictions."""

import csv
import json
import re

import keras
import numpy as np
import pytest
from PIL import Image

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
    # The backbone was not trained.
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
        (["--features-limit", "1e-9"], "`limit` must be at least the size"),
        (["--seed", "1"], "run with the same settings"),
    ],
)
def test_train_refuses(photos, trained, tmp_path, capsys, options, message):
    out = trained if "--seed" in options else tmp_path / "new"
    command = ["train", f"{photos}", "--out", f"{out}", *SMALL, *options]
    assert main(command) == 2
    assert message in capsys.readouterr().err
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
    assert ",".join(header) == (
        "id,label,probability,label_2,probability_2,label_3,probability_3,"
        "backbone_logit,answered"
    )
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

    # Of files of one name, the paths; --top 0 writes labels alone.
    more = tmp_path / "more/0.png"
    more.parent.mkdir()
    more.write_bytes((tmp_path / "0.png").read_bytes())
    short = ["predict", model, f"{tmp_path / '0.png'}", f"{more}"]
    short += ["--top", "0", "--out", f"{out}"]
    assert main(short) == 2  # which exists
    assert main([*short, "--overwrite"]) == 0
    label = found[0][1]
    wanted = [[f"{tmp_path / '0.png'}", label], [f"{more}", label]]
    assert rows(out) == [["id", "label"], *wanted]
