"""Gathers runs into tables, and writes them."""

import dataclasses
import datetime
import pathlib

from keras_warn import files
from keras_warn.tables.grouping import make_lines
from keras_warn.tables.lines import Line
from keras_warn.tables.markdown import document
from keras_warn.tables.published import PUBLISHED
from keras_warn.tables.reading import Found
from keras_warn.tables.rows import csv_files


@dataclasses.dataclass(frozen=True)
class Tables:
    """What `gather` makes. `str` is all of it as Markdown.

    Attributes:
        lines: List of `Line`: the paper's data sets in its order, measured or
            not, then CIFAR, then others.
        found: The `Found` that they were made of.
        date: When they were made, a string.
        command: What made them, a string, or `None`.
    """

    lines: list
    found: Found
    date: str
    command: str | None

    def __str__(self):
        return document(self)

    @property
    def notes(self):
        """List of strings: what is not counted or paired, and why."""
        notes, noted = [], []
        for line in self.lines:
            for name, arm in line.arms.items():
                # A baseline may be in several lines.
                if not any(arm is one for one in noted):
                    noted.append(arm)
                    notes += [f"{line.title}, {name}: {n}" for n in arm.notes]
            notes += [f"{line.title}: {note}" for note in line.notes]
        return notes

    @property
    def uncounted(self):
        """Dictionary from paths of runs to why they are not counted."""
        arms = [arm for line in self.lines for arm in line.arms.values()]
        return {
            path: why for arm in arms for path, why in arm.uncounted.items()
        }

    def files(self):
        """Contents of the files that `write` writes, by name."""
        return {
            **csv_files(self.lines, self.found.runs, self.uncounted),
            "tables.md": str(self),
        }

    def write(self, folder):
        """Writes all tables, each file whole or not at all.

        Args:
            folder: Where to. It is made if it does not exist; files of the
                same names in it are replaced.

        Raises:
            OSError: if something cannot be written.
        """
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files().items():
            with files.replacing(folder / name) as path:
                path.write_text(content, "utf-8")


def gather(found, command=None):
    """Makes the paper's tables of runs.

    Runs of one recipe are grouped by all that they depend on but arm, seed
    and fold, a line of a table each. Of a line, attention and baseline have
    the same settings but for `"attention"`, and the same data.

    Args:
        found: A `Found`.
        command: What it is done by, for whoever wants to repeat it.

    Returns:
        A `Tables`.

    Example:

    >>> tables = gather(Found([], [], others=0, smoke=0))
    >>> tables.lines[0].title, tables.lines[0].values("baseline")
    ('Dogs', {})
    """
    recipes = {}
    for run in found.runs:
        recipes.setdefault(run.recipe, []).append(run)
    lines = []
    for recipe in [*PUBLISHED, *sorted(recipes.keys() - PUBLISHED.keys())]:
        own = make_lines(recipe, recipes.get(recipe, []))
        if recipe in PUBLISHED and all(line.not_comparable for line in own):
            own.insert(0, Line(recipe))
        lines += own
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Tables(lines, found, date, command)
