"""A file, or a stretch of one, as the body of a request: read while it is sent, and checked before its end is."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from reconciler.errors import DataError

_CHUNK = 2**20


def changed(path: Path) -> DataError:
    """Say that a file is no longer what was hashed."""
    return DataError(f"{path} changed after it was checked, so it was not sent.", hint="Run again when it is at rest.")


class Form:
    """A multipart body with small ``fields``, then ``size`` bytes of ``file`` from where it stands, as ``blob``.

    The end of the body is sent only after ``check`` has passed the SHA-256 (in hex) of every byte before it: ``check``
    raises what is to be raised otherwise, and the request never arrives whole. ``on_progress`` is told bytes sent.
    """

    def __init__(
        self,
        file: BinaryIO,
        size: int,
        *,
        blob: str,
        filename: str,
        fields: Mapping[str, str],
        digest: str,
        check: Callable[[str], None],
        on_progress: Callable[[int], None],
    ) -> None:
        self._file, self._size, self._check, self._on_progress = file, size, check, on_progress
        boundary = f"reconciler-{digest[:48]}"  # no content holds its own digest; a boundary has at most 70 characters
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{blob}"; filename="{filename}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        self._head = "".join(parts).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(self._head) + size + len(self._tail)),
        }

    async def __aiter__(self) -> AsyncIterator[bytes]:
        sha, sent = hashlib.sha256(), 0

        def read() -> bytes:
            chunk = self._file.read(min(_CHUNK, self._size - sent))
            sha.update(chunk)
            return chunk

        yield self._head
        while chunk := await asyncio.to_thread(read):
            sent += len(chunk)
            yield chunk
            self._on_progress(sent)
        self._check(sha.hexdigest())
        yield self._tail
