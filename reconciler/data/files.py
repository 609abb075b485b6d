"""What is known of a training file: its digest, its rows, and whether they look right.

A file is read once, in pieces, and never whole in memory. What was learnt is cached by path, size, times and inode.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from reconciler.api.types.method import MethodType
from reconciler.api.types.rows import RowError, check_rows
from reconciler.cache import Cache
from reconciler.errors import DataError

MAX_LINE = 32_000_000
"""How many bytes one row may have."""
_SETTLED = 2_000_000_000
"""A file changed within this many nanoseconds may change again unseen: its clock is no finer on some disks."""
_KIND = "data-file/2"
_CHANGED = "changed while it was read; try again when nothing writes to it"
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What was found in a file.

    ``digest`` is the SHA-256 in 64 hex digits; ``size`` is in bytes; ``rows`` counts the lines that are not blank.
    ``odd`` says what a server will probably refuse in it, empty where nothing, and ``odd_line`` where (from 1): servers
    differ, and theirs is the last word.
    """

    digest: str
    size: int
    rows: int
    odd: str = ""
    odd_line: int = 0


class Inspector(Protocol):
    """Whoever knows training files: those on disk, or those of a commit."""

    def inspect(self, path: str, method: MethodType, *, minimum: int = 10) -> FileFacts:
        """Say what is in a file, or raise DataError."""

    def save(self) -> None:
        """Keep what was learnt for the next time."""


class DataFiles:
    """Reads training files below one root, each once for each method.

    ``now`` gives nanoseconds since the epoch.
    """

    def __init__(self, root: Path, cache: Cache | None = None, *, now: Callable[[], int] = time.time_ns) -> None:
        self._root = os.path.realpath(root)
        self._cache = cache or Cache(None)
        self._now = now
        self._known: dict[str, Any] | None = None
        self._found: dict[tuple[str, str, int], FileFacts | DataError] = {}
        self._fresh: dict[str, Any] = {}

    def inspect(self, path: str, method: MethodType, *, minimum: int = 10) -> FileFacts:
        """Read a file; ``minimum`` is how many rows it should have.

        Raises:
            DataError: it is missing, empty, no regular file, outside the root, an LFS pointer that was never
                fetched, cannot be read, or changed while it was read. The message does not repeat the path.
        """
        key = (path, method, minimum)
        if key not in self._found:
            try:
                self._found[key] = self._look(path, method, minimum)
            except DataError as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, DataError):
            raise found
        return found

    def save(self) -> None:
        """Keep what was learnt for the next time."""
        self._cache.store(_KIND, self._fresh)
        self._fresh = {}

    def _look(self, path: str, method: MethodType, minimum: int) -> FileFacts:
        try:
            before = _checked(path, self._root)
            key = f"{method}/{minimum}:{path}"
            mark = [before.st_size, before.st_mtime_ns, before.st_ino]
            if self._known is None:
                self._known = self._cache.load(_KIND)
            if (known := _recall(self._known.get(key), mark)) is not None:
                return known
            facts = _read(path, before, method, minimum)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise DataError("is no path: it holds a NUL byte") from error
        if self._now() - before.st_mtime_ns > _SETTLED:
            self._fresh[key] = [mark, asdict(facts)]
        return facts


def _recall(entry: object, mark: list[int]) -> FileFacts | None:
    match entry:
        case [
            known,
            {"digest": str(digest), "size": int(size), "rows": int(rows), "odd": str(odd), "odd_line": int(line)},
        ] if known == mark:
            return FileFacts(digest, size, rows, odd, line)
    return None


def _checked(path: str, root: str) -> os.stat_result:
    real = os.path.realpath(path)
    if os.path.commonpath([root, real]) != root:
        how = "is a symlink that leaves" if Path(path).is_symlink() else "leaves"
        raise DataError(f"{how} the repository", hint="Training files stay inside it, so that a clone is complete.")
    try:
        found = Path(real).stat()
    except FileNotFoundError as error:
        raise DataError("does not exist") from error
    _require_file(found)
    return found


def _require_file(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise DataError("is a directory, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise DataError("is not a regular file")
    if found.st_size == 0:
        raise DataError("is empty")


def _read(path: str, before: os.stat_result, method: MethodType, minimum: int) -> FileFacts:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        _require_file(os.fstat(descriptor))
        if file.peek(len(_LFS)).startswith(_LFS):
            raise DataError("is a Git LFS pointer whose content was never fetched; run: git lfs pull")
        lines = _Lines(file, before.st_size)
        odd, odd_line = "", 0
        try:
            check_rows(method, lines, minimum=minimum)
        except RowError as error:
            odd, odd_line = error.message, error.line
        for _ in lines:
            pass  # the digest is of the whole file, whatever its rows
        after = os.fstat(descriptor)
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns) or lines.size != before.st_size:
        raise DataError(_CHANGED)
    return FileFacts(lines.digest.hexdigest(), lines.size, lines.rows, odd, odd_line)


class _Lines:
    """The lines of a file, once; what passes is hashed and counted. One that grows would have no end."""

    def __init__(self, file: BinaryIO, expected: int) -> None:
        self._file = file
        self._expected = expected
        self.digest = hashlib.sha256()
        self.size = 0
        self.rows = 0

    def __iter__(self) -> Iterator[bytes]:
        while line := self._file.readline(MAX_LINE + 1):
            if len(line) > MAX_LINE:
                raise DataError(f"has a row of more than {MAX_LINE // 1_000_000} MB, after {self.rows} others")
            self.digest.update(line)
            self.size += len(line)
            if self.size > self._expected:
                raise DataError(_CHANGED)
            self.rows += not line.isspace()
            yield line
