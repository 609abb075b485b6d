"""What an embedded server's own database says, read from outside: the last word on what was bought."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any


def jobs(directory: Path) -> list[dict[str, Any]]:
    """Return every job ever made, oldest first."""
    return [json.loads(text) | {"status": status} for text, status in _rows(directory, _JOBS)]


_JOBS = "SELECT document, status FROM jobs ORDER BY seq"


def names(directory: Path) -> Counter[str]:
    """Count the jobs ever made for each spec."""
    return Counter(job["metadata"]["reconciler.name"] for job in jobs(directory))


def check_whole(directory: Path) -> None:
    """Insist that nothing in the database is half-written, and nothing happened twice."""
    assert _rows(directory, "PRAGMA integrity_check") == [("ok",)]
    assert _rows(directory, "PRAGMA foreign_key_check") == []
    for job in jobs(directory):
        if job["status"] == "succeeded":
            events = [json.loads(text) for (text,) in _rows(directory, _EVENTS, job["id"])]
            ended = [e for e in events if e["message"] == "The job has successfully completed"]
            steps = [e["data"]["step"] for e in events if e["type"] == "metrics"]
            assert len(ended) == 1
            assert steps == sorted(set(steps)), f"{job['id']} was trained twice: {steps}"
            assert job["fine_tuned_model"]
            assert len(job["result_files"]) == 1


def files(directory: Path) -> list[str]:
    """Return the names of the data files that were sent."""
    return sorted(json.loads(text)["filename"] for (text,) in _rows(directory, _SENT))


_SENT = "SELECT document FROM files WHERE purpose = 'fine-tune'"
_EVENTS = "SELECT events.document FROM events JOIN jobs ON jobs.seq = events.job WHERE jobs.id = ? ORDER BY events.seq"


def _rows(directory: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(directory / "server.db", timeout=10)) as db:
        return db.execute(query, values).fetchall()
