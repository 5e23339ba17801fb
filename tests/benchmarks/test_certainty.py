"""How sure a model is: its measures, on numbers that are known by hand."""

import certainty
import cluttered_mnist
import numpy as np
import pandas as pd
import pytest
import unknown_digits
from measuring import certainty_report

from keras_warn.data import ImageDataset
from keras_warn.data import transforms

ERROR, NATS = "calibration error (%)", "negative log-likelihood"


def looks(probabilities, masks=None, labels=None):
    """Of a backbone and a module, `(b, 2, n)`."""
    logits = np.log(np.array(probabilities, "float64"))
    return certainty.Looks(logits, masks, labels)


def drawn(logits):
    """Classes `(b,)` that are as probable as logits `(b, 5)` say."""
    random = np.random.default_rng(1)
    logarithms = np.log(random.exponential(size=logits.shape))
    return (logits - logarithms).argmax(axis=-1)


def test_a_temperature_mends_what_is_too_sure():
    logits = np.random.default_rng(0).normal(size=(4000, 1, 5))
    labels = drawn(logits[:, 0])
    # The probe, the first, is four times as sure as it should be.
    logits = np.concatenate([4 * logits, -2 * logits], axis=1)
    # Test images, of which it is surer, do not say how sure it should be.
    given = (certainty.Looks(n * logits, None, labels) for n in (1, 2))
    rows = certainty.calibration(*given)
    assert rows["attention"]["temperature"] == 1
    found = rows["attention, tempered"]["temperature"]
    assert found == pytest.approx(1, abs=0.1)
    found = rows["linear probe, tempered"]
    assert found["temperature"] == pytest.approx(4, abs=0.3)
    for measure in (ERROR, NATS):
        assert found[measure] < rows["linear probe"][measure]


def test_each_module_has_a_temperature():
    logits = 3 * np.random.default_rng(0).normal(size=(4000, 2, 5))
    labels = drawn(logits.mean(axis=1))
    # Neither is as sure as it should be; one temperature cannot mend both.
    both = certainty.Looks(logits * [[3], [0.5]], None, labels)
    found = certainty.temperatures(both)
    np.testing.assert_allclose(found, [3, 0.5], rtol=0.1)
    rows = certainty.calibration(both, both)
    one, each = "attention, tempered", "attention, a temperature a module"
    assert rows[each][NATS] < rows[one][NATS]


def test_what_is_answered_of_known_and_unknown_classes():
    # Sure and right, or unsure and wrong; the probe is always sure.
    sure, unsure = [[0.9, 0.1], [0.9, 0.1]], [[0.9, 0.1], [0.02, 0.98]]
    both = looks([sure] * 60 + [unsure] * 40, labels=np.zeros(100, int))
    near, far = looks([sure, unsure, unsure]), looks([unsure, sure])
    far.logits[1] -= 9  # as sure, of less
    seen = {"known": both, "near": near, "far": far}
    rows = certainty.answered(both, seen)
    alone = rows["attention, by probability alone"]
    assert alone["far: answered (%)"] == 50
    assert rows["attention"] == {
        "accuracy (%)": 60,
        "known: answered (%)": 60,
        "near: answered (%)": pytest.approx(100 / 3),
        "far: answered (%)": 0,
        "known: of these correct (%)": 100,
    }
    both.labels = np.arange(100) % 2
    # What is right half of the time, however sure, answers nothing.
    found = certainty.answered(both, seen)["linear probe"]
    assert found["known: answered (%)"] == 0
    assert "known: of these correct (%)" not in found


def test_images_told_apart():
    known, unknown = np.arange(20.0) + 0.5, np.array([0.0, 5.0])
    area, passing = certainty.told_apart(known, unknown)
    # Above 0 are all of 20, above 5 are 15.
    assert area == pytest.approx(100 * 35 / 40)
    assert passing == 50  # the lower one is below 95 % of the known
    masks = np.array([[[1.0, 0.0]], [[0.5, 0.5]]])
    found = certainty.scores(
        looks([[[0.9, 0.1]] * 2, [[0.5, 0.5]] * 2], masks), [1, 0]
    )
    for name, (known, unknown) in found.items():
        assert known > unknown or "energy" in name, name


def test_a_second_look_is_at_the_box_of_the_mask():
    image = np.zeros((80, 100, 3), "uint8")
    image[30:40, 60:70] = 255
    center = transforms.CenterCrop(size=64, resize_shorter_edge=80)
    # The crop is rows 8 to 72 and columns 18 to 82.
    mask = np.zeros((1, 64, 64))
    mask[:, 22:32, 42:52] = 1
    there, middle = certainty.zoomed(
        [image], looks([[[0.5, 0.5]]], mask), 0.5, 0.25, center
    )
    assert there.shape == middle.shape == (1, 64, 64, 3)
    # 10 of 16 pixels across are white; none of those in the middle.
    assert there.mean() / 255 == pytest.approx((10 / 16) ** 2, abs=0.02)
    assert middle.mean() == 0
    corner = np.zeros((1, 64, 64))
    corner[:, :3, 60:] = 1
    (box,) = certainty.zoom_boxes(corner, 0.5, 0.25)
    assert box.tolist() == [0, 48, 16, 64]


def test_the_square_is_chosen_by_validation_images(monkeypatch):
    """The first look says nothing, and the second is right in one square."""
    monkeypatch.setattr(certainty, "ZOOMS", ((0.3, 0.4), (0.1, 0.2)))

    def zoomed(pixels, looks, threshold, least, center):
        views = np.full((len(pixels), 2, 2, 3), 100 * threshold)
        return views, 0 * views

    def look(views):
        right = np.isclose(views[:, 0, 0, 0], 10)
        logits = np.where(right[:, None, None], [2.0, 0.0], [0.0, 1.0])
        return certainty.Looks(logits, None)

    monkeypatch.setattr(certainty, "zoomed", zoomed)
    images = np.zeros((3, 2, 2, 3), "uint8")
    images = ImageDataset("", "abc", [0] * 3, "xy", {}, contents=images)
    center = transforms.CenterCrop(2, 2)
    rows = certainty.second_looks(look, images, images, center)
    assert rows["and what masks show"] == {
        "test accuracy (%)": 100,
        "share of the peak": 0.1,
        "share of the side": 0.2,
    }
    assert rows["one look"]["test accuracy (%)"] == 0


def test_nobody_is_taught_the_nines(tmp_path, monkeypatch, small_digits, eager):
    monkeypatch.setattr(unknown_digits, "TAUGHT", 256)
    taught = []

    def training_data(*arguments):
        taught.append(cluttered_digits(*arguments))
        return taught[-1]

    cluttered_digits = cluttered_mnist.training_data
    monkeypatch.setattr(cluttered_mnist, "training_data", training_data)
    out = tmp_path / "certainty.csv"
    arguments = ["--epochs", "1", "--seeds", "0", "--out", str(out)]
    unknown_digits.main(arguments)
    labels = np.concatenate([taught[0][i][1] for i in range(len(taught[0]))])
    assert set(labels) == set(range(9))
    rows = pd.read_csv(out)
    assert set(rows["table"]) == {"answered", "unknown"}
    assert rows["value"].between(0, 100).all()
    assert {"near: answered (%)", "AUROC, noise (%)"} < set(rows["measure"])
    unknown_digits.main(arguments)
    assert len(taught) == 1


def test_a_table_has_means_over_seeds(tmp_path):
    path = tmp_path / "certainty.csv"
    row, measure = certainty_report.FIXED, "test accuracy (%)"
    path.write_text(
        "data,backbone,seed,table,row,measure,value\n"
        f"birds,net,0,zoom,one look,{measure},60\n"
        f"birds,net,1,zoom,one look,{measure},62\n"
        f"birds,net,0,zoom,{row},{measure},64\n"
        f"birds,net,1,zoom,{row},{measure},67\n"
        f"birds,net,0,unknown,one look,{measure},1\n"
    )
    *_, one, two = certainty_report.table(path, "zoom").splitlines()
    # Of differences of 4 and 5, whose t has one degree of freedom.
    assert [cell.strip() for cell in one.split("|")[1:-1]] == [
        "one look",
        "61.00 ± 1.41",
        "+4.50 (-1.85 to +10.85)",
    ]
    assert row in two and "65.50 ± 2.12" in two and two.endswith(" – |")
