"""Hours of a watch in virtual time: faults, edits and people at random, and nothing missed or bought twice."""

from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.client import Client
from reconciler.api.types import Job, Page
from reconciler.observe.made import Made
from reconciler.spec.desired import Desired
from reconciler.spec.policy import Policy

from .clock import VirtualLoop
from .server import Course, Quirks
from .soak import soak
from .specs import Want, write_files
from .watching import begin
from .world import Parts, Town


@pytest.mark.parametrize("seed", [0, 29])  # 29: a list that lags, while some creates fail
def test_half_an_hour_of_trouble_ends_with_every_edit_followed(seed: int, tmp_path: Path) -> None:
    assert soak(seed, write_files(tmp_path), tmp_path, hours=0.5).record.broken == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twelve_hours_of_trouble_do(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    broken = {seed: soak(seed, files, tmp_path).record.broken for seed in range(1, 13)}
    assert {seed: words for seed, words in broken.items() if words} == {}


class Forgets(Client):
    """Takes an empty page for every listing."""

    async def jobs_page(self, *args: Any, **kwargs: Any) -> Page[Job]:
        page = await super().jobs_page(*args, **kwargs)
        return page.model_copy(update={"data": [], "has_more": False})


class ForgetsWhatItMade(Made):
    """Leaves a job that was made to the next list."""

    def add(self, job_id: str) -> None: ...


def _missing_edits() -> Parts:
    known: dict[str, Desired] = {}
    return Parts(reads=lambda spec: known.setdefault(spec.name, spec))


@pytest.mark.parametrize(
    ("plant", "caught"),
    [
        (lambda: Parts(client=Forgets, made=ForgetsWhatItMade), "what a listing showed is not created again"),
        (_missing_edits, "every spec has what it asks for"),
    ],
    ids=["forgets what there is", "misses edits"],
)
def test_a_watch_with_a_planted_bug_is_caught(plant: Callable[[], Parts], caught: str, tmp_path: Path) -> None:
    files = write_files(tmp_path)
    worlds = (soak(seed, files, tmp_path, 0.2, plant()) for seed in range(10))
    assert any(words.startswith(caught) for town in worlds for words in town.record.broken)


def _grown(root: Path, rest: float) -> int:
    """Let a watch rest for so many seconds; return by how many bytes the program's memory grew."""

    async def live() -> int:
        town = Town(random.Random(1), write_files(root), root, Quirks(lag=0.0), Policy())
        town.server.course = lambda: Course(queued=1, trains=20)
        town.repository.versions.append({name: Want(seed=n % 3, data=n // 3) for n, name in enumerate("abcdef")})
        watching = begin(town)
        await asyncio.sleep(3600)
        before = _held()
        await asyncio.sleep(rest)
        after = _held()
        await watching.end()
        return after - before

    tracemalloc.start()
    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(live())
    finally:
        tracemalloc.stop()


def _held() -> int:
    gc.collect()
    ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/reconciler/*")])
    return sum(each.size for each in ours.statistics("filename"))


@pytest.mark.slow
def test_memory_does_not_grow_while_a_watch_rests(tmp_path: Path) -> None:
    assert _grown(tmp_path, 3 * 3600) < 10_000
