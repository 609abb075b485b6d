"""Files in parts: sent once as far as it can be known, gone on with after an interruption, never completed twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from wire_fixtures import NOW, Time, connect, page, refusal, reply

from reconciler import errors
from reconciler.api.client import Client
from reconciler.api.files import Uploads, remote_name
from reconciler.api.server import Server
from reconciler.api.uploads import Parts
from reconciler.cache import Cache

TEXT = bytes(range(256)) * 10
SHA = hashlib.sha256(TEXT).hexdigest()
NAME = remote_name("data/train.jsonl", SHA)
CUT = Parts(threshold=1000, size=600, at_once=2)
COUNT = 5

Fault = Callable[[str, int], httpx.Response | Exception | None]


@dataclass(frozen=True)
class Data:
    path: str = "data/train.jsonl"
    digest: str = SHA
    size: int = len(TEXT)


def nothing(_kind: str, _number: int) -> None:
    """No fault."""


@dataclass
class UploadServer:
    """Uploads in memory. ``before`` and ``after`` may fail the n-th call of a kind, without or with its effect."""

    before: Fault = nothing
    after: Fault = nothing
    pending: dict[str, int] = field(default_factory=dict)
    parts: dict[str, bytes] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    hidden: int = 0

    def count(self, kind: str) -> int:
        return self.calls.count(kind)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v1/")
        kind = "list" if request.method == "GET" else path.rpartition("/")[2] if "/" in path else path
        self.calls.append(kind)
        n = self.calls.count(kind)
        if early := self.before(kind, n):
            return _raised(early)
        answer = self._answer(kind, path, request)
        if late := self.after(kind, n):
            return _raised(late)
        return answer

    def _answer(self, kind: str, path: str, request: httpx.Request) -> httpx.Response:
        upload = path.split("/")[1] if "/" in path else ""
        if kind == "list":
            self.hidden -= 1
            return page(*(self.files if self.hidden < 0 else []))
        if kind == "files":
            self.contents.append(request.content)
            return reply(self._stored(len(TEXT)))
        if kind == "uploads":
            upload = f"upload_{len(self.calls)}"
            self.pending[upload] = json.loads(request.content)["bytes"]
            return reply({"id": upload, "status": "pending", "expires_at": int(NOW) + 3600})
        return self._on_upload(kind, upload, request)

    def _on_upload(self, kind: str, upload: str, request: httpx.Request) -> httpx.Response:
        if upload not in self.pending:
            return refusal(400, "This upload is completed.", "upload_completed")
        if kind == "cancel":
            del self.pending[upload]
            return reply({"id": upload, "status": "cancelled", "expires_at": 0})
        if kind == "parts":
            part = f"part_{upload}_{len(self.parts)}"
            body = re.split(rb"\r\n\r\n", request.content, maxsplit=1)[1]
            self.parts[part] = body[: body.rindex(b"\r\n--")]
            return reply({"id": part})
        return self._complete(upload, json.loads(request.content))

    def _complete(self, upload: str, body: dict[str, Any]) -> httpx.Response:
        content = b"".join(self.parts[part] for part in body["part_ids"])
        assert body["md5"] == hashlib.md5(content, usedforsecurity=False).hexdigest()
        assert len(content) == self.pending.pop(upload)
        self.contents.append(content)
        return reply({"id": upload, "status": "completed", "expires_at": 0, "file": self._stored(len(content))})

    def _stored(self, size: int) -> dict[str, Any]:
        file = {"id": f"file-{len(self.files)}", "created_at": int(NOW), "filename": NAME, "bytes": size}
        self.files.append(file)
        return file


def _raised(fault: httpx.Response | Exception) -> httpx.Response:
    if isinstance(fault, Exception):
        raise fault
    return fault


def failing(kind: str, *numbers: int, fault: httpx.Response | Exception | None = None) -> Fault:
    """Fail these calls of a kind."""
    dropped = fault or httpx.ReadError("dropped")
    return lambda called, n: dropped if called == kind and n in numbers else None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_bytes(TEXT)
    return tmp_path


def cache(root: Path) -> Cache:
    return Cache(root / "cache.db")


def uploads(client: Client, root: Path, **more: Any) -> Uploads:
    return Uploads(client, root, cut=CUT, **more)


async def send(server: UploadServer, root: Path, **more: Any) -> str:
    async with connect(server) as client:
        return await uploads(client, root, **more).ensure(Data())


async def test_a_large_file_goes_in_parts_and_is_completed_once(root: Path) -> None:
    server, told = UploadServer(), list[tuple[str, int, int]]()
    assert await send(server, root, on_progress=lambda *step: told.append(step)) == "file-0"
    assert server.contents == [TEXT]
    assert (server.count("uploads"), server.count("parts"), server.count("complete")) == (1, COUNT, 1)
    assert told[-1] == ("data/train.jsonl", len(TEXT), len(TEXT))
    assert [sent for _, sent, _ in told] == sorted(sent for _, sent, _ in told)


@pytest.mark.parametrize("threshold", [len(TEXT), len(TEXT) - 1])
async def test_the_threshold_decides(root: Path, threshold: int) -> None:
    server = UploadServer()
    async with connect(server) as client:
        await Uploads(client, root, cut=Parts(threshold, 600)).ensure(Data())
    assert server.count("uploads") == (threshold < len(TEXT))
    assert server.count("files") == (threshold >= len(TEXT))


@pytest.mark.parametrize("size", [1, 599, 600, 601, len(TEXT) - 1, len(TEXT), len(TEXT) + 1])
async def test_parts_of_any_size_come_together(root: Path, size: int) -> None:
    if size == 1:
        (root / "data/train.jsonl").write_bytes(b"ab")
        data = Data(digest=hashlib.sha256(b"ab").hexdigest(), size=2)
    else:
        data = Data()
    server = UploadServer()
    async with connect(server) as client:
        await Uploads(client, root, cut=Parts(1, size)).ensure(data)
    assert server.contents == [(root / data.path).read_bytes()]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("kind", ["uploads", "parts", "complete"])
@pytest.mark.parametrize("fault", [httpx.ReadError("dropped"), refusal(500), refusal(429), reply("<ht", 200)])
async def test_a_fault_that_passes_leaves_one_file(root: Path, moment: str, kind: str, fault: Any) -> None:
    server = UploadServer()
    setattr(server, moment, failing(kind, 1, 3, fault=fault))
    await send(server, root)
    assert server.contents == [TEXT]
    assert len(server.files) == 1


async def test_after_a_lost_answer_to_completing_the_file_is_looked_for_first(root: Path) -> None:
    server = UploadServer(after=failing("complete", 1))
    assert await send(server, root) == "file-0"
    assert server.count("complete") == 1
    assert server.calls[-2:] == ["complete", "list"]


async def test_a_list_that_lags_does_not_complete_twice(root: Path) -> None:
    """The look misses the file, the second completion is refused, and the file appears within the lag."""
    server = UploadServer(after=failing("complete", 1), hidden=4)
    assert await send(server, root) == "file-0"
    assert server.contents == [TEXT]


async def test_an_interrupted_upload_goes_on_where_it_was(root: Path) -> None:
    server = UploadServer(before=failing("parts", *range(4, 99)))
    with pytest.raises(errors.NoAnswer):
        await send(server, root, cache=cache(root))
    assert len(server.parts) == 3
    server.before = nothing
    before, told = server.count("parts"), list[int]()
    await send(server, root, cache=cache(root), on_progress=lambda _path, sent, _total: told.append(sent))
    assert server.count("parts") - before == COUNT - 3
    assert server.count("uploads") == 1
    assert server.contents == [TEXT]
    assert told[0] >= 600


async def test_an_upload_completed_by_a_killed_run_is_not_sent_again(root: Path) -> None:
    """The kill came after the completion and before its answer; the list still lags."""
    server = UploadServer(after=failing("complete", *range(1, 9)), hidden=99)
    with pytest.raises(errors.ApiError):
        await send(server, root, cache=cache(root))
    server.after, server.hidden = nothing, 3
    assert await send(server, root, cache=cache(root)) == "file-0"
    assert server.contents == [TEXT]


@pytest.mark.parametrize("how", ["expired here", "unknown there", "forgotten", "damaged", "cut otherwise"])
async def test_what_cannot_be_gone_on_with_is_begun_anew(root: Path, how: str) -> None:
    server = UploadServer(before=failing("complete", *range(1, 99)))
    with pytest.raises(errors.NoAnswer):
        await send(server, root, cache=cache(root))
    server.before = nothing
    time, cut = Time(), CUT
    if how == "expired here":
        time.now = NOW + 3600
    elif how == "unknown there":
        server.pending.clear()
    elif how == "forgotten":
        (root / "cache.db").unlink()
    elif how == "damaged":
        kept = cache(root)
        kind = "uploads https://host.test/v1 None None"
        kept.store(kind, {key: {"id": 7, "parts": "x"} for key in kept.load(kind)})
        kept.close()
    else:
        cut = Parts(1000, 700)
    async with connect(server, time=time) as client:
        await Uploads(client, root, cache=cache(root), cut=cut).ensure(Data())
    assert server.count("uploads") == 2
    assert server.contents == [TEXT]


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c + b"x", lambda c: b"X" + c[1:]])
async def test_a_file_that_changed_before_is_not_sent(root: Path, change: Callable[[bytes], bytes]) -> None:
    (root / "data/train.jsonl").write_bytes(change(TEXT))
    server = UploadServer()
    with pytest.raises(errors.DataError, match="changed"):
        await send(server, root)
    assert set(server.calls) == {"list"}


async def test_a_file_that_changes_meanwhile_never_arrives_whole(root: Path) -> None:
    def change(kind: str, n: int) -> None:
        if (kind, n) == ("parts", 1):
            (root / "data/train.jsonl").write_bytes(TEXT[:-10] + b"0123456789")

    server = UploadServer(before=change)
    with pytest.raises(errors.DataError, match="changed"):
        await send(server, root, cache=cache(root))
    assert server.files == []
    assert server.calls[-1] == "cancel"


async def test_a_server_without_uploads_gets_the_file_whole(root: Path) -> None:
    for missing in (refusal(404), refusal(405), refusal(501)):
        server = UploadServer(before=failing("uploads", *range(1, 9), fault=missing))
        assert await send(server, root) == "file-0"
        assert server.count("files") == 1


async def test_a_refused_part_ends_it(root: Path) -> None:
    server = UploadServer(before=failing("parts", *range(1, 99), fault=refusal(400, "no such purpose")))
    with pytest.raises(errors.InvalidRequest, match="no such purpose"):
        await send(server, root)
    assert server.files == []


async def test_at_most_so_many_parts_are_on_their_way(root: Path) -> None:
    now, most = 0, 0
    inner, together = UploadServer(), asyncio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == CUT.at_once:
            together.set()
        if request.url.path.endswith("/parts"):
            await asyncio.wait_for(together.wait(), 30)
        await asyncio.sleep(0.01)  # for others to come, if they may
        now -= 1
        return inner(request)

    async with connect(handler) as client:  # type: ignore[arg-type]
        await uploads(client, root).ensure(Data())
    assert most == CUT.at_once


async def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    path.write_bytes(os.urandom(2**20) * 48)
    data = Data("big.jsonl", hashlib.sha256(path.read_bytes()).hexdigest(), 48 * 2**20)

    class Swallow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            assert isinstance(request.stream, httpx.AsyncByteStream)
            async for _ in request.stream:
                pass
            if request.method == "GET":
                return page()
            file = {"id": "file-1", "created_at": 0, "filename": "f", "bytes": data.size}
            return reply({"id": "x", "status": "s", "expires_at": 0, "file": file})

    async with Client(Server("test", "https://host.test/v1"), transport=Swallow()) as client:
        tracemalloc.start()
        await Uploads(client, tmp_path, cut=Parts(1, 8 * 2**20, at_once=4)).ensure(data)
        (_, peak) = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 14 * 2**20
