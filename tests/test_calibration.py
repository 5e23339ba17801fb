"""Probabilities that hold, promises that are kept, and who applies them."""

import dataclasses

import keras
import numpy as np
import pytest
from exported import augmented
from exported import calibrated
from scipy import special
from support import needs_tensorflow
from test_report import Page

import keras_warn
from keras_warn import confidence
from keras_warn import metadata
from keras_warn.attention import attention_of
from keras_warn.reporting.comparison import compare

pytestmark = pytest.mark.usefixtures("eager")


def drawn(images, seed=0, n=5):
    """True probabilities `(b, n)` of images, and labels drawn from them."""
    random = np.random.default_rng(seed)
    true = special.softmax(random.normal(scale=3, size=(images, n)), axis=-1)
    edges = true.cumsum(axis=-1)
    labels = (edges < random.uniform(size=(images, 1))).sum(axis=-1)
    return true, np.minimum(labels, n - 1)


def fit(probabilities, labels, accuracy=None):
    """Where the backbone says no more than the highest probability."""
    return confidence.fit(
        probabilities, np.log(probabilities), labels, accuracy
    )


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_temperature_is_found_and_taken_back(temperature):
    true, labels = drawn(4000)
    said = confidence.tempered(true, 1 / temperature)
    found = fit(said, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.06)
    np.testing.assert_allclose(found.probabilities(said), true, atol=0.02)


def test_promises_are_kept():
    """In 95 of 100 calibrations, of a model that is far too sure."""
    true, labels = drawn(60_000)
    said = confidence.tempered(true, 0.2)
    rest = slice(30_000, None)
    best = said.argmax(axis=-1)
    kept = answered = 0
    for i in range(100):
        part = slice(300 * i, 300 * (i + 1))
        found = fit(said[part], labels[part], accuracy=0.75)
        probabilities = found.probabilities(said[rest])
        chosen = found.answers(probabilities, np.log(said[rest]))
        kept += np.mean(best[rest][chosen] == labels[rest][chosen]) >= 0.75
        answered += chosen.mean() / 100
    assert kept >= 95
    # Not by leaving everything to a person.
    assert answered > 0.5


def test_bound_by_hand():
    """Of `n` answers without a mistake, 1 - risk^(1/n) may be wrong."""
    probabilities = np.tile([0.7, 0.3], (100, 1))
    labels = np.zeros(100, int)
    found = fit(probabilities, labels)
    # All are equally sure: no share is another than the whole.
    assert found.accuracy == pytest.approx(0.005 ** (1 / 100))
    assert found.answered == 1 and found.images == 100
    with pytest.raises(ValueError, match="at most 0.948.* 528 without a mis"):
        fit(probabilities, labels, accuracy=0.99)


def test_a_higher_accuracy_answers_less():
    said, labels = drawn(2000)
    shares = [
        fit(said, labels, accuracy).answered for accuracy in (0.5, 0.8, 0.9)
    ]
    assert shares == sorted(shares, reverse=True)
    # Not even a model that is good enough answers all.
    assert shares[0] == 0.95 and 0 < shares[-1] < 0.5
    # Without a wish, at least half are.
    assert fit(said, labels).answered >= 0.5


def test_what_the_backbone_does_not_know_is_not_answered_however_sure():
    said, labels = drawn(2000)
    random = np.random.default_rng(1)
    logits = np.log(said) + random.uniform(5, 9, size=(2000, 1))
    # What it says of other classes does not matter.
    logits[said < said.max(axis=-1, keepdims=True)] += 99
    found = confidence.fit(said, logits, labels, accuracy=0.8)
    probabilities = found.probabilities(said)
    answered = found.answers(probabilities, logits)
    assert answered.mean() == found.answered > 0.4
    assert (said.argmax(-1) == labels)[answered].mean() >= 0.8
    assert not found.answers(probabilities, logits - 9).any()
    # Nor what is unsure, however high its logit.
    surer = probabilities.max(-1) >= found.threshold
    np.testing.assert_array_equal(
        found.answers(probabilities, logits + 9), surer
    )
    # Both thresholds leave out as many: neither alone is in the way.
    of_predicted = logits[np.arange(2000), said.argmax(-1)]
    known = of_predicted >= found.least_backbone_logit
    assert surer.mean() == pytest.approx(known.mean(), abs=0.002)


def backbone_logits(model, images):
    """What the backbone by itself says of the classes that are predicted."""
    found = keras_warn.inspect(model).predict(images, verbose=0)
    predicted = found["prediction"].argmax(axis=-1)
    return found["backbone_prediction"][np.arange(len(images)), predicted]


def data(model, count=40):
    """Images, and labels of which the model gets the surest right."""
    random = np.random.default_rng(1)
    images = random.normal(size=(count, 29, 31, 3)).astype("float32")
    images *= random.uniform(0.1, 3, size=(count, 1, 1, 1))
    scores = model.predict(images, verbose=0)
    labels, sure = scores.argmax(-1), special.softmax(scores, -1).max(-1)
    wrong = sure < np.quantile(sure, 0.4)
    return images, np.where(wrong, (labels + 1) % 5, labels)


@pytest.mark.parametrize("activation", ["softmax", None])
def test_all_who_show_probabilities_apply_it(activation, tmp_path):
    model = augmented(classifier_activation=activation)
    images, labels = data(model)
    before = model.predict(images, verbose=0)
    said = special.softmax(before, -1) if activation is None else before
    found = keras_warn.calibrate(model, (images, labels), verbose=0)
    wanted = confidence.tempered(said, found.temperature)
    assert abs(found.temperature - 1) > 0.1  # there is something to do
    answered = (wanted.max(-1) >= found.threshold) & (
        backbone_logits(model, images) >= found.least_backbone_logit
    )
    assert 0 < answered.mean() < 1
    # The model itself is what it was.
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)

    model.save(tmp_path / "m.keras")
    model = keras.saving.load_model(tmp_path / "m.keras")
    assert metadata.of_model(model).calibration == found
    assert metadata.read_file(tmp_path / "m.keras").calibration == found
    compared = compare(model, (images, labels), verbose=0)
    np.testing.assert_allclose(
        compared.output.confidences, wanted.max(-1), rtol=1e-4
    )
    np.testing.assert_array_equal(compared.answered, answered)

    path = tmp_path / "report.html"
    keras_warn.report(model, (images, labels), path, examples=0, verbose=0)
    page = Page(path).text
    correct = compared.output.correct[answered].mean()
    assert f"Answered {100 * answered.mean():.1f} % of images;" in page
    assert f"{100 * correct:.1f} % of them correctly" in page
    assert f"a temperature of {found.temperature:.2f} divides" in page


@needs_tensorflow
@pytest.mark.parametrize(
    "activation, temperature", [("softmax", 0.01), (None, 2.0)]
)
def test_exported_models_apply_it(activation, temperature, tmp_path):
    """Of any temperature: 0.2 to the power of 100 is no number of float32."""
    import tensorflow as tf

    model = augmented(classifier_activation=activation)
    images, _ = data(model)
    images[0] = 0  # of which it is unsure
    logits = backbone_logits(model, images)
    least = float(np.median(logits))
    found = calibrated(
        model,
        temperature=temperature,
        threshold=0.25,
        least_backbone_logit=least,
    )
    keras_warn.export(model, tmp_path / "saved")
    loaded = tf.saved_model.load(tmp_path / "saved")
    said = model.predict(images, verbose=0)
    if activation is None:
        said = special.softmax(said, -1)
    assert said[0].max() < 0.4
    wanted = found.probabilities(said)
    answered = (wanted.max(-1) >= 0.25) & (logits >= least)
    assert 0 < answered.mean() < 1
    for function in (loaded.serve, loaded.explain):
        served = function(tf.constant(images))
        np.testing.assert_allclose(served["probabilities"], wanted, atol=1e-3)
        np.testing.assert_allclose(served["backbone_logit"], logits, atol=1e-4)
        np.testing.assert_array_equal(served["answered"], answered)


def test_errors(tmp_path):
    model = augmented()
    images, labels = data(model, 16)
    found = keras_warn.calibrate(model, (images, labels), verbose=0)
    for test_set, accuracy, message in (
        ((images, labels), 1.0, "`accuracy` must be finite, at least"),
        ([], None, "at least 16 images.* Received: 0"),
        ((images[1:], labels[1:]), None, "at least 16 images.* Received: 15"),
        ((images, 0 * labels + 3), None, "two classes or more. .* of class 3"),
        ((images * np.nan, labels), None, "`model` must predict finite"),
    ):
        with pytest.raises(ValueError, match=message):
            keras_warn.calibrate(model, test_set, accuracy, verbose=0)
    other = dataclasses.replace(found, classes=4)
    with pytest.raises(ValueError, match="of the model's 5 classes. Received"):
        metadata.attach(model, metadata.Metadata(calibration=other))
    with pytest.raises(ValueError, match="`threshold` must be .* at most 1"):
        dataclasses.replace(found, threshold=1.5)
    assert metadata.of_model(model).calibration == found
    # Of an earlier version, by another threshold: not used without a word.
    rectified = attention_of(model).rectified
    kept = dataclasses.asdict(found)
    kept["least_logit"] = kept.pop("least_backbone_logit")
    without = {name: x for name, x in kept.items() if name != "least_logit"}
    for one in (kept, without):
        rectified.metadata = {**rectified.metadata, "calibration": one}
        with pytest.warns(UserWarning, match="calibrated by an earlier versi"):
            assert metadata.of_model(model).calibration is None


def test_training_further_ends_it():
    """That of the backbone, too, which may be all that learns."""
    model = augmented()
    test_set = data(model)
    found = keras_warn.calibrate(model, test_set, verbose=0)
    for kernel in (model.weights[0], model.weights[-1]):
        kernel.assign(kernel + 1)
        with pytest.warns(UserWarning, match="trained further .* `calibrat"):
            assert metadata.of_model(model).calibration is None
        again = keras_warn.calibrate(model, test_set, verbose=0)
        assert metadata.of_model(model).calibration == again != found
