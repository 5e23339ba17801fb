"""Runs in a folder, and their tables."""

import pytest
from written import save

from keras_warn.cli import main


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def made(work):
    """A function that makes tables of results, by the command."""

    def make(*contents, code=0):
        for i, content in enumerate(contents):
            save(work / f"runs/{i:02}", content)
        assert main(["tables", "runs", "--out", "out"]) == code
        return work / "out"

    return make
