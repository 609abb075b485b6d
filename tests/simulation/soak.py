"""One seed is one hour: a watch in a world in trouble, then left in peace, then judged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

from reconciler.spec.desired import DataFile

from .clock import VirtualLoop
from .schedule import at_rest, edits, make_town, meddles, weather
from .verdict import judge
from .watching import Watching, begin
from .world import REAL, Parts, Town

HOUR = 3600.0
PEACE = 2 * HOUR
"""Seconds in which a watch that is left alone comes to rest, whatever it had to wait for."""


def soak(seed: int, files: Sequence[DataFile], root: Path, hours: float = 1.0, parts: Parts = REAL) -> Town:
    """Play so many hours of trouble, and return the world they ended in."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_live(seed, files, root, hours, parts))


async def _live(seed: int, files: Sequence[DataFile], root: Path, hours: float, parts: Parts) -> Town:
    town = make_town(random.Random(seed), files, root, parts)
    # A job that people cancel again and again is started only so often; what is wanted here is rest.
    town.policy = town.policy.model_copy(update={"on_cancelled": "block"})
    town.repository.add()
    watching = begin(town)
    tempo = town.chance.choice((1, 4, 10))
    tasks = [asyncio.ensure_future(actor(town, tempo)) for actor in (edits, meddles)]
    tasks += [asyncio.ensure_future(weather(town)), asyncio.ensure_future(_stirs(watching))]
    await asyncio.sleep(hours * HOUR)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    town.faults.rate = 0.0
    watching.watch.stirred()
    await asyncio.sleep(PEACE)
    rests = await at_rest(town)
    town.record.check("a watch comes to rest", holds=rests, words="\n".join(watching.lines[-20:]))
    alive = watching.task is not None and not watching.task.done()
    town.record.check("a watch ends only when asked", holds=alive, words=f"{watching.task}")
    await watching.end()
    judge(town.record, {spec.name: spec for spec in town.desired}, town.policy)
    return town


async def _stirs(watching: Watching) -> None:
    """The file system says more than there is to say."""
    while True:
        await asyncio.sleep(watching.town.chance.uniform(0.1, 20))
        watching.watch.stirred()
