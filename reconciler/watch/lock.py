"""One watch a work tree: two would each say everything, and ask twice."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from reconciler.errors import ReconcilerError


@contextlib.contextmanager
def only_one(directory: Path, environment: str | None) -> Iterator[None]:
    """Hold the lock of an environment in ``directory`` (the repository's ``.reconciler``) as long as the block lasts.

    It ends with the process, however that ends.

    Raises:
        ReconcilerError: another process holds it, or the directory cannot be written to.
    """
    name = f"watch.{environment}" if environment else "watch"
    lock, pid = FileLock(directory / f"{name}.lock", timeout=0), directory / f"{name}.pid"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        ignore = directory / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        lock.acquire()
        pid.write_text(f"{os.getpid()}\n", encoding="ascii")
    except Timeout:
        raise _taken(pid, environment) from None
    except OSError as error:
        raise ReconcilerError(f"{directory} cannot be written to: {error.strerror or error}.") from error
    try:
        yield
    finally:
        pid.unlink(missing_ok=True)
        lock.release()


def _taken(pid: Path, environment: str | None) -> ReconcilerError:
    try:
        holder = f" (process {int(pid.read_text(encoding='ascii'))})"
    except (OSError, ValueError):
        holder = ""
    which = f" for the environment {environment}" if environment else ""
    return ReconcilerError(
        f"Another watch already runs on this work tree{which}{holder}.",
        hint="Stop that one first, or leave it to it: it follows the same files.",
    )
