"""Finished trainings beside the figures of the paper.

tables = gather(find_runs(["runs"]))
print(tables)
tables.write("tables")
"""

from keras_warn.tables.confidence import interval
from keras_warn.tables.confidence import student_t
from keras_warn.tables.gathering import Tables
from keras_warn.tables.gathering import gather
from keras_warn.tables.lines import Arm
from keras_warn.tables.lines import Line
from keras_warn.tables.published import PUBLISHED
from keras_warn.tables.published import TABLE_2
from keras_warn.tables.published import TABLE_2_PARAMETERS
from keras_warn.tables.published import TABLE_3
from keras_warn.tables.published import TABLE_4
from keras_warn.tables.published import TABLE_4_AVERAGE
from keras_warn.tables.published import Published
from keras_warn.tables.reading import ARMS
from keras_warn.tables.reading import EPOCHS
from keras_warn.tables.reading import FOLDS
from keras_warn.tables.reading import MARKER
from keras_warn.tables.reading import VERSION
from keras_warn.tables.reading import Found
from keras_warn.tables.reading import Run
from keras_warn.tables.reading import find_runs

__all__ = [
    "ARMS",
    "EPOCHS",
    "FOLDS",
    "MARKER",
    "PUBLISHED",
    "TABLE_2",
    "TABLE_2_PARAMETERS",
    "TABLE_3",
    "TABLE_4",
    "TABLE_4_AVERAGE",
    "VERSION",
    "Arm",
    "Found",
    "Line",
    "Published",
    "Run",
    "Tables",
    "find_runs",
    "gather",
    "interval",
    "student_t",
]
