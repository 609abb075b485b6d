"""The cache is forgetful, never wrong, and never an error."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.cache import Cache


def reopened(path: Path) -> dict[str, object]:
    with closing(Cache(path)) as cache:
        return cache.load("kind")


def test_what_was_stored_is_there_for_the_next_command(tmp_path: Path) -> None:
    path = tmp_path / ".reconciler" / "cache.db"
    with closing(Cache(path)) as cache:
        cache.store("kind", {"a": [1, None, "ü"], "b": {"c": True}})
        cache.store("other", {"a": 2})
    assert reopened(path) == {"a": [1, None, "ü"], "b": {"c": True}}


def test_replacing_forgets_the_others_of_a_kind(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with closing(Cache(path)) as cache:
        cache.store("kind", {"a": 1, "b": 2})
        cache.store("other", {"a": 3})
        cache.store("kind", {"b": 4}, replace=True)
        assert cache.load("other") == {"a": 3}
    assert reopened(path) == {"b": 4}


def test_what_is_forgotten_is_gone_and_the_rest_of_its_kind_stays(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with closing(Cache(path)) as cache:
        cache.store("kind", {"a": 1, "b": 2, "c": 3})
        cache.store("other", {"a": 4})
        cache.forget("kind", ["a", "c", "nothing"])
        cache.forget("nothing", ["a"])
        assert cache.load("other") == {"a": 4}
    assert reopened(path) == {"b": 2}


@pytest.mark.parametrize("damage", ["all of it", "its end", "its middle", "all but its head"])
def test_a_damaged_file_is_begun_anew(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with closing(Cache(path)) as cache:
        cache.store("kind", {str(i): "x" * 500 for i in range(500)})
    whole = path.read_bytes()
    page = 4096
    path.write_bytes(
        {
            "all of it": b"this is no database" * 1000,
            "its end": whole[: len(whole) // 2],
            "its middle": whole[:page] + b"\xff" * 2 * page + whole[3 * page :],
            "all but its head": whole[:page] + bytes(len(whole) - page),
        }[damage]
    )
    with closing(Cache(path)) as cache:
        assert cache.load("kind") == {}
        cache.store("kind", {"a": 1})
        assert cache.load("kind") == {"a": 1}
    assert reopened(path) == {"a": 1}


def test_a_place_that_cannot_be_written_is_forgotten_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with closing(Cache(tmp_path / "file" / "cache.db")) as cache:
        cache.store("kind", {"a": 1})
        assert cache.load("kind") == {}


def test_no_path_caches_nothing() -> None:
    with closing(Cache(None)) as cache:
        cache.store("kind", {"a": 1})
        assert cache.load("kind") == {}


def test_a_cache_of_another_version_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with closing(Cache(path)) as cache:
        cache.store("kind", {"a": 1})
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 9999")
        db.commit()
    assert reopened(path) == {}


def test_git_is_told_to_ignore_the_directory(tmp_path: Path) -> None:
    path = tmp_path / ".reconciler" / "cache.db"
    reopened(path)
    assert path.with_name(".gitignore").read_text() == "*\n"
