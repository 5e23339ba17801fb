"""The page shows the runs, and nothing else."""

import csv
import re
import shutil

import evidence
import pytest
import table2
from measuring import certainty_report
from measuring import frozen_report
from measuring import variants
from measuring.table2_networks import constructors
from measuring.timing import summary

VARIANTS = [
    *evidence.NETWORKS,
    *evidence.DEPTHS,
    *evidence.WIDTHS,
    *evidence.PARTS,
]


def unpadded(table):
    """A table without the spaces that align its columns."""
    return re.sub(" +", " ", table)


def rows(path, lines):
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.fixture
def runs(tmp_path):
    """Two variants by hand, of seeds that are not the same."""
    return rows(
        tmp_path / "runs.csv",
        [
            "arm,seed,parameters,accuracy",
            "baseline,0,1000,0.80",
            "attention,0,1200,0.84",
            "baseline,1,1000,0.70",
            "attention,1,1200,0.80",
            "attention,2,1200,0.94",
        ],
    )


@pytest.fixture(scope="module")
def of_table_2(tmp_path_factory):
    """What the benchmark writes, but for its measuring, and its smoke test."""
    time = summary("", "ms", [{"ours": 3.0, "backbone": 2.0}])
    one = {"parameters": 1000, "products": 5000, "time": time}
    names = constructors(smoke=True)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            table2, "measure_all", lambda s: dict.fromkeys(names, one)
        )
        patch.setattr(
            table2, "measure_pair", lambda s, *pair: {"names": pair, **one}
        )
        for arguments in ([], ["--smoke"]):
            out = tmp_path_factory.mktemp("table2")
            table2.main(["--out", str(out), *arguments])
            found.append((out / "results.json").read_text("utf-8"))
    return found


@pytest.fixture
def docs(tmp_path, of_table_2, monkeypatch):
    """The page, and results of all that it shows."""
    # Of which numbers that are written do not depend.
    monkeypatch.setattr(frozen_report, "RESAMPLES", 50)
    (tmp_path / "images").mkdir()
    results = tmp_path / "results"
    results.mkdir()
    page = (evidence.DOCS / "evidence.md").read_text("utf-8")
    (tmp_path / "evidence.md").write_text(page, "utf-8")
    columns = [f"accuracy_{n}" for n in evidence.DISTRACTORS]
    with open(results / evidence.FIGURE_4, "w", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["arm", "seed", "parameters", *columns])
        for i, variant in enumerate(dict.fromkeys(VARIANTS)):
            for seed in range(3):
                share = 0.9 + 0.005 * i + 0.001 * seed
                writer.writerow(
                    [variant, seed, 1000 + i, *[share] * len(columns)]
                )
    shutil.copy(results / evidence.FIGURE_4, results / evidence.LONGER)
    rows(
        results / evidence.BIRDS,
        [
            f"recipe,arm,seed,parameters,{evidence.BIRDS_ACCURACY}",
            "cub200,baseline,0,1000,0.650",
            "cub200,depth_1,0,1200,0.660",
        ],
    )
    for name, control in (("frozen", "linear"), ("fine_tuned", "baseline")):
        rows(
            results / evidence.BESIDE_CONTROLS[name],
            [
                "data,backbone,part,head,seed,rate,decay,parameters,"
                "milliseconds,images,correct",
                *(
                    f"birds,net,test,{head},{seed},0.01,0.1,7,0.5,8,{bits}"
                    for head, bits in ((control, "0f"), ("attention", "ff"))
                    for seed in range(2)
                ),
            ],
        )
    rows(
        results / evidence.CERTAINTY,
        [
            "data,backbone,seed,table,row,measure,value",
            *(
                f"birds,net,0,{table},{certainty_report.FIXED},y,1"
                for table in certainty_report.TABLES
            ),
        ],
    )
    rows(
        results / evidence.EXITS,
        [
            "data,backbone,seed,table,row,measure,value",
            'birds,net,0,exits,"deep, after module 1",accuracy (%),50',
            'birds,net,0,left,"deep, 1 points",operations saved (%),20',
            *(
                f'birds,net,{seed},curve,"deep, {threshold}",{measure},{x}'
                for seed in range(2)
                for threshold in ("0.9", "0.5")
                for measure, x in (("accuracy (%)", 60), ("operations (%)", 9))
            ),
        ],
    )
    (results / evidence.TABLE_2).write_text(of_table_2[0], "utf-8")
    return tmp_path


def run(docs, *arguments):
    return evidence.main(["--docs", str(docs), *arguments])


def test_the_page_is_that_of_the_runs(capsys):
    """Of this repository. `python benchmarks/evidence.py` makes it so."""
    assert evidence.main(["--check"]) == 0, capsys.readouterr().out


def test_numbers_by_hand(runs):
    """Errors 20, 30; 16, 20, 6. Differences -4, -10: t is 12.706."""
    found = variants.read(runs, "accuracy")
    table = variants.table(
        found,
        [("base", "baseline", "accuracy"), ("ours", "attention", "accuracy")],
        error=True,
    )
    *_, baseline, ours = unpadded(table).splitlines()
    assert baseline == "| base | 1,000 | 2 | 25.00 ± 7.07 | – | – | – |"
    assert ours == (
        "| ours | 1,200 | 3 | 14.00 ± 7.21 | -7.00 ± 4.24 "
        "| -45.12 to +31.12 | 28 % |"
    )
    ours = [("ours", "attention", "accuracy")]
    table = variants.table(found, ours, error=False)
    assert unpadded(table).splitlines()[-1] == (
        "| ours | 1,200 | 3 | 86.00 ± 7.21 | +7.00 ± 4.24 "
        "| -31.12 to +45.12 | 28 % |"
    )


def test_only_seeds_that_all_have_are_plotted(runs):
    found = variants.read(runs, "accuracy")
    points = [("", "baseline", "accuracy"), ("", "attention", "accuracy")]
    errors = variants.by_seed(found, points, error=True)
    assert [[round(e, 6) for e in seed] for seed in errors] == [
        [20, 16],
        [30, 20],
    ]
    assert variants.by_seed(found, [("", "stn", "accuracy")], error=True) == []


def test_what_is_not_there_is_not_measured(runs, tmp_path):
    row = "| x | – | – | not yet measured | – | – | – |"
    found = variants.read(runs, "accuracy")
    table = variants.table(found, [("x", "stn", "accuracy")], error=True)
    assert unpadded(table).splitlines()[-1] == row
    places = evidence.evidence(tmp_path)
    assert all(plot is None for _, plot, _ in places.values())
    assert all("not yet measured" in table for table, *_ in places.values())


def test_tables_and_plots_are_written(docs, capsys):
    """And what differs from them is named."""
    prose = "## Birds\n\nWhat birds show.\n"
    page = docs / "evidence.md"
    page.write_text(page.read_text("utf-8").replace("## Birds\n", prose))
    assert run(docs, "--check") == 1
    said = capsys.readouterr().out
    for name in (
        *("figure4b", "figure4c", "figure4d", "figure4e", "figure4_longer"),
        *("birds", "frozen", "fine_tuned", "exits", "table2"),
    ):
        assert f"evidence.md: {name}" in said and f"{name}.png" in said
    assert run(docs) == 0
    assert run(docs, "--check") == 0
    assert prose in page.read_text("utf-8")
    places = evidence.places(page.read_text("utf-8"))
    row = "| depth 1 | 1,200 | 1 | 66.00 | +1.00 | – | 3 % |"
    assert row in unpadded(places["birds"])
    assert "not yet measured" not in page.read_text("utf-8")
    for name in certainty_report.TABLES:
        assert f"birds, net: {certainty_report.FIXED}" in places.pop(name)
    for name, text in places.items():
        assert text.endswith(f"(images/{name}.png)\n")
        assert (docs / f"images/{name}.png").stat().st_size > 10_000
    # A number that somebody typed, and runs that were exchanged.
    capsys.readouterr()
    right = page.read_text("utf-8")
    page.write_text(right.replace("66.00", "67.00"))
    assert run(docs, "--check") == 1
    (said,) = capsys.readouterr().out.splitlines()
    assert said.endswith("evidence.md: birds")
    page.write_text(right)
    birds = docs / "results" / evidence.BIRDS
    birds.write_text(birds.read_text("utf-8").replace("0.660", "0.66"))
    assert run(docs, "--check") == 1
    (said,) = capsys.readouterr().out.splitlines()
    assert said.endswith("birds.png")


HEADER = "arm,seed,parameters,accuracy"


@pytest.mark.parametrize(
    "lines, message",
    [
        ([HEADER, *["baseline,0,1,0.5"] * 2], "must stand once.*runs"),
        *(
            ([HEADER, f"baseline,7,1{cell}"], "from 0 to 1 as accuracy.*runs")
            for cell in ("", ",nan", ",84.0")
        ),
    ],
)
def test_files_of_another_kind(tmp_path, lines, message):
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=message):
        variants.read(path, "accuracy")


@pytest.mark.parametrize(
    "page, message",
    [
        ("<!-- table: a -->\n", "places a, .*Received: .$"),
        ("<!-- table: a -->\n<!-- end -->\n" * 2, "each once.*: a, a"),
        ("<!-- table: b -->\n<!-- end -->\n", "places a, .*Received: b"),
    ],
)
def test_pages_with_other_places(page, message):
    with pytest.raises(ValueError, match=message):
        evidence.filled(page, {"a": "text"})


def test_a_smoke_test_is_no_evidence(docs, of_table_2, capsys):
    path = docs / "results" / evidence.TABLE_2
    path.write_text(of_table_2[1], "utf-8")
    with pytest.raises(SystemExit):
        run(docs)
    assert "one of a smoke test." in capsys.readouterr().err
