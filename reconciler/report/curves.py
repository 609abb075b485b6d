"""Curves over one another, as an SVG that the page around it colours. Pure; equal inputs give equal bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from reconciler.report.figures import number

_WIDTH, _HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 40
_ABSURD = 1e100
_FLAT = 1e-6
"""What differs by less of itself is drawn level: no tick could tell it apart."""
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class Curve:
    """A line to draw: what it is called, the class that colours it, and its points in order of x."""

    label: str
    style: str
    points: Sequence[tuple[float, float]]


def chart(title: str, x: str, curves: Sequence[Curve]) -> str:
    """Draw curves on common axes; the first is drawn last, so that it is on top. Nothing where there is no point.

    Every line says its name and its last point when it is pointed at. A single point is a dot.
    """
    drawn = [_drawable(curve) for curve in curves]
    points = [point for curve in drawn for point in curve.points]
    if not points:
        return ""
    across = _Axis.over([p[0] for p in points], _LEFT, _WIDTH - _RIGHT)
    up = _Axis.over([p[1] for p in points], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_grid(across, up),
        f'<text class="axis" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{escape(x)}</text>',
        '<g class="lines">',
        *(line for curve in reversed(drawn) if curve.points for line in _line(curve, across, up)),
        "</g></svg>",
    ]
    return "\n".join(parts)


def _drawable(curve: Curve) -> Curve:
    return Curve(curve.label, curve.style, [p for p in curve.points if all(abs(v) < _ABSURD for v in p)])


@dataclass(frozen=True, slots=True)
class _Axis:
    """From values to places: ``low`` is drawn at ``start``, ``high`` at ``end``; ``ticks`` are round values between."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    step: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> _Axis:
        """Make an axis that holds all values and begins and ends at a round one; whole values have whole ticks."""
        low, high = min(values), max(values)
        if high - low <= _FLAT * max(abs(low), abs(high)) + _NOTHING:
            low, high = low - _around(low), high + _around(high)
        step = _round_step((high - low) / 5)
        if all(value == math.floor(value) for value in values):
            step = max(1.0, step if step == math.floor(step) else 2 * step)
        first, last = math.floor(low / step), math.ceil(high / step)
        return cls(first * step, last * step, start, end, tuple(i * step for i in range(first, last + 1)), step)

    def place(self, value: float) -> float:
        """Return where a value is drawn."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def words(self, tick: float) -> str:
        """Write a tick with as many digits as tell it from the next."""
        if self.step >= 1 and tick == math.floor(tick):
            return number(tick)
        digits = math.ceil(math.log10(max(abs(self.low), abs(self.high)) / self.step)) + 2
        return f"{tick:.{digits}g}"


def _around(value: float) -> float:
    return abs(value) / 2 if abs(value) > _NOTHING else 0.5


def _round_step(rough: float) -> float:
    """Return the next larger of 1, 2, 2.5 and 5, times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next((factor * power for factor in (1, 2, 2.5, 5) if factor * power >= rough), 10 * power)


def _grid(across: _Axis, up: _Axis) -> Iterator[str]:
    for value in up.ticks:
        y = f"{up.place(value):.1f}"
        yield f'<path class="grid" d="M{_LEFT} {y}H{_WIDTH - _RIGHT}"/>'
        yield f'<text class="tick" x="{_LEFT - 8}" y="{y}" dy="4" text-anchor="end">{up.words(value)}</text>'
    for value in across.ticks:
        yield (
            f'<text class="tick" x="{across.place(value):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">'
            f"{across.words(value)}</text>"
        )


def _line(curve: Curve, across: _Axis, up: _Axis) -> Iterator[str]:
    places = [f"{across.place(x):.1f} {up.place(y):.1f}" for x, y in curve.points]
    last = curve.points[-1]
    title = escape(f"{curve.label}: {number(last[1])} at step {number(last[0])}")
    path = "M" + "L".join(places)
    x, y = places[-1].split()
    yield f'<g class="{escape(curve.style)}"><title>{title}</title><path class="near" d="{path}"/><path d="{path}"/>'
    yield f'<circle cx="{x}" cy="{y}" r="3.5"/></g>'
