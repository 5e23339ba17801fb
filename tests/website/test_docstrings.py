"""Docstrings of Keras, as the site shows them."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("griffe", reason="needs the extra `docs`")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rewritten():
    spec = importlib.util.spec_from_file_location(
        "website_docstrings", ROOT / "website" / "docstrings.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.rewritten


def test_shapes_by_name_become_a_list(rewritten):
    found = rewritten(
        "Does.\n\nInput shape:\n    one: `(b, c)`,\n        or else.\n"
        "    two, three: `(b,)`.\n\nArgs:\n    x: A number."
    )
    assert "Input shape:</span></p>\n\n- `one`: `(b, c)`," in found
    assert "\n- `two, three`: `(b,)`." in found
    # Griffe reads these itself.
    assert found.endswith("\n\nArgs:\n    x: A number.")


def test_examples_become_code(rewritten):
    found = rewritten("Example:\n\n>>> f(\n...     1)\n2\n\n>>> g()\n3")
    one = "```pycon\n>>> f(\n...     1)\n2\n```"
    two = "```pycon\n>>> g()\n3\n```"
    assert found.split("\n\n")[1:3] == [one, two]


def test_a_shape_is_no_type(rewritten):
    """Griffe would take what stands before the colon for one."""
    found = rewritten("Returns:\n    `(b, n)`: probabilities.")
    assert found.rstrip().endswith("\n\n`(b, n)`: probabilities.")


def test_errors_that_stand_elsewhere(rewritten):
    found = rewritten("Raises:\n    OSError: if so.\n    As `fit`.")
    assert "- `OSError`: if so.\n- As `fit`." in found
    plain = "Raises:\n    OSError: if so."
    assert rewritten(plain) == plain
