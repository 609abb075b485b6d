"""Who trains: one process of all that share a database.

The lease is a row. Its holder renews it; when it stops (killed, frozen), the lease runs out and another takes it. A
holder on this machine whose process is gone is not waited for. Every write of progress names the lease's token in
the same transaction, so a holder that has lost it, without knowing, cannot write.
"""

from __future__ import annotations

import os
import platform
import secrets
import sqlite3
from dataclasses import dataclass

SECONDS = 6.0
"""How long a lease lasts without being renewed."""


class LeaseLost(Exception):
    """Another process trains now."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A right to train, as long as its token is the latest."""

    holder: str
    token: int


def new_holder() -> str:
    """Name this process: machine and process namespace, process id, and a random part."""
    return f"{_machine()}|{os.getpid()}|{secrets.token_hex(8)}"


def is_free(db: sqlite3.Connection, now: float) -> bool:
    """Whether nobody alive holds the lease."""
    holder, expires_at = db.execute("SELECT holder, expires_at FROM lease").fetchone()
    # A clock that was set back must not keep a dead holder's lease for long.
    return holder is None or not now < expires_at <= now + 2 * SECONDS or _is_dead(holder)


def take(db: sqlite3.Connection, holder: str, now: float) -> Lease | None:
    """Take the lease where it is free, or return None."""
    if not is_free(db, now):
        return None
    db.execute("UPDATE lease SET holder = ?, token = token + 1, expires_at = ?", (holder, now + SECONDS))
    return Lease(holder, db.execute("SELECT token FROM lease").fetchone()[0])


def renew(db: sqlite3.Connection, lease: Lease, now: float) -> None:
    """Keep the lease for another while.

    Raises:
        LeaseLost: somebody else has it.
    """
    check(db, lease)
    db.execute("UPDATE lease SET expires_at = ?", (now + SECONDS,))


def check(db: sqlite3.Connection, lease: Lease) -> None:
    """Make sure, inside a transaction, that what follows is ours to write.

    Raises:
        LeaseLost: somebody else has the lease.
    """
    if db.execute("SELECT holder, token FROM lease").fetchone() != (lease.holder, lease.token):
        raise LeaseLost


def release(db: sqlite3.Connection, lease: Lease) -> None:
    """Let others train at once. A lease that was lost is left alone."""
    db.execute("UPDATE lease SET holder = NULL WHERE holder = ? AND token = ?", (lease.holder, lease.token))


def _machine() -> str:
    """The machine and the process namespace: only there does a process id mean anything to us."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - not a path but a name
    except OSError:
        namespace = ""
    return f"{platform.node()}{namespace}"


def _is_dead(holder: str) -> bool:
    machine, pid, _ = holder.split("|")
    if os.name != "posix" or machine != _machine():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
