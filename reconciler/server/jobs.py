"""Jobs, their events and checkpoints, as rows. Every function runs inside the caller's transaction."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.server import documents, lifecycle
from reconciler.server.documents import Document

KEPT_CHECKPOINTS = 3
"""How many epochs' checkpoints of a job stay usable, and listed."""

_UNFINISHED = f"status IN ({', '.join(map(repr, lifecycle.UNFINISHED))})"
"""The condition of the index of jobs that may still train, in its words: so SQLite uses it."""
_OURS = "(trainer IS ? OR (trainer IS NULL AND state IS NULL))"
"""The condition of jobs that a trainer may take: its own, and those of nobody's that have not begun."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job with what the API does not show: see the schema."""

    seq: int
    id: str
    status: str
    document: Document
    step: int
    rows: int
    tokens: int
    state: bytes | None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of stored documents, and whether more follow."""

    texts: Sequence[str]
    has_more: bool


class UnknownCursor(LookupError):
    """``after`` names nothing in this listing."""


def new_id(prefix: str) -> str:
    """Return an id that nobody can guess."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return prefix + "".join(secrets.choice(alphabet) for _ in range(24))


def insert(db: sqlite3.Connection, document: Document, trainer: str | None = None) -> JobRow:
    """Add a new job, for the trainer of this name. A clock that was set back does not put it out of the order."""
    (latest,) = db.execute(
        "SELECT json_extract(document, '$.created_at') FROM jobs ORDER BY seq DESC LIMIT 1"
    ).fetchone() or (0,)
    document = {**document, "created_at": max(document["created_at"], latest)}
    cursor = db.execute(
        "INSERT INTO jobs (id, status, document, trainer) VALUES (?, ?, ?, ?)",
        (document["id"], document["status"], documents.dump(document), trainer),
    )
    seq = cursor.lastrowid or 0
    pairs = (document["metadata"] or {}).items()
    db.executemany("INSERT INTO job_metadata VALUES (?, ?, ?)", [(key, value, seq) for key, value in pairs])
    return JobRow(seq, document["id"], document["status"], document, 0, 0, 0, None)


def get(db: sqlite3.Connection, job_id: str) -> JobRow | None:
    """Return a job by its id."""
    row = db.execute(
        "SELECT seq, id, status, document, step, rows, tokens, state FROM jobs WHERE id = ?", (job_id,)
    ).fetchone()
    if row is None:
        return None
    seq, job_id, status, document, *rest = row
    return JobRow(seq, job_id, status, json.loads(document), *rest)


def text(db: sqlite3.Connection, job_id: str) -> tuple[int, str] | None:
    """Return a job's number and its document as it is sent."""
    row: tuple[int, str] | None = db.execute("SELECT seq, document FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return row


def update(db: sqlite3.Connection, job: JobRow, **shown: Any) -> Document:  # noqa: ANN401 - whatever the API shows
    """Change what the API shows of a job."""
    document = {**job.document, **shown}
    db.execute(
        "UPDATE jobs SET status = ?, document = ? WHERE seq = ?",
        (document["status"], documents.dump(document), job.seq),
    )
    return document


def by_status(db: sqlite3.Connection, status: str) -> list[str]:
    """Return the ids of jobs of an unfinished status, oldest first."""
    sql = f"SELECT id FROM jobs WHERE status = ? AND {_UNFINISHED} ORDER BY seq"  # noqa: S608 - our words
    return [job_id for (job_id,) in db.execute(sql, (status,))]


def taken(db: sqlite3.Connection, status: str, trainer: str, limit: int = -1) -> list[str]:
    """Return the ids of jobs of an unfinished status that a trainer may take, oldest first."""
    sql = f"SELECT id FROM jobs WHERE status = ? AND {_UNFINISHED} AND {_OURS} ORDER BY seq LIMIT ?"  # noqa: S608
    return [job_id for (job_id,) in db.execute(sql, (status, trainer, limit))]


def left(db: sqlite3.Connection, trainer: str) -> dict[str, str | None]:
    """Return the jobs that wait for another trainer than this, by id: its name, None for one that is not known."""
    sql = f"""
        SELECT id, trainer FROM jobs WHERE status IN ('validating_files', 'queued', 'running') AND {_UNFINISHED}
        AND NOT {_OURS} ORDER BY seq
        """  # noqa: S608 - our words
    return dict(db.execute(sql, (trainer,)).fetchall())


def nobodys(db: sqlite3.Connection) -> list[tuple[int, bytes]]:
    """Return the numbers of unfinished jobs that name no trainer, with what the one that began them saved."""
    sql = f"SELECT seq, state FROM jobs WHERE {_UNFINISHED} AND trainer IS NULL AND state IS NOT NULL"  # noqa: S608
    return db.execute(sql).fetchall()


def claim(db: sqlite3.Connection, job: int, trainer: str) -> None:
    """Make a job that names no trainer this one's."""
    db.execute("UPDATE jobs SET trainer = ? WHERE seq = ? AND trainer IS NULL", (trainer, job))


def has_ended(db: sqlite3.Connection, job_id: str) -> bool:
    """Whether a job, by its id, never trains again."""
    row = db.execute("SELECT status FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return row is not None and lifecycle.is_final(row[0])


def queue(db: sqlite3.Connection, trainer: str, limit: int) -> list[str]:
    """Return the ids of jobs that wait for a trainer, in the order in which they get places: fair by owner.

    An owner's n-th job comes after every job with which its own owner would have fewer in training. Among an owner's
    own, ``priority`` in the metadata comes first, then age.
    """
    sql = f"""
        WITH owned AS (
            SELECT id, seq, status, ifnull(json_extract(document, '$.metadata."{lifecycle.OWNER}"'), '') AS owner,
                CAST(ifnull(json_extract(document, '$.metadata.priority'), 0) AS INTEGER) AS priority
            FROM jobs WHERE status IN ('queued', 'running') AND {_UNFINISHED} AND {_OURS}
        ), busy AS (SELECT owner, count(*) AS trains FROM owned WHERE status = 'running' GROUP BY owner)
        SELECT id FROM owned LEFT JOIN busy USING (owner) WHERE status = 'queued' ORDER BY
            row_number() OVER (PARTITION BY owner ORDER BY priority DESC, seq) + ifnull(trains, 0), seq
        LIMIT ?
        """  # noqa: S608 - our words
    return [job_id for (job_id,) in db.execute(sql, (trainer, limit))]


def unfinished(db: sqlite3.Connection) -> set[str]:
    """Return the ids of jobs that may still train."""
    return {job_id for (job_id,) in db.execute(f"SELECT id FROM jobs WHERE {_UNFINISHED}")}  # noqa: S608


def count_unfinished(db: sqlite3.Connection) -> int:
    """Count the jobs that may still train."""
    count: int = db.execute(f"SELECT count(*) FROM jobs WHERE {_UNFINISHED}").fetchone()[0]  # noqa: S608
    return count


def page(db: sqlite3.Connection, *, limit: int, after: str | None, metadata: Sequence[tuple[str, str]] | None) -> Page:
    """Return the newest jobs that carry every given pair (None: those without metadata).

    Raises:
        UnknownCursor: ``after`` is no job.
    """
    found = db.execute("SELECT seq FROM jobs WHERE id = ?", (after,)).fetchone() if after else (1 << 62,)
    if found is None:
        raise UnknownCursor(after)
    where, values = "j.seq < ?", [found[0]]
    if metadata is None:
        source = "jobs j"
        where += " AND json_type(j.document, '$.metadata') = 'null'"
    elif metadata:
        # The first pair drives: its rows lie in the listing's order. CROSS JOIN keeps SQLite from turning it round.
        source = "job_metadata m CROSS JOIN jobs j ON j.seq = m.job"
        where = "m.job < ? AND m.key = ? AND m.value = ?"
        values += metadata[0]
        for pair in metadata[1:]:
            where += " AND EXISTS (SELECT 1 FROM job_metadata n WHERE n.key = ? AND n.value = ? AND n.job = m.job)"
            values += pair
    else:
        source = "jobs j"
    order = "m.job" if metadata else "j.seq"
    sql = f"SELECT j.document FROM {source} WHERE {where} ORDER BY {order} DESC LIMIT ?"  # noqa: S608 - no outside text
    return _page(db.execute(sql, [*values, limit + 1]).fetchall(), limit)


def add_event(
    db: sqlite3.Connection,
    job: int,
    message: str,
    *,
    now: float,
    level: str = "info",
    data: Mapping[str, Any] | None = None,
) -> None:
    """Record that something happened to a job."""
    event = documents.event(event_id=new_id("ftevent-"), created_at=int(now), message=message, level=level, data=data)
    db.execute("INSERT INTO events (id, job, document) VALUES (?, ?, ?)", (event["id"], job, documents.dump(event)))


def has_event(db: sqlite3.Connection, job: int, message: str) -> bool:
    """Whether something with these words was recorded."""
    sql = "SELECT 1 FROM events WHERE job = ? AND json_extract(document, '$.message') = ? LIMIT 1"
    return db.execute(sql, (job, message)).fetchone() is not None


def events(db: sqlite3.Connection, job: int, *, limit: int, after: str | None, metrics: bool = True) -> Page:
    """Return a job's newest events, where asked without those that carry the numbers of a step.

    Raises:
        UnknownCursor: ``after`` is no event of this job.
    """
    before = 1 << 62
    if after:
        found = db.execute("SELECT seq FROM events WHERE id = ? AND job = ?", (after, job)).fetchone()
        if found is None:
            raise UnknownCursor(after)
        before = found[0]
    which = "" if metrics else "AND json_extract(document, '$.type') <> 'metrics'"
    rows = db.execute(
        f"SELECT document FROM events WHERE job = ? AND seq < ? {which} ORDER BY seq DESC LIMIT ?",  # noqa: S608
        (job, before, limit + 1),
    )
    return _page(rows.fetchall(), limit)


def metrics(db: sqlite3.Connection, job: int) -> list[Document]:
    """Return the numbers of every recorded step, in order."""
    rows = db.execute(
        "SELECT json_extract(document, '$.data') FROM events"
        " WHERE job = ? AND json_extract(document, '$.type') = 'metrics' ORDER BY seq",
        (job,),
    )
    return [json.loads(data) for (data,) in rows]


def add_checkpoint(db: sqlite3.Connection, job: int, checkpoint: Document, *, temporary: bool) -> bool:
    """Keep a checkpoint, and let go of those it makes superfluous; return whether it is a new one."""
    db.execute("DELETE FROM checkpoints WHERE job = ? AND temporary", (job,))
    added = db.execute(
        "INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)",
        (
            job,
            checkpoint["step_number"],
            checkpoint["id"],
            checkpoint["fine_tuned_model_checkpoint"],
            temporary,
            documents.dump(checkpoint),
        ),
    )
    db.execute(
        "DELETE FROM checkpoints WHERE job = ?1 AND NOT temporary AND step NOT IN"
        " (SELECT step FROM checkpoints WHERE job = ?1 AND NOT temporary ORDER BY step DESC LIMIT ?2)",
        (job, KEPT_CHECKPOINTS),
    )
    return added.rowcount == 1


def drop_passed(db: sqlite3.Connection, job: int, step: int) -> None:
    """Let go of the checkpoint of a pause once training goes on from a later step: its weights do."""
    db.execute("DELETE FROM checkpoints WHERE job = ? AND temporary AND step < ?", (job, step))


def checkpoints(db: sqlite3.Connection, job: int, *, limit: int, after: str | None) -> Page:
    """Return a job's newest checkpoints.

    Raises:
        UnknownCursor: ``after`` is no checkpoint of this job.
    """
    before = 1 << 62
    if after:
        found = db.execute("SELECT step FROM checkpoints WHERE id = ? AND job = ?", (after, job)).fetchone()
        if found is None:
            raise UnknownCursor(after)
        before = found[0]
    rows = db.execute(
        "SELECT document FROM checkpoints WHERE job = ? AND step < ? ORDER BY step DESC LIMIT ?",
        (job, before, limit + 1),
    )
    return _page(rows.fetchall(), limit)


def uses_file(db: sqlite3.Connection, file_id: str) -> str | None:
    """Return an unfinished job that needs a file."""
    files = "json_extract(document, '$.training_file'), json_extract(document, '$.validation_file')"
    sql = f"SELECT id FROM jobs WHERE {_UNFINISHED} AND ? IN ({files}) LIMIT 1"  # noqa: S608
    row = db.execute(sql, (file_id,)).fetchone()
    return row and str(row[0])


def uses_model(db: sqlite3.Connection, model: str) -> str | None:
    """Return an unfinished job that starts from a model."""
    sql = f"SELECT id FROM jobs WHERE {_UNFINISHED} AND json_extract(document, '$.model') = ? LIMIT 1"  # noqa: S608
    row = db.execute(sql, (model,)).fetchone()
    return row and str(row[0])


def _page(rows: list[tuple[str]], limit: int) -> Page:
    return Page([document for (document,) in rows[:limit]], len(rows) > limit)
