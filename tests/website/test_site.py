"""The site: its guides run, and it builds without a warning."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="needs the extra `docs`")
pytest.importorskip("mkdocstrings_handlers.python")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
jupytext = pytest.importorskip("jupytext")
pytest.importorskip("sklearn", reason="the guides read its digits")

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
HOOK = runpy.run_path(ROOT / "website" / "guides.py")


def built(kept, out):
    """The folder of the site, with what guides made in another."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", out],
        cwd=ROOT,
        env={**os.environ, "KERAS_WARN_GUIDES": str(kept)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return out


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Of guides that were not executed: their pages show the code alone."""
    kept = tmp_path_factory.mktemp("guides")
    for path in GUIDES:
        folder = kept / f"{path.stem}-{HOOK['fingerprint'](path)}"
        folder.mkdir()
        notebook = jupytext.read(path)
        nbformat.write(notebook, folder / f"{path.stem}.ipynb")
        (folder / "report.html").touch()
    return built(kept, tmp_path_factory.mktemp("site"))


@pytest.mark.slow
def test_guides_run_and_show_what_they_computed(tmp_path):
    """Building the site runs them, too."""
    for path in GUIDES:
        folder = HOOK["executed"](path, tmp_path / "guides")
        notebook = nbformat.read(folder / f"{path.stem}.ipynb", as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        said = [
            output.text
            for cell in cells
            for output in cell.outputs
            if output.output_type == "stream" and output.name == "stderr"
        ]
        assert "Warning" not in "".join(said)
        assert sum(len(cell.outputs) for cell in cells) >= 5
    site = built(tmp_path / "guides", tmp_path / "site")
    page = (site / "guides" / "augment_your_model.html").read_text("utf-8")
    assert 'src="augment_your_model_1.png"' in page
    assert re.search(r"trained on with attention +\d+\.\d %", page)
    page = (site / "guides" / "read_the_report.html").read_text("utf-8")
    assert '"report.html"' in page
    assert (site / "guides" / "report.html").is_file()


def test_guide_that_fails_is_not_kept(tmp_path):
    guide = tmp_path / "wrong.md"
    guide.write_text("# Wrong\n\n```python\n1 / 0\n```\n")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        HOOK["executed"](guide, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


# What a browser loads from another host without being asked.
ELSEWHERE = re.compile(
    r"<(?:script|img|iframe|source|video|link)\b[^>]*?"
    r"\b(?:src|href)=\"?(?:https?:)?//[^>]*>"
)


def test_nothing_is_loaded_from_elsewhere(site):
    """That its links lead somewhere, a strict build has checked."""
    assert ELSEWHERE.search('<link rel="stylesheet" href="//example.org/x">')
    for path in site.rglob("*.html"):
        found = ELSEWHERE.findall(path.read_text("utf-8"))
        assert not [tag for tag in found if 'rel="canonical"' not in tag], path


def test_pages_of_the_repository(site):
    """README is the first page, and its links lead to pages, not to files."""
    page = (site / "index.html").read_text("utf-8")
    assert 'href="looking.html"' in page
    assert 'href="results/index.html"' in page
    assert not re.search(r'href="[^":]*\.md["#]', page)


def test_reference_shows_docstrings(site):
    page = (site / "api" / "layers.html").read_text("utf-8")
    assert 'id="keras_warn.layers.AttentionHeads"' in page
    for title in ("Parameters", "Input shape", "Output shape", "Example"):
        assert f'<span class="doc-section-title">{title}:</span>' in page
    # Markdown that was not understood would look like this.
    assert "&gt;&gt;&gt; " not in re.sub(
        r"<pre>.*?</pre>", "", page, flags=re.DOTALL
    )
    # Signatures are broken into lines, where a formatter is installed: one
    # line would be cut on the page.
    page = (site / "api" / "attention.html").read_text("utf-8")
    assert re.search(r"^ +depth=", re.sub(r"<[^>]+>", "", page), re.MULTILINE)
