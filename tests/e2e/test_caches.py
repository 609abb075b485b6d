"""The cache may be deleted, damaged or unusable at any time: the plan is the same."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from program import Repo
from recording import Recording, recording


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    with recording(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, server: Recording) -> tuple[Repo, str]:
    """A repository with jobs of every kind, and its plan."""
    repo = Repo.make(tmp_path_factory.mktemp("planned") / "repo", server.url)
    repo.spec("done")
    repo.spec("failed", model="simulated-fail")
    repo.spec("edited")
    repo.apply("--wait", code=1)
    repo.spec("edited", seed=2)
    repo.spec("new")
    return repo, repo.plan().out


def delete(cache: Path) -> None:
    cache.unlink()


def garble(cache: Path) -> None:
    cache.write_bytes(b"\x00garbage" * 1000)


def cut_short(cache: Path) -> None:
    data = cache.read_bytes()
    cache.write_bytes(data[: len(data) // 2])


def forget_half(cache: Path) -> None:
    with closing(sqlite3.connect(cache)) as db:
        db.execute("DELETE FROM cache WHERE key < 'ftjob-M'")
        db.commit()


def spoil_values(cache: Path) -> None:
    with closing(sqlite3.connect(cache)) as db:
        db.execute("UPDATE cache SET value = '[1, {}]'")
        db.commit()


def another_version(cache: Path) -> None:
    with closing(sqlite3.connect(cache)) as db:
        db.execute("PRAGMA user_version = 99")


def a_directory_in_its_place(cache: Path) -> None:
    cache.unlink()
    cache.mkdir()


def a_file_in_place_of_its_directory(cache: Path) -> None:
    shutil.rmtree(cache.parent)
    cache.parent.write_text("not a directory")


@pytest.mark.parametrize(
    "damage",
    [
        delete,
        garble,
        cut_short,
        forget_half,
        spoil_values,
        another_version,
        a_directory_in_its_place,
        a_file_in_place_of_its_directory,
    ],
)
def test_the_plan_is_the_same_with_any_cache(
    tmp_path: Path, planned: tuple[Repo, str], server: Recording, damage: Callable[[Path], None]
) -> None:
    shutil.copytree(planned[0].root, tmp_path / "repo")
    repo = Repo(tmp_path / "repo", server.url)
    damage(repo.root / ".reconciler" / "cache.db")
    assert repo.plan().out == planned[1]


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, planned: tuple[Repo, str], server: Recording
) -> None:
    shutil.copytree(planned[0].root, tmp_path / "repo")
    state = tmp_path / "repo" / ".reconciler"
    for path in (*state.iterdir(), state):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        done = Repo(tmp_path / "repo", server.url).plan()
        assert done.out == planned[1]
        assert "cache" not in done.err
    finally:
        state.chmod(0o700)


def test_with_a_warm_cache_an_idle_plan_is_one_request(tmp_path: Path) -> None:
    with recording(tmp_path / "server") as server:
        repo = Repo.make(tmp_path / "repo", server.url)
        repo.spec("a", matrix={"seed": list(range(5))})
        repo.apply("--wait")
        server.forget()
        repo.plan()
        assert server.recorder.requests == [("GET", "/v1/fine_tuning/jobs")]
