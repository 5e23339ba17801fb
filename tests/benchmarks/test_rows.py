"""Tables on disk: every head is tuned alike, and tested with its best."""

from measuring import rows


def test_all_settings_are_validated_and_the_best_is_tested(tmp_path):
    called = []

    def measured(part, heads, seed, rate):
        called.append((part, [*heads], seed, rate))
        for head in heads:
            yield {"accuracy": rate if head == "fast" else -rate}

    def run():
        grid = [{"rate": 1.0}, {"rate": 2.0}]
        heads, seeds = ["fast", "slow"], [0, 1]
        path = tmp_path / "table.csv"
        rows.tune_and_test(path, {"data": "x"}, grid, heads, seeds, measured)

    run()
    assert called == [
        ("validation", ["fast", "slow"], 0, 1.0),
        ("validation", ["fast", "slow"], 0, 2.0),
        ("test", ["slow"], 0, 1.0),
        ("test", ["fast"], 0, 2.0),
        ("test", ["slow"], 1, 1.0),
        ("test", ["fast"], 1, 2.0),
    ]
    run()  # All is there.
    assert len(called) == 6
