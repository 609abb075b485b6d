"""A watch that lives in a simulated town."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from reconciler.api.client import Client
from reconciler.apply.follow import View
from reconciler.apply.world import World
from reconciler.loop import Reconciler
from reconciler.observe.made import Made
from reconciler.observe.state import Observed
from reconciler.plan.model import Plan
from reconciler.spec.config import Config
from reconciler.spec.load import Repository
from reconciler.watch.asking import Asking
from reconciler.watch.engine import Level, Terms, Watch
from reconciler.watch.snapshot import Snapshot
from reconciler.watch.voice import Voice

from .record import Run
from .wire import Wire
from .world import Machine, Manner, Town


class Files:
    """The newest specs of a town. ``unsure`` is why a missing one may not be gone."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._read: tuple[int, Snapshot] | None = None
        self.unsure: tuple[str, ...] = ()

    async def read(self) -> Snapshot:
        version = len(self._town.repository.versions)
        if self._read is None or self._read[0] != version or self._read[1].unsure != self.unsure:
            desired = tuple(self._town.desired)
            config = Config(policy=self._town.policy)
            repository = Repository(self._town.root, config, desired, None, (), ("specs",), empty=not desired)
            self._read = (version, Snapshot(repository, unsure=self.unsure))
        return self._read[1]

    async def changed(self) -> bool:
        return self._read is None or self._read[0] != len(self._town.repository.versions)


@dataclass
class Bench:
    """Makes reconcilers that a town's rules watch: each look is a run of its own."""

    town: Town
    client: Client
    wire: Wire
    machine: Machine
    manner: Manner
    made: Made = field(default_factory=Made)

    def reconciler(self, repository: Repository) -> Reconciler:
        town = self.town
        town.runs += 1
        limits = [{name: want.retry_limit for name, want in specs.items()} for specs in town.repository.versions]
        recreates = town.policy.on_cancelled == "recreate"
        self.wire.run = Run(
            town.runs, limits, recreates, desired=repository.desired, policy=town.policy, known=self.machine.known
        )
        made = town._reconciler(self.client, self.machine, self.manner, repository.desired, self.made)
        return replace(made, options=replace(made.options, empty=repository.empty))

    def world(self, repository: Repository, observed: Observed) -> World:
        reconciler = self.town._reconciler(self.client, self.machine, self.manner, repository.desired, self.made)
        view = View(Plan.of("", "", []), observed)
        return self.town._world(self.wire.run, self.client, reconciler, view, self.manner)


@dataclass
class Watching:
    """A watch under way: ``lines`` is what it said, ``questions`` what it asked."""

    town: Town
    watch: Watch
    asking: Asking
    files: Files
    wire: Counting
    lines: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    async def end(self) -> None:
        """Stop it, and see what it ended in."""
        self.watch.stop()
        if self.task is not None:
            await asyncio.wait_for(self.task, 600)

    def approve(self) -> None:
        """Answer yes, and let it look."""
        self.asking.answer("y")
        self.watch.soon()

    def edit(self, **specs: Any) -> None:
        """Write specs anew, one version, and let the file system say so; a spec that is None is removed."""
        before = self.town.repository.specs
        kept = {name: want for name, want in before.items() if name not in specs}
        self.town.repository.versions.append({**kept, **{n: w for n, w in specs.items() if w is not None}})
        self.watch.stirred()

    def said(self, words: str) -> int:
        """How many lines hold these words."""
        return sum(words in line for line in self.lines)


class Counting(Wire):
    """A wire that counts what passes, over all runs."""

    sent = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent += 1
        return await super().handle_async_request(request)


def begin(
    town: Town,
    terms: Terms | None = None,
    *,
    auto: bool = True,
    interactive: bool = False,
    manner: Manner | None = None,
) -> Watching:
    """Start a watch in a town, within its event loop."""
    lines: list[str] = []
    questions: list[str] = []

    def write(message: str, level: str, fields: Mapping[str, Any]) -> None:  # noqa: ARG001
        lines.append(message)

    wire = Counting(town.server, town.record, Run(0, []), town.faults, town.chance)
    machine = Machine(attempts=2)
    client = town._client(wire, machine)
    voice = Voice(write)
    files = Files(town)
    asking = Asking(voice, auto=auto, pose=questions.append if interactive else None, clock=town.loop.time)
    bench = Bench(town, client, wire, machine, manner or Manner(), town._made(client, machine))
    watch = Watch(
        files, bench, terms or Terms(Level.APPLY), asking, voice, clock=town.loop.time, chance=town.chance.random
    )

    async def live() -> None:
        async with client:
            await watch.run()

    made = Watching(town, watch, asking, files, wire, lines, questions)
    made.task = asyncio.ensure_future(live())
    return made


def statuses(town: Town, name: str) -> Sequence[str]:
    """The statuses of a spec's jobs, oldest first."""
    return [job.status for job in town.record.ours() if job.metadata.get("reconciler.name") == name]
