"""A server, its specs, and everybody who works on them: reconcilers, and people beside them."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.api.client import Client
from reconciler.api.files import Uploads
from reconciler.api.retry import Backoff
from reconciler.api.server import Server as Address
from reconciler.apply.collect import Collected, Heap, collect, find_garbage
from reconciler.apply.follow import Poll, View, follow
from reconciler.apply.model import Result
from reconciler.apply.permissions import Granted, apply_access
from reconciler.apply.world import Key, World
from reconciler.apply.world import Run as Tries
from reconciler.cache import Cache
from reconciler.errors import ReconcilerError
from reconciler.loop import Reconciler, run_once
from reconciler.observe.made import Made
from reconciler.observe.ownership import NAME, OWNER, REVISION
from reconciler.plan.model import Plan
from reconciler.plan.planner import Options
from reconciler.spec.desired import DataFile, Desired
from reconciler.spec.policy import MaxPrune, Policy

from .faults import Faults
from .record import Record, Run
from .rules import OURS, adopter, owner_of
from .server import LASTING, TRANSIENT, Course, LiveJob, Quirks, Refused, Server
from .specs import NAMES, PROJECTS, Repository, resolve
from .wire import BASE, Wire

UNLIMITED = Options(max_prune=MaxPrune(count=10_000, share=1), allow_empty=True)
DEEDS = {
    "by_hand": 4,
    "delete_a_file": 1,
    "foreign_job": 2,
    "foreign_file": 1,
    "let_in": 2,
    "shut_out": 1,
}
"""What people do by hand, and how often."""
TOO_LONG = 4 * 3600.0
"""Seconds after which a command that should have ended is taken to hang."""


class MemoryCache(Cache):
    """A cache without a disk; what goes in comes out as JSON would have it."""

    def __init__(self) -> None:
        super().__init__(None)
        self._kinds: dict[str, dict[str, str]] = {}

    def load(self, kind: str) -> dict[str, Any]:
        return {key: json.loads(value) for key, value in self._kinds.get(kind, {}).items()}

    def store(self, kind: str, values: Mapping[str, Any], *, replace: bool = False) -> None:
        kept = {} if replace else self._kinds.get(kind, {})
        self._kinds[kind] = {**kept, **{key: json.dumps(value) for key, value in values.items()}}

    def forget(self, kind: str, keys: Iterable[str]) -> None:
        gone = set(keys)
        self._kinds[kind] = {key: value for key, value in self._kinds.get(kind, {}).items() if key not in gone}


class Silent:
    """Hears what people are told, and keeps it to itself."""

    def job(self, name: str, status: str, **facts: object) -> None: ...
    def note(self, text: str) -> None: ...


class Results(dict[Key, Result]):
    """What became of each change; the first failure is timed. What a server cannot do at all is no error."""

    def __init__(self, run: Run, server: Server) -> None:
        super().__init__()
        self._run, self._server = run, server

    def __setitem__(self, key: Key, result: Result) -> None:
        cannot = self._server.quirks.no_pause and key[1] in ("pause", "resume")
        if result == "failed" and self._run.failed is None and not cannot:
            self._run.failed = self._server.clock()
        super().__setitem__(key, result)


@dataclass(frozen=True)
class Parts:
    """What a reconciler is made of: tests put broken ones in, to see them caught."""

    client: type[Client] = Client
    tries: type[Tries] = Tries
    find: Callable[..., Awaitable[Heap]] = find_garbage
    collect: Callable[[Client, Heap], Awaitable[Sequence[Collected]]] = collect
    access: Callable[..., Awaitable[Sequence[Granted]]] = apply_access
    reads: Callable[[Desired], Desired] = lambda spec: spec
    made: type[Made] = Made


REAL = Parts()


@dataclass(frozen=True)
class Machine:
    """Where somebody reconciles from.

    Its clock is ahead by ``skew`` seconds, its cache is its own, and it sends what may be repeated ``attempts`` times.
    ``known`` holds the jobs that were made from it.
    """

    cache: Cache = field(default_factory=MemoryCache)
    skew: float = 0.0
    attempts: int = 6
    known: set[str] = field(default_factory=set)

    @property
    def remembers(self) -> bool:
        """Whether one run knows what those before it did."""
        return isinstance(self.cache, MemoryCache)


@dataclass(frozen=True)
class Manner:
    """How one run goes about it.

    ``behind`` is by how many commits its clone is late; ``deadly`` the request at which it is killed; ``ponders`` how
    many seconds a person takes to approve. One that ``collects`` is a ``gc`` of what is older than that many seconds.
    """

    wait: bool = False
    behind: int = 0
    deadly: int | None = None
    ponders: float = 0.0
    concurrency: int = 8
    collects: float | None = None
    options: Options = UNLIMITED


@dataclass
class Town:
    """One world. Everything that happens in it follows from ``chance`` and the order of calls."""

    chance: random.Random
    files: Sequence[DataFile]
    root: Path
    quirks: Quirks
    policy: Policy
    parts: Parts = REAL
    machines: Sequence[Machine] = ()
    runs: int = 0
    kills: int = 0
    errors: int = 0

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.server = Server(self.quirks, self.loop.time, self._course, self.chance.random)
        self.record = Record(self.server)
        self.faults = Faults(self.chance)
        self.repository = Repository(self.chance, self.files, self._strangers)

    def _course(self) -> Course:
        code = self.chance.choices((None, TRANSIENT, LASTING), (7, 2, 1))[0]
        review = self.chance.choice((0.0, 0.0, 15.0))
        return Course(self.chance.uniform(0, 10), self.chance.uniform(5, 90), review, code)

    def _strangers(self) -> list[str]:
        return [job.id for job in self.server.all_jobs() if not owner_of(job)]

    @property
    def desired(self) -> Sequence[Desired]:
        """What the newest specs say."""
        return resolve(self.repository.specs, self.files)

    def wanted(self) -> list[LiveJob]:
        """Every job that specs can ask something of: ours, and those they adopt."""
        desired = self.desired
        return [job for job in self.server.all_jobs() if owner_of(job) or adopter(job, desired)]

    # Reconcilers

    async def reconcile(self, machine: Machine, manner: Manner) -> ReconcilerError | None:
        """Run one command to its end, whatever that is, and return its error, if it had one."""
        self.runs += 1
        limits = [{name: want.retry_limit for name, want in specs.items()} for specs in self.repository.versions]
        recreates = self.policy.on_cancelled == "recreate"
        run = Run(self.runs, limits, recreates, desired=self._clone(manner), policy=self.policy)
        if machine.remembers:
            run.known = machine.known

        def kill() -> None:
            self.kills += 1
            run.killed = self.loop.time()
            task.cancel()

        wire = Wire(self.server, self.record, run, self.faults, self.chance, deadly=manner.deadly, kill=kill)
        task = asyncio.ensure_future(self._command(run, wire, machine, manner))
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            kill()
            await asyncio.wait({task})
            raise
        return self._ended(run, task)

    def _ended(self, run: Run, task: asyncio.Task[None]) -> ReconcilerError | None:
        error = None if task.cancelled() else task.exception()
        self.record.ended(run, error)
        if isinstance(error, ReconcilerError):
            self.errors += 1
            return error
        return None

    async def _command(self, run: Run, wire: Wire, machine: Machine, manner: Manner) -> None:
        async with self._client(wire, machine) as client:
            reconciler = self._reconciler(client, machine, manner, run.desired, self._made(client, machine))
            async with asyncio.timeout(TOO_LONG):
                if manner.collects is not None:
                    await self._collect(client, reconciler, manner, manner.collects)
                    return
                view = await reconciler.look()
                world = self._world(run, client, reconciler, view, manner)

                async def approve(_: Plan) -> bool:
                    await asyncio.sleep(manner.ponders)
                    return True

                await run_once(reconciler, world, approve, view=view)
                plan = view.plan
                if manner.wait:
                    plan, _ = await follow(world, reconciler.look, frozenset(view.observed.by_id), Poll())
                await self.parts.access(client, plan.access, revoke=not world.run.failed)

    async def _collect(self, client: Client, reconciler: Reconciler, manner: Manner, seconds: float) -> None:
        """Delete what is older than so many seconds and not needed, once somebody has approved."""
        if not reconciler.desired:
            return  # the command refuses to
        observed = (await reconciler.look()).observed
        before = (client.server_time or client.clock()) - seconds
        heap = await self.parts.find(client, OURS, reconciler.desired, observed, before=before)
        await asyncio.sleep(manner.ponders)
        await self.parts.collect(client, heap)

    async def look(self, machine: Machine) -> View:
        """Plan, and change nothing."""
        run = Run(0, [])
        async with self._client(Wire(self.server, self.record, run, self.faults, self.chance), machine) as client:
            made = self._made(client, machine)
            return await self._reconciler(client, machine, Manner(), self.desired, made).look()

    def _client(self, wire: Wire, machine: Machine) -> Client:
        address = Address("sim", BASE, "key", lag=self.quirks.lag)

        def now() -> float:
            return Server.EPOCH + self.loop.time() + machine.skew

        backoff = Backoff(attempts=machine.attempts)
        return self.parts.client(address, transport=wire, clock=now, random=self.chance.random, backoff=backoff)

    def _clone(self, manner: Manner) -> Sequence[Desired]:
        """What the specs say that a run goes by."""
        versions = self.repository.versions
        return resolve(versions[max(0, len(versions) - 1 - manner.behind)], self.files)

    def _made(self, client: Client, machine: Machine) -> Made:
        return self.parts.made(machine.cache, now=client.clock)

    def _reconciler(
        self, client: Client, machine: Machine, manner: Manner, desired: Sequence[Desired], made: Made
    ) -> Reconciler:
        desired = tuple(map(self.parts.reads, desired))
        options, cache = manner.options, machine.cache
        return Reconciler(client, BASE, OURS, desired, self.policy, options, cache, client.clock, made=made)

    def _world(self, run: Run, client: Client, reconciler: Reconciler, view: View, manner: Manner) -> World:
        return World(
            api=client,
            files=Uploads(client, self.root),
            owner=OURS,
            specs=World.index(reconciler.desired),
            follower=Silent(),
            clock=self.loop.time,
            sleep=asyncio.sleep,
            lag=self.quirks.lag,
            proven=bool(view.observed.jobs),
            concurrency=manner.concurrency,
            run=self.parts.tries(results=Results(run, self.server)),
            made=reconciler.made or Made(),
        )

    # People beside them

    def meddle(self) -> str:
        """Let somebody do something by hand, at random, and return what."""
        kind = self.chance.choices(list(DEEDS), list(DEEDS.values()))[0]
        getattr(self, kind)()
        return kind

    def by_hand(self) -> None:
        """Somebody cancels, pauses or resumes a job, if it can be."""
        if self.server.jobs:
            job_id = self.chance.choice(list(self.server.jobs))
            verb = self.chance.choice(("cancel", "pause", "pause", "resume"))
            try:
                self.server.change(job_id, verb)
            except Refused:
                return
            self.record.note("by hand", verb, job_id)

    def delete_a_file(self) -> None:
        """Somebody deletes a file."""
        if self.server.files:
            file_id = self.chance.choice(list(self.server.files))
            del self.server.files[file_id]
            self.record.note("deletes", file_id)

    def foreign_job(self) -> None:
        """Somebody else starts a job under a name of ours, or one that claims to be ours and cannot be read."""
        metadata = {
            NAME: self.chance.choice(NAMES),
            REVISION: self.chance.choice(("0123456789abcdef.1", "rubbish")),
        }
        metadata |= self.chance.choice(({}, {OWNER: "somebody/else"}, {OWNER: OURS, REVISION: "rubbish"}))
        files = list(self.server.files)
        mine = not files or self.chance.random() < 0.7
        file_id = self.server.store("theirs.jsonl", b"{}")["id"] if mine else self.chance.choice(files)
        job = self.server.create({"model": "gpt-small", "training_file": file_id, "metadata": metadata})
        self.record.note("foreign", job.id)

    def foreign_file(self) -> None:
        """Somebody else stores a file that is called as ours are."""
        name = f"theirs.{self.chance.choice(self.files).digest[:16]}.jsonl"
        self.record.note("foreign", self.server.store(name, b"{}")["id"])

    def let_in(self) -> None:
        """Somebody lets a project use a model."""
        if models := self._models():
            model, project = self.chance.choice(models), self.chance.choice(PROJECTS)
            self.server.grant(model, [project])
            self.record.note("lets in", project, model)

    def shut_out(self) -> None:
        """Somebody takes a permission back."""
        if self.server.permissions:
            permission_id = self.chance.choice(list(self.server.permissions))
            row = self.server.permissions.pop(permission_id)
            self.record.note("shuts out", row["project_id"], row["model"])

    def _models(self) -> list[str]:
        return [job.model for job in self.server.all_jobs() if job.status == "succeeded"]
