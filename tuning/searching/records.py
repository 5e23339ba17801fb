"""What is known of trials: a file for each, written when it has ended."""

import csv
import io
import json
import pathlib

from keras_warn import files

COMPLETED, FAILED = "completed", "failed"


def label(trial_id):
    """What a trial is called: KerasTuner counts from 0, people from 1.

    >>> label("0007")
    '08'
    """
    return f"{int(trial_id) + 1:02d}"


class Records:
    """The records of a search's trials, in a folder.

    All workers write to it, each what it has trained.

    Args:
        folder: The folder. It is made if it does not exist.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def write(self, record):
        """Keeps what is known of a trial, a dictionary for JSON."""
        with files.replacing(self._path(record["trial"])) as path:
            path.write_text(json.dumps(record, indent=2) + "\n", "utf-8")

    def of(self, trial):
        """What is known of one trial."""
        return json.loads(self._path(trial).read_text("utf-8"))

    def read(self):
        """All records, by the numbers of the trials."""
        found = [
            json.loads(path.read_text("utf-8"))
            for path in self.folder.glob("*.json")
        ]
        return sorted(found, key=lambda record: int(record["trial"]))

    def _path(self, trial):
        return self.folder / f"{trial}.json"


def best(records, objective):
    """The best of the trials that trained for longest, or `None`.

    Accuracies after fewer epochs, as in early rounds of Hyperband, are not
    comparable.

    Args:
        records: List of records.
        objective: `"val_accuracy"` or `"val_loss"`.
    """
    completed = [one for one in records if one["status"] == COMPLETED]
    if not completed:
        return None
    longest = max(one["epochs"] for one in completed)
    return min(
        (one for one in completed if one["epochs"] == longest),
        key=lambda one: score(one, objective),
    )


def score(record, objective):
    """What of a completed trial is to be small."""
    if objective == "val_loss":
        return record["loss"]
    return -record["accuracy"]


def to_csv(records, names):
    """One row a trial.

    Args:
        records: List of records.
        names: Names of the hyperparameters that vary.
    """
    rows = []
    for record in records:
        row = {
            name: record[name]
            for name in (
                *("trial", "status", "accuracy", "loss", "epochs"),
                *("goes_on_from", "seconds", "worker"),
            )
        }
        row |= {name: record["values"].get(name) for name in names}
        row |= record["cost"] or {}
        # The first line alone: the others are where it happened.
        row["reason"] = (record["reason"] or "").partition("\n")[0]
        rows.append(row)
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(
            text, max(rows, key=len), restval="", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
