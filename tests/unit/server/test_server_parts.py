"""Uploads in parts: pieces become one file, once, whatever happens in between."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from serving import Serve, ServeProcess, create, reach, rows

from reconciler.server import files, parts
from reconciler.server.context import Settings
from reconciler.server.problems import Problem
from reconciler.server.store import Store

CONTENT = rows(30)
THIRDS = [CONTENT[:400], CONTENT[400:1000], CONTENT[1000:]]
ABOUT = {"filename": "big.jsonl", "purpose": "fine-tune", "mime_type": "application/jsonl"}


def begin(client: Any, size: int = len(CONTENT), **more: Any) -> str:
    answer = client.post("uploads", json={**ABOUT, "bytes": size, **more})
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "pending"
    return str(answer.json()["id"])


def add(client: Any, upload: str, data: bytes) -> str:
    answer = client.post(f"uploads/{upload}/parts", files={"data": ("blob", data)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["upload_id"] == upload
    return str(answer.json()["id"])


def complete(client: Any, upload: str, part_ids: list[str], **more: Any) -> Any:
    return client.post(f"uploads/{upload}/complete", json={"part_ids": part_ids, **more})


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_parts_sent_in_any_order_become_the_file_in_the_order_named(client: TestClient) -> None:
    upload = begin(client)
    last, first, middle = (add(client, upload, THIRDS[i]) for i in (2, 0, 1))
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    done = complete(client, upload, [first, middle, last], md5=md5).json()
    assert (done["status"], done["file"]["bytes"], done["file"]["filename"]) == ("completed", len(CONTENT), "big.jsonl")
    file = done["file"]["id"]
    assert client.get(f"files/{file}/content").content == CONTENT
    assert reach(client, create(client, file)["id"], "succeeded")


def test_the_parts_are_gone_once_the_file_is_there(client: TestClient, tmp_path: Path) -> None:
    upload = begin(client)
    file = complete(client, upload, [add(client, upload, CONTENT)]).json()["file"]["id"]
    assert [p.name for p in (tmp_path / "files").iterdir()] == [file]
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_part_that_is_not_named_is_left_out(client: TestClient) -> None:
    """A client whose answer was lost has sent a part twice."""
    upload = begin(client)
    add(client, upload, THIRDS[0])
    named = [add(client, upload, third) for third in THIRDS]
    file = complete(client, upload, named).json()["file"]["id"]
    assert client.get(f"files/{file}/content").content == CONTENT


def test_an_upload_is_completed_once(client: TestClient) -> None:
    upload = begin(client)
    part = add(client, upload, CONTENT)
    assert complete(client, upload, [part]).status_code == 200
    assert code(complete(client, upload, [part])) == (400, "upload_completed")
    assert code(client.post(f"uploads/{upload}/cancel")) == (400, "upload_completed")
    assert len(client.get("files").json()["data"]) == 1


def test_of_several_completions_at_once_one_makes_the_file(store: Store) -> None:
    with store.write() as db:
        upload = parts.begin(db, parts.Begun(len(CONTENT), "a", "fine-tune", None), now=0)["id"]
    with files.incoming(store) as target:
        target.write(CONTENT)
        target.finish("part_1")
    with store.write() as db:
        parts.add(db, upload, "part_1", len(CONTENT), now=0)
    ends: list[str] = []

    def attempt() -> None:
        try:
            ends.append(parts.complete(store, upload, ["part_1"], None, now=0)["status"])
        except Problem as problem:
            ends.append(str(problem.code))

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends.count("completed") == 1
    assert set(ends) <= {"completed", "upload_completed", "upload_ended"}
    with store.read() as db:
        assert len(files.page(db, limit=10, after=None, purpose=None, order="asc").texts) == 1


@pytest.mark.parametrize(
    ("named", "more", "expected"),
    [
        (["part_none"], {}, "invalid_part"),
        ([""], {}, "invalid_part"),
        (["mine", "mine"], {}, "invalid_part"),
        (["other"], {}, "invalid_part"),
        (["short"], {}, "invalid_size"),
        (["mine"], {"md5": "0" * 32}, "invalid_checksum"),
        (["mine"], {"md5": "no"}, "invalid_value"),
        ([], {}, "invalid_value"),
    ],
)
def test_what_does_not_fit_together_makes_no_file(
    client: TestClient, named: list[str], more: dict[str, str], expected: str
) -> None:
    upload, another = begin(client), begin(client)
    ids = {
        "mine": add(client, upload, CONTENT),
        "short": add(client, upload, THIRDS[0]),
        "other": add(client, another, CONTENT),
    }
    assert code(complete(client, upload, [ids.get(n, n) for n in named], **more)) == (400, expected)
    assert client.get("files").json()["data"] == []
    assert complete(client, upload, [ids["mine"]]).status_code == 200


def test_a_cancelled_upload_takes_nothing_more_and_keeps_nothing(client: TestClient, tmp_path: Path) -> None:
    upload = begin(client)
    part = add(client, upload, CONTENT)
    assert client.post(f"uploads/{upload}/cancel").json()["status"] == "cancelled"
    refused = client.post(f"uploads/{upload}/parts", files={"data": b"x"})
    assert code(refused) == (400, "upload_cancelled")
    assert code(complete(client, upload, [part])) == (400, "upload_cancelled")
    assert list((tmp_path / "files").iterdir()) == []


@pytest.mark.parametrize("path", ["parts", "complete", "cancel"])
def test_an_upload_nobody_began_is_unknown(client: TestClient, path: str) -> None:
    body: dict[str, Any] = {"files": {"data": b"x"}} if path == "parts" else {"json": {"part_ids": ["a"]}}
    assert code(client.post(f"uploads/upload_none/{path}", **body)) == (404, "not_found")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"bytes": 0}, "invalid_value"),
        ({"bytes": 9 * 2**30}, "file_too_large"),
        ({"bytes": True}, "invalid_value"),
        ({"purpose": "world-domination"}, "invalid_value"),
        ({"filename": "../.."}, "invalid_value"),
        ({"filename": ""}, "invalid_value"),
        ({"mime_type": None}, "invalid_value"),
        ({"surprise": 1}, "invalid_value"),
        ({"expires_after": {"anchor": "created_at", "seconds": 5}}, "invalid_value"),
    ],
)
def test_a_wrong_beginning_is_refused(client: TestClient, change: dict[str, Any], expected: str) -> None:
    assert code(client.post("uploads", json={**ABOUT, "bytes": 10, **change})) == (400, expected)


def test_an_upload_may_give_its_file_an_end(client: TestClient) -> None:
    upload = begin(client, expires_after={"anchor": "created_at", "seconds": 3600})
    file = complete(client, upload, [add(client, upload, CONTENT)]).json()["file"]
    assert file["expires_at"] == file["created_at"] + 3600


def test_parts_have_a_largest_size_and_an_upload_has_room_for_twice_itself(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, settings=Settings(max_part=1000))
    upload = begin(client, size=900)
    assert client.post(f"uploads/{upload}/parts", files={"data": bytes(1001)}).status_code == 413
    assert code(client.post(f"uploads/{upload}/parts", files={"data": bytes(901)})) == (400, "upload_too_large")
    add(client, upload, bytes(900))
    add(client, upload, bytes(900))
    assert code(client.post(f"uploads/{upload}/parts", files={"data": b"x"})) == (400, "upload_too_large")


def test_a_part_needs_data_and_nothing_else(client: TestClient) -> None:
    upload = begin(client)
    for form in ({"file": b"x"}, {"data": b""}, {"data": b"x", "purpose": b"y"}):
        assert client.post(f"uploads/{upload}/parts", files=form).status_code == 400


def test_an_upload_that_has_expired_is_given_up_and_later_forgotten(store: Store) -> None:
    with store.write() as db:
        upload = parts.begin(db, parts.Begun(3, "a", "fine-tune", None), now=0)["id"]
    with files.incoming(store) as target:
        target.write(b"abc")
        target.finish("part_1")
    with store.write() as db:
        parts.add(db, upload, "part_1", 3, now=0)
    parts.sweep(store, parts.LIFETIME - 1)
    assert files.path(store, "part_1").exists()
    with store.read() as db, pytest.raises(Problem, match="expired"):
        parts.pending(db, upload, now=parts.LIFETIME)
    parts.sweep(store, parts.LIFETIME)
    assert not files.path(store, "part_1").exists()
    with store.read() as db, pytest.raises(Problem, match="expired"):
        parts.pending(db, upload, now=0)
    parts.sweep(store, parts.LIFETIME + 90_000)
    with store.read() as db, pytest.raises(Problem, match="No such upload"):
        parts.pending(db, upload, now=0)


def test_a_kill_between_the_parts_loses_none_of_them(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as server:
        upload = begin(server.client)
        before = [add(server.client, upload, third) for third in THIRDS[:2]]
        server.kill()
        server.start()
        done = complete(server.client, upload, [*before, add(server.client, upload, THIRDS[2])]).json()
        assert server.client.get(f"files/{done['file']['id']}/content").content == CONTENT
