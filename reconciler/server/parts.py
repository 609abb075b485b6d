"""Uploads in parts: files that come in pieces, in any order, and become one at the end.

The bytes of a part lie among the files', under the part's id, and are complete before its row is. Completing an upload
is one transaction: the file is listed, and the upload and its parts are done with, or nothing of it happened.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.server import documents, files, jobs
from reconciler.server.documents import Document
from reconciler.server.problems import Problem, not_found, printable
from reconciler.server.store import Store

LIFETIME = 3600
"""Seconds after which an upload that was not completed is given up."""

_KEPT = 86_400
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Begun:
    """What is said of a file before it comes. ``size`` is in bytes, ``expires_after`` in seconds."""

    size: int
    filename: str
    purpose: str
    expires_after: int | None


def begin(db: sqlite3.Connection, begun: Begun, *, now: float) -> Document:
    """Add an upload."""
    document = documents.upload(
        upload_id=jobs.new_id("upload_"),
        size=begun.size,
        created_at=int(now),
        expires_at=int(now) + LIFETIME,
        filename=begun.filename,
        purpose=begun.purpose,
    )
    db.execute(
        "INSERT INTO uploads VALUES (?, 'pending', ?, ?, ?)",
        (document["id"], document["expires_at"], begun.expires_after, documents.dump(document)),
    )
    return document


def pending(db: sqlite3.Connection, upload_id: str, *, now: float) -> Document:
    """Return an upload that still takes parts.

    Raises:
        Problem: there is no such upload, or it has ended.
    """
    row = db.execute("SELECT status, expires_at, document FROM uploads WHERE id = ?", (upload_id,)).fetchone()
    if row is None:
        raise not_found("upload", upload_id, "upload_id")
    status, expires_at, text = row
    if status == "pending" and expires_at <= now:
        status = "expired"
    if status != "pending":
        raise Problem(400, f"This upload is {status}.", code=f"upload_{status}", param="upload_id")
    document: Document = json.loads(text)
    return document


def check_room(db: sqlite3.Connection, upload: Document, size: int) -> None:
    """Let a part in. What was announced may come twice, since an answer that is lost makes a client send again.

    Raises:
        Problem: far more has come than was announced.
    """
    (stored,) = db.execute(
        "SELECT coalesce(sum(size), 0) FROM upload_parts WHERE upload = ?", (upload["id"],)
    ).fetchone()
    if size > upload["bytes"] or stored + size > 2 * upload["bytes"]:
        words = f"More has come than the {upload['bytes']} bytes that were announced."
        raise Problem(400, words, code="upload_too_large", param="data")


def add(db: sqlite3.Connection, upload_id: str, part_id: str, size: int, *, now: float) -> Document:
    """Add a part whose bytes are in place.

    Raises:
        Problem: the upload has ended, or has no room for it.
    """
    check_room(db, pending(db, upload_id, now=now), size)
    db.execute("INSERT INTO upload_parts VALUES (?, ?, ?)", (part_id, upload_id, size))
    return documents.part(part_id=part_id, upload_id=upload_id, created_at=int(now))


def complete(store: Store, upload_id: str, part_ids: Sequence[str], md5: str | None, *, now: float) -> Document:
    """Make a file of parts, in this order.

    Raises:
        Problem: the upload has ended, a part is not its own or is named twice, or what they come to is not what was
            announced.
    """
    with store.read() as db:
        upload = pending(db, upload_id, now=now)
        sizes = dict(db.execute("SELECT id, size FROM upload_parts WHERE upload = ?", (upload_id,)).fetchall())
    _check(upload, part_ids, sizes)
    with files.incoming(store) as target:
        digest = hashlib.md5(usedforsecurity=False)
        for part_id in part_ids:
            _append(files.path(store, part_id), target, digest)
        if md5 is not None and md5.lower() != digest.hexdigest():
            raise Problem(400, f"The parts have the MD5 {digest.hexdigest()}.", code="invalid_checksum", param="md5")
        file_id = jobs.new_id("file-")
        sha256 = target.finish(file_id)
        with store.write() as db:
            done, left = _finish(db, upload_id, file_id, sha256, now=now)
    _unlink(store, left)
    return done


def _check(upload: Document, part_ids: Sequence[str], sizes: dict[str, int]) -> None:
    if strange := [part_id for part_id in part_ids if part_id not in sizes]:
        words = f"{printable(strange[0])!r} is no part of this upload."
        raise Problem(400, words, code="invalid_part", param="part_ids")
    if len(set(part_ids)) < len(part_ids):
        raise Problem(400, "A part is named twice.", code="invalid_part", param="part_ids")
    if (total := sum(sizes[part_id] for part_id in part_ids)) != upload["bytes"]:
        words = f"The parts come to {total} bytes; {upload['bytes']} were announced."
        raise Problem(400, words, code="invalid_size", param="part_ids")


def _append(part: Path, target: files.Incoming, digest: hashlib._Hash) -> None:
    try:
        with part.open("rb") as source:
            while piece := source.read(_PIECE):
                digest.update(piece)
                target.write(piece)
    except FileNotFoundError as error:
        raise Problem(400, "This upload has just ended.", code="upload_ended", param="upload_id") from error


def _finish(
    db: sqlite3.Connection, upload_id: str, file_id: str, sha256: str, *, now: float
) -> tuple[Document, list[str]]:
    """List the file, unless somebody else has completed the upload meanwhile; return the parts to be removed."""
    upload = pending(db, upload_id, now=now)
    (expires_after,) = db.execute("SELECT expires_after FROM uploads WHERE id = ?", (upload_id,)).fetchone()
    file = documents.file(
        file_id=file_id,
        size=upload["bytes"],
        created_at=int(now),
        filename=upload["filename"],
        purpose=upload["purpose"],
        expires_at=None if expires_after is None else int(now) + expires_after,
    )
    files.insert(db, files.Stored(file, sha256))
    return _end(db, {**upload, "file": file}, "completed")


def cancel(store: Store, upload_id: str, *, now: float) -> Document:
    """End an upload, and forget its parts.

    Raises:
        Problem: there is no such upload, or it has ended.
    """
    with store.write() as db:
        done, left = _end(db, pending(db, upload_id, now=now), "cancelled")
    _unlink(store, left)
    return done


def _end(db: sqlite3.Connection, upload: Document, status: str) -> tuple[Document, list[str]]:
    done = {**upload, "status": status}
    left = [i for (i,) in db.execute("SELECT id FROM upload_parts WHERE upload = ?", (upload["id"],))]
    db.execute("DELETE FROM upload_parts WHERE upload = ?", (upload["id"],))
    db.execute("UPDATE uploads SET status = ?, document = ? WHERE id = ?", (status, documents.dump(done), upload["id"]))
    return done, left


def _unlink(store: Store, part_ids: Sequence[str]) -> None:
    """Remove the bytes of parts that have no row any more; what a kill leaves here is swept away later."""
    for part_id in part_ids:
        with contextlib.suppress(OSError):
            files.path(store, part_id).unlink()


def sweep(store: Store, now: float) -> None:
    """Give up uploads that have expired; a day later nothing of them is known."""
    with store.write() as db:
        stale = [json.loads(text) for (text,) in db.execute(
            "SELECT document FROM uploads WHERE status = 'pending' AND expires_at <= ?", (int(now),)
        )]  # fmt: skip
        left = [part_id for upload in stale for part_id in _end(db, upload, "expired")[1]]
        db.execute("DELETE FROM uploads WHERE expires_at <= ?", (int(now) - _KEPT,))
    _unlink(store, left)
