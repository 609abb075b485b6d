"""A disposable cache in ``.reconciler/``: what costs time to learn again, and nothing that matters.

It may be deleted, damaged or read-only at any time; every answer of this program stays the same without it. Only a run
that was killed before the server listed its jobs leaves more here: see ``reconciler/observe/made.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_core import from_json, to_json

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

_VERSION = 1


class Cache:
    """Values (anything JSON can say) by kind and key. Every fault makes it forgetful, never an error.

    ``path`` is the SQLite file; None caches nothing. The file is opened at the first use.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def load(self, kind: str) -> dict[str, Any]:
        """Return everything of one kind."""

        def read(db: sqlite3.Connection) -> dict[str, Any]:
            rows = db.execute("SELECT key, value FROM cache WHERE kind = ?", (kind,))
            return {key: from_json(value) for key, value in rows}

        return self._tried(read) or {}

    def store(self, kind: str, values: Mapping[str, Any], *, replace: bool = False) -> None:
        """Add or update values of one kind; ``replace`` forgets the others of that kind, in the same transaction."""
        with contextlib.suppress(ValueError):
            rows = [(kind, key, to_json(value).decode()) for key, value in values.items()]
            if rows or replace:
                self._write("DELETE FROM cache WHERE kind = ?", [(kind,)] if replace else [], rows)

    def forget(self, kind: str, keys: Iterable[str]) -> None:
        """Forget values of one kind, and leave those that others have stored meanwhile."""
        if rows := [(kind, key) for key in keys]:
            self._write("DELETE FROM cache WHERE kind = ? AND key = ?", rows, [])

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write(self, delete: str, deleted: Iterable[tuple[str, ...]], rows: Iterable[tuple[str, ...]]) -> None:
        def write(db: sqlite3.Connection) -> None:
            with db:
                db.executemany(delete, deleted)
                db.executemany("INSERT OR REPLACE INTO cache VALUES (?, ?, ?)", rows)

        self._tried(write)

    def _tried(self, use: Callable[[sqlite3.Connection], T]) -> T | None:
        """Use the file, and begin one that is damaged anew: else it would never remember anything again."""
        import sqlite3  # noqa: PLC0415 - a command that caches nothing does not pay for it

        for _ in range(2):
            try:
                db = self._open()
                return use(db) if db else None
            except (sqlite3.Error, OSError, ValueError, TypeError) as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or not self._remove():
                    return None
        return None

    def _remove(self) -> bool:
        """Delete the file, and return whether that could be done."""
        self.close()
        try:
            for ending in ("", "-wal", "-shm"):
                Path(f"{self._path}{ending}").unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def _open(self) -> sqlite3.Connection | None:
        import sqlite3  # noqa: PLC0415

        if self._connection is None and self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            ignore = self._path.with_name(".gitignore")
            if not ignore.exists():
                ignore.write_text("*\n")  # the embedded server's key and data live beside it
            db = sqlite3.connect(self._path, timeout=1)
            try:
                _prepare(db)
            except sqlite3.Error:
                db.close()
                raise
            self._connection = db
        return self._connection


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = OFF")
    if db.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
        db.execute("DROP TABLE IF EXISTS cache")
    db.execute(
        "CREATE TABLE IF NOT EXISTS cache (kind TEXT, key TEXT, value TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID"
    )
    db.execute(f"PRAGMA user_version = {_VERSION}")
    db.commit()
