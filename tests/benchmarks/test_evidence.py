"""The page shows the runs, and nothing else."""

import re

import evidence
import pytest
from measuring import variants


def unpadded(table):
    """A table without the spaces that align its columns."""
    return re.sub(" +", " ", table)


@pytest.fixture
def runs(tmp_path):
    """Two variants by hand, of seeds that are not the same."""
    path = tmp_path / "results" / "runs.csv"
    path.parent.mkdir()
    path.write_text(
        "arm,seed,parameters,accuracy\n"
        "baseline,0,1000,0.80\nattention,0,1200,0.84\n"
        "baseline,1,1000,0.70\nattention,1,1200,0.80\n"
        "attention,2,1200,0.94\n"
    )
    return path


def test_the_page_is_that_of_the_runs(capsys):
    """Of this repository. `python benchmarks/evidence.py` makes it so."""
    assert evidence.main(["--check"]) == 0, capsys.readouterr().out


def test_numbers_by_hand(runs):
    """Errors 20, 30; 16, 20, 6. Differences -4, -10: t is 12.706."""
    found = variants.read(runs)
    rows = [(name, name, "accuracy") for name in ("baseline", "attention")]
    table = variants.table(found, rows, error=True)
    *_, baseline, ours = unpadded(table).splitlines()
    assert baseline == "| baseline | 1,000 | 2 | 25.00 ± 7.07 | – | – | – |"
    assert ours == (
        "| attention | 1,200 | 3 | 14.00 ± 7.21 | -7.00 ± 4.24 "
        "| -45.12 to +31.12 | 28 % |"
    )
    table = variants.table(found, rows[1:], error=False)
    assert unpadded(table).splitlines()[-1] == (
        "| attention | 1,200 | 3 | 86.00 ± 7.21 | +7.00 ± 4.24 "
        "| -31.12 to +45.12 | 28 % |"
    )
    errors = variants.by_seed(found, rows, error=True)
    assert errors.round(6).tolist() == [[20, 16], [30, 20]]


def test_what_differs_is_named(runs, tmp_path, monkeypatch, capsys):
    """A number that somebody typed, and runs that were exchanged."""
    shown = {"birds": ("runs.csv", evidence.side_by_side, "accuracy")}
    monkeypatch.setattr(evidence, "SHOWN", shown)
    page = tmp_path / "evidence.md"
    page.write_text("# Birds\n<!-- table: birds -->\n<!-- end -->\nProse.\n")
    (tmp_path / "images").mkdir()

    def check():
        code = evidence.main(["--docs", str(tmp_path), "--check"])
        lines = capsys.readouterr().out.splitlines()
        assert code == bool(lines)
        return [line.rpartition("/")[2] for line in lines]

    assert check() == ["evidence.md: birds", "birds.png"]
    assert evidence.main(["--docs", str(tmp_path)]) == 0
    assert check() == []
    written = page.read_text()
    assert written.startswith("# Birds\n<!-- table: birds -->\n| ")
    assert written.endswith("(images/birds.png)\n<!-- end -->\nProse.\n")
    assert (tmp_path / "images/birds.png").stat().st_size > 10_000
    page.write_text(written.replace("86.00", "87.00"))
    assert check() == ["evidence.md: birds"]
    page.write_text(written)
    runs.write_text(runs.read_text().replace("0.94", "0.940"))
    assert check() == ["birds.png"]
