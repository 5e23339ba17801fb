"""Images that leave early: what runs for them, and what is promised."""

import dataclasses

import keras
import numpy as np
import odd_images
import pytest
from exported import augmented
from exported import calibrated
from exported import lively
from exported import metadata_of
from keras import layers
from PIL import Image
from scipy import special
from support import needs_tensorflow
from support import refuses
from support import to_numpy
from support import two_maps
from test_report import Page

import keras_warn
from keras_warn import exits
from keras_warn import metadata
from keras_warn.attention import attention_of
from keras_warn.operations import operations
from keras_warn.reporting.comparison import compare
from keras_warn.staging import operations_so_far

pytestmark = pytest.mark.usefixtures("eager")


def drawn(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def chained(model, images):
    """The predictions of all stages, each made of what the last handed on."""
    *firsts, last = keras_warn.stages(model)
    found, tensors = [], images
    for stage in firsts:
        probabilities, tensors = stage(tensors)
        found.append(to_numpy(probabilities))
    return [*found, to_numpy(last(tensors))]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"gates": "softmax", "classifier_activation": None},
        {"gates": "linear"},
        {"attend_at": [-1, -2]},
    ],
    ids=str,
)
def test_stages_are_the_model(arguments):
    model = two_maps(**arguments)
    lively(model)
    images = drawn(3, 24, 20, 1)
    *early, last = chained(model, images)
    np.testing.assert_array_equal(last, to_numpy(model(images)))
    assert np.ptp(last) > 0.01
    inside = keras_warn.inspect(model)(images)
    logits = [to_numpy(inside[f"module_{i}_prediction"]) for i in (1, 2)]
    for i, probabilities in enumerate(early, start=1):
        wanted = special.softmax(np.mean(logits[:i], axis=0), axis=-1)
        np.testing.assert_allclose(probabilities, wanted, atol=1e-6)


def test_stages_of_several_inputs_in_mixed_precision():
    """One of them is read by the last stage alone."""
    keras.config.set_dtype_policy("mixed_float16")
    first, second = keras.Input((16, 16, 3)), keras.Input((4,))
    x = layers.Conv2D(5, 3, 2, activation="relu")(first)
    x = layers.Conv2D(7, 3, 2, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Concatenate()([x, second])
    x = layers.Dense(7, activation="softmax", dtype="float32")(x)
    model = keras_warn.augment(keras.Model([first, second], x), depth=2)
    images = [drawn(3, 16, 16, 3), drawn(3, 4)]
    *early, last = chained(model, images)
    np.testing.assert_array_equal(last, to_numpy(model(images)))
    assert all(one.dtype == "float32" for one in early)


def test_no_layer_runs_twice(traced):
    model = two_maps()
    found = keras_warn.stages(model)
    own = [
        {layer.name for layer in stage.layers if layer.weights}
        for stage in found
    ]
    every = {layer.name for layer in model.layers if layer.weights}
    assert set.union(*own) == every and sum(map(len, own)) == len(every)
    # But for the exits' own means and softmaxes.
    counts = [sum(operations(stage).values()) for stage in found]
    whole = sum(operations(model).values())
    assert whole <= sum(counts) < 1.01 * whole
    so_far = operations_so_far(model)
    np.testing.assert_allclose(so_far, np.cumsum(counts) / sum(counts))
    assert 0 < so_far[0] < so_far[1] < so_far[2] == 1
    # Also of images of any size.
    backbone = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(5, 3, 2)]
    )
    (share, whole) = operations_so_far(keras_warn.augment(backbone, 3))
    assert 0.9 < share < whole == 1


def test_who_leaves_where():
    confidences = np.array([[0.9, 0.1], [0.7, 0.8], [0.2, 0.6], [0.1, 0.1]])
    # The first is lost at its exit; the second is saved; the third is wrong.
    correct = np.array([[0, 1, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]], bool)
    found = exits.cascade(confidences, correct, [0.95, 0.85, 0.8, 0.6, 0.0])
    np.testing.assert_array_equal(
        4 * found.shares,
        [[0, 0, 4], [1, 0, 3], [1, 1, 2], [2, 1, 1], [4, 0, 0]],
    )
    assert found.lost.tolist() == [0, 1, 1, 1, 1]
    assert found.accuracies.tolist() == [0.5, 0.25, 0.5, 0.5, 0.5]
    assert found.images == 4


def population(images, seed):
    """Two exits that are too sure, and a model that is mostly correct."""
    random = np.random.default_rng(seed)
    sure = special.expit(random.normal(1, 3, (images, 2)))
    chances = np.column_stack([0.5 + 0.5 * sure, np.full(images, 0.98)])
    correct = random.uniform(size=(images, 3)) < chances
    return exits.cascade(sure, correct, exits.THRESHOLDS[::4])


def test_promises_are_kept():
    """In 95 of 100 calibrations."""
    everyone, loss = population(50_000, seed=0), 0.02
    harmless = set(everyone.thresholds[everyone.lost <= loss * 50_000])
    costs = np.array([0.2, 0.6, 1.0])
    found = [
        exits.fit(population(600, seed), costs, loss) for seed in range(1, 201)
    ]
    assert np.mean([one.threshold in harmless for one in found]) >= 0.95
    # Not by letting nobody leave.
    assert np.mean([one.operations for one in found]) < 0.7


def test_what_is_found_by_hand():
    confidences = np.linspace(0.001, 0.999, 500)[:, None]
    correct = np.ones((500, 2), bool)
    correct[:100, 0] = False  # where the exit is less sure than 0.2
    found = exits.cascade(confidences, correct)
    costs = np.array([0.5, 1.0])
    chosen = exits.fit(found, costs, loss=0.01)
    # Of 500 images one may be lost: 1 - 0.05^(1/500) is 0.006, and 0.0095 is
    # the upper end for one.
    left = confidences >= chosen.threshold
    assert chosen.left == (left.mean(),)
    assert np.sum(left[:100]) <= 1
    assert chosen.operations == pytest.approx(1 - left.mean() / 2)
    looser = exits.fit(found, costs, loss=0.1)
    assert looser.threshold < chosen.threshold
    # A threshold behind one that fails is never reached.
    lost = np.where(np.arange(len(found.lost)) == 7, 400, 0)
    chosen = exits.fit(found._replace(lost=lost), costs, loss=0.1)
    assert chosen.threshold == exits.THRESHOLDS[6]
    with pytest.raises(ValueError, match="`loss` must be at least 0.83, which"):
        exits.fit(found._replace(lost=lost + 400), costs, loss=0.1)


def test_how_many_images_are_needed():
    def fitted(count):
        sure, correct = np.full((count, 1), 0.5), np.ones((count, 2), bool)
        return exits.fit(exits.cascade(sure, correct), np.ones(2), loss=0.005)

    assert fitted(598).images == 598
    with pytest.raises(ValueError, match="598 images or more .* Received: 597"):
        fitted(597)


def sided(**arguments):
    return augmented(preset="side_by_side", **arguments)


def data(count=80):
    return drawn(count, 29, 31, 3), np.arange(count) % 5


def test_are_kept_with_the_model(tmp_path):
    model = sided()
    calibration = keras_warn.calibrate(model, data(), verbose=0)
    found = keras_warn.early_exits(model, data(), loss=0.3, verbose=0)
    assert 0 < sum(found.left) <= 1 and found.operations < 1
    model.save(tmp_path / "m.keras")
    model = keras.saving.load_model(tmp_path / "m.keras")
    for known in (
        metadata.of_model(model),
        metadata.read_file(tmp_path / "m.keras"),
    ):
        assert known.early_exits == found
        assert known.calibration == calibration
        said = f"probability of {found.threshold:.3f} or more"
        assert said in metadata.described(known)
    # What was found is what stages do.
    *early, _ = chained(model, data()[0])
    sure = np.stack([one.max(axis=-1) for one in early]) >= found.threshold
    assert found.left[0] == sure[0].mean()
    assert sum(found.left) == pytest.approx(sure.any(axis=0).mean())
    kernel = model.weights[0]
    kernel.assign(2 * kernel)
    with pytest.warns(UserWarning, match="further .* its `early_exits` was"):
        assert metadata.of_model(model).early_exits is None


def test_a_test_set_shows_what_they_do():
    model = sided(classifier_activation=None)
    images, labels = data(11)
    found = compare(model, (images, labels), batch_size=4, verbose=0)
    *early, _ = chained(model, images)
    for one, probabilities in zip(found.exits, early, strict=True):
        wanted = probabilities.max(axis=-1)
        np.testing.assert_allclose(one.confidences, wanted, rtol=1e-5)
    # If all wait for the end, or leave after the first module.
    first, last = found.cascade().accuracies[[-1, 0]]
    assert (first, last) == (found.exits[0].accuracy(), found.output.accuracy())
    joint = compare(augmented(), (images, labels), verbose=0)
    assert joint.exits is joint.cascade() is None


@pytest.mark.parametrize(
    "arguments, separate",
    [
        ({"preset": "side_by_side"}, True),
        ({"preset": "paper"}, False),
        ({"preset": "side_by_side", "gates": "linear"}, False),
    ],
    ids=str,
)
def test_which_modules_have_losses_of_their_own(arguments, separate):
    model = two_maps(classifier_activation=None, **arguments)
    assert keras_warn.losses.are_separate(model) is separate
    # Or by this loss, which needs gates.
    model.compile("sgd", keras_warn.GatedLogLikelihood())
    gated = arguments.get("gates") != "linear"
    assert keras_warn.losses.are_separate(model) is gated


def test_what_is_refused():
    model, (images, labels) = sided(), data(10)

    def refused(match, of=model, of_labels=labels, **arguments):
        with pytest.raises(ValueError, match=match):
            keras_warn.early_exits(
                of, (images, of_labels), verbose=0, **arguments
            )

    refused("`loss` must be above 0: however many.* loss=0.0", loss=0.0)
    refused("`loss` must be finite, at least 0 .* loss=1.0", loss=1.0)
    refused("two classes or more.* class 3 alone", of_labels=0 * labels + 3)
    refused("loss for each module.* agreement_weight=0", of=augmented())
    assert metadata.of_model(model).early_exits is None
    with refuses(ValueError, "at most 1", threshold=1.5):
        exits.EarlyExits(1.5, 0.01, (0.5,), 0.7, 300)


def test_images_must_stay_apart(tmp_path):
    """Not so where windows of an image lie beside each other in a batch."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 1)(inputs)
    windows = keras.ops.reshape(x, (-1, 4, 8, 4))
    x = keras.ops.reshape(keras.layers.ReLU()(windows), (-1, 8, 8, 4))
    first = keras.layers.Conv2D(4, 3, padding="same")(x)
    # Read behind the first module, too.
    again = keras.ops.reshape(keras.layers.ReLU()(windows), (-1, 8, 8, 4))
    last = keras.layers.Conv2D(4, 3)(first + again)
    model = keras_warn.augment(
        keras.Model(inputs, last), classes=2, attend_at=[first, -1]
    )
    images = np.random.default_rng(0).normal(size=(20, 8, 8, 3))
    data = images, np.arange(20) % 2
    with pytest.raises(ValueError, match="images of a batch apart.*2, 4, 8, 4"):
        keras_warn.early_exits(model, data, loss=0.5, verbose=0)
    # A report is as of other models, without the curve.
    keras_warn.report(model, data, tmp_path / "report.html", verbose=0)


def left_at(model, images, threshold):
    """What each image should get, and in which stage, image by image."""
    *early, last = chained(model, images)
    ends = np.stack([*early, last], axis=1)
    sure = np.stack([one.max(axis=-1) >= threshold for one in early], axis=1)
    stage = [(*row, True).index(True) + 1 for row in sure.tolist()]
    return ends[range(len(stage)), np.array(stage) - 1], np.array(stage)


def exported(model, path, threshold, **arguments):
    import tensorflow as tf

    found = exits.EarlyExits(threshold, 0.01, (0.3, 0.3), 0.7, 300)
    known = metadata.from_json(attention_of(model).rectified.metadata)
    metadata.attach(model, dataclasses.replace(known, early_exits=found))
    keras_warn.export(model, path, **arguments)
    return tf.saved_model.load(path)


@needs_tensorflow
def test_an_exported_model_skips_the_rest(tmp_path, traced):
    model, images = sided(), drawn(12, 29, 31, 3)
    calibrated(model, temperature=2.0)
    probabilities, stage = left_at(model, images, 0.45)
    assert sorted(set(stage)) == [1, 2, 3]  # there is something to tell apart
    loaded = exported(model, tmp_path / "m", 0.45, masks="maps")
    served = loaded.serve_early(images)
    np.testing.assert_array_equal(served["stage"], stage)
    # What the whole model predicts is what `serve` returns.
    whole = np.array(loaded.serve(images)["probabilities"])
    wanted = np.where(stage[:, None] == 3, whole, probabilities)
    np.testing.assert_allclose(served["probabilities"], wanted, atol=1e-6)
    about = metadata_of(tmp_path / "m")
    assert about["early_exits"]["threshold"] == 0.45
    assert about["signatures"]["serve_early"]["outputs"] == {
        "probabilities": [None, 5],
        "stage": [None],
    }


class AtMost(layers.Layer):
    """Fails if it runs for more images than a limit."""

    def __init__(self, limit, **kwargs):
        super().__init__(**kwargs)
        self.limit = limit

    def call(self, x):
        import tensorflow as tf

        tf.debugging.assert_less_equal(tf.shape(x)[0], self.limit)
        return 1.0 * x


@needs_tensorflow
@pytest.mark.parametrize("threshold, limit", [(0.45, 10), (0.0, -1)])
def test_the_rest_runs_for_nobody_else(threshold, limit, tmp_path, traced):
    """Not at all, if none is left: -1 would be too many."""
    x = inputs = keras.Input((29, 31, 3))
    x = layers.Conv2D(7, 3, 2, activation="relu", name="conv1")(x)
    x = AtMost(limit)(x)
    x = layers.Conv2D(11, 3, 2, activation="relu", name="conv2")(x)
    model = sided(backbone=keras.Model(inputs, x), attend_at=["conv1", "conv2"])
    images = drawn(12, 29, 31, 3)
    loaded = exported(model, tmp_path / "m", threshold, masks="maps")
    stage = np.array(loaded.serve_early(images)["stage"])
    assert np.sum(stage > 1) == max(limit, 0)
    with pytest.raises(Exception, match="assert"):
        loaded.serve(images)


@needs_tensorflow
def test_files_leave_early_too(tmp_path, traced):
    random = np.random.default_rng(0)
    pixels = random.integers(256, size=(6, 29, 31, 3), dtype="uint8")
    files = [odd_images.encoded(Image.fromarray(one), "PNG") for one in pixels]
    options = {"preprocessing": "rescale", "encoded": True, "masks": "maps"}
    loaded = exported(sided(), tmp_path / "m", 0.3, **options)
    of_files = loaded.serve_early_bytes(np.array(files, object))
    of_arrays = loaded.serve_early(pixels.astype("float32"))
    np.testing.assert_array_equal(of_files["stage"], of_arrays["stage"])
    np.testing.assert_allclose(
        of_files["probabilities"], of_arrays["probabilities"], atol=1e-6
    )


def test_the_report_shows_them(tmp_path):
    model, path = sided(), tmp_path / "report.html"
    options = {"examples": 0, "verbose": 0, "overwrite": True}
    keras_warn.report(model, data(40), path, **options)
    assert "keras_warn.early_exits finds" in Page(path).text
    chosen = keras_warn.early_exits(model, data(), loss=0.3, verbose=0)
    found = keras_warn.report(model, data(40), path, **options)
    page = Page(path)
    operations = operations_so_far(model)
    for i, one in enumerate(found.exits):
        cells = f"{100 * operations[i]:.1f} % {100 * one.accuracy():.1f} %"
        assert f"After module {i + 1} {cells}" in page.text
    (curve,) = page.all("polyline")
    points = [one.split(",") for one in curve["points"].split()]
    assert len(points) == len(exits.THRESHOLDS)
    ends = float(points[0][0]), float(points[-1][0])
    assert ends == (300, round(40 + 260 * operations[0], 1))
    at = found.cascade([chosen.threshold])
    for text in (
        f"From a probability of {chosen.threshold:.3f} on",
        f"{100 * (at.shares[0] @ operations):.1f} % of the operations",
        f"an accuracy of {100 * at.accuracies[0]:.1f} %;",
        f"{100 * at.lost[0] / 40:.1f} % leave with a wrong",
    ):
        assert text in page.text
