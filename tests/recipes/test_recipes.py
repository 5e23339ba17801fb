"""Every recipe, tried as a whole on a few pictures, as its command does."""

import ast
import json
import pathlib
import resource
import subprocess
import sys

import pytest

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"
# Of processors, whoever else is at work on them: a minute on two.
SECONDS = 120


def is_command(path):
    """Whether a file runs something when it is run."""
    tree = ast.parse(path.read_text("utf-8"))
    return any(
        isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
        for node in tree.body
    )


COMMANDS = [path for path in sorted(RECIPES.glob("*.py")) if is_command(path)]


def seconds():
    """What processes that have ended took of processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_there_are_recipes():
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_smoke(path, tmp_path):
    """In a folder of its own, for it to leave nothing elsewhere."""
    (tmp_path / "here").mkdir()
    before = seconds()
    found = subprocess.run(
        [sys.executable, path, "--smoke", "--out", tmp_path / "out"],
        cwd=tmp_path / "here",
        capture_output=True,
        text=True,
        timeout=10 * SECONDS,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert seconds() - before < SECONDS
    assert "Traceback" not in found.stderr
    assert list((tmp_path / "here").iterdir()) == []
    (results,) = (tmp_path / "out").rglob("results.json")
    content = json.loads(results.read_text("utf-8"))
    assert content["settings"]["smoke"] is True
