"""Files too large for one request: sent in parts, several at a time, and completed once.

What has been sent is remembered in the cache, so that an interrupted upload goes on where it was. A part that is sent
twice does no harm: only those named at the end make the file. An upload that is never completed expires by itself.
Completing is sent again only after a look showed that the file is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.api.client import Client, proves_nothing_happened
from reconciler.api.concurrently import concurrently
from reconciler.api.forms import Form, changed
from reconciler.api.types import FileObject
from reconciler.cache import Cache
from reconciler.errors import (
    ApiError,
    Conflict,
    DataError,
    InvalidRequest,
    NotFound,
    TransientError,
)

_CHUNK = 2**20
_MARGIN = 60.0  # seconds that an upload must still have to live, to be gone on with

Find = Callable[[], Awaitable[FileObject | None]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """When files go in parts, and how. Sizes are in bytes: above ``threshold``, in parts of ``size``."""

    threshold: int = 512_000_000
    size: int = 64 * 2**20
    at_once: int = 4


@dataclass(frozen=True, slots=True)
class LargeFile:
    """A file to be sent: where it lies, what it is called on the server, and its SHA-256 in hex."""

    path: Path
    name: str
    digest: str
    size: int


@dataclass(slots=True)
class Upload:
    """An upload on its way: its id, when it expires (Unix seconds), and the ids of the parts it has, by number."""

    id: str
    expires_at: float
    parts: dict[int, str] = field(default_factory=dict)


class Memory:
    """The uploads that are on their way to one server, in the cache."""

    def __init__(self, client: Client, cache: Cache) -> None:
        server = client.server
        self._kind = f"uploads {server.base_url} {server.organization} {server.project}"
        self._cache = cache

    def recall(self, file: LargeFile, part_size: int) -> Upload | None:
        """Return the upload that was begun for a file, cut in the same way."""
        match self._cache.load(self._kind).get(f"{file.name} {file.digest} {part_size}"):
            case {"id": str(upload_id), "expires_at": int() | float() as expires_at, "parts": dict(parts)}:
                with contextlib.suppress(ValueError):
                    return Upload(upload_id, expires_at, {int(n): str(part) for n, part in parts.items()})
        return None

    def keep(self, file: LargeFile, part_size: int, upload: Upload | None) -> None:
        """Remember how far an upload is; None forgets it."""
        value = upload and {
            "id": upload.id,
            "expires_at": upload.expires_at,
            "parts": {str(number): part for number, part in upload.parts.items()},
        }
        self._cache.store(self._kind, {f"{file.name} {file.digest} {part_size}": value})


@dataclass(frozen=True, slots=True)
class _Survey:
    """What a file holds, read once before it is sent: MD5 of it all, SHA-256 of each part."""

    md5: str
    parts: tuple[str, ...]


def _survey(file: LargeFile, part_size: int) -> _Survey:
    whole, md5, parts = hashlib.sha256(), hashlib.md5(usedforsecurity=False), list[str]()
    with file.path.open("rb") as source:
        left = file.size
        while left > 0:
            part = hashlib.sha256()
            room = min(part_size, left)
            while room and (chunk := source.read(min(_CHUNK, room))):
                for digest in (whole, md5, part):
                    digest.update(chunk)
                room -= len(chunk)
            if room:
                raise changed(file.path)
            parts.append(part.hexdigest())
            left -= min(part_size, left)
        if source.read(1) or whole.hexdigest() != file.digest:
            raise changed(file.path)
    return _Survey(md5.hexdigest(), tuple(parts))


async def upload_in_parts(
    client: Client, file: LargeFile, cut: Parts, memory: Memory, *, find: Find, on_progress: Progress | None = None
) -> FileObject:
    """Send a file in parts, never holding one in memory. ``find`` looks for the file on the server.

    Every byte is checked against the file's digest while it is sent, and the server is told its MD5.

    Raises:
        DataError: the file cannot be read, or is not what was hashed.
        ApiError: the server refused it, or gave no answer. What has been sent is remembered.
    """
    survey = await asyncio.to_thread(_survey, file, cut.size)
    known = memory.recall(file, cut.size)
    if known is not None and known.expires_at > client.clock() + _MARGIN:
        sending = _Sending(client, file, cut, memory, survey, known, on_progress)
        try:
            return await sending.run(find)
        except (NotFound, InvalidRequest, Conflict):
            memory.keep(file, cut.size, None)  # the server no longer takes it: begin anew
    begun = await client.begin_upload(file.name, file.size)
    fresh = Upload(begun.id, begun.expires_at)
    return await _Sending(client, file, cut, memory, survey, fresh, on_progress).run(find)


class _Sending:
    """One upload, from where it is to its end."""

    def __init__(
        self,
        client: Client,
        file: LargeFile,
        cut: Parts,
        memory: Memory,
        survey: _Survey,
        upload: Upload,
        on_progress: Progress | None,
    ) -> None:
        self._client, self._file, self._cut, self._memory = client, file, cut, memory
        self._survey, self._upload, self._on_progress = survey, upload, on_progress
        self._sent: dict[int, int] = {}

    async def run(self, find: Find) -> FileObject:
        for number in self._upload.parts:
            self._tell(number, self._length(number))
        missing = [n for n in range(len(self._survey.parts)) if n not in self._upload.parts]
        try:
            await concurrently(self._send, missing, limit=self._cut.at_once)
        except DataError:
            self._memory.keep(self._file, self._cut.size, None)
            with contextlib.suppress(ApiError):
                await self._client.cancel_upload(self._upload.id)
            raise
        stored = await self._complete(find)
        self._memory.keep(self._file, self._cut.size, None)
        return stored

    async def _send(self, number: int) -> None:
        """Send one part, again after every fault that may pass."""

        async def once() -> str:
            with self._file.path.open("rb") as source:
                source.seek(number * self._cut.size)
                form = Form(
                    source,
                    self._length(number),
                    blob="data",
                    filename=self._file.name,
                    fields={},
                    digest=self._survey.parts[number],
                    check=lambda digest: self._check(number, digest),
                    on_progress=lambda sent: self._tell(number, sent),
                )
                return (await self._client.send_part(self._upload.id, form, form.headers)).id

        patience = self._client.retrier.patience()
        while True:
            try:
                self._upload.parts[number] = await once()
            except TransientError as error:
                await patience.after(error)
            else:
                return self._memory.keep(self._file, self._cut.size, self._upload)

    async def _complete(self, find: Find) -> FileObject:
        """Make the file. Where the outcome is unknown, look for it before asking again."""
        part_ids = [part for _, part in sorted(self._upload.parts.items())]
        patience = self._client.retrier.patience()
        while True:
            try:
                done = await self._client.complete_upload(self._upload.id, part_ids, self._survey.md5)
                if stored := done.file or await self._appears(find):
                    return stored
                raise DataError(f"The server has made no file of the parts of {self._file.path}.")
            except TransientError as error:
                await patience.after(error)
                if not proves_nothing_happened(error) and (stored := await find()):
                    return stored
            except (InvalidRequest, NotFound, Conflict):
                # It may have been completed before: by a request whose answer was lost, or by a run that was killed.
                if stored := await self._appears(find):
                    return stored
                raise

    async def _appears(self, find: Find) -> FileObject | None:
        """Look for the file until the list's lag has passed."""
        deadline = self._client.clock() + self._client.server.lag
        while not (stored := await find()) and self._client.clock() < deadline:
            await self._client.sleep(1.0)
        return stored

    def _length(self, number: int) -> int:
        return min(self._cut.size, self._file.size - number * self._cut.size)

    def _check(self, number: int, digest: str) -> None:
        if digest != self._survey.parts[number]:
            raise changed(self._file.path)

    def _tell(self, number: int, sent: int) -> None:
        self._sent[number] = sent
        if self._on_progress is not None:
            self._on_progress(sum(self._sent.values()), self._file.size)
