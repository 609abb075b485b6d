"""Requests, answers and lists as faults see and change them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.server.documents import Document

JOBS = "/fine_tuning/jobs"
FILES = "/files"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. ``path`` is below the base URL; ``body`` is None unless it is a job to create."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    @property
    def lists(self) -> bool:
        """Whether it asks for a page of jobs or files."""
        return self.method == "GET" and self.path in (JOBS, FILES)

    @property
    def turns(self) -> tuple[str, str] | None:
        """The job that it would pause or resume, and the status on the way there."""
        job_id, _, verb = self.path.removeprefix(f"{JOBS}/").partition("/")
        turning = {"pause": "pausing", "resume": "resuming"}.get(verb)
        return (job_id, turning) if self.method == "POST" and turning else None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whole. ``lost``: the connection is closed instead of sending it."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    lost: bool = False

    @property
    def document(self) -> Document | None:
        """What it shows; None for a refusal, or content that is no JSON object."""
        if self.status >= 300 or "json" not in self.headers.get("content-type", ""):
            return None
        found = json.loads(self.body)
        return found if isinstance(found, dict) else None


@dataclass(slots=True)
class Memory:
    """What the layer saw happen, by id: when a job or file was made, and when a job began to pause or resume."""

    born: dict[str, float] = field(default_factory=dict)
    turned: dict[str, tuple[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moment:
    """The server's own time, in Unix seconds, and what it remembers."""

    now: float
    memory: Memory


@dataclass(slots=True)
class Listing:
    """A whole list and how to cut pages from it. ``shift`` moves the start of every page but the first."""

    rows: Sequence[Document]
    after: str | None
    limit: int
    shift: int = 0
    repeats: bool = False
    endless: bool = False

    def page(self) -> dict[str, Any]:
        """Return what a page shows.

        Raises:
            LookupError: ``after`` names no row.
        """
        start = 0
        if self.after is not None:
            places = [place for place, row in enumerate(self.rows) if row["id"] == self.after]
            if not places:
                raise LookupError(self.after)
            start = max(0, places[0] + 1 + self.shift)
        end = start + self.limit
        page = list(self.rows[start:end])
        if self.repeats and start > 0:
            page[:0] = self.rows[:1]
        return {"data": page, "has_more": self.endless or end < len(self.rows)}
