"""The file system's word, on real files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reconciler.watch.notice import Notice


@contextlib.asynccontextmanager
async def noticing(*paths: Path) -> AsyncIterator[tuple[asyncio.Event, Notice]]:
    changed = asyncio.Event()
    unable: list[str] = []
    notice = Notice(lambda: map(str, paths), changed.set, unable.append)
    await notice.arm()
    changed.clear()
    yield changed, notice
    await notice.close()
    assert unable == []


async def test_what_happened_before_it_watches_is_unknown(tmp_path: Path) -> None:
    said: list[str] = []
    notice = Notice(lambda: [str(tmp_path)], lambda: said.append("changed"), said.append)
    for _ in range(2):
        await notice.arm()
        assert said == ["changed"]  # the second time it goes on watching the same
    await notice.close()


@pytest.mark.parametrize("name", ["a.yaml", "deep/er/b.yaml"])
async def test_what_happens_below_a_directory_is_noticed(tmp_path: Path, name: str) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    async with noticing(tmp_path) as (changed, _):
        (tmp_path / name).write_text("x")
        async with asyncio.timeout(30):
            await changed.wait()


async def test_a_file_replaced_by_a_rename_is_noticed_time_and_again(tmp_path: Path) -> None:
    file = tmp_path / "reconciler.yaml"
    file.write_text("0")
    async with noticing(file) as (changed, notice):
        for n in range(3):
            changed.clear()
            (tmp_path / "new").write_text(str(n))
            (tmp_path / "new").replace(file)
            async with asyncio.timeout(30):
                await changed.wait()
            await notice.arm()


async def test_a_directory_made_anew_is_watched_again(tmp_path: Path) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    async with noticing(specs) as (changed, notice):
        specs.rmdir()
        await notice.arm()
        specs.mkdir()
        await notice.arm()
        changed.clear()
        (specs / "a.yaml").write_text("x")
        async with asyncio.timeout(30):
            await changed.wait()


async def test_a_directory_made_anew_in_a_moment_is_watched_again(tmp_path: Path) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    async with noticing(specs) as (changed, notice), asyncio.timeout(30):
        specs.rmdir()
        specs.mkdir()  # on many disks with the number that the other one had
        await changed.wait()
        await notice.arm()
        changed.clear()
        (specs / "a.yaml").write_text("x")
        await changed.wait()


async def test_git_and_our_own_state_are_not_noticed(tmp_path: Path) -> None:
    for name in (".git", ".reconciler"):
        (tmp_path / name).mkdir()
    async with noticing(tmp_path) as (changed, _):
        (tmp_path / ".git/index").write_text("x")
        (tmp_path / ".reconciler/cache.db").write_text("x")
        await asyncio.sleep(0.4)
        assert not changed.is_set()
