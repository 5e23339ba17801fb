"""Student's t, by printed tables."""

import math

import pytest

from keras_warn import tables


@pytest.mark.parametrize(
    "freedom, expected",
    # Of printed tables.
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622)]
    + [(10, 2.2281), (30, 2.0423), (120, 1.9799)],
)
def test_students_t(freedom, expected):
    assert tables.student_t(freedom) == pytest.approx(expected, abs=1e-4)


def test_interval_of_three():
    """Of 1, 2, 6: mean 3, standard deviation sqrt(7), t 4.3027."""
    half = 4.3027 * math.sqrt(7 / 3)
    expected = (3 - half, 3 + half)
    assert tables.interval([1, 2, 6]) == pytest.approx(expected, abs=1e-3)
    assert tables.interval([1]) is None
