"""Features on disk, in place of the images that they are of."""

import dataclasses
import os
import signal

import fresh
import keras
import numpy as np
import pytest
from resumed import images
from support import assert_all_close
from support import assert_all_equal

import keras_warn
from keras_warn import files
from keras_warn.data import Mix
from keras_warn.data import TestBatches
from keras_warn.data import TrainingBatches
from keras_warn.data import transforms
from keras_warn.training import FeatureCache
from keras_warn.training import evaluate
from keras_warn.training import fit


def build(attention=True, seed=0):
    """A compiled model on a frozen backbone, and the two it is split in."""
    # Automatic names are counted in each process, and are part of the key.
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 255)(x)
    for filters in (5, 6):
        x = keras.layers.Conv2D(filters, 3, 2, activation="relu")(x)
    inner = keras.Model(inputs, x, name="inner")
    inner.trainable = False
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(
        inputs, keras.layers.Dense(3, "softmax", name="probe")(x), name="all"
    )
    if attention:
        model = keras_warn.augment(model, depth=2)
    features, head = keras_warn.split(model)
    for one in (model, head):
        one.compile(
            keras.optimizers.AdamW(0.01, epsilon=1e-12),
            "categorical_crossentropy",
            metrics=["accuracy"],
            # TensorFlow would trace for longer than it trains.
            run_eagerly=True,
        )
    features.run_eagerly = True
    return model, features, head


def training(dataset=None, size=2, seed=1, **options):
    transform = transforms.PadAndCrop(size)
    return TrainingBatches(dataset or images(20), transform, 6, seed, **options)


def evaluation_batches(count=20, **options):
    return TestBatches(images(count, **options), transforms.Identity(), 4)


def cached(batches, folder, count=2, features=None, **options):
    features = features or build()[1]
    return FeatureCache(features, batches, folder, count, verbose=0, **options)


def test_trained_through_the_cache_as_without_it(tmp_path):
    """Resumed in the middle, with a validation by features, too."""
    model, _, _ = build()
    tested = evaluation_batches(7, seed=1)
    expected = fit(model, training(), 2, tmp_path / "a", tested, verbose=0)
    for until in (1, 2):
        through, features, head = build()
        found = fit(
            head,
            cached(training(), tmp_path, features=features, dtype="float32"),
            2,
            tmp_path / "b",
            cached(tested, tmp_path, 1, features, dtype="float32"),
            verbose=0,
            until=until,
        )
    assert_all_close(through.get_weights(), model.get_weights(), atol=1e-5)
    for one, other in zip(found.history, expected.history, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    scores = evaluate(head, cached(tested, tmp_path, 1, features))
    assert scores == pytest.approx(evaluate(model, tested), abs=1e-3)


def test_a_head_resumes_on_features_of_its_own_backbone_alone(tmp_path):
    for seed in (0, 1):  # of other weights
        _, features, head = build(attention=False, seed=seed)
        batches = cached(training(), tmp_path, features=features)
        if seed == 0:
            fit(head, batches, 2, tmp_path / "a", until=1, verbose=0)
            first = batches.digest
    message = f"digest={first} instead of {batches.digest}"
    with pytest.raises(ValueError, match=f"of this training. .* {message}"):
        fit(head, batches, 2, tmp_path / "a", verbose=0)


def test_batches_as_a_data_set_from_anywhere(tmp_path):
    cache = cached(training(), tmp_path)
    found = cache.dataset(1, 2).take(2).as_numpy_iterator()
    for place, (features, labels) in zip([(1, 2), (2, 0)], found, strict=True):
        expected, expected_labels = cache.batch(*place)
        np.testing.assert_array_equal(labels, expected_labels)
        assert_all_equal(features, expected)
        # So that not every layer that reads a map casts it.
        assert {x.dtype for x in features} == {np.dtype("float32")}


def test_views_repeat_after_all_were_seen(tmp_path):
    batches, features = training(), build()[1]
    cache = cached(batches, tmp_path, features=features, dtype="float32")
    for epoch in (1, 2):
        found, labels = cache.batch(epoch, 1)
        chosen = batches.indices(epoch, 1)
        seen = np.stack([batches.see(epoch % 2, i) for i in chosen])
        np.testing.assert_array_equal(labels, batches.batch(epoch, 1)[1])
        expected = features.predict_on_batch(seen)
        assert_all_close(found, expected, atol=1e-5)


def test_the_classifier_inside_learns_as_a_linear_probe_alone(tmp_path):
    """With losses apart, Adam gives it the steps of its own training."""
    ended = []
    for attention in (True, False):
        model, features, head = build(attention)
        cache = cached(training(), tmp_path, features=features, dtype="float32")
        fit(head, cache, 3, tmp_path / f"{attention}", verbose=0)
        ended.append(model.get_layer("probe").get_weights())
    assert not np.allclose(ended[0][0], build()[0].get_layer("probe").kernel)
    assert_all_close(*ended, atol=1e-4)


def test_what_differs_has_a_cache_of_its_own(whole, tmp_path, monkeypatch):
    """By an image, order, transform, number, weights, or a map of others."""
    # Its name is enough.
    monkeypatch.setattr(FeatureCache, "_write", lambda *args: None)
    darker = images(20).contents.copy()
    darker[7, 0, 0, 0] += 1
    darker = dataclasses.replace(images(20), contents=darker)
    weights = build()[1]
    weights.weights[0].assign(weights.weights[0] + 1e-3)
    model, features, _ = build()
    first = next(x for x in model.layers if x.name.startswith("conv2d"))
    maps = [features.outputs[0], keras.ops.negative(first.output)]
    maps = keras.Model(features.inputs, maps, name=features.name)
    others = [
        cached(training(darker), tmp_path),
        cached(training(seed=2), tmp_path),
        cached(training(size=3), tmp_path),
        cached(training(), tmp_path, 3),
        cached(training(), tmp_path, 2, weights),
        cached(training(), tmp_path, 2, maps),
        cached(evaluation_batches(), tmp_path, 1),
    ]
    assert len({one.path.name for one in (whole, *others)}) == 8


WRITE = """
import os, signal, sys
import test_feature_cache as test
from keras_warn.training import feature_cache

flush, left = feature_cache.np.memmap.flush, int(sys.argv[2])

def flush_some(array):
    global left
    flush(array)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

feature_cache.np.memmap.flush = flush_some
test.cached(test.training(), sys.argv[1])
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A cache that nobody disturbed."""
    return cached(training(), tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("flushes", [2, 4, 13])
def test_killed_anywhere_it_resumes(whole, tmp_path, flushes):
    """While files are made, between two arrays, and before the last rows."""
    if not hasattr(os, "fork"):
        pytest.skip("needs a process to kill")
    killed = fresh.Process(WRITE, tmp_path, flushes).wait()
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (begun,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    resumed = cached(training(), tmp_path)
    assert resumed.path == begun
    assert resumed.path.name == whole.path.name
    assert_all_equal(resumed.arrays, whole.arrays)


def test_what_is_done_is_not_computed_again(tmp_path, monkeypatch):
    """Nor by two processes at once."""
    batches, features = training(), build()[1]
    seen = []
    see = batches.see
    monkeypatch.setattr(
        batches, "see", lambda *place: seen.append(place) or see(*place)
    )
    path = cached(batches, tmp_path, features=features).path
    assert len(set(seen)) == 40
    seen.clear()
    cached(batches, tmp_path, features=features)
    (path / "about.json").unlink()
    with files.locked(path):
        with pytest.raises(BlockingIOError, match="in use by another process"):
            cached(training(), tmp_path)
    assert not seen


@pytest.mark.skipif(
    not hasattr(os, "posix_fallocate"), reason="space cannot be reserved"
)
def test_a_full_disk_is_known_before_anything_is_computed(
    tmp_path, monkeypatch
):
    def full(file, start, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(FeatureCache, "_write", None)
    with pytest.raises(OSError, match="done.npy cannot be written: .*No sp"):
        cached(training(), tmp_path)
    monkeypatch.undo()
    assert len(cached(training(), tmp_path).arrays) == 2


def unstable():
    features = build()[1]
    return keras.Model(features.inputs, features.outputs[0] * 1e30)


def plain():
    batches = training()
    batches.transform = lambda image, random: image
    return batches


@pytest.mark.parametrize(
    "make, options, message",
    [
        (lambda: (training(),), {"dtype": "int8"}, "`dtype` must be one of"),
        (lambda: (training(), 0), {}, "`views` must be a positive"),
        (lambda: (training(), 2, unstable()), {}, "finite in float16"),
        (lambda: (training(mix=Mix(mixup=0.2)),), {}, "without `mix`"),
        (lambda: (plain(),), {}, "a dataclass"),
    ],
)
def test_errors(tmp_path, make, options, message):
    batches, *given = make()
    with pytest.raises((TypeError, ValueError), match=message):
        cached(batches, tmp_path, *given, **options)
