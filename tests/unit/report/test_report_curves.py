"""Curves are where their values are, and no value breaks the drawing."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.report.curves import Curve, chart

POINTS = st.lists(st.tuples(st.floats(0, 1e9), st.floats(allow_nan=True, allow_infinity=True)), max_size=6)


def paths(svg: str) -> list[list[tuple[float, float]]]:
    """Return the places of every line drawn, in the order they are drawn."""
    lines = [g for g in ET.fromstring(svg).iter("g") if g.get("class") != "lines"]
    found = [[p.get("d") or "" for p in g.iter("path")][-1] for g in lines]
    return [[(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", d)] for d in found]


def test_lines_are_drawn_to_scale_the_first_on_top() -> None:
    svg = chart("Loss", "step", [Curve("a", "s1", [(0, 0.0), (5, 1.0), (10, 2.0)]), Curve("b", "s2", [(10, 2.0)])])
    (dot,), (start, middle, end) = paths(svg)
    assert dot == end
    assert (start, end) == ((52, 260), (546, 12))
    assert middle == ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    assert "a: 2 at step 10" in svg


def test_no_point_is_no_drawing() -> None:
    assert chart("Loss", "step", []) == ""
    assert chart("Loss", "step", [Curve("a", "s1", [(1, float("nan"))])]) == ""


@given(st.lists(POINTS, max_size=3))
@example([[(1, 0.0), (2, 5e-324)]])
@example([[(1, 1.0), (2, 1.0000000000000002)]])
@example([[(1, 1e99), (2, -1e99)]])
@example([[(1e15, 3.0), (1e15 + 0.125, 3.0)]])
def test_whatever_was_measured_is_drawn_inside_the_frame(given_points: list[list[tuple[float, float]]]) -> None:
    svg = chart("Loss", "step", [Curve("a", "s1", sorted(points)) for points in given_points])
    for line in paths(svg) if svg else []:
        assert all(51 <= x <= 547 and 11 <= y <= 261 for x, y in line)
    assert svg.count('class="tick"') <= 60


@pytest.mark.parametrize(("low", "high"), [(1.00001, 1.00005), (0, 3e-14), (999_990, 1_000_010), (0.1, 0.9), (-3, 7)])
def test_no_two_ticks_of_an_axis_read_the_same(low: float, high: float) -> None:
    svg = chart("Loss", "step", [Curve("a", "s1", [(1, low), (2, high)])])
    ticks = re.findall(r'text-anchor="end">([^<]+)</text>', svg)
    assert len(ticks) == len(set(ticks)) >= 4
    assert all(len(tick) <= 9 for tick in ticks), ticks


def test_steps_are_whole() -> None:
    svg = chart("Loss", "step", [Curve("a", "s1", [(1, 0.5), (2, 0.25), (3, 0.125)])])
    assert re.findall(r'text-anchor="middle">([^<]+)</text>', svg) == ["1", "2", "3"]
