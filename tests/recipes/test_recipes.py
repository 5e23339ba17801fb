"""Every recipe, tried as a whole on a few images, as its command does."""

import ast
import json
import pathlib

import fresh
import pytest

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
        # That of the digits is tried as a whole in `test_cluttered_mnist.py`.
        pytest.param(p, marks=pytest.mark.slow)
        if p.stem == "cluttered_mnist"
        else p
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
