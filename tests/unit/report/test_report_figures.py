from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.report.figures import duration, measured, number, size, sparkline, timestamp


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (59.4, "59s"), (60, "1m 00s"), (250, "4m 10s"), (7500, "2h 05m"), (273_600, "3d 04h")],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (999_999, "1.0 MB"),
        (2 * 10**8, "200.0 MB"),
        (5 * 10**12, "5.0 TB"),
    ],
)
def test_a_size_is_in_decimal_units(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1_772_000_000, "2026-02-25T06:13:20Z"), (10**18, f"@{10**18}")],
)
def test_a_time_is_utc_or_the_number_it_came_as(seconds: int, text: str) -> None:
    assert timestamp(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (0.123456, "0.1235"), (1e-9, "1e-09"), (math.nan, "nan"), (math.inf, "inf"), (1e300, "1e+300")],
)
def test_a_measurement_is_compact(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "result"), [(1, 1.0), (0.5, 0.5), (True, None), ("1", None), (None, None), (10**400, None)]
)
def test_only_numbers_count_as_measured(value: object, result: float | None) -> None:
    assert measured(value) == result


@pytest.mark.parametrize(
    ("values", "curve"),
    [([], ""), ([1], "▁"), ([1, 1, 1], "▁▁▁"), ([0, 7], "▁█"), ([3, 2, 1, 0], "█▆▃▁"), ([1, math.nan, 2], "▁█")],
)
def test_a_curve_goes_from_its_lowest_to_its_highest(values: list[float], curve: str) -> None:
    assert sparkline(values) == curve


@given(st.lists(st.floats(), max_size=100), st.integers(1, 30))
@settings(database=None, deadline=None)
def test_a_curve_of_any_numbers_fits_its_width(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) <= width
