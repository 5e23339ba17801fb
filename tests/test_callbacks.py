"""TensorBoardAttention writes what inspect shows, and disturbs nothing."""

import copy
import io
import sys
import textwrap
from pathlib import Path

import fresh
import keras
import numpy as np
import pytest
from support import TENSORFLOW
from support import assert_all_equal
from support import in_tensorboard
from support import needs_tensorflow
from support import no_places
from support import prepared
from support import refuses

import keras_warn
from keras_warn.callbacks import TensorBoardAttention
from keras_warn.callbacks import statistics
from keras_warn.explanation.masks import combined_mask
from keras_warn.explanation.masks import module_masks
from keras_warn.explanation.overlays import displayable
from keras_warn.explanation.overlays import mask_overlay

pytestmark = pytest.mark.usefixtures("eager")

event_file_writer = pytest.importorskip(
    "tensorboard.summary.writer.event_file_writer"
)
event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator"
)
image = pytest.importorskip("PIL.Image")


@pytest.fixture(autouse=True)
def short_numbers(monkeypatch):
    """TensorBoard sorts files of one second by these: 10 before 9."""
    counter = event_file_writer.AtomicCounter(0)
    monkeypatch.setattr(event_file_writer, "_global_uid", counter)


def model(traced=False, **arguments):
    """A compiled model; traced, it has all that remembers something."""
    x = inputs = keras.Input((24, 20, 1))
    for filters in (3, 5):
        x = keras.layers.Conv2D(filters, 3, 2, "same", activation="relu")(x)
        if traced:
            x = keras.layers.Dropout(0.1)(keras.layers.BatchNormalization()(x))
    arguments = {"preset": "paper", "depth": 1, "width": 2, **arguments}
    found = keras_warn.augment(keras.Model(inputs, x), classes=7, **arguments)
    found.compile(
        "adam" if traced else "sgd",
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        # Tracing takes longer than two steps.
        run_eagerly=TENSORFLOW and not traced,
    )
    return found


def data(count=22):
    random = np.random.default_rng(0)
    images = random.random((count, 24, 20, 1), "float32")
    return images, random.integers(0, 7, count)


def fit(trained, *callbacks, epochs=1, **arguments):
    return trained.fit(
        *data(),
        batch_size=22,  # a step an epoch
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
        **arguments,
    )


def events(folder):
    """What TensorBoard shows of a folder: `{(tag, step): array}`."""
    from tensorboard.util import tensor_util

    found = {}
    for tag, events in in_tensorboard(folder).items():
        for event in events:
            assert (tag, event.step) not in found, f"{tag} {event.step} twice"
            array = tensor_util.make_ndarray(event.tensor_proto)
            found[tag, event.step] = array
    return found


def steps(found):
    return sorted({step for _, step in found})


def test_values_are_those_of_inspect(tmp_path):
    images, labels = data()
    trained = model(depth=2, width=3)
    # Batches of images are as good as an array.
    batches = [images[:5], images[5:]]
    fit(trained, TensorBoardAttention(tmp_path, batches, (images, labels)))
    found = events(tmp_path)
    assert steps(found) == [0]

    intermediates = keras_warn.inspect(trained).predict(images, verbose=0)
    before = intermediates["backbone_prediction"].argmax(-1) == labels
    after = intermediates["prediction"].argmax(-1) == labels
    expected = {
        "outcome/fixed": np.sum(~before & after),
        "outcome/broken": np.sum(before & ~after),
        "accuracy/backbone": before.mean(),
        "accuracy/output": after.mean(),
    }
    intermediates = {name: x[:8] for name, x in intermediates.items()}
    gates = intermediates["global_gates"]
    for j, name in enumerate(("backbone", "module_1", "module_2")):
        expected[f"global_gate/{name}"] = gates[:, j].mean()
        left, right, counts = found[f"global_gate/{name}/histogram", 0].T
        np.testing.assert_array_equal(
            counts, np.histogram(gates[:, j], len(counts), (0, 1))[0]
        )
        assert left[0] == 0 and right[-1] == 1
    for i in (1, 2):
        means = intermediates[f"module_{i}_head_gates"].mean(axis=0)
        for j, mean in enumerate(means, start=1):
            expected[f"head_gate/module_{i}/head_{j}"] = mean
        for kind in ("head_gate", "mask_entropy"):
            counts = found[f"{kind}/module_{i}/histogram", 0][:, 2]
            assert counts.sum() == 8 * 3
    for tag, value in expected.items():
        assert found[tag, 0] == pytest.approx(value, rel=1e-5)

    each = module_masks(trained, intermediates, (24, 20))
    for tag, mask in {
        "masks/all_modules": combined_mask(trained, intermediates, (24, 20)),
        "masks/module_1": each[:, 0],
        "masks/module_2": each[:, 1],
    }.items():
        width, height, *pngs = found[tag, 0]
        assert (int(width), int(height), len(pngs)) == (20, 24, 8)
        shown = np.stack([image.open(io.BytesIO(png)) for png in pngs])
        overlay = mask_overlay(displayable(images[:8]), mask)
        # Rounding may fall the other way.
        assert np.abs(shown.astype(int) - overlay).max() <= 1

    # Each tag is of the plugin that draws such values.
    written = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    for tag in written.Tags()["tensors"]:
        plugin = written.SummaryMetadata(tag).plugin_data.plugin_name
        images, numbers = tag.startswith("masks/"), tag.endswith("/histogram")
        of_numbers = "histograms" if numbers else "scalars"
        assert plugin == ("images" if images else of_numbers), tag


def test_the_training_stays_what_it_was(tmp_path, traced):
    histories, weights, flags = [], [], []
    for watched in (False, True):
        keras.utils.set_random_seed(7)
        trained = model(traced=True)
        trained.layers[1].trainable = False
        prepared(trained, data()[1])
        watch = TensorBoardAttention(tmp_path, data()[0], data())
        callbacks = [watch] if watched else []
        histories.append(fit(trained, *callbacks, epochs=3).history)
        weights.append(trained.get_weights() + trained.optimizer.variables)
        flags.append([layer.trainable for layer in trained.layers])
        # Random numbers after the training.
        weights[-1] += [keras.random.normal((3,)), np.random.rand()]
    assert len(events(tmp_path)) > 0
    assert histories[0] == histories[1]
    assert flags[0] == flags[1]
    assert_all_equal(*weights)


def test_every_few_epochs_and_the_last(tmp_path):
    """Also if another callback stops the training, before this one or after.

    Of a model that diverges, and is trained nonetheless.
    """
    trained = model(gates="average")
    masks = trained.get_layer("module_1_masks")
    masks.set_weights([w * np.nan for w in masks.get_weights()])
    before, after = (
        TensorBoardAttention(tmp_path / name, data()[0], every=2)
        for name in ("before", "after")
    )
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(
            trained, "stop_training", epoch == 4
        )
    )
    fit(trained, before, stop, after, epochs=9)
    for path in tmp_path.iterdir():
        found = events(path)
        assert steps(found) == [1, 3, 4]
        assert np.isnan(found["mask_entropy/module_1", 4])


def test_going_on_replaces_what_is_trained_again(tmp_path):
    images = data()[0]
    trained = model()
    fit(trained, TensorBoardAttention(tmp_path, images), epochs=2)
    first = events(tmp_path)
    again = TensorBoardAttention(tmp_path, images)
    fit(trained, again, epochs=3, initial_epoch=1)
    second = events(tmp_path)
    assert steps(second) == [0, 1, 2]
    changed = ("global_gate/backbone", 1)
    assert second[changed] != first[changed]
    for key in first:
        if key[1] < 1:
            np.testing.assert_array_equal(first[key], second[key])
    # A new training replaces all of it.
    fit(model(), again)
    assert steps(events(tmp_path)) == [0]


@needs_tensorflow
def test_on_two_replicas(tmp_path):
    script = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from support import prepared, two_replicas
        strategy = two_replicas()
        from test_callbacks import TensorBoardAttention, data, fit, model
        with strategy.scope():
            trained = prepared(model())
        watch = TensorBoardAttention({str(tmp_path)!r}, data()[0], data())
        x, y = data()
        trained.fit(x[:20], y[:20], 20, callbacks=[watch], verbose=0)
        assert trained.distribute_strategy.num_replicas_in_sync == 2
    """
    fresh.run(textwrap.dedent(script))
    found = events(tmp_path)
    assert steps(found) == [0]
    assert np.isfinite(found["mask_overlap/module_1", 0])
    assert ("accuracy/backbone", 0) in found


@needs_tensorflow
def test_copies_write_to_folders_of_their_own(tmp_path):
    """Also of data sets, of which images need no end."""
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices(data()).batch(5)
    watch = TensorBoardAttention(tmp_path, batches.repeat(), batches)
    for _ in range(2):
        fit(model(), copy.deepcopy([watch])[0])
    fit(model(), watch)
    for name in ("run_0", "run_1", "."):
        found = events(tmp_path / name)
        assert steps(found) == [0] and ("accuracy/output", 0) in found
        assert len(found["masks/all_modules", 0]) == 2 + 8


def test_a_model_of_several_inputs(tmp_path):
    x = inputs = keras.Input((24, 20, 1))
    x = keras.layers.Conv2D(3, 3, 2, name="map")(x)
    other = keras.Input((4,))
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    pooled = keras.layers.Concatenate()([pooled, other])
    outputs = keras.layers.Dense(7, "softmax")(pooled)
    trained = keras_warn.augment(
        keras.Model([inputs, other], outputs), attend_at="map", width=3
    )
    trained.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    images, labels = data()
    both = [images, np.ones((22, 4), "float32")]
    batches = [(both, labels)]
    watches = [
        TensorBoardAttention(tmp_path / "arrays", both, (both, labels)),
        TensorBoardAttention(tmp_path / "batches", batches, batches),
    ]
    trained.fit(both, labels, verbose=0, callbacks=watches)
    for path in tmp_path.iterdir():
        found = events(path)
        assert len(found["masks/module_1", 0]) == 2 + 8
        assert ("accuracy/output", 0) in found


@pytest.mark.filterwarnings("ignore:.*behind the layer 'tokens'")
def test_what_a_model_has_not_is_not_shown(tmp_path):
    """Places of tokens, gates of linear modules, overlaps of a single mask."""
    trained = no_places(width=1)
    trained.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    fit(trained, TensorBoardAttention(tmp_path, data()[0]))
    tags = {tag.split("/")[0] for tag, _ in events(tmp_path)}
    assert tags == {"mask_entropy"}


def test_entropy_and_overlap_of_masks():
    masks = np.zeros((2, 3, 5, 2))
    masks[:, 1, 2, 0] = 0.3  # a point
    masks[:, :, :, 1] = 0.1  # everywhere
    gates = np.array([[1.0, 0.0], [0.5, 0.5]])
    intermediates = {"module_1_masks": masks, "module_1_head_gates": gates}
    numbers, _ = statistics(intermediates, "channels_last")
    assert numbers["mask_entropy/module_1"] == pytest.approx(0.5)
    # A point and a plane of 15 positions.
    assert numbers["mask_overlap/module_1"] == pytest.approx(15**-0.5)
    assert numbers["head_gate_entropy/module_1"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "images, validation_data, message",
    [
        (data()[0][:, :-1], None, r"`images`.*24, 20, 1\).*\(22, 23, 20, 1\)"),
        (data()[0], (data()[0][:, 1:], data()[1]), "`validation_data`.*23"),
        (data()[0], [(data()[0], data()[1] + 1)], "from 0 to 6.*label 7"),
    ],
)
def test_what_does_not_fit_is_found_before_the_first_epoch(
    tmp_path, images, validation_data, message
):
    epochs = []
    begun = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: epochs.append(epoch)
    )
    watch = TensorBoardAttention(tmp_path, images, validation_data)
    with pytest.raises(ValueError, match=message):
        fit(model(), watch, begun)
    assert not epochs


def test_errors_of_arguments(tmp_path, monkeypatch):
    with refuses(ValueError, "positive", every=0):
        TensorBoardAttention(tmp_path, data()[0], every=0)
    with pytest.raises(TypeError, match="`validation_data`.*iter"):
        TensorBoardAttention(tmp_path, data()[0], iter([]))
    for module, package in (
        ("PIL", "pillow"),
        (event_file_writer.__name__, "tensorboard"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=f"pip install {package}"):
            TensorBoardAttention(tmp_path, data()[0])
