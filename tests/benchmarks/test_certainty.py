"""How sure a model is: its measures, on numbers that are known by hand."""

import functools

import certainty
import cluttered_mnist
import numpy as np
import pandas as pd
import pytest
import unknown_digits
from measuring import certainty_report

from keras_warn.data import transforms


def looks(probabilities, masks=None):
    """Of a backbone and a module, `(b, 2, n)`."""
    logits = np.log(np.array(probabilities, "float64"))
    return certainty.Looks(logits, masks)


def test_a_temperature_mends_what_is_too_sure():
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 1, 5))
    drawn = np.log(random.exponential(size=(4000, 5)))
    labels = (logits[:, 0] - drawn).argmax(axis=-1)  # as probable as they say
    # The probe, the first, is four times as sure as it should be.
    both = certainty.Looks(np.concatenate([4 * logits, -2 * logits], 1), None)
    # Test images, of which it is surer, do not say how sure it should be.
    surer = certainty.Looks(2 * both.logits, None)
    rows = certainty.calibration((both, labels), (surer, labels))
    assert rows["attention", "temperature"] == 1
    assert rows["attention, tempered", "temperature"] == pytest.approx(
        1, abs=0.1
    )
    assert rows["linear probe, tempered", "temperature"] == pytest.approx(
        4, abs=0.3
    )
    for measure in ("calibration error (%)", "negative log-likelihood"):
        before, after = (
            rows[name, measure]
            for name in ("linear probe", "linear probe, tempered")
        )
        assert after < before


def test_each_module_has_a_temperature():
    random = np.random.default_rng(0)
    logits = 3 * random.normal(size=(4000, 2, 5))
    drawn = np.log(random.exponential(size=(4000, 5)))
    labels = (logits.mean(axis=1) - drawn).argmax(axis=-1)
    # Neither is as sure as it should be; one temperature cannot mend both.
    both = certainty.Looks(logits * [[3], [0.5]], None)
    found = certainty.temperatures(both, labels)
    np.testing.assert_allclose(found, [3, 0.5], rtol=0.1)
    rows = certainty.calibration((both, labels), (both, labels))
    nats = "negative log-likelihood"
    one, each = "attention, tempered", "attention, a temperature a module"
    assert rows[each, nats] < rows[one, nats]


def test_what_is_answered_of_known_and_unknown_classes():
    # Sure and right, or unsure and wrong; the probe is always sure.
    sure, unsure = [[0.9, 0.1], [0.9, 0.1]], [[0.9, 0.1], [0.02, 0.98]]
    both = looks([sure] * 60 + [unsure] * 40)
    labels = np.zeros(100, int)
    near, far = looks([sure, unsure, unsure]), looks([unsure, sure])
    far.logits[1] -= 9  # as sure, of less
    unknown = {"near": near, "far": far}
    rows = certainty.answered((both, labels), (both, labels), unknown)
    assert rows["attention, by probability alone", "far: answered (%)"] == 50
    assert {name: rows["attention", name] for _, name in rows} == {
        "accuracy (%)": 60,
        "known: answered (%)": 60,
        "near: answered (%)": pytest.approx(100 / 3),
        "far: answered (%)": 0,
        "known: of these correct (%)": 100,
    }
    wrong = np.arange(100) % 2
    rows = certainty.answered((both, wrong), (both, wrong), unknown)
    # What is right half of the time, however sure, answers nothing.
    assert rows["linear probe", "known: answered (%)"] == 0
    assert ("linear probe", "known: of these correct (%)") not in rows


def test_images_told_apart():
    area, passing = certainty.told_apart(
        np.arange(20.0) + 0.5, np.array([0.0, 5.0])
    )
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
    monkeypatch.setattr(certainty, "ZOOMS", ((0.1, 0.2), (0.3, 0.4)))

    def zoomed(pixels, looks, threshold, least, center):
        views = np.full((len(pixels), 2, 2, 3), 100 * threshold)
        return views, 0 * views

    def look(views):
        right = np.isclose(views[:, 0, 0, 0], 10)
        logits = np.where(right[:, None, None], [2.0, 0.0], [0.0, 1.0])
        return certainty.Looks(logits, None)

    monkeypatch.setattr(certainty, "zoomed", zoomed)
    images = np.zeros((3, 2, 2, 3), "uint8")
    labels, center = np.zeros(3, int), transforms.CenterCrop(2, 2)
    validation = images, labels
    rows = certainty.second_looks(look, images, labels, validation, center)
    row = "and what masks show"
    assert rows[row, "share of the peak"] == 0.1
    assert rows[row, "share of the side"] == 0.2
    assert rows[row, certainty.ACCURACY] == 100
    assert rows["one look", certainty.ACCURACY] == 0


def test_nobody_is_taught_the_nines(tmp_path, monkeypatch, eager):
    small = {**cluttered_mnist.SMOKE, "filters": (4,) * 5, "dense": 8}
    settings = functools.partial(cluttered_mnist.Settings, **small)
    del small["epochs"]  # an option
    monkeypatch.setattr(cluttered_mnist, "Settings", settings)
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


def test_known_classes_are_counted_from_zero():
    from keras_warn.data import ImageDataset

    dataset = ImageDataset(
        "made up",
        "abcd",
        [0, 1, 2, 3],
        ("w", "x", "y", "z"),
        splits={},
        contents=np.zeros((4, 2, 2, 3), "uint8"),
    )
    chosen = certainty.of_classes(dataset, np.array([1, 3]))
    assert chosen.names == ("x", "z")
    assert chosen.labels.tolist() == [0, 1]


def test_a_table_has_means_over_seeds(tmp_path):
    path = tmp_path / "certainty.csv"
    row, measure = certainty_report.FIXED, certainty.ACCURACY
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
        "birds, net: one look",
        "61.00 ± 1.41",
        "+4.50 (-1.85 to +10.85)",
    ]
    assert row in two and "65.50 ± 2.12" in two and two.endswith(" – |")
