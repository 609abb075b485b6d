"""The jobs of a server as its dashboard shows them: the API's documents and operations, by other questions."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from typing import Any

from reconciler.server import jobs, lifecycle, operations
from reconciler.server.context import Context
from reconciler.ui.source import UNOWNED, Details, Document, Entry, Events, Listing, Query, Verb

_TEXTS = ("$.id", "$.model", "$.fine_tuned_model", "$.user_provided_suffix")
_MOST_CHECKPOINTS = 1000


class Board:
    """A source of jobs. ``owner_key`` is the key of metadata that says whose a job is."""

    def __init__(self, here: Context, *, owner_key: str) -> None:
        self._here, self._owner_key = here, owner_key

    @property
    def title(self) -> str:
        """What is shown."""
        return "Embedded server"

    async def version(self) -> str:
        """Tell by the newest event: whatever happens to a job makes one."""
        return await asyncio.to_thread(self._version)

    async def jobs(self, query: Query) -> Listing:
        """Return jobs."""
        return await asyncio.to_thread(self._jobs, query)

    async def job(self, job_id: str) -> Details | None:
        """Return a job."""
        return await asyncio.to_thread(self._job, job_id)

    async def events(self, job_id: str, *, after: str | None, limit: int, steps: bool) -> Events | None:
        """Return a job's events."""
        return await asyncio.to_thread(self._events, job_id, after, limit, steps)

    async def act(self, job_id: str, verb: Verb) -> None:
        """Do what the API does when it is asked to."""
        here = self._here
        await asyncio.to_thread(operations.act, here.store, job_id, verb, now=here.clock())
        here.engine.wake()

    def _version(self) -> str:
        with self._here.store.read() as db:
            return str(db.execute("SELECT max(seq) FROM events").fetchone()[0] or 0)

    def _jobs(self, query: Query) -> Listing:
        where, values = self._where(query)
        chosen, those = where, dict(values)
        if query.statuses:
            those |= {f"status{i}": status for i, status in enumerate(query.statuses)}
            chosen += f" AND status IN ({', '.join(f':status{i}' for i in range(len(query.statuses)))})"
        those |= {"limit": query.limit, "offset": query.offset}
        page = f"SELECT seq, document FROM jobs WHERE {chosen} ORDER BY seq DESC LIMIT :limit OFFSET :offset"  # noqa: S608
        with self._here.store.read() as db:
            counts = db.execute(f"SELECT status, count(*) FROM jobs WHERE {where} GROUP BY status", values)  # noqa: S608
            owners = db.execute(
                "SELECT DISTINCT value FROM job_metadata WHERE key = ? ORDER BY value", (self._owner_key,)
            )
            return Listing(
                [_entry(db, seq, json.loads(text)) for seq, text in db.execute(page, those).fetchall()],
                dict(counts.fetchall()),
                [owner for (owner,) in owners],
            )

    def _where(self, query: Query) -> tuple[str, dict[str, Any]]:
        """Return the condition for owner and text. Its words are ours; what came from outside is in the values."""
        where, values = ["1"], {"key": self._owner_key, "owner": query.owner, "text": query.text.lower()}
        if query.owner == UNOWNED:
            where.append("seq NOT IN (SELECT job FROM job_metadata WHERE key = :key)")
        elif query.owner is not None:
            where.append("seq IN (SELECT job FROM job_metadata WHERE key = :key AND value = :owner)")
        if query.text:
            places = [f"instr(lower(json_extract(document, '{place}')), :text)" for place in _TEXTS]
            places.append("seq IN (SELECT job FROM job_metadata WHERE instr(lower(value), :text))")
            where.append(f"({' OR '.join(places)})")
        return " AND ".join(where), values

    def _job(self, job_id: str) -> Details | None:
        with self._here.store.read() as db:
            found = jobs.text(db, job_id)
            if found is None:
                return None
            seq, document = found[0], json.loads(found[1])
            steps = jobs.metrics(db, seq)
            checkpoints = jobs.checkpoints(db, seq, limit=_MOST_CHECKPOINTS, after=None).texts
            verbs = lifecycle.allowed(document["status"])
            progress = steps[-1] if steps else {}
            return Details(Entry(document, progress), steps, [json.loads(text) for text in checkpoints], verbs)

    def _events(self, job_id: str, after: str | None, limit: int, steps: bool) -> Events | None:
        with self._here.store.read() as db:
            found = jobs.text(db, job_id)
            if found is None:
                return None
            page = jobs.events(db, found[0], limit=limit, after=after, metrics=steps)
            return Events([json.loads(text) for text in page.texts], page.has_more)


def _entry(db: sqlite3.Connection, seq: int, job: Document) -> Entry:
    """Add the numbers of a job's newest step."""
    row = db.execute(
        "SELECT document FROM events WHERE job = ? AND json_extract(document, '$.type') = 'metrics'"
        " ORDER BY seq DESC LIMIT 1",
        (seq,),
    ).fetchone()
    return Entry(job, json.loads(row[0])["data"] if row else {})
