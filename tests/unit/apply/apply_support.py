"""A fine-tuning server in memory, with the faults that servers have, and a world around it whose time is virtual."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from reconciler.api.types import CreateJob, Event, Job, Page
from reconciler.apply.follow import View
from reconciler.apply.model import Outcome
from reconciler.apply.world import World
from reconciler.errors import InvalidRequest, NoAnswer, NotFound, RateLimited
from reconciler.observe.ownership import Ownership, parse, stamp
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.model import Plan
from reconciler.plan.planner import Options, make_plan
from reconciler.spec.desired import DataFile, Desired
from reconciler.spec.policy import Policy

A, B, C = "a" * 16, "b" * 16, "c" * 16
OWNER = "acme/models"
DATA = DataFile("data/train.jsonl", "d" * 64, 4000, 40)
ENDED = ("succeeded", "failed", "cancelled")
POLICY, OPTIONS = Policy(), Options()
SENT_NOT = NoAnswer("refused to connect")
SENT_NOT.sent = False
LOST = NoAnswer("timed out")
LIMITED = RateLimited("slow down", status=429)


class Crash(Exception):
    """The program ends here."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a call: before its effect, or after it."""

    when: Literal["before", "after"]
    error: Exception


@dataclass
class Time:
    """Seconds that pass only when somebody sleeps."""

    now: float = 0.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        await asyncio.sleep(0)


@dataclass
class JobServer:
    """Jobs in memory. ``faults`` queues what goes wrong by call; ``script`` what a job becomes when it is retrieved.

    ``lag`` hides new jobs from the listing for so many seconds; ``keeps`` says how much metadata a server keeps.
    """

    time: Time
    lag: float = 0.0
    filters: bool = True
    keeps: Callable[[dict[str, str]], dict[str, str]] = dict
    changes: Mapping[str, Any] = field(default_factory=dict)
    answers_in_full: bool = True
    page_size: int = 100
    repeats: bool = False
    jobs: dict[str, Job] = field(default_factory=dict)
    visible_at: dict[str, float] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    script: dict[str, list[str]] = field(default_factory=dict)
    on_create: Callable[[CreateJob], None] = lambda _: None
    on_call: Callable[[], None] = lambda: None
    request_ids: dict[str, str] = field(default_factory=dict)
    crash_at: tuple[int, Literal["before", "after"]] | None = None
    under_way: int = 0
    most_under_way: int = 0

    def add(self, status: str = "running", *, job_id: str = "", metadata: dict[str, str], **facts: Any) -> Job:
        job_id = job_id or f"ftjob-{len(self.jobs) + 1}"
        body = {"created_at": int(self.time.now), "model": "m", "training_file": "file-dddd", **facts}
        self.jobs[job_id] = Job.model_validate({"id": job_id, "status": status, "metadata": metadata, **body})
        self.visible_at[job_id] = self.time.now + self.lag
        return self.jobs[job_id]

    def own(self, name: str, status: str = "running", revision: str = A, attempt: int = 1, **facts: Any) -> Job:
        return self.add(status, metadata=stamp(Ownership(OWNER, name, revision, attempt)), **facts)

    def status(self, job_id: str, status: str) -> Job:
        self.jobs[job_id] = self.jobs[job_id].model_copy(update={"status": status})
        self.request_ids[job_id] = f"req-{len(self.calls)}"
        return self.jobs[job_id]

    @contextmanager
    def _call(self, verb: str, about: str) -> Iterator[None]:
        number = len(self.calls)
        self.calls.append((verb, about))
        self.on_call()
        if self.crash_at == (number, "before"):
            raise Crash
        fault = self.faults[verb].pop(0) if self.faults[verb] else None
        if fault and fault.when == "before":
            raise fault.error
        yield
        if self.crash_at == (number, "after"):
            raise Crash
        if fault:
            raise fault.error

    async def _busy(self) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        for _ in range(3):
            await asyncio.sleep(0)
        self.under_way -= 1

    async def create_job(self, body: CreateJob) -> Job:
        metadata = body.metadata or {}
        await self._busy()
        with self._call("create", metadata["reconciler.name"]):
            self.on_create(body)
            facts = body.model_dump(exclude_none=True, exclude={"metadata", "suffix"}) | dict(self.changes)
            job = self.add(metadata=self.keeps(metadata), **{"status": "queued", **facts})
            self.request_ids[job.id] = f"req-{job.id}"
        return job if self.answers_in_full else job.model_copy(update={"metadata": None})

    async def job(self, job_id: str) -> Job:
        with self._call("job", job_id):
            if job_id not in self.jobs:
                raise NotFound(f"no {job_id}", status=404)
            if self.script.get(job_id):
                self.status(job_id, self.script[job_id].pop(0))
        return self.jobs[job_id]

    async def cancel_job(self, job_id: str) -> Job:
        return self._operate("cancel", job_id, "cancelled")

    async def pause_job(self, job_id: str) -> Job:
        return self._operate("pause", job_id, "paused")

    async def resume_job(self, job_id: str) -> Job:
        return self._operate("resume", job_id, "queued")

    def _operate(self, verb: str, job_id: str, status: str) -> Job:
        with self._call(verb, job_id):
            if self.jobs[job_id].status in ENDED:
                raise InvalidRequest(f"{job_id} has ended", status=400)
            self.status(job_id, status)
        return self.jobs[job_id]

    async def jobs_page(
        self, after: str | None = None, limit: int = 100, metadata: Mapping[str, str] | None = None
    ) -> Page[Job]:
        with self._call("list", ""):
            seen = self.visible()
            if self.filters:
                seen = [j for j in seen if (metadata or {}).items() <= (j.metadata or {}).items()]
            start = [j.id for j in seen].index(after) + 1 if after and not self.repeats else 0
            page = seen[start : start + min(limit, self.page_size)]
        return Page[Job](object="list", data=page, has_more=self.repeats or start + len(page) < len(seen))

    def visible(self) -> list[Job]:
        """Return what a listing shows, newest first."""
        seen = [j for j in self.jobs.values() if self.visible_at[j.id] <= self.time.now]
        return sorted(seen, key=lambda j: (j.created_at, j.id), reverse=True)

    def sent(self, *verbs: str) -> list[tuple[str, str]]:
        return [call for call in self.calls if call[0] in (verbs or ("create", "cancel", "pause", "resume"))]

    def live(self, name: str) -> list[str]:
        """Return the ids of a name's jobs that were not cancelled."""
        jobs = self.jobs.values()
        return [j.id for j in jobs if j.status != "cancelled" and (j.metadata or {}).get("reconciler.name") == name]


@dataclass
class Files:
    """A file store whose ids are the digests' first digits."""

    faults: list[Exception] = field(default_factory=list)

    async def ensure(self, file: DataFile) -> str:
        if self.faults:
            raise self.faults.pop(0)
        return f"file-{file.digest[:4]}"


@dataclass
class Told:
    """Remembers what it was told."""

    jobs: list[tuple[Any, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def job(self, name: str, status: str, **facts: Any) -> None:
        self.jobs.append((name, status, *(v for v in facts.values() if v is not None)))

    def note(self, text: str) -> None:
        self.notes.append(text)


def spec(name: str = "triage", revision: str = A, **rest: Any) -> Desired:
    return Desired(**{"name": name, "revision": revision, "model": "m", "training_file": DATA, **rest})


@dataclass
class Scene:
    """A server, its time, and one command's specs."""

    desired: Sequence[Desired]
    policy: Policy = POLICY
    options: Options = OPTIONS
    time: Time = field(default_factory=Time)
    files: Files = field(default_factory=Files)
    told: Told = field(default_factory=Told)
    server: JobServer = field(init=False)
    plans: list[Plan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = JobServer(self.time)

    def world(self, **facts: Any) -> World:
        return World(
            api=self.server,
            files=self.files,
            owner=OWNER,
            specs=World.index(self.desired),
            follower=self.told,
            clock=self.time.clock,
            sleep=self.time.sleep,
            **{"lag": self.server.lag, "proven": True, **facts},
        )

    async def look(self) -> View:
        """Observe and plan."""
        owned = [(job, parse(job.metadata)) for job in reversed(self.server.visible())]
        jobs = tuple(ObservedJob.of(j, o.name, o.revision, o.attempt) for j, o in owned if o)
        observed = Observed(jobs=jobs)
        made = make_plan(OWNER, "https://s/v1", self.desired, observed, self.policy, self.time.now, self.options)
        self.plans.append(made)
        return View(made, observed)


def results(outcomes: Sequence[Outcome]) -> list[tuple[str, str, str]]:
    return [(o.change.action.value, o.change.name, o.result) for o in outcomes]


def metrics(step: int, **data: Any) -> Event:
    return Event(id=f"e{step}", created_at=step, type="metrics", data={"step": step, **data})
