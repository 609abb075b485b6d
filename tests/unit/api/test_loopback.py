"""The client against real sockets: connections are kept, cut, refused and filled."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from wire_fixtures import KEY, Time, job

from reconciler.api.client import Client
from reconciler.api.concurrently import concurrently
from reconciler.api.files import upload
from reconciler.api.retry import Backoff
from reconciler.api.server import Server
from reconciler.api.types import CreateJob
from reconciler.errors import InvalidRequest, NoAnswer

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Exchange = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
JOB = json.dumps(job()).encode()
BODY = CreateJob(model="m", training_file="file-1")


class Site:
    """A server whose exchanges are one function: it gets a request's head, and says whether to go on."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.ended: list[asyncio.Event] = []
        self.heads: list[bytes] = []

    @property
    def connections(self) -> int:
        return len(self.ended)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = asyncio.Event()
        self.ended.append(ended)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                if not await self.exchange(head, reader, writer):
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()


@contextlib.asynccontextmanager
async def serving(exchange: Exchange) -> AsyncIterator[tuple[Site, Client]]:
    site, time = Site(exchange), Time()
    listener = await asyncio.start_server(site, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    server = Server("loopback", f"http://127.0.0.1:{port}/v1", KEY)
    async with listener:
        async with Client(server, clock=time, sleep=time.sleep) as client:
            yield site, client
        for ended in site.ended:
            await ended.wait()


def whole(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        status.encode(),
        len(body),
        body,
    )


async def answer(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(whole(JOB))
    await writer.drain()
    return True


async def test_one_connection_serves_many_requests() -> None:
    async with serving(answer) as (site, client):
        for _ in range(20):
            await client.job("ftjob-1")
        assert (site.connections, len(site.heads)) == (1, 20)


async def test_concurrent_requests_share_a_bounded_pool() -> None:
    async with serving(answer) as (site, client):
        await concurrently(client.job, ["ftjob-1"] * 100)
        assert len(site.heads) == 100
        assert site.connections <= 8


CUTS = [b"", b"HTTP/1.1 200 OK\r\n", whole(JOB)[:-10]]


@pytest.mark.parametrize("cut", [*CUTS, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"])
async def test_a_connection_cut_while_reading_is_tried_again(cut: bytes) -> None:
    async def exchange(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if len(site.heads) > 2:
            return await answer(head, reader, writer)
        writer.write(cut)
        await writer.drain()
        return False

    async with serving(exchange) as (site, client):
        assert (await client.job("ftjob-1")).id == "ftjob-1"
        assert len(site.heads) == 3


@pytest.mark.parametrize("cut", CUTS)
async def test_a_connection_cut_while_creating_leaves_the_outcome_unknown(cut: bytes) -> None:
    async def exchange(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(cut)
        await writer.drain()
        return False

    async with serving(exchange) as (site, client):
        with pytest.raises(NoAnswer) as caught:
            await client.create_job(BODY)
        assert caught.value.sent
        assert len(site.heads) == 1


async def test_a_create_on_a_connection_that_went_stale_is_not_sent_twice() -> None:
    """The server closes while the connection idles: the next request takes a new one, and is seen once."""

    async def exchange(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await answer(head, reader, writer)
        return len(site.heads) != 1

    async with serving(exchange) as (site, client):
        await client.job("ftjob-1")
        await asyncio.sleep(0.05)
        await client.create_job(BODY)
        assert [head.split(b" ")[0] for head in site.heads] == [b"GET", b"POST"]
        assert site.connections == 2


async def test_a_port_where_nobody_listens_was_never_reached() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        time = Time()
        async with Client(Server("s", base_url), clock=time, sleep=time.sleep, backoff=Backoff(attempts=2)) as client:
            with pytest.raises(NoAnswer, match="cannot be reached") as caught:
                await client.create_job(BODY)
    assert not caught.value.sent
    assert len(time.slept) == 1


async def test_an_upload_refused_while_it_is_sent_says_why(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_bytes(b"x" * 8 * 2**20)

    async def exchange(_: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(whole(b'{"error": {"message": "too large"}}', "413 Too Large"))
        await writer.drain()
        with contextlib.suppress(ConnectionError):
            while await reader.read(2**16):
                pass
        return False

    async with serving(exchange) as (_, client):
        with pytest.raises(InvalidRequest, match="too large"):
            await upload(client, data, "data.jsonl", hashlib.sha256(data.read_bytes()).hexdigest())


@pytest.mark.slow
async def test_an_upload_of_200_mb_takes_hardly_any_memory(tmp_path: Path) -> None:
    size = 200 * 2**20
    data = tmp_path / "data.jsonl"
    with data.open("wb") as file:
        file.truncate(size)
    sha = hashlib.sha256()
    for _ in range(200):
        sha.update(bytes(2**20))
    process, most = psutil.Process(), 0

    async def exchange(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while left:
            left -= len(await reader.read(min(left, 2**18)))
        stored = {"id": "file-1", "created_at": 1, "filename": "x", "bytes": size}
        writer.write(whole(json.dumps(stored).encode()))
        await writer.drain()
        return True

    def sample(*_: int) -> None:
        nonlocal most
        most = max(most, process.memory_info().rss)

    async with serving(exchange) as (_, client):
        before = process.memory_info().rss
        await upload(client, data, "data.jsonl", sha.hexdigest(), sample)
    assert most > 0
    assert most - before < 24 * 2**20
