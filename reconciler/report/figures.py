"""Numbers and times as people read them. Pure: 'now' is an argument, times are Unix seconds and shown in UTC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

_BARS = "▁▂▃▄▅▆▇█"
_ABSURD = 1e100


def timestamp(seconds: float) -> str:
    """Return ISO 8601 in UTC, to the second; a time no calendar holds stays a number."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"@{seconds}"


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units: ``45s``, ``4m 10s``, ``2h 05m``, ``3d 04h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    minutes, second = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m {second:02d}s"
    hours, minute = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minute:02d}m"
    days, hour = divmod(hours, 24)
    return f"{days}d {hour:02d}h"


def size(count: int) -> str:
    """Return bytes in decimal units: ``812 B``, ``1.5 kB``, ``200.0 MB``."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def measured(value: object) -> float | None:
    """Return a number that a server reported, NaN included; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def number(value: float) -> str:
    """Return a measurement compactly: integers whole, others to four significant digits."""
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.4g}"


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Draw a curve of at most ``width`` bars, each the mean of its part; what is no number is left out."""
    finite = [v for v in values if abs(v) < _ABSURD]
    if not finite:
        return ""
    count = min(width, len(finite))
    edges = [len(finite) * i // count for i in range(count + 1)]
    means = [sum(part) / len(part) for a, b in pairwise(edges) if (part := finite[a:b])]
    low, high = min(means), max(means)
    step = (high - low) / (len(_BARS) - 1)
    return "".join(_BARS[round((m - low) / step) if step > 0 else 0] for m in means)
