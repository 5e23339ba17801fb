"""A SavedModel: what it takes and returns, and how it fails."""

import shutil
import textwrap

import keras
import numpy as np
import odd_images
import pytest
from exported import LOADING
from exported import NAMES
from exported import assert_explains
from exported import augmented
from exported import close
from exported import metadata_of
from exported import network
from exported import run_elsewhere
from PIL import Image
from support import full_disk
from support import needs_tensorflow

import keras_warn
from keras_warn import metadata
from keras_warn.data import images
from keras_warn.data import model_inputs
from keras_warn.explanation import masks

pytestmark = needs_tensorflow


def photo(height=53, width=71, seed=0):
    """A smooth image with some noise, bytes."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 9 + y / 7), np.cos(x / 11), np.sin(y / 5)], -1)
    noise = np.random.default_rng(seed).normal(0, 20, waves.shape)
    return (127.5 * (1 + waves) + noise).clip(0, 255).astype("uint8")


def encoded(pixels, file_format="JPEG"):
    return odd_images.encoded(Image.fromarray(pixels), file_format)


def drawn(*size):
    """Two images as a model takes them."""
    random = np.random.default_rng(0)
    return random.normal(size=(2, *size, 3)).astype("float32")


def exported(model, path, **arguments):
    """Exports a model, and loads what was written.

    Its functions work as long as there is a name for what is loaded.
    """
    import tensorflow as tf

    keras_warn.export(model, path, **arguments)
    return tf.saved_model.load(path)


def looking_at(front, size=(None, None)):
    """A model of one small map behind `front`."""
    inputs = keras.Input((*size, 3))
    x = keras.layers.Conv2D(4, 3, 2, "same", name="map")(front(inputs))
    return keras_warn.augment(
        keras.Model(inputs, x), classes=3, attend_at="map", width=2
    )


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return augmented()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "birds"
    keras_warn.export(
        model,
        path,
        class_names=NAMES,
        preprocessing="mobilenet_v2",
        resize="crop",
        resize_shorter_edge=37,
        encoded=True,
    )
    return path


@pytest.fixture(scope="module")
def loaded(folder):
    import tensorflow as tf

    return tf.saved_model.load(folder)


@pytest.fixture(scope="module")
def small(model, tmp_path_factory):
    """The export that takes the least time."""
    path = tmp_path_factory.mktemp("small") / "m"
    keras_warn.export(model, path, masks="maps")
    return path


def prepared(photos):
    """What the model of `folder` takes, made by Pillow."""
    fitted = [images.fit_image(p, (29, 31), "crop", 37) for p in photos]
    return model_inputs.preprocess(np.stack(fitted), "mobilenet_v2")


WITHOUT_KERAS = """
    import os
    import numpy as np
    import tensorflow as tf

    path, folder = sys.argv[1:]
    loaded = tf.saved_model.load(path)
    images = tf.constant(np.load(f"{folder}/photos.npy"))
    np.savez(f"{folder}/found.npz", **loaded.explain(images))
    served = loaded.signatures["serving_default"](images=images)
    np.savez(f"{folder}/served.npz", **served)
    os.chdir(os.path.dirname(path))
    """


def test_runs_where_keras_warn_is_not_installed(
    model, folder, loaded, tmp_path
):
    photos = np.stack([photo(seed=seed) for seed in range(2)])
    np.save(tmp_path / "photos.npy", photos.astype("float32"))
    file = encoded(photos[0])
    (folder.parent / "photo.jpg").write_bytes(file)
    printed = run_elsewhere(
        textwrap.dedent(WITHOUT_KERAS) + LOADING["saved_model"],
        str(folder),
        str(tmp_path),
        without=["keras_warn", "keras"],
    )
    explained = loaded.explain_bytes(np.array([file]))
    name = NAMES[np.argmax(explained["probabilities"])]
    assert printed.split("\n")[:2] == [name, "(1, 2, 29, 31)"]
    found = np.load(tmp_path / "found.npz", allow_pickle=True)
    served = np.load(tmp_path / "served.npz", allow_pickle=True)
    # The same pixels, to leave the rounding of Pillow out.
    taken = model_inputs.preprocess(
        fitted_in_graph(photos, "crop", 37).astype("uint8"), "mobilenet_v2"
    )
    assert_explains(found, model, taken)
    close(served["probabilities"], found["probabilities"])
    assert [name.decode() for name in served["class_names"][1]] == NAMES


def fitted_in_graph(photos, resize, resize_shorter_edge=None, size=(29, 31)):
    import tensorflow as tf

    from keras_warn.exporting import preprocessing

    pixels = tf.constant(photos, tf.float32)
    return preprocessing.fit(pixels, size, resize, resize_shorter_edge).numpy()


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_files_are_read_as_pillow_reads_them(model, loaded, file_format):
    files = [
        encoded(photo(), file_format),
        encoded(photo(40, 33)[:, :, 0], file_format),  # gray
    ]
    if file_format == "PNG":  # partly transparent
        files.append(encoded(np.dstack([photo(), photo()[:, :, :1]]), "PNG"))
    taken = prepared([images.read_image(data) for data in files])
    found = loaded.explain_bytes(np.array(files, object))
    # Of pixels in [0, 255] a few in a thousand are one level apart.
    np.testing.assert_allclose(
        found["probabilities"], model(taken), atol=0.01, rtol=0
    )
    # TensorFlow Serving cuts every output along the batch.
    assert {len(value) for value in found.values()} == {len(files)}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "files",
    [odd_images.png_files, odd_images.jpeg_files, odd_images.turned_files],
)
def test_decoding_is_exact(files, channels):
    """Whatever both decode: bits, palettes, transparency, CMYK, EXIF."""
    import tensorflow as tf

    from keras_warn.exporting import preprocessing

    decode = tf.function(
        lambda data: preprocessing.decode(data, channels),
        input_signature=[tf.TensorSpec((), tf.string)],
    )
    refused = []
    for name, data in files().items():
        found = decode(data)
        try:
            read = images.read_image(data, channels)
        except images.ImageError:
            refused.append(name)
            continue
        np.testing.assert_array_equal(found, read, name)
    # What Pillow cannot read right, or cannot read.
    assert all(
        " 16 without" in name or "unmarked" in name or "EXIF" in name
        for name in refused
    )


@pytest.mark.parametrize(
    ("resize", "resize_shorter_edge"),
    [("crop", None), ("crop", 37), ("stretch", None), ("pad", None)],
)
@pytest.mark.parametrize("size", [(53, 71), (23, 19), (29, 31)])
def test_resizing_is_pillows_but_for_a_level(resize, resize_shorter_edge, size):
    image = photo(*size)
    found = fitted_in_graph(image[None], resize, resize_shorter_edge)[0]
    wanted = images.fit_image(image, (29, 31), resize, resize_shorter_edge)
    assert np.abs(found - wanted).max() <= 1
    assert np.mean(found != wanted) < 0.02


def test_says_what_it_takes(folder, loaded):
    found = metadata_of(folder)
    assert found["class_names"] == NAMES
    assert found["size"] == [29, 31]
    assert (found["resize"], found["resize_shorter_edge"]) == ("crop", 37)
    assert found["preprocessing"] == "mobilenet_v2"
    assert found["keras_warn"] == keras_warn.__version__
    signatures = set(loaded.signatures) - {"serving_default"}
    assert set(found["signatures"]) == signatures
    of_files, of_arrays = (
        found["signatures"][name] for name in ("explain_bytes", "explain")
    )
    assert of_files["outputs"]["masks"] == [None, 2, 29, 31]
    assert of_files["takes"] == "files of JPEG or PNG"
    assert of_arrays["takes"] == "pixels in [0, 255], of any height and width"


def test_what_a_model_knows_need_not_be_said(tmp_path):
    """Its names, size and preprocessing, and how it was trained."""
    model = augmented(network((None, None)), depth=1)
    known = metadata.Metadata(
        class_names=NAMES,
        size=(29, 31),
        preprocessing="mobilenet_v2",
        training={"recipe": "birds"},
    )
    metadata.attach(model, known)
    options = {"resize": "crop", "resize_shorter_edge": 37, "masks": "maps"}
    loaded = exported(model, tmp_path / "m", **options)
    found = metadata_of(tmp_path / "m")
    assert found["class_names"] == NAMES and found["size"] == [29, 31]
    assert found["preprocessing"] == "mobilenet_v2"
    assert found["training"] == {"recipe": "birds"}
    served = loaded.serve(photo()[None].astype("float32"))
    # Of pixels in [0, 255] a few in a thousand are one level apart.
    np.testing.assert_allclose(
        served["probabilities"], model(prepared([photo()])), atol=0.01, rtol=0
    )


@pytest.mark.parametrize(
    ("preprocessing", "shape"),
    [(None, [None, 3, 29, 31]), ("rescale", [None, 29, 31, 3])],
)
def test_channels_first(tmp_path, preprocessing, shape):
    """As images of the model; pixels to prepare have channels last."""
    inputs = keras.Input((3, 29, 31))
    x = keras.layers.Conv2D(4, 3, 2, data_format="channels_first")(inputs)
    model = augmented(keras.Model(inputs, x), depth=1)
    # Traced alone: TensorFlow has no such convolution on processors.
    keras_warn.export(model, tmp_path / "m", preprocessing=preprocessing)
    found = metadata_of(tmp_path / "m")["signatures"]["explain"]
    assert found["input"]["shape"] == shape
    assert found["outputs"]["masks"] == [None, 1, 29, 31]


@pytest.mark.parametrize(
    "kind, size, arguments",
    [
        ("modules", (29, 31), {"gates": "linear"}),
        ("heads", None, {"preset": "side_by_side"}),
        (
            "maps",
            None,
            {
                "combination": "probabilities",
                "classifier_activation": None,
                "mask_activation": "sigmoid",
            },
        ),
    ],
)
def test_every_kind_of_masks_and_gates(tmp_path, kind, size, arguments):
    model = augmented(network((None, None)), depth=1, **arguments)
    taken = drawn(29, 31)
    loaded = exported(model, tmp_path / "m", masks=kind, size=size)
    assert metadata_of(tmp_path / "m")["size"] == list(size or (None, None))
    found = loaded.explain(taken)
    assert "class_names" not in found
    expected = keras_warn.explain(model, taken).probabilities
    close(found["probabilities"], expected)
    close(np.sum(found["probabilities"], axis=1), 1)
    intermediates = keras_warn.inspect(model)(taken)
    wanted = masks.module_masks(model, intermediates, (29, 31))
    if kind == "modules":
        close(found["masks"], wanted)
    elif kind == "maps":
        close(found["module_1_masks"], intermediates["module_1_masks"])
    else:
        weighed = found["module_1_masks"] * (
            found["module_1_head_gates"][:, None, None, :]
            * found["global_gates"][:, 1, None, None, None]
        )
        close(np.sum(weighed, -1), wanted[:, 0])


@pytest.mark.parametrize(
    "front, size, sizes",
    [
        (
            lambda x: keras.layers.Conv2D(3, 9)(
                keras.layers.ZeroPadding2D(((0, 6), (9, 0)))(x)
            ),
            (None, None),
            [(29, 31), (40, 24)],
        ),
        (keras.layers.Resizing(20, 24), (None, None), [(29, 31), (40, 24)]),
        (keras.layers.CenterCrop(16, 8), (29, 31), [(29, 31)]),
    ],
    ids=["padded", "resized", "cropped"],
)
def test_masks_lie_where_the_model_looks(tmp_path, front, size, sizes):
    """In images of any size, too."""
    model = looking_at(front, size)
    loaded = exported(model, tmp_path / "m")
    for size in sizes:
        taken = drawn(*size)
        intermediates = keras_warn.inspect(model)(taken)
        wanted = masks.module_masks(model, intermediates, size)
        close(loaded.explain(taken)["masks"], wanted)


# What is refused.

RESCALED = {"preprocessing": "rescale"}


@pytest.mark.parametrize(
    "size, front, argument",
    [
        ((None, None), keras.layers.CenterCrop(16, 16), "size"),
        (
            (32, 32),
            keras.layers.Lambda(lambda x: x[:, ::2], output_shape=(16, 32, 3)),
            "masks",
        ),
    ],
)
def test_masks_without_a_known_place(tmp_path, size, front, argument):
    model = looking_at(front, size)
    with pytest.raises(ValueError, match=f"`{argument}` must be"):
        keras_warn.export(model, tmp_path / "m")
    assert not (tmp_path / "m").exists()
    if argument == "masks":
        keras_warn.export(model, tmp_path / "m", masks="maps")


def test_what_is_there_is_kept(model, small, tmp_path):
    kept = tmp_path / "kept"
    shutil.copytree(small, kept / "m")
    before = (kept / "m" / "saved_model.pb").read_bytes()
    with pytest.raises(FileExistsError, match="`overwrite` must be True"):
        keras_warn.export(model, kept / "m")
    assert (kept / "m" / "saved_model.pb").read_bytes() == before
    # Nor is a folder of others replaced, whoever says so.
    with pytest.raises(FileExistsError, match="something else"):
        keras_warn.export(model, kept, overwrite=True)
    more = {"masks": "maps", "class_names": NAMES}
    keras_warn.export(model, kept / "m", overwrite=True, **more)
    assert metadata_of(kept / "m")["class_names"] == NAMES
    assert [path.name for path in kept.iterdir()] == ["m"]


ONNX, LITERT = ("m.onnx", "onnx"), ("m.tflite", "litert")
MAPS_IN_INT8 = {"quantization": "int8", "masks": "maps"}


@pytest.mark.parametrize(
    "target, arguments, message",
    [
        (("m", "tensorrt"), {}, "`format` must be one of 'tf_saved_model'"),
        (("m", "onnx"), {}, "`path` must end in '.onnx'"),
        (("m.onnx",), {}, "`format` must be 'onnx' for such"),
        (("m",), {"masks": "pixels"}, "`masks` must be one of"),
        (("m",), {"class_names": ["a", "b"]}, "each of the 5 classes"),
        (("m",), {"preprocessing": "no"}, "`preprocessing` must be one of"),
        (("m",), {"resize": "fit"}, "`resize` must be one of"),
        (("m",), {"encoded": True}, "`preprocessing` must be given"),
        (("m",), {"resize": "crop"}, "`preprocessing` must be given"),
        (("m",), {"size": (28, 28)}, "must be that of the model, 29x31"),
        (("m",), {"resize_shorter_edge": 40}, "_edge` must come with"),
        (
            ("m",),
            {**RESCALED, "resize": "crop", "resize_shorter_edge": 7},
            "`resize_shorter_edge` must be an integer of at least 29",
        ),
        (LITERT, {"encoded": True}, "`encoded` must be omitted with format='l"),
        (ONNX, {"resize": "crop"}, "`resize` must be omitted with"),
        (ONNX, {"quantization": "float16"}, "must be None but with"),
        (LITERT, {"quantization": "int4"}, "`quantization` must be one of"),
        (LITERT, {"quantization": "int8"}, "`masks` must be 'maps'"),
        (LITERT, MAPS_IN_INT8, "`representative_images` must be images"),
        (
            LITERT,
            {**MAPS_IN_INT8, "representative_images": np.zeros((2, 3))},
            r"of shape \(None, 29, 31, 3\).*Received: shape \(2, 3\)",
        ),
    ],
)
def test_wrong_arguments(model, tmp_path, target, arguments, message):
    name, *file_format = target
    with pytest.raises(ValueError, match=message):
        keras_warn.export(model, tmp_path / name, *file_format, **arguments)
    assert not list(tmp_path.iterdir())


def test_other_models_and_places(tmp_path, monkeypatch):
    gray = augmented(network(channels=1))
    with pytest.raises(ValueError, match="made for 3"):
        keras_warn.export(gray, tmp_path / "m", preprocessing="mobilenet_v2")
    any_size = augmented(network((None, None)))
    with pytest.raises(ValueError, match="`size` must be given"):
        keras_warn.export(any_size, tmp_path / "m", encoded=True, **RESCALED)
    with pytest.raises(OSError, match="folder that can be written to"):
        keras_warn.export(gray, tmp_path / "gone" / "m")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="KERAS_BACKEND=tensorflow"):
        keras_warn.export(gray, tmp_path / "m")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bytes_left", [500, 20_000])
def test_a_disk_that_fills_leaves_nothing(model, small, tmp_path, bytes_left):
    """At whatever file it ends: the metadata, or the graph."""
    path = shutil.copytree(small, tmp_path / "m")
    sizes = [f.stat().st_size for f in path.rglob("*") if f.is_file()]
    assert max(sizes) > bytes_left
    new = tmp_path / "new" if bytes_left == 500 else path
    with full_disk(bytes_left):
        with pytest.raises(OSError, match="cannot be written"):
            keras_warn.export(model, new, masks="maps", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    left = [f.stat().st_size for f in path.rglob("*") if f.is_file()]
    assert left == sizes


def test_broken_files_are_errors(loaded):
    import tensorflow as tf

    for data in (b"", b"no image", encoded(photo())[:500]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            loaded.serve_bytes(np.array([data], object))
