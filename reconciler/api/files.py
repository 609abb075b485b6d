"""Data files on the server: sent once, streamed, and found again by what is in them.

A file's name there is ``STEM.SHA16.jsonl``, where SHA16 is the start of its SHA-256. So whatever run sends it, on
whatever machine, the next one finds it in the list.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from reconciler.api.answers import clean
from reconciler.api.client import Client, proves_nothing_happened
from reconciler.api.forms import Form, changed
from reconciler.api.types import FileObject
from reconciler.api.uploads import LargeFile, Memory, Parts, Progress, upload_in_parts
from reconciler.cache import Cache
from reconciler.errors import DataError, TransientError, Unsupported

PURPOSE = "fine-tune"
_REFUSED = frozenset({"error", "failed", "deleted", "deleting", "cancelled", "expired"})


class Content(Protocol):
    """A data file by its content."""

    @property
    def path(self) -> str:
        """Relative to the repository."""

    @property
    def digest(self) -> str:
        """SHA-256, in hex."""

    @property
    def size(self) -> int:
        """In bytes."""


def remote_name(path: str, digest: str) -> str:
    """Name a file on the server after its content; the stem is for people, and kept to harmless characters."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePosixPath(path).stem).strip(".-")[:64]
    return f"{stem or 'data'}.{digest[:16]}.jsonl"


async def upload(client: Client, path: Path, name: str, digest: str, on_progress: Progress | None = None) -> FileObject:
    """Send a file, once, never holding it in memory. ``on_progress`` is told bytes sent, and bytes in all.

    The end of the body is sent only after every byte before it proved to have ``digest``, so a file that changes
    meanwhile never arrives whole.

    Raises:
        DataError: the file cannot be read, is not what was hashed, or was not stored whole.
        ApiError: the server refused it, or gave no answer.
    """
    with _readable(path):
        file = await asyncio.to_thread(path.open, "rb")
        with file:
            before = size, _ = _state(file)

            def check(sent: str) -> None:
                if sent != digest or _state(file) != before:
                    raise changed(path)

            form = Form(
                file,
                size,
                blob="file",
                filename=name,
                fields={"purpose": PURPOSE},
                digest=digest,
                check=check,
                on_progress=lambda sent: on_progress(sent, size) if on_progress is not None else None,
            )
            stored = await client.send_file(form, form.headers)
    return _whole(stored, path, size)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _whole(stored: FileObject, path: Path, size: int) -> FileObject:
    if stored.bytes is not None and stored.bytes != size:
        raise DataError(
            f"The server stored {stored.bytes} of the {size} bytes of {path} (file {stored.id}).",
            hint="Nothing was started with it. Look for a proxy or a limit in between, and run again.",
        )
    return stored


def _state(file: BinaryIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


class Uploads:
    """What one run knows of a server's files: their list is read once, and equal content is sent once.

    ``root`` is the repository that paths are relative to. ``on_progress`` is told a path, bytes sent, and bytes in all.
    ``patience`` bounds, in seconds, the wait for a server to process a file. Servers exist that never say so; past the
    bound the job's own checks decide. ``cut`` says which files go in parts; how far those are is kept in ``cache``.
    """

    def __init__(
        self,
        client: Client,
        root: Path,
        *,
        on_progress: Callable[[str, int, int], None] | None = None,
        patience: float = 60.0,
        cache: Cache | None = None,
        cut: Parts | None = None,
    ) -> None:
        self._client = client
        self._root = root
        self._on_progress = on_progress
        self._patience = patience
        self._cache = cache or Cache(None)
        self._cut = cut or Parts()
        self._listed: list[FileObject] | None = None
        self._listing = asyncio.Lock()
        self._ids: dict[str, str] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ensure(self, file: Content) -> str:
        """Return the id of a file with this content, sending it where the server has none.

        Raises:
            DataError: the file changed, or the server refuses its content.
            ApiError: the server cannot be asked, or does not take it.
        """
        async with self._locks[file.digest]:
            if file.digest not in self._ids:
                found = await self._find(file)
                since = min(self._client.clock(), found.created_at) if found else self._client.clock()
                stored = found or await self._send(file)
                await self._processed(stored, file, since + self._patience)
                self._ids[file.digest] = stored.id
            return self._ids[file.digest]

    async def _find(self, file: Content, *, anew: bool = False) -> FileObject | None:
        async with self._listing:
            if self._listed is None or anew:
                self._listed = await self._client.files(PURPOSE)
        ending = f".{file.digest[:16]}.jsonl"
        found = [
            f
            for f in self._listed
            if f.filename.endswith(ending) and f.bytes in (None, file.size) and f.status not in _REFUSED
        ]
        return min(found, key=lambda f: (f.status != "processed", f.created_at, f.id), default=None)

    async def _send(self, file: Content) -> FileObject:
        """Send it. Where the outcome is unknown, look whether it arrived before sending it again."""
        name = remote_name(file.path, file.digest)
        told = self._on_progress
        progress: Progress | None = None if told is None else lambda sent, total: told(file.path, sent, total)
        patience = self._client.retrier.patience()
        if file.size > self._cut.threshold:
            with contextlib.suppress(Unsupported):  # then the server may take it whole
                return await self._in_parts(file, name, progress)
        while True:
            try:
                return await upload(self._client, self._root / file.path, name, file.digest, progress)
            except TransientError as error:
                await patience.after(error)
                if not proves_nothing_happened(error) and (arrived := await self._find(file, anew=True)):
                    return arrived

    async def _in_parts(self, file: Content, name: str, progress: Progress | None) -> FileObject:
        path = self._root / file.path
        large = LargeFile(path, name, file.digest, file.size)
        memory = Memory(self._client, self._cache)
        find = functools.partial(self._find, file, anew=True)
        with _readable(path):
            stored = await upload_in_parts(self._client, large, self._cut, memory, find=find, on_progress=progress)
        return _whole(stored, path, file.size)

    async def _processed(self, stored: FileObject, file: Content, deadline: float) -> None:
        """Wait until the server has looked at the file, or the deadline has passed."""
        delay = 0.25
        while stored.status not in (None, "processed") and stored.status not in _REFUSED:
            if self._client.clock() + delay > deadline:
                return
            await self._client.sleep(delay)
            delay = min(2 * delay, 5.0)
            stored = await self._client.file(stored.id)
        if stored.status in _REFUSED:
            why = f"{stored.status}: {stored.status_details}" if stored.status_details else f"{stored.status}."
            raise DataError(
                f"The server refuses {file.path} (file {stored.id}): {clean(why, self._client.server.key)}",
                hint="Correct the file and run again.",
            )
