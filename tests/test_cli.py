"""The command, from files to files."""

import functools
import json
import os
import pathlib
import re
import runpy
import signal
import sys
import sysconfig
import time

import fresh
import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from support import convolves_channels_first
from support import full_disk
from support import needs_tensorflow

import keras_warn
from keras_warn import _model_files
from keras_warn._summary import summary
from keras_warn.cli import main
from keras_warn.cli.inputs import Preprocessor
from keras_warn.data import images
from keras_warn.explanation.decomposition import explain
from keras_warn.metadata import Metadata
from keras_warn.metadata import attach
from keras_warn.reporting import figures

pytestmark = pytest.mark.usefixtures("eager")

SIZE = (26, 22)
NAMES = ["wren", "finch", "owl"]


def build(size=SIZE, channels=3, first=True, data_format="channels_last"):
    shape = (*size, channels)
    if data_format == "channels_first":
        shape = (channels, *size)
    x = inputs = keras.Input(shape)
    if first:
        x = keras.layers.Rescaling(1 / 255)(x)
    for filters in (5, 7):
        x = keras.layers.Conv2D(
            filters, 3, 2, activation="relu", data_format=data_format
        )(x)
    backbone = keras.Model(inputs, x, name="tiny")
    options = {"preset": "paper", "depth": 2, "width": 2}
    model = keras_warn.augment(backbone, len(NAMES), **options)
    # The same with every backend.
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(random.normal(size=variable.shape, scale=0.4))
    return model


def save_image(path, seed=0, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (*size, 3), "uint8")
    Image.fromarray(pixels).save(path)
    return path


load_once = functools.cache(_model_files.load_model)


def show(pixels, explanation, titles, names):
    """In place of a figure, which takes longest: the image."""
    figure = Figure((2, 2))
    figure.figimage(np.squeeze(pixels) / 255)
    return figure


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    """Each model is loaded once, and images stand for their figures."""
    if "unpatched" not in request.fixturenames:
        monkeypatch.setattr(
            _model_files,
            "load_model",
            lambda path: load_once(pathlib.Path(path).absolute()),
        )
        monkeypatch.setattr(figures, "explanation_figure", show)


@pytest.fixture
def unpatched():
    """Models are loaded and figures drawn, as by the command itself."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Models on disk, which no test changes."""
    folder = tmp_path_factory.mktemp("models")
    build().save(folder / "model.keras")
    build(first=False).save(folder / "silent.keras")
    build(size=(None, None)).save(folder / "open.keras")
    inputs = keras.Input((26, 22, 3))
    keras.Model(inputs, keras.layers.Conv2D(5, 3)(inputs)).save(
        folder / "plain.keras"
    )
    content = (folder / "model.keras").read_bytes()
    (folder / "short.keras").write_bytes(content[: len(content) // 2])
    (folder / "text.keras").write_text("no model")
    (folder / "text.txt").write_text("no model")
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n\n")
    return folder


@pytest.fixture
def model(files):
    return keras.saving.load_model(files / "model.keras")


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return main([str(argument) for argument in arguments])


def explanations(folder):
    return json.loads((folder / "explanations.json").read_text())


def everything(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_explanation_of_one_image(files, model, work, capsys, unpatched):
    # Twice the model's size.
    path = save_image(work / "a.png", size=(52, 44))
    options = ("--out", "out", "--names", files / "names.txt")
    assert run("explain", files / "model.keras", path, *options) == 0
    assert everything(work / "out") == ["a.png", "explanations.json"]
    with Image.open(work / "out/a.png") as figure:
        figure.load()
        assert figure.width > 500
    said = capsys.readouterr().err
    assert "1 figure and explanations.json are in out." in said
    assert "\r" not in said

    content = explanations(work / "out")
    assert content["finished"] and not content["failed"]
    (found,) = content["images"]
    assert found["file"] == str(path) and found["figure"] == "a.png"
    assert (found["height"], found["width"]) == (52, 44)
    with Image.open(path) as image:
        resized = image.resize((22, 26), Image.Resampling.BILINEAR)
    images = np.asarray(resized)[None].astype("float32")
    expected = explain(model, images)
    for key, probabilities in (
        ("output", model.predict(images, verbose=0)[0]),
        ("backbone", expected.backbone_probabilities[0]),
        ("attention", expected.attention_probabilities[0]),
    ):
        assert found[key] == [
            {
                "class": i,
                "name": NAMES[i],
                "probability": pytest.approx(probabilities[i], rel=1e-4),
            }
            for i in np.argsort(-probabilities)
        ]
    parts = found["contributions"]
    np.testing.assert_allclose(
        [parts["backbone"], *parts["modules"]],
        expected.contributions[0],
        atol=1e-5,
    )
    for heads, module in zip(parts["heads"], parts["modules"], strict=True):
        assert len(heads) == 2 and sum(heads) == pytest.approx(module)
    assert found["target"]["class"] == expected.targets[0]
    assert found["contrast"]["class"] == expected.contrast[0]
    assert found["changed"] == (
        found["backbone"][0]["class"] != found["output"][0]["class"]
    )
    np.testing.assert_allclose(found["gates"], expected.gates[0], rtol=1e-4)
    assert np.shape(found["head_gates"]) == (2, 2)
    # The middle of a pixel that covers two by two.
    place = found["strongest_evidence"]
    row, column = (place["row"] - 1) // 2, (place["column"] - 1) // 2
    assert (place["row"], place["column"]) == (2 * row + 1, 2 * column + 1)
    # Resized maps have places that are equally strong but for rounding.
    (region,) = expected.attribution
    assert region[row, column] == pytest.approx(region.max(), rel=1e-4)
    assert region.max() > region.min()


@pytest.mark.parametrize(
    "resize, point, expected",
    [
        ("crop", (2, 9), (5, 39)),
        ("stretch", (2, 9), (5, 57)),
        ("pad", (2, 9), None),
        ("pad", (3, 9), (3, 57)),
    ],
)
def test_places_are_those_of_the_image(resize, point, expected):
    """Pixels of an image of 20 by 60 that is shown in 10 by 10."""
    intake = Preprocessor((10, 10), 3, "channels_last", "none", resize)
    assert intake.original(*point, (20, 60)) == expected


def test_images_of_the_same_name_get_figures_of_their_own(files, work):
    names = ["one/a.png", "two/a.png", "two/A.jpg", "a-2.png"]
    paths = [save_image(work / name, i) for i, name in enumerate(names)]
    model = files / "model.keras"
    assert run("explain", model, *paths, "--out", "out") == 0
    found = explanations(work / "out")["images"]
    assert [one["file"] for one in found] == list(map(str, paths))
    figures = [one["figure"] for one in found]
    assert len({figure.casefold() for figure in figures}) == 4
    assert figures[:2] == ["a.png", "a-2.png"]
    assert everything(work / "out") == sorted([*figures, "explanations.json"])
    for path, figure in zip(paths, figures, strict=True):
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))
        shown = np.asarray(Image.open(work / "out" / figure).convert("RGB"))
        np.testing.assert_array_equal(shown[-26:, :22], expected)


def test_folders_of_others_are_refused(files, work, capsys):
    path = save_image(work / "a.png")
    (work / "out").mkdir()
    (work / "out/notes.txt").write_text("{}")
    (work / "out/a.png").write_text("mine")
    arguments = ("explain", files / "model.keras", path, "--out", "out")
    assert run(*arguments) == 2
    assert "--out must be new or empty. out is not" in capsys.readouterr().err
    assert (work / "out/a.png").read_text() == "mine"
    assert run(*arguments, "--overwrite") == 0
    assert Image.open(work / "out/a.png").format == "PNG"
    assert (work / "out/notes.txt").read_text() == "{}"


def test_what_is_read_is_not_replaced(files, work, capsys):
    """Not even with --overwrite, whatever name leads to them."""
    photo = save_image(work / "photos/a.png")
    before = photo.read_bytes()
    (work / "link").symlink_to("photos")
    for out in ("link", "photos"):
        arguments = (files / "model.keras", photo, "--out", out)
        assert run("explain", *arguments, "--overwrite") == 2
        assert "--out must be another folder" in capsys.readouterr().err
    for command in ("predict", "report"):
        arguments = (files / "model.keras", photo, "--out", "link/a.png")
        assert run(command, *arguments, "--overwrite") == 2
        assert "--out must not replace" in capsys.readouterr().err
    assert photo.read_bytes() == before


def test_bad_images(files, work, capsys, recwarn, monkeypatch):
    """Named, and skipped; if all are, nothing is written.

    Folders are searched for others, which may have more pixels than Pillow
    trusts.
    """
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIZE[0] * SIZE[1] - 1)
    whole = save_image(work / "whole.jpg", size=(29, 31)).read_bytes()
    (work / "cut.jpg").write_bytes(whole[:-400])
    (work / "empty.png").write_bytes(b"")
    (work / "text.jpg").write_text("hello")
    bad = ["cut.jpg", "empty.png", "text.jpg", "missing.jpg"]
    command = ("explain", files / "model.keras", *bad)
    assert run(*command, "--out", "out") == 2
    assert "none of the 4 images could" in capsys.readouterr().err
    assert not (work / "out").exists()
    for name in ("a.png", "more/b.jpg", ".hidden.png"):
        save_image(work / "photos" / name)
    options = ("--out", "out", "--format", "pdf")
    assert run(*command, "photos", *options) == 1
    said = capsys.readouterr().err
    assert all(name in said for name in bad) and "4 of 6 images failed" in said
    content = explanations(work / "out")
    found = [one["file"] for one in content["images"]]
    assert found == ["photos/a.png", "photos/more/b.jpg"]
    assert [one["file"] for one in content["failed"]] == bad
    assert everything(work / "out") == ["a.pdf", "b.pdf", "explanations.json"]
    assert (work / "out/a.pdf").read_bytes().startswith(b"%PDF")
    assert not any("pixels" in str(found.message) for found in recwarn)


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
def test_names_that_are_not_utf8_and_links_in_a_loop(files, work, capsys):
    data = work / "data"
    for name in NAMES:
        odd = os.fsdecode(os.fsencode(data / name) + b"/caf\xe9.png")
        save_image(pathlib.Path(odd))
    (data / NAMES[0] / "loop.png").symlink_to("loop.png")
    for command, out in (("explain", "out"), ("report", "r.html")):
        assert run(command, files / "model.keras", data, "--out", out) == 1
        said = capsys.readouterr().err
        assert "loop.png is broken" in said and "Traceback" not in said
    assert r"caf\xe9.png" in pathlib.Path("r.html").read_text("utf-8")


def test_options_and_what_the_file_says_without_them(files, work, capsys):
    """Names, crop and preprocessing, as the model was tested."""
    model = keras.saving.load_model(files / "silent.keras")
    known = Metadata(
        class_names=NAMES,
        size=SIZE,
        resize_shorter_edge=30,
        preprocessing="mobilenet_v2",
        training={"test_accuracy": 0.75},
    )
    attach(model, known)
    model.save("known.keras")
    path = save_image(work / "a.png", size=(60, 80))
    chosen = ("--target", "owl", "--contrast", "0")
    assert run("explain", "known.keras", path, "--out", "told", *chosen) == 0
    told = explanations(work / "told")
    assert told["resize_shorter_edge"] == 30
    assert told["preprocessing"] == "mobilenet_v2"
    (found,) = told["images"]
    assert {one["name"] for one in found["output"]} == set(NAMES)
    assert found["target"] == {"class": 2, "name": "owl"}
    assert found["contrast"] == {"class": 0, "name": "wren"}
    fitted = images.fit_image(images.read_image(path), SIZE, "crop", 30)
    expected = model.predict(fitted[None] / 127.5 - 1, verbose=0)[0]
    probability = found["output"][0]["probability"]
    assert probability == pytest.approx(expected.max(), rel=1e-4)
    options = ["--preprocessing", "mobilenet_v2", "--resize-shorter-edge", 30]
    options += ["--names", files / "names.txt", *chosen]
    run("explain", files / "silent.keras", path, "--out", "same", *options)
    (same,) = explanations(work / "same")["images"]
    assert same["contributions"] == found["contributions"]
    run("explain", "known.keras", path, "--out", "own", "--resize", "pad")
    own = explanations(work / "own")
    assert (own["resize"], own["resize_shorter_edge"]) == ("pad", None)
    capsys.readouterr()
    assert run("summary", "known.keras") == 0
    shown = capsys.readouterr().out
    assert "classes: wren, finch, owl" in shown
    assert "test accuracy: 0.75" in shown


def test_a_gray_model_with_channels_first(work):
    if not convolves_channels_first():
        pytest.skip("TensorFlow has no such convolution on this processor")
    model = build(channels=1, data_format="channels_first")
    model.save(work / "gray.keras")
    path = save_image(work / "a.png")
    assert run("explain", "gray.keras", path, "--out", "out") == 0
    gray = np.asarray(Image.open(path).convert("L"))[None, None]
    expected = explain(model, gray.astype("float32"))
    (found,) = explanations(work / "out")["images"]
    assert found["contributions"]["backbone"] == pytest.approx(
        expected.contributions[0, 0], abs=1e-5
    )


@needs_tensorflow
def test_export(files, work, capsys, traced):
    command = ["export", files / "model.keras", "--out", "birds"]
    assert run(*command, "--names", files / "names.txt", "--encoded") == 0
    found = json.loads((work / "birds/assets.extra/metadata.json").read_text())
    assert found["class_names"] == NAMES
    assert "explain_bytes" in found["signatures"]
    before = everything(work)
    assert run(*command) == 2
    assert "--overwrite replaces" in capsys.readouterr().err
    assert run(*command, "--format", "onnx", "--overwrite") == 2
    assert "must end in '.onnx'" in capsys.readouterr().err
    silent = ["export", files / "silent.keras", "--out", "silent"]
    assert run(*silent, "--encoded") == 2
    assert "`preprocessing` must be given" in capsys.readouterr().err
    assert run(*silent[:2], "--out", "gone/silent") == 1
    assert "cannot be written" in capsys.readouterr().err
    assert everything(work) == before


def test_a_model_that_takes_any_size(files, model, work, capsys):
    path = save_image(work / "a.png")
    arguments = ("explain", files / "open.keras", path, "--out", "out")
    assert run(*arguments) == 2
    assert "any size. Choose one by --size" in capsys.readouterr().err
    assert run(*arguments, "--size", "26x22") == 0
    assert explanations(work / "out")["size"] == [26, 22]
    capsys.readouterr()
    assert run("summary", files / "open.keras", "--size", "26x22") == 0
    # Columns are as wide as names, which Keras numbers.
    total, of_other = (
        text.splitlines()[-1].split()
        for text in (capsys.readouterr().out, str(summary(model)))
    )
    assert total == of_other
    assert run("summary", files / "model.keras") == 0
    assert capsys.readouterr().out == f"{summary(model)}\n"


def test_a_model_that_predicts_nan(files, work, capsys):
    model = keras.saving.load_model(files / "model.keras")
    layer = model.get_layer("module_1_hypotheses")
    layer.kernel.assign(layer.kernel * np.nan)
    model.save(work / "nan.keras")
    path = save_image(work / "data/wren/a.png")
    assert run("explain", "nan.keras", path, "--out", "out") == 2
    assert "a.png: the model predicts NaN" in capsys.readouterr().err
    table = work / "test.csv"
    table.write_text("path,label\ndata/wren/a.png,0\n")
    assert run("report", "nan.keras", table, "--out", "r.html") == 2
    assert "NaN" in capsys.readouterr().err
    assert not (work / "out").exists() and not (work / "r.html").exists()


EXPLAIN, REPORT = "explain model.keras", "report model.keras"


@pytest.mark.parametrize(
    "command, message",
    [
        ("explain nowhere.keras data", "nowhere.keras does not exist"),
        ("explain text.txt data", "ends in .keras. Received: .*text.txt"),
        ("explain text.keras data", "text.keras is not a model of Keras: "),
        ("report short.keras data", "short.keras is not a model .* cut short"),
        ("report plain.keras data", "plain.keras holds a model without atten"),
        ("explain silent.keras data", "--preprocessing: The model 'tiny_warn'"),
        (f"{EXPLAIN} data --names two.txt", "two.txt: .*3 classes.* 2 names"),
        (f"{REPORT} data --names gap.txt", "gap.txt: .*an empty one at 1"),
        (f"{EXPLAIN} data --names no.txt", "--names no.txt cannot be read"),
        (f"{REPORT} data --size 32", "must be that of the model, 26x22"),
        (f"{EXPLAIN} data --out file/out", "file"),
        (f"{REPORT} data --out file/out", "file"),
        (f"{EXPLAIN} data --out /proc/out", "/proc"),
        (f"{REPORT} data --out /proc/out", "/proc"),
        (f"{EXPLAIN} a.png --out file", "--out file cannot be read: .*Not a"),
        (f"{EXPLAIN} a.png --target owl", "--target: The class 'owl' must be"),
        (f"{EXPLAIN} a.png --target 3", "0 to 2. --names tells the names of"),
        (f"{EXPLAIN} a.png --target 1 --contrast 1", "must be different cl"),
        (f"{EXPLAIN} a.png --names names.txt --target wrn", "of the 3 names"),
        (f"{EXPLAIN} nothing", "the folder nothing holds no images"),
        (f"{REPORT} no.csv", "no.csv does not exist"),
        (f"{REPORT} 3.csv", "a.png .*3.csv, line 3.* 0 to 2"),
        (f"{REPORT} bad.csv", "none of the 1 images could be read"),
    ],
)
def test_bad_input(files, work, capsys, command, message):
    """Said in a line, and nothing is written."""
    save_image(work / "a.png")
    for name in ("a/a.png", "b/b.png", "c/b.png"):
        save_image(work / "data" / name)
    (work / "nothing").mkdir()
    for name, text in {
        "two.txt": "wren\nfinch\n",
        "gap.txt": "wren\n\nowl\n",
        "names.txt": "\n".join(NAMES),
        "3.csv": "path,label\na.png,0\na.png,3\n",
        "bad.csv": "path,label\nb.png,1\n",
        "file": "here first",
    }.items():
        (work / name).write_text(text)
    before = everything(work)
    name, model, *options = command.split()
    if "--out" not in options:
        options += ["--out", "out"]
    assert run(name, files / model, *options) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith(f"keras-warn {name}: ")
    assert "Traceback" not in said
    assert re.search(message, said), said
    assert everything(work) == before


def test_no_room_for_figures(files, work, capsys, unpatched):
    paths = [save_image(work / name) for name in ("a.png", "b.png")]
    model = files / "model.keras"
    with full_disk(15_000):
        assert run("explain", model, *paths, "--out", "out") == 1
    said = capsys.readouterr().err
    assert "out/a.png cannot be written: [Errno 27] File too large. 0" in said
    assert "0 of 2 figures are there" in said
    assert everything(work / "out") == []


@pytest.fixture
def data(work):
    """Class folders with three images each, whose names tell their class."""
    for name in NAMES:
        for i in range(3):
            save_image(work / "data" / name / f"{name}{i}.png", i)
    return work / "data"


def examples(page):
    """File and true class of all examples; nine images are all examples."""
    return sorted(re.findall(r": (\w+)\.png, true class (\w+)<", page))


def test_report_of_class_folders(files, data, capsys):
    """Of the split that is to be tested, if there are any."""
    path = data.parent / "r.html"
    save_image(data.parent / "parts/train/wren/other.png")
    data.rename(data.parent / "parts/Testing")
    # Which tell the order of the classes, too: not that of the alphabet.
    options = ("--out", path, "--names", files / "names.txt")
    arguments = ("report", files / "model.keras", "parts", *options)
    assert run(*arguments, "--batch-size", 4) == 0
    assert "report of 9 images is in" in capsys.readouterr().err
    page = path.read_text()
    wanted = [(f"{name}{i}", name) for name in NAMES for i in range(3)]
    assert examples(page) == sorted(wanted)

    assert run(*arguments) == 2
    assert "--overwrite replaces it. " in capsys.readouterr().err
    path.write_text("old")
    assert run(*arguments, "--overwrite", "--examples", 0) == 0
    assert len(path.read_text()) < len(page)
    (data.parent / "parts/Testing").rename(data.parent / "parts/val")
    assert run(*arguments, "--overwrite") == 2
    assert "must hold a split to test. It holds" in capsys.readouterr().err


def test_report_of_a_table_with_a_bad_image(files, data, capsys):
    (data.parent / "bad.png").write_bytes(b"")
    wanted = [
        (f"{name}{i}", NAMES.index(name)) for name in NAMES for i in range(3)
    ]
    rows = [f"data/{name[:-1]}/{name}.png,{label}" for name, label in wanted]
    rows.insert(4, "bad.png,0")
    table = data.parent / "test.csv"
    table.write_text("\n".join(["path,label", *rows]))
    arguments = (files / "model.keras", table, "--out", "r.html")
    assert run("report", *arguments, "--batch-size", 2) == 1
    said = capsys.readouterr().err
    # Once, though the images are read twice.
    assert said.count("bad.png is not an image") == 1
    assert "The report of 9 images is in r.html; 1 failed." in said
    page = pathlib.Path("r.html").read_text()
    assert examples(page) == sorted(
        (name, str(label)) for name, label in wanted
    )


@pytest.mark.parametrize(
    "command, package, message",
    [
        ("explain", "PIL", "pip install pillow"),
        ("explain", "matplotlib.figure", "pip install matplotlib"),
        ("report", "jinja2", "pip install"),
    ],
)
def test_missing_packages(
    files, data, capsys, monkeypatch, command, package, message
):
    monkeypatch.setitem(sys.modules, package, None)
    arguments = (files / "model.keras", data, "--out", "out")
    assert run(command, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (data.parent / "out").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("paint m.keras", "invalid choice: 'paint'"),
        ("explain m.keras a.png --out o --size 3x4x5", "HEIGHTxWIDTH"),
        ("report m.keras d --out o --examples -1", "at least 0"),
    ],
)
def test_wrong_usage(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_installed_command_stopped_by_ctrl_c(files, work):
    paths = [save_image(work / f"photos/{i}.png", i).name for i in range(300)]
    command = pathlib.Path(sysconfig.get_path("scripts"), "keras-warn")
    arguments = ["explain", files / "model.keras", "photos", "--out", "out"]
    process = fresh.Process(command, *arguments)
    deadline = time.monotonic() + 120
    while not list(work.glob("out/*.png")):
        assert process.returncode is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60).returncode == 130
    # Before it may stand what Python drops in a garbage collection.
    assert process.stderr.endswith("keras-warn explain: stopped.\n")
    names = everything(work / "out")
    assert 1 <= len(names) < len(paths)
    assert not any(name.startswith(".") for name in names)
    for name in names:
        if name.endswith(".png"):
            Image.open(work / "out" / name).load()


def test_module_is_the_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["keras-warn", "--version"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("keras_warn", run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out.strip() == keras_warn.__version__
