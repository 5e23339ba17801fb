"""Docstrings of Keras, as the site shows them."""

import runpy
from pathlib import Path

import pytest

pytest.importorskip("griffe", reason="needs the extra `docs`")

ROOT = Path(__file__).parents[2]
rewritten = runpy.run_path(ROOT / "website" / "docstrings.py")["rewritten"]


@pytest.mark.parametrize(
    "docstring, shown",
    [
        # Shapes by name are a list.
        (
            "Does.\n\nInput shape:\n    one: `(b, c)`,\n        or else.\n"
            "    two, three: `(b,)`.\n\n",
            "- `one`: `(b, c)`,\n    or else.\n- `two, three`: `(b,)`.",
        ),
        # A shape is no type, as what stands before a colon is for Griffe.
        ("Returns:\n    `(b, n)`: of it.", "\n\n`(b, n)`: of it."),
        # Examples are code.
        (
            "Example:\n\n>>> f(\n...     1)\n2\n\n>>> g()\n3",
            "```pycon\n>>> f(\n...     1)\n2\n```\n\n```pycon\n>>> g()\n3\n```",
        ),
        # Errors that stand elsewhere; others Griffe reads, as arguments.
        (
            "Raises:\n    OSError: if so.\n    As `fit`.",
            "- `OSError`: if so.\n- As `fit`.",
        ),
        ("Raises:\n    OSError: if so.", "Raises:\n    OSError: if so."),
        ("Args:\n    x: A number.", "Args:\n    x: A number."),
    ],
)
def test_sections(docstring, shown):
    assert rewritten(docstring).rstrip().endswith(shown)
