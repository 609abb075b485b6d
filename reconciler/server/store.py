"""The embedded server's database: SQLite with one writer and a few readers.

Every write is one ``BEGIN IMMEDIATE`` transaction, so a process that is killed leaves all of it or nothing.
Requests are written with ``synchronous=FULL`` (what was answered survives a power cut), as is what lets files go for
good; other progress of training with ``NORMAL`` (a power cut may take its last moments back, and training goes on).
"""

from __future__ import annotations

import contextlib
import errno
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from reconciler.errors import StoreError
from reconciler.server.migrations import migrate

DATABASE = "server.db"
_BUSY_SECONDS = 20.0
_READERS = 4
_FULL = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"}
_HINT = "Check that the directory is writable and the file is this server's."
# SQLite's lock lives as long as the process that holds it: one that is killed lets go, one that is stopped does not.
_HINTS = {
    "SQLITE_BUSY": "Another process has been in the middle of a write for long. Is it stopped? Let it go on, or end it."
}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class StorageFull(StoreError):
    """The disk, or a quota on it, has no room; nothing was changed."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"There is no room left to write below {path}.", hint="Free some space, then try again.")


class Store:
    """The database below ``directory``, and the directories for files beside it.

    Raises:
        StoreError: it cannot be opened, is not such a database, or belongs to a newer version.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = directory / "files"
        self.incoming = directory / "incoming"
        self._lock = threading.Lock()
        self._closed = False
        self._readers: queue.LifoQueue[sqlite3.Connection | None] = queue.LifoQueue()
        with translated(self.directory):
            for folder in (directory, self.files, self.incoming):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._writer = self._connect()
            try:
                _use_wal(self._writer)
                migrate(self._writer)
            except BaseException:
                self._writer.close()
                raise
        for _ in range(_READERS):
            self._readers.put(None)

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Run one transaction; an error inside undoes all of it.

        Raises:
            StoreError: the database could not be written. StorageFull where the disk is full.
        """
        with self._lock, translated(self.directory):
            db = self._writer
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that cannot write, and sees one moment: what was committed when it first asked.

        Raises:
            StoreError: the database could not be read, or is closed.
        """
        db = self._readers.get()
        try:
            if self._closed:
                raise StoreError("The server has stopped.")
            with translated(self.directory):
                if db is None:
                    db = self._connect()
                    db.execute("PRAGMA query_only = ON")
                db.execute("BEGIN")
                try:
                    yield db
                finally:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
        finally:
            self._readers.put(db)

    def close(self) -> None:
        """Close every connection, once each reader is back. Whoever comes later gets a StoreError."""
        lent = [self._readers.get() for _ in range(_READERS)]
        self._closed = True
        for db in lent:
            if db is not None:
                db.close()
            self._readers.put(None)
        with self._lock:
            self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        path = self.directory / DATABASE
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA foreign_keys = ON")
        return db


@contextlib.contextmanager
def translated(directory: Path) -> Iterator[None]:
    """Turn faults of the database and the disk into StoreError and StorageFull, which say what to do."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorname", "")
        if code in _FULL:
            raise StorageFull(directory) from error
        raise StoreError(
            f"The database {directory / DATABASE} cannot be used: {error}.", hint=_HINTS.get(code, _HINT)
        ) from error
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StorageFull(directory) from error
        raise StoreError(f"{directory} cannot be used: {error.strerror or error}.") from error


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to write-ahead logging. Two processes that do so at once on a new file do not wait for each other."""
    for _ in range(100):
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY":
                raise
            time.sleep(0.02)
        else:
            return
    raise StoreError("Another program holds the database.", hint="End it, then try again.")
