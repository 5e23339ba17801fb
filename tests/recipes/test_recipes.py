"""Every recipe, tried as a whole on a few images, as its command does."""

import ast
import json
import pathlib
import runpy

import fresh
import pytest

from keras_warn import training

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"
# Of processors, whoever else is at work on them: a minute on two, of which
# importing Keras takes a few.
SECONDS = 110


def is_command(path):
    """Whether a file runs something when it is run."""
    tree = ast.parse(path.read_text("utf-8"))
    return any(
        isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
        for node in tree.body
    )


COMMANDS = [
    path
    for path in sorted(RECIPES.glob("*.py"))
    if is_command(path) and path.stem not in ("paper_tables", "recipe")
]


def test_there_are_recipes():
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize(
    "path",
    [
        # All train by the same code. That of the digits, by its own, is tried
        # in `test_cluttered_mnist.py`; of the others one is.
        p if p.stem == "cub200" else pytest.param(p, marks=pytest.mark.slow)
        for p in COMMANDS
    ],
    ids=lambda path: path.stem,
)
def test_smoke(path, tmp_path):
    """In a folder of its own, for it to leave nothing elsewhere."""
    (tmp_path / "here").mkdir()
    found = fresh.run(
        path, "--smoke", "--out", tmp_path / "out", folder=tmp_path / "here"
    )
    assert found.seconds < SECONDS
    assert "Traceback" not in found.stderr
    assert list((tmp_path / "here").iterdir()) == []
    (results,) = (tmp_path / "out").rglob("results.json")
    content = json.loads(results.read_text("utf-8"))
    assert content["settings"]["smoke"] is True


@pytest.mark.parametrize(
    "path",
    [p for p in COMMANDS if p.stem != "cluttered_mnist"],
    ids=lambda path: path.stem,
)
def test_a_model_takes_the_first_batch(path, tmp_path, monkeypatch):
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
    module = runpy.run_path(str(path))
    arguments = ["--smoke", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        module["RECIPE"].main(module["__doc__"], arguments)
    (one,) = seen
    assert one.smoke and one.settings.attention
