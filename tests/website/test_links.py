"""The check of links finds what it is there for."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def problems():
    spec = importlib.util.spec_from_file_location(
        "website_links", ROOT / "website" / "links.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.problems


@pytest.mark.parametrize(
    "html, problem",
    [
        ('<a href="other.html#there">', None),
        ('<a href="#here">', None),
        ('<a href="https://arxiv.org/abs/1807.07320">', None),
        ('<img src="data:image/png;base64,AA">', None),
        ('<a href="absent.html">', "no such file"),
        ('<a href="other.html#absent">', "no such anchor"),
        ('<a href="#absent">', "no such anchor"),
        ('<a href="../outside.html">', "leaves the site"),
        ('<a href="https:/arxiv.org">', "is no address"),
        ('<a href="htp://arxiv.org">', "is no address"),
        ('<img src="absent.png">', "no such file"),
        ('<script src="https://example.org/x.js">', "from elsewhere"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "elsewhere"),
    ],
)
def test_problems(problems, tmp_path, html, problem):
    (tmp_path / "outside.html").write_text("<p>")
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text(f'<p id="here">{html}')
    (site / "other.html").write_text('<p id="there">')
    found = problems(site)
    if problem is None:
        assert found == []
    else:
        assert problem in "\n".join(found)
        assert all(line.startswith("index.html: ") for line in found)
