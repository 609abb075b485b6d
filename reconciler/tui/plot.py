"""Curves drawn with braille dots: two points across and four down in each cell. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

from reconciler.report.figures import number
from reconciler.report.layout import cells
from reconciler.report.style import Span

Point = tuple[float, float]
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_ABSURD = 1e100


def plot(curves: Sequence[tuple[str, Sequence[Point]]], width: int, height: int) -> list[list[Span]]:
    """Draw curves, given as styles and points in order of x, over one another in ``width`` by ``height`` cells.

    The first is on top. The last line holds the ends of the x axis, the left side those of the y axis. Nothing comes
    of less than two points, or of no room.
    """
    drawn = [(style, [p for p in points if abs(p[0]) < _ABSURD and abs(p[1]) < _ABSURD]) for style, points in curves]
    every = [point for _, points in drawn for point in points]
    if len(every) < 2 or height < 3:
        return []
    low, high = min(y for _, y in every), max(y for _, y in every)
    first, last = min(x for x, _ in every), max(x for x, _ in every)
    top, bottom = number(high), number(low)
    margin = max(cells(top), cells(bottom)) + 1
    across, up = width - margin - 1, height - 1
    if across < 4:
        return []
    dots: dict[tuple[int, int], tuple[int, str]] = {}
    for style, points in reversed(drawn):
        places = [_place(p, (first, last), (low, high), (across * 2, up * 4)) for p in points]
        for column, row in _joined(places):
            cell = (column // 2, row // 4)
            mask = dots.get(cell, (0, ""))[0] | _DOTS[column % 2][row % 4]
            dots[cell] = (mask, style)
    labels = {0: top, up - 1: bottom}
    lines: list[list[Span]] = []
    for row in range(up):
        line: list[Span] = [(f"{labels.get(row, ''):>{margin - 1}} ", "dim"), ("│", "dim")]
        for style, run in groupby((dots.get((column, row), (0, "")) for column in range(across)), lambda dot: dot[1]):
            line.append(("".join(chr(0x2800 + mask) if mask else " " for mask, _ in run), style))
        lines.append(line)
    left, right = f"step {number(first)}", number(last)
    lines.append([(" " * (margin + 1) + left + right.rjust(max(across - cells(left), 0)), "dim")])
    return lines


def _place(point: Point, xs: Point, ys: Point, size: tuple[int, int]) -> tuple[int, int]:
    x = (point[0] - xs[0]) / (xs[1] - xs[0]) if xs[1] > xs[0] else 0.0
    y = (ys[1] - point[1]) / (ys[1] - ys[0]) if ys[1] > ys[0] else 0.5
    return round(x * (size[0] - 1)), round(y * (size[1] - 1))


def _joined(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the places and the dots on the straight lines between them."""
    found = list(places[:1])
    for (x0, y0), (x1, y1) in pairwise(places):
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        found += [(x0 + math.floor((x1 - x0) * i / steps + 0.5), y0 + math.floor((y1 - y0) * i / steps + 0.5))
                  for i in range(1, steps + 1)]  # fmt: skip
    return found
