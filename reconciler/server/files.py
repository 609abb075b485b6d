"""Files: their rows, and their bytes on disk under names of our own.

The bytes are complete and on disk before the row is, so a file that is listed is whole. What a crash leaves behind
has no row and is swept away later.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from reconciler.server import documents, jobs
from reconciler.server.documents import Document
from reconciler.server.jobs import Page, UnknownCursor
from reconciler.server.store import Store, translated

PURPOSES = ("fine-tune", "assistants", "batch", "vision", "user_data")
"""What a file may be uploaded for. Only files for ``fine-tune`` are used here."""

_ABANDONED_AFTER = 3600.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A file whose bytes are on disk: its document and their SHA-256 in hex."""

    document: Document
    sha256: str


class Incoming:
    """Bytes on their way in: written to a temporary file, hashed as they come.

    Raises:
        StoreError: from every method; StorageFull where the disk is full.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = store.incoming / jobs.new_id("part-")
        self._hash = hashlib.sha256()
        self.size = 0
        with translated(store.directory):
            self._file: BinaryIO = self._path.open("xb")

    def write(self, data: bytes) -> None:
        """Add bytes."""
        with translated(self._store.directory):
            self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def finish(self, file_id: str) -> str:
        """Put the whole file in its place, durably, and return its SHA-256."""
        with translated(self._store.directory):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._path.replace(path(self._store, file_id))
            _sync_directory(self._store.files)
        return self._hash.hexdigest()

    def discard(self) -> None:
        """Remove what has come; harmless after ``finish``."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def incoming(store: Store) -> Iterator[Incoming]:
    """Receive a file; whatever happens, nothing temporary stays."""
    receiving = Incoming(store)
    try:
        yield receiving
    finally:
        receiving.discard()


def path(store: Store, file_id: str) -> Path:
    """Where a file's bytes lie. Only for ids that we made: those have no way out of the directory."""
    return store.files / file_id


def insert(db: sqlite3.Connection, stored: Stored) -> None:
    """List a file whose bytes are in place; one that is made again replaces itself."""
    document = stored.document
    db.execute(
        "INSERT OR REPLACE INTO files (id, purpose, sha256, expires_at, document) VALUES (?, ?, ?, ?, ?)",
        (
            document["id"],
            document["purpose"],
            stored.sha256,
            document.get("expires_at"),
            documents.dump(document),
        ),
    )


def text(db: sqlite3.Connection, file_id: str) -> str | None:
    """Return a file's document as it is sent."""
    row = db.execute("SELECT document FROM files WHERE id = ?", (file_id,)).fetchone()
    return row and str(row[0])


def sha256(db: sqlite3.Connection, file_id: str) -> str | None:
    """Return the digest of a file's bytes, None where there is no such file."""
    row = db.execute("SELECT sha256 FROM files WHERE id = ?", (file_id,)).fetchone()
    return row and str(row[0])


def page(
    db: sqlite3.Connection, *, limit: int, after: str | None, purpose: str | None, order: Literal["asc", "desc"]
) -> Page:
    """Return files in order of their creation.

    Raises:
        UnknownCursor: ``after`` is no file.
    """
    where, values = ["1"], list[str | int]()
    if after:
        found = db.execute("SELECT seq FROM files WHERE id = ?", (after,)).fetchone()
        if found is None:
            raise UnknownCursor(after)
        where.append("seq < ?" if order == "desc" else "seq > ?")
        values.append(found[0])
    if purpose is not None:
        where.append("purpose = ?")
        values.append(purpose)
    sql = f"SELECT document FROM files WHERE {' AND '.join(where)} ORDER BY seq {order} LIMIT ?"  # noqa: S608
    rows = db.execute(sql, [*values, limit + 1]).fetchall()
    return Page([document for (document,) in rows[:limit]], len(rows) > limit)


def delete(db: sqlite3.Connection, file_id: str) -> bool:
    """Take a file off the list; return whether it was there. Its bytes go once that is committed."""
    return db.execute("DELETE FROM files WHERE id = ?", (file_id,)).rowcount == 1


def sweep(store: Store, now: float) -> None:
    """Delete files that have expired, unless an unfinished job needs them, and bytes that no row knows."""
    with store.write() as db:
        expired = [i for (i,) in db.execute("SELECT id FROM files WHERE expires_at <= ?", (int(now),))]
        for file_id in expired:
            if jobs.uses_file(db, file_id) is None:
                delete(db, file_id)
        listed = {i for (i,) in db.execute("SELECT id FROM files UNION SELECT id FROM upload_parts")}
    with translated(store.directory):
        for lost in [*store.incoming.iterdir(), *(p for p in store.files.iterdir() if p.name not in listed)]:
            with contextlib.suppress(FileNotFoundError):
                if lost.stat().st_mtime < time.time() - _ABANDONED_AFTER:
                    lost.unlink()


def _sync_directory(directory: Path) -> None:
    """Make a rename last. Windows cannot open a directory, and does not need it."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
