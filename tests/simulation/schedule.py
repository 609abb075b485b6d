"""One seed is one schedule: a world in trouble for some minutes, then left in peace, then judged."""

from __future__ import annotations

import asyncio
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.cache import Cache
from reconciler.spec.desired import DataFile
from reconciler.spec.policy import MaxActive, Policy

from .clock import VirtualLoop
from .rules import is_for
from .server import LiveJob, Quirks
from .specs import write_files
from .verdict import judge
from .world import REAL, Machine, Manner, MemoryCache, Parts, Town

MOST_ROUNDS = 4
"""How many runs of ``apply --wait`` a world without faults needs at most."""
MOST_STEPS = 20
"""How many runs of ``apply`` it needs at most."""
A_WHILE = 150.0
"""Seconds between runs, in which any job that goes on comes to its end."""


@dataclass
class Result:
    """What came of one schedule, or of many. ``broken`` holds what did not hold, by seed."""

    schedules: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    rounds: Counter[str] = field(default_factory=Counter)
    broken: dict[int, list[str]] = field(default_factory=dict)

    def add(self, other: Result) -> None:
        self.schedules += other.schedules
        self.faults += other.faults
        self.counts += other.counts
        self.checks += other.checks
        self.rounds += other.rounds
        self.broken |= other.broken


def play(seed: int, files: Sequence[DataFile], root: Path, parts: Parts = REAL) -> Town:
    """Play one schedule from its seed alone, and return the world it ended in."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_schedule(seed, files, root, parts))


def play_all(seeds: Sequence[int]) -> Result:
    """Play schedules one after the other."""
    total = Result()
    with tempfile.TemporaryDirectory() as directory:
        files = write_files(Path(directory))
        for seed in seeds:
            total.add(result_of(play(seed, files, Path(directory)), seed))
    return total


async def _schedule(seed: int, files: Sequence[DataFile], root: Path, parts: Parts) -> Town:
    town = make_town(random.Random(seed), files, root, parts)
    try:
        await _trouble(town)
        await settle(town, wait=town.chance.random() < 0.6)
    except Exception:  # noqa: BLE001 - a schedule that breaks is a finding, and the others go on
        town.record.broken.append(traceback.format_exc(limit=-4))
    return town


def make_town(chance: random.Random, files: Sequence[DataFile], root: Path, parts: Parts = REAL) -> Town:
    """Draw a server and a policy."""
    quirks = Quirks(
        lag=chance.choice((0.0, 2.0, 10.0)),
        stale=chance.random() < 0.3,
        skew=chance.choice((0.0, 0.0, -7200.0, 5400.0)),
        page=chance.choice((3, 5, 100)),
        filters=chance.random() < 0.8,
        tells_time=chance.random() < 0.8,
        no_pause=chance.choice((None, None, None, None, 404, 405, 501)),
        forgets_cursors=chance.random() < 0.2,
        never_processes=chance.random() < 0.1,
        no_permissions=chance.random() < 0.1,
        guards_files=chance.random() < 0.5,
    )
    policy = Policy(
        max_active=MaxActive(total=chance.choice((None, None, 1, 2))),
        on_cancelled=chance.choice(("block", "recreate")),
        permissions=chance.choice(((), ("proj-*",), ("proj-a", "qa"))),
    )
    return Town(chance, files, root, quirks, policy, parts)


async def _trouble(town: Town) -> None:
    """Let reconcilers, editors and meddlers work against each other, and faults strike."""
    chance = town.chance
    for _ in range(chance.randint(1, 3)):
        town.repository.add()
    for _ in range(chance.choice((0, 0, 1, 2))):
        town.foreign_job()
        town.repository.adopt()
    town.machines = [_machine(chance) for _ in range(chance.choice((1, 1, 2, 3, 4)))]
    tempo = chance.choice((1, 1, 1, 4))
    tasks = [asyncio.ensure_future(_reconciles(town, machine, tempo)) for machine in town.machines]
    tasks += [asyncio.ensure_future(actor(town, tempo)) for actor in (edits, meddles)]
    tasks.append(asyncio.ensure_future(weather(town)))
    await asyncio.sleep(tempo * chance.uniform(30, 200))
    for task in tasks:
        task.cancel()
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(error, asyncio.CancelledError):
            raise error if isinstance(error, BaseException) else AssertionError("an actor ended early")


def _machine(chance: random.Random) -> Machine:
    cache, skew = chance.choice((MemoryCache(), Cache(None))), chance.choice((0.0, -3600.0, 900.0))
    return Machine(cache, skew, attempts=chance.choice((1, 2, 6)))


async def _reconciles(town: Town, machine: Machine, tempo: float) -> None:
    chance = town.chance
    while True:
        await asyncio.sleep(tempo * chance.uniform(0, 30))
        manner = Manner(
            wait=chance.random() < 0.4,
            behind=chance.choice((0, 0, 0, 1)),
            deadly=chance.randint(1, 25) if chance.random() < 0.3 else None,
            ponders=chance.choice((0.0, 0.0, 8.0)),
            concurrency=chance.choice((1, 2, 8)),
            collects=chance.choice((0.0, 20.0)) if chance.random() < 0.15 else None,
        )
        await town.reconcile(machine, manner)


async def edits(town: Town, tempo: float) -> None:
    while True:
        await asyncio.sleep(tempo * town.chance.uniform(3, 50))
        town.record.note("edit", town.repository.edit())


async def meddles(town: Town, tempo: float) -> None:
    while True:
        await asyncio.sleep(tempo * town.chance.uniform(3, 40))
        town.meddle()


async def weather(town: Town) -> None:
    """Let faults be rare or frequent, with now and then a while in which nothing gets through."""
    usual = town.chance.choice((0.0, 0.05, 0.15, 0.35))
    while True:
        town.faults.rate = town.chance.choice((usual, usual, 1.0 if usual else 0.0))
        await asyncio.sleep(town.chance.uniform(5, 30))


async def settle(town: Town, *, wait: bool) -> None:
    """Stop all faults, reconcile until a plan is empty, and judge where the world came to rest."""
    town.faults.rate = 0.0
    town.record.note("peace")
    await asyncio.sleep(town.quirks.lag + 3)
    rounds, bound = 0, MOST_ROUNDS if wait else MOST_STEPS
    while not (rests := await at_rest(town)) and rounds < bound:
        rounds += 1
        error = await town.reconcile(Machine(), Manner(wait=wait))
        if wait:
            left = [] if error else _under_way(town)
            town.record.check("--wait waits", holds=not left, words=f"{left} were not waited for")
        await asyncio.sleep(A_WHILE)
    words = f"not in {bound} runs (wait: {wait})"
    town.record.check("the world comes to rest", holds=rests, words=words)
    town.record.counts["rounds" if wait else "steps"] = rounds
    if rests:
        await town.reconcile(Machine(), Manner(collects=0.0))
        plan = (await town.look(Machine())).plan
        town.record.check("gc leaves nothing to do", holds=not plan.has_changes, words=f"{plan.changes} {plan.access}")
    await _caches_agree(town)
    judge(town.record, {spec.name: spec for spec in town.desired}, town.policy)


async def _caches_agree(town: Town) -> None:
    """Whatever a machine remembers of the past, its plan is that of one that remembers nothing."""
    changes = (await town.look(Machine())).plan.changes
    for machine in town.machines:
        plan = (await town.look(machine)).plan
        town.record.check("a cache changes no plan", holds=plan.changes == changes, words=f"{plan.changes} {changes}")


async def at_rest(town: Town) -> bool:
    """Whether nothing is to be done, and nothing will happen by itself."""
    adopted = {spec.adopt.job for spec in town.desired if spec.adopt}  # also somebody else's: once ended, they count
    if any(moving(job) for job in [*town.wanted(), *(j for j in town.server.all_jobs() if j.id in adopted)]):
        return False
    await asyncio.sleep(town.quirks.lag)  # until listings show it
    return not (await town.look(Machine())).plan.has_changes


def _under_way(town: Town) -> list[str]:
    """Jobs that specs ask for and that still train; to a job that cannot be paused nothing more will happen."""
    specs = [spec for spec in town.desired if not (spec.state == "paused" and town.quirks.no_pause)]
    return [job.id for job in town.wanted() if moving(job) and any(is_for(job, spec) for spec in specs)]


def moving(job: LiveJob) -> bool:
    """Whether a job left alone goes on."""
    return job.live and job.status != "paused"


def result_of(town: Town, seed: int) -> Result:
    """Count what a world went through."""
    record = town.record
    rounds = {f"{kind} {record.counts.pop(kind)}": 1 for kind in ("rounds", "steps") if kind in record.counts}
    counts = record.counts + Counter(runs=town.runs, kills=town.kills, errors=town.errors)
    broken = {seed: record.broken} if record.broken else {}
    return Result(1, town.faults.met, counts, record.checks, Counter(rounds), broken)
