"""Every recipe: what its command says, and that its parts fit together."""

import importlib
import json
import pathlib

import fresh
import pytest

from keras_warn import training

pytestmark = pytest.mark.usefixtures("eager")

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"
# That of the digits trains by its own code: `test_cluttered_mnist.py`.
NAMES = [
    path.stem
    for path in sorted(RECIPES.glob("*.py"))
    if "\nRECIPE = " in path.read_text("utf-8")
]
# Of processors, whoever else is at work on them: a minute on two, of which
# importing Keras takes a few.
SECONDS = 110


@pytest.mark.parametrize("name", NAMES)
def test_help(name, capsys):
    module = importlib.import_module(name)
    recipe, s = module.RECIPE, module.RECIPE.settings
    with pytest.raises(SystemExit):
        recipe.main(module.__doc__, ["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert " ".join(module.__doc__.split()) in text
    # At a line's end, words are broken at hyphens.
    text = text.replace("- ", "-")
    asked = "without it, TensorFlow Datasets is asked" in text
    assert asked == (recipe.tfds is not None)
    for default in (s.learning_rate, s.backbone, f"runs/{name}"):
        assert f"(default: {default})" in text
    assert f"depth={s.attention['depth']}" in text


@pytest.mark.parametrize("name", NAMES)
def test_a_model_takes_the_first_batch(name, tmp_path, monkeypatch):
    """Of each recipe: its data, transforms and settings fit together."""
    seen = []

    def begin(one, *args, **options):
        images, labels = one.batches().batch(0, 0)
        predictions = one.build()(images.astype("float32"))
        assert predictions.shape == labels.shape
        assert len(labels) == one.settings.batch_size
        seen.append(one)
        raise KeyboardInterrupt

    monkeypatch.setattr(training.Experiment, "run", begin)
    arguments = ["--smoke", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        importlib.import_module(name).RECIPE.main("", arguments)
    (one,) = seen
    assert one.smoke and one.settings.attention


@pytest.mark.parametrize(
    "name",
    # All train by the same code.
    [
        name if name == "cub200" else pytest.param(name, marks=pytest.mark.slow)
        for name in NAMES
    ],
)
def test_smoke(name, tmp_path):
    """In a folder of its own, for it to leave nothing elsewhere."""
    here, out = tmp_path / "here", tmp_path / "out"
    here.mkdir()
    found = fresh.run(
        RECIPES / f"{name}.py", "--smoke", "--out", out, folder=here
    )
    assert found.seconds < SECONDS
    assert "Traceback" not in found.stderr
    assert list(here.iterdir()) == []
    (results,) = out.rglob("results.json")
    content = json.loads(results.read_text("utf-8"))
    assert content["settings"]["smoke"] is True
