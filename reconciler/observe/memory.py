"""What the last listing of jobs learnt, kept in the cache.

Ended jobs, nearly all there are, are kept as one value that is written only when one was added; all others as a
second one. Anything damaged, of another version or written half by another process is forgotten as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from reconciler.cache import Cache
from reconciler.observe.state import ObservedJob

Row = ObservedJob | str | None
"""A job of ours; or why one that claims our owner cannot be read; or None for somebody else's."""

FIELDS = tuple(f.name for f in fields(ObservedJob))
_INTEGRATIONS = FIELDS.index("integrations")


@dataclass(slots=True)
class Reading:
    """Every job by id, and until when that was so: Unix seconds, by the server's clock."""

    rows: dict[str, Row] = field(default_factory=dict)
    time: float = -math.inf


def recall(cache: Cache, kind: str) -> Reading:
    """Return the last reading, or an empty one."""
    stored = cache.load(kind)
    try:
        about = stored["about"]
        rows = {i: _recalled(value) for part in ("ended", "open") for i, value in stored[part].items()}
        if about["fields"] == list(FIELDS) and about["count"] == len(rows):
            return Reading(rows, float(about["time"]))
    except (TypeError, ValueError, KeyError, AttributeError):
        pass
    return Reading()


def remember(cache: Cache, kind: str, known: Reading, reading: Reading) -> None:
    """Keep a reading in place of the one ``known`` before it."""
    ended, open_ = _ended(reading.rows), {i: row for i, row in reading.rows.items() if not _is_ended(row)}
    parts: dict[str, Any] = {
        "about": {"time": reading.time, "count": len(reading.rows), "fields": FIELDS},
        "open": {i: _stored(row) for i, row in open_.items()},
    }
    if ended != _ended(known.rows) or not known.rows:
        parts["ended"] = {i: _stored(row) for i, row in ended.items()}
    cache.store(kind, parts)


def _ended(rows: Mapping[str, Row]) -> dict[str, Row]:
    return {i: row for i, row in rows.items() if _is_ended(row)}


def _is_ended(row: Row) -> bool:
    """Whether a row can never change again; whose a job is never changes either."""
    return not isinstance(row, ObservedJob) or not row.active


def _stored(row: Row) -> Any:  # noqa: ANN401 - whatever JSON can say
    return pack(row) if isinstance(row, ObservedJob) else row


def _recalled(value: Any) -> Row:  # noqa: ANN401
    return value if value is None or isinstance(value, str) else unpack(value)


def pack(job: ObservedJob) -> list[Any]:
    """Say a job in JSON."""
    return [getattr(job, name) for name in FIELDS]


def unpack(values: list[Any]) -> ObservedJob:
    """Undo ``pack``.

    Raises:
        TypeError: the values are not those of a job.
        ValueError: they are not as many as a job has.
    """
    if len(values) != len(FIELDS):
        raise ValueError("a job of another version")
    values[_INTEGRATIONS] = tuple(values[_INTEGRATIONS])
    return ObservedJob(*values)
