"""A disposable cache in ``.reconciler/``: what costs time to learn again, and nothing that matters.

It may be deleted, damaged or read-only at any time; every answer of this program stays the same without it. Only a run
that was killed before the server listed its jobs leaves more here: see ``reconciler/observe/made.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

if TYPE_CHECKING:
    import sqlite3

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
        import sqlite3  # noqa: PLC0415 - a command that caches nothing does not pay for it

        try:
            db = self._open()
            rows = db.execute("SELECT key, value FROM cache WHERE kind = ?", (kind,)) if db else ()
            return {key: from_json(value) for key, value in rows}
        except (sqlite3.Error, OSError, ValueError, TypeError):
            return {}

    def store(self, kind: str, values: Mapping[str, Any], *, replace: bool = False) -> None:
        """Add or update values of one kind; ``replace`` forgets the others of that kind, in the same transaction."""
        import sqlite3  # noqa: PLC0415

        with contextlib.suppress(sqlite3.Error, OSError, ValueError):
            rows = [(kind, key, to_json(value).decode()) for key, value in values.items()]
            db = self._open()
            if db is None or not (rows or replace):
                return
            with db:
                if replace:
                    db.execute("DELETE FROM cache WHERE kind = ?", (kind,))
                db.executemany("INSERT OR REPLACE INTO cache VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection | None:
        import sqlite3  # noqa: PLC0415

        if self._connection is None and self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            ignore = self._path.with_name(".gitignore")
            if not ignore.exists():
                ignore.write_text("*\n")  # the embedded server's key and data live beside it
            db = sqlite3.connect(self._path, timeout=1)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = OFF")
            if db.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                db.execute("DROP TABLE IF EXISTS cache")
            db.execute(
                "CREATE TABLE IF NOT EXISTS cache"
                " (kind TEXT, key TEXT, value TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID"
            )
            db.execute(f"PRAGMA user_version = {_VERSION}")
            db.commit()
            self._connection = db
        return self._connection
