"""Data files on the server: sent once, streamed, and found again by what is in them.

A file's name there is ``STEM.SHA16.jsonl``, where SHA16 is the start of its SHA-256. So whatever run sends it, on
whatever machine, the next one finds it in the list.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from reconciler.api.answers import clean
from reconciler.api.client import Client, proves_nothing_happened
from reconciler.api.types import FileObject
from reconciler.errors import DataError, TransientError

Progress = Callable[[int, int], None]

PURPOSE = "fine-tune"
_CHUNK = 2**20
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
    try:
        with await asyncio.to_thread(path.open, "rb") as file:
            form = _Form(file, path, name, digest, on_progress)
            stored = await client.send_file(form, form.headers)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if stored.bytes is not None and stored.bytes != form.size:
        raise DataError(
            f"The server stored {stored.bytes} of the {form.size} bytes of {path} (file {stored.id}).",
            hint="Nothing was started with it. Look for a proxy or a limit in between, and run again.",
        )
    return stored


class _Form:
    """A file as the body of a request, read while it is sent."""

    def __init__(self, file: BinaryIO, path: Path, name: str, digest: str, on_progress: Progress | None) -> None:
        self._file, self._path, self._digest, self._on_progress = file, path, digest, on_progress
        self._before = self.size, _ = _state(file)
        boundary = f"reconciler-{digest}"  # no content holds its own digest
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{PURPOSE}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(self._head) + self.size + len(self._tail)),
        }

    async def __aiter__(self) -> AsyncIterator[bytes]:
        sha, sent = hashlib.sha256(), 0

        def read() -> bytes:
            chunk = self._file.read(min(_CHUNK, self.size - sent))
            sha.update(chunk)
            return chunk

        yield self._head
        while chunk := await asyncio.to_thread(read):
            sent += len(chunk)
            yield chunk
            if self._on_progress is not None:
                self._on_progress(sent, self.size)
        if sent != self.size or sha.hexdigest() != self._digest or _state(self._file) != self._before:
            raise DataError(
                f"{self._path} changed after it was checked, so it was not sent.",
                hint="Run again when it is at rest.",
            )
        yield self._tail


def _state(file: BinaryIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


class Uploads:
    """What one run knows of a server's files: their list is read once, and equal content is sent once.

    ``root`` is the repository that paths are relative to. ``on_progress`` is told a path, bytes sent, and bytes in all.
    ``patience`` bounds, in seconds, the wait for a server to process a file. Servers exist that never say so; past the
    bound the job's own checks decide.
    """

    def __init__(
        self,
        client: Client,
        root: Path,
        *,
        on_progress: Callable[[str, int, int], None] | None = None,
        patience: float = 60.0,
    ) -> None:
        self._client = client
        self._root = root
        self._on_progress = on_progress
        self._patience = patience
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
        while True:
            try:
                return await upload(self._client, self._root / file.path, name, file.digest, progress)
            except TransientError as error:
                await patience.after(error)
                if not proves_nothing_happened(error) and (arrived := await self._find(file, anew=True)):
                    return arrived

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
