from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from wire_fixtures import NOW, Time, Wire, connect, page, refusal, reply

from reconciler import errors
from reconciler.api.client import Client
from reconciler.api.files import Uploads, remote_name, upload

TEXT = b'{"messages": []}\n' * 3
SHA = hashlib.sha256(TEXT).hexdigest()
NAME = f"train.{SHA[:16]}.jsonl"


@dataclass(frozen=True)
class Data:
    path: str = "data/train.jsonl"
    digest: str = SHA
    size: int = len(TEXT)


def stored(file_id: str = "file-1", **more: Any) -> dict[str, Any]:
    return {"id": file_id, "created_at": int(NOW), "filename": NAME, "bytes": len(TEXT), "status": "processed", **more}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_bytes(TEXT)
    return tmp_path


def post_or_list(post: Callable[[httpx.Request], httpx.Response], *listed: dict[str, Any]) -> Wire:
    return Wire(lambda request: post(request) if request.method == "POST" else page(*listed))


# Sending


async def test_a_file_is_sent_as_a_form_with_its_length(root: Path) -> None:
    wire, progress = Wire(reply(stored())), list[tuple[int, int]]()
    async with connect(wire) as client:
        sent = await upload(client, root / "data/train.jsonl", NAME, SHA, lambda *step: progress.append(step))
    request = wire.requests[0]
    assert sent.id == "file-1"
    assert request.url.path == "/v1/files"
    assert int(request.headers["content-length"]) == len(request.content)
    assert "transfer-encoding" not in request.headers
    boundary = re.fullmatch(r"multipart/form-data; boundary=(\S+)", request.headers["content-type"])
    assert boundary is not None
    parts = request.content.split(b"--" + boundary[1].encode())
    assert parts[0] == b""
    assert parts[1].endswith(b'name="purpose"\r\n\r\nfine-tune\r\n')
    assert f'filename="{NAME}"'.encode() in parts[2]
    assert parts[2].endswith(b"\r\n\r\n" + TEXT + b"\r\n")
    assert parts[3] == b"--\r\n"
    assert progress == [(len(TEXT), len(TEXT))]


async def test_a_file_is_read_in_pieces(tmp_path: Path) -> None:
    big = tmp_path / "big.jsonl"
    big.write_bytes(os.urandom(2**20) * 3 + b"x")
    digest = hashlib.sha256(big.read_bytes()).hexdigest()
    progress: list[int] = []
    async with connect(Wire(reply(stored(bytes=big.stat().st_size)))) as client:
        await upload(client, big, NAME, digest, lambda sent, _: progress.append(sent))
    assert progress == [2**20, 2 * 2**20, 3 * 2**20, 3 * 2**20 + 1]


class Interrupting(httpx.AsyncBaseTransport):
    """Receives a body in pieces, does something after the first, and keeps what arrived."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.meanwhile = meanwhile
        self.received: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        async for chunk in request.stream:
            self.received.append(chunk)
            if len(self.received) == 1:
                self.meanwhile()
        return reply(stored())


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(TEXT + b"more\n"),
        lambda path: path.write_bytes(TEXT[:-1]),
        lambda path: path.write_bytes(TEXT.replace(b"m", b"n")),
        lambda path: os.utime(path, (1, 1)),
    ],
    ids=["grown", "cut", "rewritten", "touched"],
)
async def test_a_file_that_changes_while_it_is_sent_never_arrives_whole(
    root: Path, change: Callable[[Path], None]
) -> None:
    path = root / "data/train.jsonl"
    wire = Interrupting(lambda: change(path))
    async with Client(connect(Wire(page())).server, transport=wire) as client:
        with pytest.raises(errors.DataError, match="changed after it was checked"):
            await upload(client, path, NAME, SHA)
    assert not wire.received[-1].endswith(b"--\r\n")


async def test_a_file_that_changed_since_it_was_hashed_is_not_sent(root: Path) -> None:
    (root / "data/train.jsonl").write_bytes(TEXT.upper())
    wire = post_or_list(lambda _: reply(stored()))
    async with connect(wire) as client:
        with pytest.raises(errors.DataError, match="changed"):
            await Uploads(client, root).ensure(Data())
    assert wire.calls == ["GET /files"]


async def test_a_file_that_is_gone_is_told(root: Path) -> None:
    (root / "data/train.jsonl").unlink()
    async with connect(Wire(page())) as client:
        with pytest.raises(errors.DataError, match="cannot be read: No such file"):
            await Uploads(client, root).ensure(Data())


async def test_a_file_stored_in_part_is_refused(root: Path) -> None:
    async with connect(post_or_list(lambda _: reply(stored(bytes=0)))) as client:
        with pytest.raises(errors.DataError, match=f"stored 0 of the {len(TEXT)} bytes"):
            await Uploads(client, root).ensure(Data())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/train.jsonl", NAME),
        ('data/we "quote"\r\n.jsonl', f"we-quote.{SHA[:16]}.jsonl"),
        ("data/данные.jsonl", f"data.{SHA[:16]}.jsonl"),
        ("data/..jsonl", f"data.{SHA[:16]}.jsonl"),
        (f"data/{'x' * 300}.jsonl", f"{'x' * 64}.{SHA[:16]}.jsonl"),
        ("a.b.jsonl", f"a.b.{SHA[:16]}.jsonl"),
    ],
)
def test_a_name_on_the_server_is_harmless(path: str, name: str) -> None:
    assert remote_name(path, SHA) == name


# Found again


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([stored("file-a")], "file-a"),
        ([stored("file-a", filename=f"renamed.{SHA[:16]}.jsonl")], "file-a"),
        ([stored("file-a", bytes=None, status=None)], "file-a"),
        ([stored("file-b", created_at=2), stored("file-a", created_at=1)], "file-a"),
        ([stored("file-b", status="processed"), stored("file-a", created_at=1, status="uploaded")], "file-b"),
        ([stored("file-a", bytes=1)], "sent"),
        ([stored("file-a", status="error")], "sent"),
        ([stored("file-a", status="deleted")], "sent"),
        ([stored("file-a", filename="train.jsonl")], "sent"),
        ([stored("file-a", filename=f"train.{SHA[1:17]}.jsonl")], "sent"),
        ([], "sent"),
    ],
)
async def test_a_file_is_found_again_by_its_content(root: Path, listed: list[dict[str, Any]], expected: str) -> None:
    async with connect(post_or_list(lambda _: reply(stored("sent")), *listed)) as client:
        assert await Uploads(client, root).ensure(Data()) == expected


async def test_equal_content_is_sent_once_and_the_list_is_read_once(root: Path) -> None:
    (root / "copy.jsonl").write_bytes(TEXT)
    (root / "other.jsonl").write_bytes(b"other\n")
    other = Data("other.jsonl", hashlib.sha256(b"other\n").hexdigest(), 6)
    wire = post_or_list(lambda r: reply(stored("other" if b"other.jsonl" in r.content else "same", bytes=None)))
    async with connect(wire) as client:
        uploads = Uploads(client, root)
        ids = await asyncio.gather(*(uploads.ensure(d) for d in [Data(), Data("copy.jsonl"), other, Data(), other]))
    assert ids[0] == ids[1] == ids[3]
    assert sorted(wire.calls) == ["GET /files", "POST /files", "POST /files"]


async def test_progress_names_the_file(root: Path) -> None:
    told: list[tuple[str, int, int]] = []
    async with connect(post_or_list(lambda _: reply(stored()))) as client:
        await Uploads(client, root, on_progress=lambda *step: told.append(step)).ensure(Data())
    assert told == [("data/train.jsonl", len(TEXT), len(TEXT))]


# Unknown outcomes


async def test_an_upload_whose_answer_is_lost_is_looked_for_before_it_is_sent_again(root: Path) -> None:
    wire = Wire(page(), httpx.ReadTimeout("lost"), page(stored("file-arrived")))
    async with connect(wire) as client:
        assert await Uploads(client, root).ensure(Data()) == "file-arrived"
    assert wire.calls == ["GET /files", "POST /files", "GET /files"]


async def test_an_upload_that_did_not_arrive_is_sent_again(root: Path) -> None:
    wire = Wire(page(), refusal(500), page(), reply(stored("file-second")))
    async with connect(wire) as client:
        assert await Uploads(client, root).ensure(Data()) == "file-second"
    assert wire.calls == ["GET /files", "POST /files", "GET /files", "POST /files"]


async def test_an_upload_turned_away_is_sent_again_without_looking(root: Path) -> None:
    wire = Wire(page(), refusal(429, retry_after="2"), reply(stored("file-second")))
    async with connect(wire) as client:
        assert await Uploads(client, root).ensure(Data()) == "file-second"
    assert wire.calls == ["GET /files", "POST /files", "POST /files"]


async def test_an_upload_that_never_succeeds_ends(root: Path) -> None:
    wire = post_or_list(lambda _: refusal(500))
    async with connect(wire) as client:
        with pytest.raises(errors.ServerFault):
            await Uploads(client, root).ensure(Data())
    assert 1 < wire.calls.count("POST /files") < 10


async def test_a_refused_upload_is_not_sent_again(root: Path) -> None:
    wire = post_or_list(lambda _: refusal(413, "too large"))
    async with connect(wire) as client:
        with pytest.raises(errors.InvalidRequest, match="too large"):
            await Uploads(client, root).ensure(Data())
    assert wire.calls == ["GET /files", "POST /files"]


async def test_a_list_of_files_that_cannot_be_read_is_not_an_empty_one(root: Path) -> None:
    wire = Wire(refusal(403))
    async with connect(wire) as client:
        with pytest.raises(errors.NotPermitted):
            await Uploads(client, root).ensure(Data())
    assert wire.calls == ["GET /files"]


# Processing


def processing(*statuses: str | None, **last: Any) -> Callable[[httpx.Request], httpx.Response]:
    """Accept a file that then shows one status after another."""
    left = list(statuses)

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/files" and request.method == "GET":
            return page()
        status = left.pop(0) if len(left) > 1 else left[0]
        return reply(stored(status=status, **(last if len(left) == 1 else {})))

    return serve


@pytest.mark.parametrize(
    "statuses", [("processed",), (None,), ("uploaded", "processed"), ("pending", "x", "processed")]
)
async def test_a_file_is_waited_for_until_it_is_processed(root: Path, statuses: tuple[str | None, ...]) -> None:
    wire = Wire(processing(*statuses))
    async with connect(wire) as client:
        assert await Uploads(client, root).ensure(Data()) == "file-1"
    assert wire.calls.count("GET /files/file-1") == len(statuses) - 1


async def test_the_wait_for_a_server_that_never_says_processed_is_bounded(root: Path) -> None:
    time = Time()
    async with connect(processing("uploaded"), time=time) as client:
        assert await Uploads(client, root, patience=30.0).ensure(Data()) == "file-1"
    assert 20 <= time.now - NOW <= 30


async def test_a_file_found_long_after_it_was_sent_is_not_waited_for(root: Path) -> None:
    time, wire = Time(), Wire(page(stored("file-old", status="uploaded", created_at=int(NOW) - 3600)))
    async with connect(wire, time=time) as client:
        assert await Uploads(client, root).ensure(Data()) == "file-old"
    assert time.slept == []


async def test_a_file_that_the_server_refuses_says_why(root: Path) -> None:
    wire = Wire(processing("uploaded", "error", status_details="line 3 is\x1b[31m odd"))
    async with connect(wire) as client:
        with pytest.raises(errors.DataError, match=r"data/train.jsonl \(file file-1\): error: line 3 is odd"):
            await Uploads(client, root).ensure(Data())


class Broken(httpx.AsyncBaseTransport):
    """Takes the first piece of a body, and breaks."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        await anext(aiter(request.stream))
        raise httpx.WriteError("broken pipe")


async def test_an_aborted_upload_leaves_no_file_open(root: Path) -> None:
    path = root / "data/train.jsonl"
    async with Client(connect(Wire(page())).server, transport=Broken()) as client:
        with pytest.raises(errors.NoAnswer):
            await upload(client, path, NAME, SHA)
    assert str(path) not in {opened.path for opened in psutil.Process().open_files()}
