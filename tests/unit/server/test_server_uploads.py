"""Uploads: streamed, bounded, under names that lead nowhere."""

from __future__ import annotations

import hashlib
import os
import resource
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from serving import LASTING, Serve, create, upload

from reconciler.server import files
from reconciler.server.context import Settings
from reconciler.server.problems import Problem
from reconciler.server.store import StorageFull, Store
from reconciler.server.uploads import Form, safe_name

BOUNDARY = "b0undary"
HEADERS = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, value: bytes, more: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + value + b"\r\n"


FILE = part("file", b"some rows", '; filename="a.jsonl"')
PURPOSE = part("purpose", b"fine-tune")
END = f"--{BOUNDARY}--\r\n".encode()


def post(client: TestClient, body: bytes, headers: dict[str, str] | None = None) -> Any:
    return client.post("files", content=body, headers=HEADERS if headers is None else headers)


@pytest.mark.parametrize("body", [FILE + PURPOSE + END, PURPOSE + FILE + END])
def test_the_parts_may_come_in_any_order(client: TestClient, body: bytes) -> None:
    answer = post(client, body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["filename"] == "a.jsonl"
    assert client.get(f"files/{answer.json()['id']}/content").content == b"some rows"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"no form at all", None),
        (END, "file"),
        (PURPOSE + END, "file"),
        (FILE + END, "purpose"),
        (FILE + PURPOSE, None),
        (FILE[:30], None),
        (FILE + FILE + PURPOSE + END, "file"),
        (PURPOSE + PURPOSE + FILE + END, "purpose"),
        (FILE + part("purpose", b"world-domination") + END, "purpose"),
        (FILE + part("purpose", b"\xff\0") + END, "purpose"),
        (FILE + part("purpose", b"x" * 5000) + END, "purpose"),
        (part("file", b"rows") + PURPOSE + END, "file"),
        (part("file", b"", '; filename="empty"') + PURPOSE + END, "file"),
        (part("file", b"x", '; filename="../.."') + PURPOSE + END, "file"),
        (FILE + PURPOSE + part("surprise", b"x") + END, "surprise"),
        (FILE + PURPOSE + part("expires_after[anchor]", b"created_at") + END, "expires_after"),
        (FILE + PURPOSE + part("expires_after[seconds]", b"3600") + END, "expires_after"),
        (
            FILE + PURPOSE + part("expires_after[anchor]", b"created_at") + part("expires_after[seconds]", b"1") + END,
            "expires_after",
        ),
        (b"".join(part(f"x{n}", b"") for n in range(50)) + END, "x0"),
    ],
)
def test_a_wrong_form_is_refused_and_leaves_nothing(
    client: TestClient, tmp_path: Path, body: bytes, param: str | None
) -> None:
    answer = post(client, body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert client.get("files").json()["data"] == []
    assert list((tmp_path / "incoming").iterdir()) == list((tmp_path / "files").iterdir()) == []


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=" + "x" * 300]
)
def test_a_body_that_is_no_form_is_refused(client: TestClient, content_type: str) -> None:
    assert post(client, FILE + PURPOSE + END, {"content-type": content_type}).status_code == 400


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("train.jsonl", "train.jsonl"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/absolute/path.jsonl", "path.jsonl"),
        ("a\0b\r\n.jsonl", "ab.jsonl"),
        ("say %22hi%22.jsonl", 'say "hi".jsonl'),
        ("données.jsonl", "données.jsonl"),
        ("x" * 300, "x" * 255),
    ],
)
def test_a_name_keeps_its_last_part_only(name: str, kept: str) -> None:
    assert safe_name(name) == kept


@pytest.mark.parametrize("name", ["", "..", ".", "a/..", "/", "\0", "   "])
def test_a_name_of_which_nothing_is_left_is_refused(name: str) -> None:
    with pytest.raises(Problem, match="needs a name"):
        safe_name(name)


def test_the_bytes_lie_under_a_name_of_our_own(client: TestClient, tmp_path: Path) -> None:
    file_id = upload(client, b"x", "../../outside.jsonl")
    assert [path.name for path in (tmp_path / "files").iterdir()] == [file_id]
    assert client.get(f"files/{file_id}").json()["filename"] == "outside.jsonl"


def test_a_large_file_goes_through_little_memory(store: Store) -> None:
    piece = os.urandom(1 << 20)

    def body() -> Iterator[bytes]:
        yield PURPOSE + part("file", b"", '; filename="big"')[:-2]
        for _ in range(48):
            yield piece
        yield b"\r\n" + END

    with files.incoming(store) as target:
        form = Form(HEADERS["content-type"], target, 1 << 30)
        tracemalloc.start()
        for chunk in body():
            form.feed(chunk)
        (_, peak) = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        form.finish()
        sha256 = target.finish("file-big")
    assert peak < 8 << 20
    assert sha256 == hashlib.sha256(piece * 48).hexdigest()
    assert files.path(store, "file-big").stat().st_size == 48 << 20


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_form_may_come_in_pieces_of_any_size(store: Store, size: int) -> None:
    body = PURPOSE + FILE + END
    with files.incoming(store) as target:
        form = Form(HEADERS["content-type"], target, 1000)
        for start in range(0, len(body), size):
            form.feed(body[start : start + size])
        assert form.finish_upload().filename == "a.jsonl"
        assert target.finish("file-x") == hashlib.sha256(b"some rows").hexdigest()


def test_a_full_disk_ends_an_upload_and_leaves_nothing(store: Store) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(StorageFull), files.incoming(store) as target:
            target.write(bytes(4 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(store.incoming.iterdir()) == []


def test_a_file_that_a_job_needs_cannot_be_deleted_until_it_has_ended(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, speed=1)
    file_id = upload(client)
    job = create(client, file_id, **LASTING)
    answer = client.delete(f"files/{file_id}")
    assert answer.status_code == 409
    assert job["id"] in answer.json()["error"]["message"]
    client.post(f"fine_tuning/jobs/{job['id']}/cancel")
    assert client.delete(f"files/{file_id}").json() == {"id": file_id, "object": "file", "deleted": True}
    assert client.get(f"files/{file_id}").status_code == 404
    assert client.get(f"files/{file_id}/content").status_code == 404


def test_files_are_listed_by_purpose_and_order(client: TestClient) -> None:
    first, second = upload(client, name="1"), upload(client, name="2")
    other = client.post("files", data={"purpose": "batch"}, files={"file": ("3", b"x")}).json()["id"]
    cases = {
        "": [other, second, first],
        "order=asc": [first, second, other],
        "purpose=fine-tune": [second, first],
        "purpose=none-such": [],
        "limit=1": [other],
        f"after={other}&limit=1": [second],
        f"after={first}&order=asc": [second, other],
    }
    for query, expected in cases.items():
        page = client.get(f"files?{query}").json()
        assert [file["id"] for file in page["data"]] == expected, query
        assert page["has_more"] == ("limit" in query)


def test_a_file_may_expire(client: TestClient) -> None:
    body = FILE + PURPOSE + part("expires_after[anchor]", b"created_at") + part("expires_after[seconds]", b"3600") + END
    file = post(client, body).json()
    assert file["expires_at"] == file["created_at"] + 3600


def test_an_upload_over_the_limit_leaves_room_for_the_next(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, settings=Settings(max_file=9))
    assert post(client, FILE + PURPOSE + END).status_code == 200
    big = part("file", b"some rows!", '; filename="a.jsonl"')
    assert post(client, big + PURPOSE + END).status_code == 413
    assert len(list((tmp_path / "files").iterdir())) == 1
