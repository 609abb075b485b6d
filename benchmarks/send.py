"""Sends one file to a server, once, and prints seconds and how much memory grew while it was sent, in MB.

Usage: ``python send.py ours|bare BASE_URL FILE``. ``bare`` is httpx alone, with the same body in pieces of the same
size: it neither hashes what it sends nor looks whether the file changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import psutil

from reconciler.api.client import Client
from reconciler.api.files import upload
from reconciler.api.server import Server

_PIECE = 2**20
_BOUNDARY = "benchmark-boundary"


async def ours(base_url: str, path: Path, watch: Callable[[], None]) -> str:
    """Send as the reconciler does; return the file's id."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    async with Client(Server("benchmark", base_url)) as client:
        started = time.perf_counter()
        stored = await upload(client, path, path.name, digest, lambda _sent, _total: watch())
        print(time.perf_counter() - started)
    return stored.id


async def bare(base_url: str, path: Path, watch: Callable[[], None]) -> str:
    """Send with httpx alone; return the file's id."""
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
    ).encode()
    tail = f"\r\n--{_BOUNDARY}--\r\n".encode()

    async def body() -> AsyncIterator[bytes]:
        yield head
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
                watch()
        yield tail

    headers = _headers(len(head) + len(tail), path)
    async with httpx.AsyncClient(timeout=300) as client:
        started = time.perf_counter()
        answer = await client.post(f"{base_url}/files", content=body(), headers=headers)
        answer.raise_for_status()
        print(time.perf_counter() - started)
    return str(answer.json()["id"])


def _headers(around: int, path: Path) -> dict[str, str]:
    length = around + path.stat().st_size
    return {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}", "Content-Length": str(length)}


def main(how: str, base_url: str, file: str) -> None:
    """Send a file, say what it took, and delete it there."""
    process = psutil.Process(os.getpid())
    held: list[int] = []

    def watch() -> None:
        held.append(process.memory_info().rss)

    send = {"ours": ours, "bare": bare}[how]
    file_id = asyncio.run(send(base_url, Path(file), watch))
    print((max(held) - held[0]) / 2**20)
    httpx.delete(f"{base_url}/files/{file_id}").raise_for_status()


if __name__ == "__main__":
    main(*sys.argv[1:])
