"""Rows added and removed: counted where both files can be read whole, and left out where anything is wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest
from fleet import REVISION, Fleet, Live

from reconciler.cache import Cache
from reconciler.observe import rows
from reconciler.observe.read import observe
from reconciler.observe.rows import Pair, changed_rows
from reconciler.observe.state import FileInfo
from reconciler.spec.desired import DataFile, Desired


class Shelf(Fleet):
    """Jobs, and files with content. ``faults`` maps a file's id to the status that its content is answered with."""

    def __init__(self, *jobs: Live, **contents: bytes) -> None:
        super().__init__(*jobs)
        self.contents = contents
        self.faults: dict[str, int] = {}
        for file_id, content in contents.items():
            about = {"id": file_id, "created_at": 1, "filename": "old.jsonl", "bytes": len(content)}
            self.documents[f"/files/{file_id}"] = about

    def __call__(self, request: httpx.Request) -> httpx.Response:
        file_id = request.url.path.removeprefix("/v1/files/").removesuffix("/content")
        if not request.url.path.endswith("/content"):
            return super().__call__(request)
        self.calls.append(f"content {file_id}")
        if file_id in self.faults or file_id not in self.contents:
            return self.answer({"error": {"message": "no"}}, self.faults.get(file_id, 404))
        return httpx.Response(200, content=self.contents[file_id])


def stored(root: Path, content: bytes, path: str = "train.jsonl") -> DataFile:
    (root / path).write_bytes(content)
    return DataFile(path, hashlib.sha256(content).hexdigest(), len(content), content.count(b"\n"))


async def count(
    shelf: Shelf, root: Path, new: DataFile, old: FileInfo | None = None, cache: Cache | None = None
) -> tuple[int, int] | None:
    pair = Pair("old", old or FileInfo("old.jsonl", len(shelf.contents.get("old", b""))), new)
    async with shelf.client() as client:
        return (await changed_rows(client, root, [pair], cache or Cache(None))).get(pair.key)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"a\nb\n", b"a\nb\nc\n", (1, 0)),
        (b"a\nb\n", b"b\n", (0, 1)),
        (b"a\nb\nc\n", b"c\nb\na\n", (0, 0)),
        (b"a\na\nb\n", b"a\nb\nb\n", (1, 1)),
        (b"a\nb", b"a\nb\n", (0, 0)),
        (b"a\r\nb\r\n", b"a\nb\n", (0, 0)),
        (b"a\n\n  \n", b"a\n", (0, 0)),
        (b"a \n", b"a\n", (1, 1)),
        (b"", b"a\n", (1, 0)),
    ],
)
async def test_rows_are_compared_as_a_whole_whatever_their_order(
    old: bytes, new: bytes, expected: tuple[int, int], tmp_path: Path
) -> None:
    assert await count(Shelf(old=old), tmp_path, stored(tmp_path, new)) == expected


async def test_rows_that_come_in_many_pieces_are_whole() -> None:
    taken = rows._Rows()
    for byte in b"one\ntwo\nthree":
        taken.take(bytes([byte]))
    taken.end()
    assert taken.rows.total() == 3
    assert taken.digest.hexdigest() == hashlib.sha256(b"one\ntwo\nthree").hexdigest()


@pytest.mark.parametrize("status", [403, 404, 429, 500])
async def test_an_old_file_that_cannot_be_read_leaves_the_numbers_out(status: int, tmp_path: Path) -> None:
    shelf = Shelf(old=b"a\n")
    shelf.faults["old"] = status
    assert await count(shelf, tmp_path, stored(tmp_path, b"b\n")) is None
    assert shelf.calls == ["content old"]


@pytest.mark.parametrize(
    "old",
    [
        FileInfo("old.jsonl", 5),  # a part of it came
        FileInfo(f"old.{'0' * 16}.jsonl", 2),  # its name tells of other content
    ],
)
async def test_an_old_file_that_is_not_what_it_should_be_leaves_the_numbers_out(old: FileInfo, tmp_path: Path) -> None:
    assert await count(Shelf(old=b"a\n"), tmp_path, stored(tmp_path, b"b\n"), old) is None


async def test_an_old_file_without_a_size_is_read(tmp_path: Path) -> None:
    assert await count(Shelf(old=b"a\n"), tmp_path, stored(tmp_path, b"b\n"), FileInfo("x", None)) == (1, 1)


async def test_a_new_file_that_changed_or_is_gone_leaves_the_numbers_out(tmp_path: Path) -> None:
    new = stored(tmp_path, b"b\n")
    (tmp_path / "train.jsonl").write_bytes(b"c\n")
    assert await count(Shelf(old=b"a\n"), tmp_path, new) is None
    (tmp_path / "train.jsonl").unlink()
    assert await count(Shelf(old=b"a\n"), tmp_path, new) is None


async def test_files_that_are_too_large_are_not_even_asked_for(tmp_path: Path) -> None:
    shelf = Shelf(old=b"a\n")
    assert await count(shelf, tmp_path, stored(tmp_path, b"b\n"), FileInfo("x", rows.MOST_BYTES + 1)) is None
    assert await count(shelf, tmp_path, DataFile("train.jsonl", "0" * 64, rows.MOST_BYTES + 1, 1)) is None
    assert await count(shelf, tmp_path, DataFile("train.jsonl", "0" * 64, 9, rows.MOST_ROWS + 1)) is None
    assert shelf.calls == []


async def test_a_file_of_unknown_size_is_given_up_once_it_is_too_large(tmp_path: Path) -> None:
    shelf = Shelf(old=b"a" * (rows.MOST_BYTES + 1))
    assert await count(shelf, tmp_path, stored(tmp_path, b"b\n"), FileInfo("x", None)) is None


async def test_a_file_of_too_many_rows_is_given_up(tmp_path: Path) -> None:
    shelf = Shelf(old=b"a\n" * (rows.MOST_ROWS + 1))
    assert await count(shelf, tmp_path, stored(tmp_path, b"b\n")) is None


async def test_what_was_counted_is_not_counted_again(tmp_path: Path) -> None:
    shelf, cache = Shelf(old=b"a\n"), Cache(tmp_path / "cache.db")
    new = stored(tmp_path, b"b\n")
    assert await count(shelf, tmp_path, new, cache=cache) == (1, 1)
    assert await count(shelf, tmp_path, new, cache=cache) == (1, 1)
    assert shelf.calls == ["content old"]
    cache.store("rows/1 https://host.test/v1 None None", {f"old {new.digest}": "damaged"})
    assert await count(shelf, tmp_path, new, cache=cache) == (1, 1)
    cache.close()


async def test_a_failure_is_not_remembered(tmp_path: Path) -> None:
    shelf, cache = Shelf(old=b"a\n"), Cache(tmp_path / "cache.db")
    new = stored(tmp_path, b"b\n")
    shelf.faults["old"] = 500
    assert await count(shelf, tmp_path, new, cache=cache) is None
    shelf.faults.clear()
    assert await count(shelf, tmp_path, new, cache=cache) == (1, 1)
    cache.close()


async def test_an_observation_counts_what_takes_the_place_of_the_newest_job_s_data(tmp_path: Path) -> None:
    job = Live("old-job", 5, revision=f"{'f' * 16}.1", more={"training_file": "old", "validation_file": "same"})
    same = stored(tmp_path, b"v\n", "valid.jsonl")
    shelf = Shelf(job, old=b"a\n", same=b"v\n")
    shelf.documents["/files/same"]["filename"] = f"valid.{same.digest[:16]}.jsonl"
    new = stored(tmp_path, b"a\nb\n")
    spec = Desired("triage", REVISION, "m", new, same)
    async with shelf.client() as client:
        with_root = await observe(
            client, job.owner or "", [spec], cache=Cache(None), now=lambda: shelf.now, root=tmp_path
        )
        without = await observe(client, job.owner or "", [spec], cache=Cache(None), now=lambda: shelf.now)
    assert with_root.rows == {("old", new.digest): (1, 0)}
    assert without.rows == {}
    assert shelf.calls.count("content old") == 1
    assert "content same" not in shelf.calls
