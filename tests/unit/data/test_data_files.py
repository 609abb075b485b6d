"""Training files: read once, believed only when they stood still."""

from __future__ import annotations

import hashlib
import os
import threading
import tracemalloc
from pathlib import Path

import pytest

from reconciler.cache import Cache
from reconciler.data.files import DataFiles, FileFacts
from reconciler.errors import DataError

ROW = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
LONG_AGO = 1_600_000_000_000_000_000


def old(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return str(path)


def test_a_file_is_known_by_its_digest_size_and_rows(tmp_path: Path) -> None:
    content = ROW * 12 + b"\n \n"
    facts = DataFiles(tmp_path).inspect(old(tmp_path / "a.jsonl", content), "supervised")
    assert facts == FileFacts(hashlib.sha256(content).hexdigest(), len(content), 12)


@pytest.mark.parametrize(
    ("content", "line", "said", "rows"),
    [
        (ROW * 9, 9, "the file ends after 9 rows", 9),
        (ROW * 5 + b"{}\n" + ROW * 5, 6, "'messages' is missing", 11),
        (ROW * 10 + b"{nonsense", 11, "is not valid JSON", 11),
        (b"\xff\n" + ROW * 10, 1, "is not UTF-8", 11),
    ],
)
def test_odd_rows_are_told_and_the_digest_is_of_the_whole_file(
    content: bytes, line: int, said: str, rows: int, tmp_path: Path
) -> None:
    facts = DataFiles(tmp_path).inspect(old(tmp_path / "a.jsonl", content), "supervised")
    assert (facts.odd_line, facts.odd.startswith(said)) == (line, True)
    assert (facts.rows, facts.digest) == (rows, hashlib.sha256(content).hexdigest())


def test_rows_are_judged_by_method_and_by_how_many_are_needed(tmp_path: Path) -> None:
    path = old(tmp_path / "a.jsonl", ROW)
    files = DataFiles(tmp_path)
    assert files.inspect(path, "supervised", minimum=1).odd == ""
    assert "at least 10" in files.inspect(path, "supervised").odd
    assert files.inspect(path, "dpo", minimum=1).odd != ""


def test_what_is_no_training_file_is_said_as_just_that(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside.jsonl"
    root.mkdir()
    outside.write_bytes(ROW)
    (root / "empty").touch()
    (root / "lfs").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    (root / "link").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    said = {}
    for name in ("none", "empty", ".", "lfs", "link", "../outside.jsonl", "pipe", "loop", "empty/below", "a\0b"):
        with pytest.raises(DataError) as caught:
            DataFiles(root).inspect(f"{root}/{name}", "supervised")
        said[name] = caught.value.message
    assert said == {
        "none": "does not exist",
        "empty": "is empty",
        ".": "is a directory, not a file",
        "lfs": "is a Git LFS pointer whose content was never fetched; run: git lfs pull",
        "link": "is a symlink that leaves the repository",
        "../outside.jsonl": "leaves the repository",
        "pipe": "is not a regular file",
        "loop": "cannot be read: Too many levels of symbolic links",
        "empty/below": "cannot be read: Not a directory",
        "a\0b": "is no path: it holds a NUL byte",
    }


def test_a_symlink_within_the_repository_is_followed(tmp_path: Path) -> None:
    old(tmp_path / "a.jsonl", ROW * 10)
    (tmp_path / "b.jsonl").symlink_to("a.jsonl")
    assert DataFiles(tmp_path).inspect(str(tmp_path / "b.jsonl"), "supervised").rows == 10


def test_a_row_without_end_is_refused_before_it_fills_memory(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.truncate(200_000_000)
    tracemalloc.start()
    with pytest.raises(DataError, match="more than 32 MB"):
        DataFiles(tmp_path).inspect(str(tmp_path / "a.jsonl"), "supervised")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000


def test_a_file_is_read_once_however_many_specs_name_it(tmp_path: Path) -> None:
    path = old(tmp_path / "a.jsonl", ROW * 10)
    files = DataFiles(tmp_path)
    before = files.inspect(path, "supervised")
    Path(path).unlink()
    assert files.inspect(path, "supervised") is before


def test_a_fault_is_told_each_time(tmp_path: Path) -> None:
    files = DataFiles(tmp_path)
    for _ in range(2):
        with pytest.raises(DataError, match="does not exist"):
            files.inspect(str(tmp_path / "a.jsonl"), "supervised")


def tampered(path: Path, content: bytes) -> None:
    """Change content and keep size and times: only a cache would not notice."""
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(LONG_AGO, LONG_AGO))


@pytest.mark.parametrize(
    ("age", "again", "known"),
    [(3_000_000_000, "supervised", True), (1_000_000_000, "supervised", False), (3_000_000_000, "dpo", False)],
    ids=["settled", "just written", "another method"],
)
def test_what_was_learnt_of_a_settled_file_is_remembered(age: int, again: str, known: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    old(path, ROW * 10)
    cache = Cache(tmp_path / "cache.db")
    files = DataFiles(tmp_path, cache, now=lambda: LONG_AGO + age)
    before = files.inspect(str(path), "supervised")
    files.save()
    tampered(path, ROW.replace(b'"a"', b'"z"'))
    after = DataFiles(tmp_path, cache, now=lambda: LONG_AGO + age).inspect(str(path), again)  # type: ignore[arg-type]
    cache.close()
    assert (after.digest == before.digest) is known


@pytest.mark.parametrize("entry", [None, 7, [], [[], {}], [[1], {"digest": 1}], "x"])
def test_a_damaged_cache_is_not_believed(entry: object, tmp_path: Path) -> None:
    path = old(tmp_path / "a.jsonl", ROW * 10)
    cache = Cache(tmp_path / "cache.db")
    cache.store("data-file/2", {f"supervised/10:{path}": entry})
    assert DataFiles(tmp_path, cache).inspect(path, "supervised").rows == 10
    cache.close()


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    old(path, ROW * 10)
    cache = Cache(tmp_path / "cache.db")
    files = DataFiles(tmp_path, cache)
    files.inspect(str(path), "supervised")
    files.save()
    old(path, ROW * 11)
    assert DataFiles(tmp_path, cache).inspect(str(path), "supervised").rows == 11
    cache.close()


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    old(path, ROW * 20_000)
    done = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not done.is_set():
                file.write(ROW)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with pytest.raises(DataError, match="changed while it was read"):
            DataFiles(tmp_path).inspect(str(path), "supervised")
    finally:
        done.set()
        writer.join()
