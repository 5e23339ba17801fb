"""The page says what was found, needs nothing else, and stays small."""

import base64
import functools
import html.parser
import io
import os
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from support import no_places
from test_comparison import comparison
from test_comparison import model
from test_comparison import test_set

import keras_warn
from keras_warn.reporting import report as report_module
from keras_warn.reporting.comparison import compare
from keras_warn.reporting.report import choose_examples
from keras_warn.reporting.report import place
from keras_warn.reporting.report import report

pytestmark = pytest.mark.usefixtures("eager")

NAMES = list("abcdefg")


class Page(html.parser.HTMLParser):
    """Elements and texts of a page."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.source = Path(path).read_text("utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def pixels(self):
        """Of all images, one after the other."""
        coded = [x["src"].partition(",")[2] for x in self.all("img")]
        files = [io.BytesIO(base64.b64decode(one)) for one in coded]
        return np.concatenate(
            [np.asarray(Image.open(x).convert("RGB"), int) for x in files]
        )

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))


def written(path, augmented=None, data=None, **arguments):
    augmented = augmented or changing_model()
    data = data or changed_set(augmented)
    path = path / "page.html"
    report(augmented, data, path, verbose=0, overwrite=True, **arguments)
    return Page(path)


@functools.cache
def changed_set(augmented, count=20):
    """Images with labels such that attention fixes and breaks some."""
    images = np.random.default_rng(1).random((count, 24, 20, 1), "float32")
    found = compare(augmented, (images, np.zeros(count, int)), verbose=0)
    labels = np.where(
        np.arange(count) % 3 == 0, found.backbone.classes, found.output.classes
    )
    return images, labels


@functools.cache  # no test changes it
def changing_model(**arguments):
    """A model whose modules overrule its network, which always says "0"."""
    augmented = model(**arguments)
    random = np.random.default_rng(0)
    for weight in augmented.weights:
        # Positive, so that no unit is dead.
        weight.assign(random.random(weight.shape))
    network = augmented.get_layer("network_logits")
    network.kernel.assign(np.zeros(network.kernel.shape))
    network.bias.assign(np.eye(7)[0])
    for i in (1, 2):
        kernel = augmented.get_layer(f"module_{i}_hypotheses").kernel
        kernel.assign(random.random(kernel.shape) * 2 * (1 - np.eye(7)[0]))
    return augmented


@functools.cache
def found_in(augmented):
    return compare(augmented, changed_set(augmented), verbose=0)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page that several tests look at."""
    return written(tmp_path_factory.mktemp("page"), names=NAMES)


def test_the_page_says_what_was_found(page):
    augmented = changing_model()
    found = found_in(augmented)
    assert found.over_backbone.fixed > 0
    for text in (
        f"20 test images, {found.n} classes",
        f"with attention predicts {found.over_backbone.fixed} correctly.",
        f"the model predicts {found.over_backbone.broken} wrongly.",
        f"Backbone alone {100 * found.backbone.accuracy():.1f} %",
        f"With attention {100 * found.output.accuracy():.1f} %",
        f"Parameters {augmented.count_params():,}",
        augmented.name,
    ):
        assert text in page.text
    shown = [x["data-outcome"] for x in page.all("article")]
    assert shown.count("fixed") == found.over_backbone.fixed
    assert shown.count("broken") == found.over_backbone.broken > 0
    index = np.flatnonzero(found.outcomes == "fixed")[0]
    label, network = found.labels[index], found.backbone.classes[index]
    assert (
        f"✓ Fixed: image {index}, true class {NAMES[label]} Backbone alone: "
        f"{NAMES[network]} (" in page.text
    )


def test_an_example_explains_the_change(tmp_path):
    """The sum of its parts is what `explain` returns."""
    augmented = changing_model()
    images, _ = changed_set(augmented)
    found = found_in(augmented)
    (index,) = choose_examples(found, 1)
    page = written(tmp_path, examples=1)
    explanation = keras_warn.explain(augmented, images[index : index + 1])
    assert found.outcomes[index] == "fixed"
    assert explanation.contrast[0] == found.backbone.classes[index]
    parts = [*explanation.contributions[0], explanation.contributions[0].sum()]
    texts = [f"{part:+.2f}".replace("-", "\N{MINUS SIGN}") for part in parts]
    assert re.findall(r"[+\N{MINUS SIGN}]\d+\.\d\d", page.text) == texts


def test_the_page_needs_nothing_else(page):
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            address = attributes.get(name, "#")
            assert address.startswith(("#", "data:image/webp;base64,")), tag
    assert not {"link", "iframe", "object", "base"} & {
        tag for tag, _ in page.elements
    }
    assert not re.search(r"https?:|@import|url\((?!#)", page.source)
    (policy,) = (x["content"] for x in page.all("meta") if "http-equiv" in x)
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_names_are_text_and_nothing_private_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/somebody/secret.py", "--token=x"])
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    names = [f"{evil}{i}" for i in range(7)]
    page = written(tmp_path, names=names, title=evil)
    assert "<script>alert" not in page.source
    assert len(page.all("script")) == 1
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert f"{evil}0" in page.text
    for private in ("somebody", "--token", str(tmp_path), os.getcwd()):
        assert private not in page.source


def test_an_example_of_noise_takes_less_than_50_kb():
    """With four modules, so that a hundred of them stay below 5 MB."""
    noise = np.random.default_rng(0).normal(128, 60, (224, 224, 3))
    pixels = np.clip(noise, 0, 255).astype("uint8")
    sides = report_module.IMAGE_SIDE, report_module.OVERLAY_SIDE
    image, drawn = (
        len(report_module._source(pixels, side)["address"]) for side in sides
    )
    assert image + 6 * drawn < 50_000


@pytest.mark.parametrize(
    "arguments",
    [
        {"gates": "linear"},
        {"preset": "side_by_side"},
        {"combination": "probabilities", "classifier_activation": None},
    ],
    ids=str,
)
def test_other_models(tmp_path, arguments):
    page = written(tmp_path, changing_model(**arguments))
    assert page.all("article")
    assert "nan" not in page.text.split()
    gates = arguments.get("gates") != "linear"
    assert ("Mean gate" in page.text) == gates
    assert ("This model has no gates" in page.text) != gates
    # By default the backbone learns as it would without modules.
    alone = arguments.get("preset") == "side_by_side"
    assert ("modules send it no gradients" in page.text) == alone
    assert ("Early exits" in page.text) == alone
    assert ("is no model trained without attention" in page.text) != alone
    scale = arguments.get("combination", "log-probabilities")
    assert f"both classes’ {scale}" in page.text


def test_a_model_of_tokens_that_form_no_grid(tmp_path):
    page = written(tmp_path, no_places(), examples=400)
    assert len(page.all("img")) == len(page.all("article")) == 20
    assert "nothing to draw over the images" in page.text


def test_a_model_with_two_inputs_by_name(tmp_path):
    pixels = keras.Input((24, 20, 1), name="pixels")
    size = keras.Input((3,), name="size")
    x = keras.layers.Conv2D(3, 3, 2)(pixels)
    x = keras.layers.Add()([x, keras.layers.Reshape((1, 1, 3))(size)])
    inputs = {"pixels": pixels, "size": size}
    augmented = keras_warn.augment(
        keras.Model(inputs, x), classes=7, attend_at=[-1]
    )
    images, labels = test_set()
    images = {"pixels": images, "size": np.ones((11, 3), "float32")}
    page = written(tmp_path, augmented, (images, labels), batch_size=4)
    assert len(page.all("img")) == 4 * len(page.all("article"))


class Shuffled:
    """Images in another order each time."""

    def __init__(self, images, labels):
        self.random, self.data = np.random.default_rng(0), (images, labels)

    def __iter__(self):
        order = self.random.permutation(len(self.data[0]))
        return iter([tuple(one[order] for one in self.data)])


def test_data_that_changes_its_order(tmp_path):
    """Also of one label."""
    images, labels = test_set()
    with pytest.raises(ValueError, match="`data`.*same order.*shuffle"):
        written(tmp_path, data=Shuffled(images, 0 * labels))
    assert not list(tmp_path.iterdir())


def test_examples_are_of_the_pass_that_the_numbers_are_of(tmp_path):
    """Also where a later batch changes: each is read once.

    In batches of other sizes, JAX rounds the last bit of a mask differently.
    """
    augmented = changing_model()
    images, labels = changed_set(augmented)
    passes = []

    class Changing:
        def __iter__(self):
            passes.append(1)
            yield images[:5], labels[:5]
            order = slice(5, None) if len(passes) < 4 else slice(None, 4, -1)
            yield images[order], labels[order]

    pages = [
        written(tmp_path, data=data, examples=5)
        for data in (Changing(), (images, labels))
    ]
    np.testing.assert_allclose(pages[0].pixels(), pages[1].pixels(), atol=2)
    for index in choose_examples(found_in(augmented), 5):
        assert f"image {index}, true class" in pages[0].text
    assert len(passes) == 3  # two of which saw one batch


def test_the_baseline_is_what_attention_is_compared_with(tmp_path):
    augmented = changing_model()
    images, labels = changed_set(augmented)
    flat = keras.Sequential([keras.Input((24, 20, 1)), keras.layers.Flatten()])
    flat.add(keras.layers.Dense(7))  # logits
    path = tmp_path / "page.html"
    found = report(augmented, (images, labels), path, baseline=flat, verbose=0)
    right = flat.predict(images, verbose=0).argmax(axis=1) == labels
    difference = found.over_baseline
    assert difference.fixed == np.sum(~right & found.output.correct)
    gain = found.output.accuracy() - right.mean()
    assert difference.gain == pytest.approx(gain, abs=1e-12)
    for text in (
        f"Baseline {100 * right.mean():.1f} %",
        f"Difference {100 * gain:+.1f}".replace("-", "\N{MINUS SIGN}"),
        f"Of {np.sum(~right)} images in 20 that the baseline predicts wrongly",
        f"Backbone alone {100 * found.backbone.accuracy():.1f} %",
        "Gain, fixed and broken are those over the baseline.",
    ):
        assert text in Page(path).text
    probabilities = keras.Sequential([flat, keras.layers.Softmax()])
    again = compare(augmented, (images, labels), 32, 0, probabilities)
    np.testing.assert_allclose(
        again.baseline.confidences, found.baseline.confidences, rtol=1e-5
    )


def test_fair_shares_of_examples():
    #           8 fixed,  2 broken, 5 correct, 5 wrong
    network = [1] * 8 + [0] * 2 + [0] * 5 + [1] * 5
    output = [0] * 8 + [1] * 2 + [0] * 5 + [1] * 5
    found = comparison([0] * 20, network, output)

    def shown(count):
        return found.outcomes[choose_examples(found, count)].tolist()

    assert shown(0) == []
    assert shown(1) == ["fixed"]
    assert shown(4) == ["fixed"] * 2 + ["broken"] * 2
    assert shown(7) == ["fixed"] * 5 + ["broken"] * 2
    # All ten, and no more than a quarter of others.
    assert shown(12) == ["fixed"] * 8 + ["broken"] * 2 + ["correct", "wrong"]
    assert len(shown(16)) == 10 + 4
    assert len(shown(200)) == 20
    # The most decisive come first.
    found = comparison([0] * 4, [1, 1, 0, 0], [0, 0, 1, 1])
    found.backbone.label_confidences[:] = [0.4, 0.1, 0.6, 0.9]
    found.output.label_confidences[:] = [0.6, 0.8, 0.5, 0.1]
    assert choose_examples(found, 4).tolist() == [1, 0, 3, 2]


def test_places_in_words():
    masks = np.eye(49).reshape(49, 7, 7)
    found = [place(masks[i]) for i in (0, 21, 24, 45)]
    assert found == ["top left", "left", "centre", "bottom"]


def test_many_classes_fold(tmp_path):
    x = inputs = keras.Input((24, 20, 1))
    x = keras.layers.Conv2D(3, 3, 2)(x)
    augmented = keras_warn.augment(keras.Model(inputs, x), classes=101, depth=1)
    images = np.random.default_rng(0).random((101, 24, 20, 1))
    page = written(tmp_path, augmented, (images, np.arange(101)))
    assert "All 101 classes" in page.text
    assert "The 10 classes that gain most" in page.text


@pytest.mark.parametrize(
    "path, arguments, error, message",
    [
        ("new", {"names": ["a"]}, ValueError, "the 7 classes .* 1 names"),
        ("new", {"names": "abcdefg"}, TypeError, "names='abcdefg'"),
        ("new", {"examples": -1}, ValueError, "examples=-1"),
        ("new", {"batch_size": 0}, ValueError, "batch_size=0"),
        (".", {}, IsADirectoryError, "`path`.*a folder"),
        ("missing/new", {}, FileNotFoundError, "`path`.*missing/new"),
        ("old", {}, FileExistsError, "`path`.*`overwrite`.*old"),
    ],
)
def test_errors_come_before_data_is_read(
    tmp_path, path, arguments, error, message
):
    (tmp_path / "old").touch()
    with pytest.raises(error, match=message):
        report(changing_model(), None, tmp_path / path, **arguments)
    assert [one.name for one in tmp_path.iterdir()] == ["old"]
