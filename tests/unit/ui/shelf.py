"""Pages over a source that a test fills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.ui.source import Details, Entry, Events, Listing, Query, Verb


def job(job_id: str = "ftjob-1", status: str = "running", **more: Any) -> dict[str, Any]:
    """A job as the API shows it."""
    return {"id": job_id, "status": status, "model": "gpt-4.1-nano", "created_at": 1_700_000_000, **more}


@dataclass
class Shelf:
    """A source in memory, which remembers what it was asked."""

    documents: list[dict[str, Any]] = field(default_factory=lambda: [job()])
    steps: Sequence[dict[str, Any]] = ()
    checkpoints: Sequence[dict[str, Any]] = ()
    events_: Sequence[dict[str, Any]] = ()
    at: str = "1"
    asked: list[Any] = field(default_factory=list)
    fault: Exception | None = None
    title: str = "A shelf"

    async def version(self) -> str:
        self.asked.append("version")
        return self.at

    async def jobs(self, query: Query) -> Listing:
        self.asked.append(query)
        if self.fault:
            raise self.fault
        return Listing([Entry(each) for each in self.documents], {"running": len(self.documents)}, ["us"])

    async def job(self, job_id: str) -> Details | None:
        found = next((each for each in self.documents if each["id"] == job_id), None)
        return Details(Entry(found), self.steps, self.checkpoints, ("pause", "cancel")) if found else None

    async def events(self, job_id: str, *, after: str | None, limit: int, steps: bool) -> Events | None:
        self.asked.append((job_id, after, limit, steps))
        return Events(self.events_, has_more=False) if await self.job(job_id) else None

    async def act(self, job_id: str, verb: Verb) -> None:
        if self.fault:
            raise self.fault
        self.asked.append((job_id, verb))
