"""Which rows of a data file are new: the old file is read from the server, the new one from the repository.

Only a plan's words depend on it. So whatever goes wrong leaves the numbers out, and is no error.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from reconciler.api.concurrently import concurrently
from reconciler.cache import Cache
from reconciler.errors import ApiError
from reconciler.observe.state import FileInfo
from reconciler.spec.desired import DataFile

if TYPE_CHECKING:
    from reconciler.api.client import Client

MOST_BYTES = 64_000_000
"""Larger files are not compared."""
MOST_ROWS = 1_000_000
"""Files of more rows are not compared: each takes some hundred bytes of memory."""

_PATIENCE = 60.0
_AT_ONCE = 2
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Pair:
    """A file on the server, and the data that takes its place."""

    old_id: str
    old: FileInfo
    new: DataFile

    @property
    def key(self) -> tuple[str, str]:
        """The old file's id and the new one's digest: neither ever stands for other content."""
        return (self.old_id, self.new.digest)


async def changed_rows(
    client: Client, root: Path, pairs: Iterable[Pair], cache: Cache
) -> dict[tuple[str, str], tuple[int, int]]:
    """Count the rows that each pair adds and removes, by its key; what cannot be compared is left out.

    Rows are lines that are not blank. One that stands twice counts twice, and their order does not matter. ``root`` is
    the repository's.
    """
    server = client.server
    kind = f"rows/1 {server.base_url} {server.organization} {server.project}"
    known = _recall(cache.load(kind))
    every = {pair.key: pair for pair in pairs}
    wanted = {key: pair for key, pair in every.items() if key not in known and _comparable(pair)}

    async def count(pair: Pair) -> tuple[int, int] | None:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await _count(client, root, pair)
        except (ApiError, OSError, _Incomparable):  # a time-out is an OSError
            return None

    counted = zip(wanted, await concurrently(count, wanted.values(), limit=_AT_ONCE), strict=True)
    fresh = {key: numbers for key, numbers in counted if numbers is not None}
    cache.store(kind, {" ".join(key): list(numbers) for key, numbers in fresh.items()})
    return {key: numbers for key, numbers in (known | fresh).items() if key in every}


def _recall(stored: Mapping[str, object]) -> dict[tuple[str, str], tuple[int, int]]:
    known = {}
    for key, value in stored.items():
        match key.split(" "), value:
            case [old, new], [int(added), int(removed)]:
                known[old, new] = (added, removed)
    return known


def _comparable(pair: Pair) -> bool:
    return (pair.old.size or 0) <= MOST_BYTES and pair.new.size <= MOST_BYTES and pair.new.rows <= MOST_ROWS


class _Incomparable(Exception):
    """A file is too large, or not what it should be."""


async def _count(client: Client, root: Path, pair: Pair) -> tuple[int, int]:
    before = _Rows()
    await client.download(pair.old_id, before.take)
    before.end(pair.old.digest or "")
    if pair.old.size not in (None, before.size):
        raise _Incomparable
    return _Rows.of(_pieces(root / pair.new.path), pair.new.digest).since(before)


def rows_between(root: Path, new: DataFile, old: Iterator[bytes], old_digest: str) -> tuple[int, int] | None:
    """Count the rows that a file of the repository adds to and removes from other content; None where none can tell.

    ``old`` is that content in pieces, and is taken to the end.
    """
    try:
        return _Rows.of(_pieces(root / new.path), new.digest).since(_Rows.of(old, old_digest))
    except (OSError, _Incomparable):
        return None
    finally:
        for _ in old:
            pass


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


class _Rows:
    """The rows of a file that comes in pieces: how often each occurs, by its digest."""

    def __init__(self) -> None:
        self.rows: Counter[bytes] = Counter()
        self.size = 0
        self.digest = hashlib.sha256()
        self._count = 0
        self._rest = b""

    def take(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > MOST_BYTES:
            raise _Incomparable
        self.digest.update(piece)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._add(line)

    @classmethod
    def of(cls, pieces: Iterable[bytes], digest: str) -> Self:
        """Count the rows of content whose digest is known, in full or by its beginning."""
        rows = cls()
        for piece in pieces:
            rows.take(piece)
        rows.end(digest)
        return rows

    def end(self, digest: str = "") -> None:
        """Take the last row, and insist that the content is what it should be."""
        self._add(self._rest)
        self._rest = b""
        if not self.digest.hexdigest().startswith(digest):
            raise _Incomparable

    def since(self, before: _Rows) -> tuple[int, int]:
        """Return how many rows were added and how many removed."""
        return (self.rows - before.rows).total(), (before.rows - self.rows).total()

    def _add(self, line: bytes) -> None:
        line = line.removesuffix(b"\r")
        if line and not line.isspace():
            self._count += 1
            if self._count > MOST_ROWS:
                raise _Incomparable
            self.rows[hashlib.blake2b(line, digest_size=16).digest()] += 1
