"""The loop: read the specs, look at the server, do what is to be done, say what changed, rest.

One reconcile at a time. Whatever happens meanwhile (a file saved, a webhook, an answer) makes the rest short, so edits
come together by themselves.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from reconciler.api.concurrently import concurrently
from reconciler.apply.execute import execute
from reconciler.apply.follow import View
from reconciler.apply.model import Outcome
from reconciler.apply.permissions import apply_access
from reconciler.apply.world import World
from reconciler.errors import (
    ApiError,
    NotAuthenticated,
    NotPermitted,
    OwnershipLost,
    PermanentError,
    RateLimited,
    ReconcilerError,
)
from reconciler.loop import Reconciler
from reconciler.observe.state import Observed
from reconciler.plan.drift import Drift, find_drift
from reconciler.plan.model import Plan
from reconciler.spec.load import Repository
from reconciler.watch.asking import Asking
from reconciler.watch.meter import Meter, NoMeter
from reconciler.watch.restraint import Experience, Held, Limits, restrain
from reconciler.watch.snapshot import Snapshot, Source
from reconciler.watch.tempo import Tempo
from reconciler.watch.voice import Voice

_NUDGE = 300.0
"""Seconds after which a job that shows no change is retrieved: some servers move a job on only then."""
_LONGEST_ASKED = 600.0
"""Seconds for which a server may ask to be left alone."""
_ACCESS = 600.0
"""Seconds after which permissions are read again although nothing has changed."""


class Level(StrEnum):
    """How far a watch goes."""

    OBSERVE = "observe"
    HEAL = "heal"
    APPLY = "apply"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a watch may do: ``max_create`` counts for one look, ``looks`` is after how many it ends."""

    level: Level = Level.APPLY
    tempo: Tempo = field(default_factory=Tempo)
    max_create: int | None = None
    looks: int | None = None


@dataclass
class Pulse:
    """How a watch is: when it ended a look, when the next is due, and when it saw the server, in monotonic seconds.

    ``failed`` is why the newest look saw nothing; None is never.
    """

    looked_at: float | None = None
    next_at: float | None = None
    seen_at: float | None = None
    failed: str = ""


@dataclass(frozen=True)
class Seen:
    """What a look came to: what the specs said, what was on the server, what is to be done, and what of it is held.

    ``outcomes`` are what became of the rest, ``failures`` how many looks since saw nothing, and ``failed`` why.
    ``drift`` is looked for unless specs are followed: then an edited state may be all that there is to it.
    """

    snapshot: Snapshot
    observed: Observed
    plan: Plan
    held: tuple[Held, ...] = ()
    limits: tuple[str, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    drift: tuple[Drift, ...] = ()
    failures: int = 0
    failed: str = ""


class Bench(Protocol):
    """Makes what a tick works with, for the specs of the moment."""

    def reconciler(self, repository: Repository) -> Reconciler:
        """Return what observes and plans."""

    def world(self, repository: Repository, observed: Observed) -> World:
        """Return what applies."""


async def _nothing() -> None:
    pass


def _unheard(_: Seen) -> None:
    pass


class Watch:
    """Watches until stopped. ``clock`` is monotonic, in seconds; ``chance`` gives numbers in [0, 1).

    ``hear`` may be set: it is told what each look came to.
    """

    def __init__(
        self,
        source: Source,
        bench: Bench,
        terms: Terms,
        asking: Asking,
        voice: Voice,
        *,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._source, self._bench, self._terms = source, bench, terms
        self._asking, self._voice = asking, voice
        self._meter = meter or NoMeter()
        self._clock, self._chance = clock, chance
        self._soon, self._stirred = asyncio.Event(), False
        self._stopping = False
        self._experience = Experience(longest=terms.tempo.interval)
        self._failures = 0
        self._repository: Repository | None = None
        self._changed_at = self._access_at = 0.0
        self._unmoved: dict[str, tuple[str, float]] = {}
        self._active: frozenset[str] = frozenset()
        self._before: frozenset[str] | None = None
        self._newer: set[str] = set()
        self._hurried = False
        self.pulse = Pulse()
        self.seen: Seen | None = None
        self.hear: Callable[[Seen], None] = _unheard
        self.resting = False

    # From outside

    def soon(self) -> None:
        """Look at the server now, or as soon as the look in progress has ended."""
        self._stirred = False
        self._soon.set()

    def stirred(self) -> None:
        """Look soon, if a file that matters is another: something happened in the file system."""
        self._stirred = self._stirred or not self._soon.is_set()
        self._soon.set()

    def ended(self, job_id: str) -> None:
        """Look soon, and often for a while, since a listing may lag: a job has ended, as somebody says."""
        if job_id in self._active:
            self._hurried = True
            self.soon()

    def stop(self) -> None:
        """End after the look in progress."""
        self._stopping = True
        self.soon()

    async def run(self, arm: Callable[[], Awaitable[None]] = _nothing) -> None:
        """Go on until stopped. ``arm`` is awaited after each look: time to watch the files that specs name now.

        Raises:
            ReconcilerError: before the first look, what does not pass by itself; later, only that no job can be owned.
        """
        looks = 0
        while not self._stopping:
            self._soon.clear()
            began = self._clock()
            pause = await self._tick()
            self.pulse.looked_at = self._clock()
            self.pulse.next_at = self.pulse.looked_at + pause
            self._meter.looked(self._clock() - began, seen=not self.pulse.failed, now=time.time())
            looks += 1
            if looks == self._terms.looks:
                return
            await arm()
            await self._rest(pause)

    async def _rest(self, pause: float) -> None:
        self.resting = True
        until = self._clock() + pause
        while (left := until - self._clock()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._soon.wait()
            except TimeoutError:
                break
            if not self._stirred:
                break
            self._soon.clear()  # before the files are compared: what comes meanwhile counts
            self._stirred = False
            if await self._source.changed():
                break
        self.resting = False

    # A tick

    async def _tick(self) -> float:
        """Reconcile once, and return the seconds to rest."""
        snapshot = await self._source.read()
        reconciler = self._reconciler(snapshot)
        try:
            view = await reconciler.look()
        except ReconcilerError as error:
            if self._repository is None and isinstance(error, PermanentError):
                raise
            return self._failed(error)
        self._failures = 0
        self.pulse.seen_at, self.pulse.failed = self._clock(), ""
        self._voice.recovered()
        self._active = frozenset(job.id for job in view.observed.jobs if job.active)
        now = reconciler.now()
        if reconciler.access:
            self._access_at = now
        edited = self._repository not in (None, snapshot.repository)
        if self._voice.jobs(view.observed) or edited or self._hurried:
            self._changed_at, self._hurried = now, False
        self._repository = snapshot.repository
        level = self._terms.level
        if level is Level.HEAL:
            reconciler, view = self._without_newer(reconciler, view)
        drifts = level is Level.OBSERVE or (level is Level.HEAL and view.plan.has_changes)
        drift = find_drift(reconciler.desired, view.observed, now) if drifts else ()
        self.seen = Seen(snapshot, view.observed, view.plan, limits=view.plan.unsafe, drift=drift)
        self._meter.saw(reconciler, view.plan, view.observed)
        if level is Level.OBSERVE:
            self._voice.drift(drift)
        else:
            if await self._apply(self.seen, reconciler, view):
                self._changed_at = reconciler.now()
            await self._nudge(reconciler, view.observed)
        self.hear(self.seen)
        return self._pause(snapshot, view.observed, reconciler.now())

    def _reconciler(self, snapshot: Snapshot) -> Reconciler:
        """Say what is wrong with the specs, and return what plans for them as far as they are certain."""
        self._voice.specs(snapshot)
        made = self._bench.reconciler(snapshot.repository)
        # What the specs of the start do not name, newer ones may.
        partial = made.options.partial or bool(snapshot.unsure) or self._terms.level is Level.HEAL
        options = replace(made.options, partial=partial)
        news = snapshot.repository is not self._repository or self._changed_at >= self._access_at
        return replace(made, options=options, access=news or made.now() - self._access_at > _ACCESS)

    def _without_newer(self, reconciler: Reconciler, view: View) -> tuple[Reconciler, View]:
        """Leave out names for which other specs than those of the start have started jobs since the first look."""
        if self._before is None:
            self._before = frozenset(job.id for job in view.observed.jobs)
        revisions = {spec.name: spec.revision for spec in reconciler.desired}
        new = [job for job in view.observed.jobs if job.id not in self._before]
        self._newer |= {job.name for job in new if revisions.get(job.name, job.revision) != job.revision}
        if not self._newer:
            return reconciler, view
        self._voice.newer(self._newer)
        excludes = (*reconciler.options.excludes, *sorted(self._newer))
        reconciler = replace(reconciler, options=replace(reconciler.options, excludes=excludes))
        return reconciler, replace(view, plan=reconciler.plan(view.observed))

    def _failed(self, error: ReconcilerError) -> float:
        self._failures += 1
        self.pulse.failed = str(error)
        tempo = self._terms.tempo
        self._voice.failure(error, tempo.interval)
        if self.seen is not None:
            self.hear(replace(self.seen, failures=self._failures, failed=str(error)))
        if isinstance(error, NotAuthenticated | NotPermitted):
            return tempo.interval
        asked = error.retry_after if isinstance(error, RateLimited) else None
        return max(min(asked or 0.0, _LONGEST_ASKED), tempo.after_failures(self._failures, self._chance()))

    def _pause(self, snapshot: Snapshot, observed: Observed, now: float) -> float:
        tempo = self._terms.tempo
        pauses = [tempo.pause(now, self._changed_at, observed.jobs, self._chance())]
        if snapshot.again is not None:
            pauses.append(snapshot.again)
        if (until := self._experience.waits_until) is not None:
            pauses.append(max(tempo.shortest, until - self._clock()))
        return min(pauses)

    async def _apply(self, seen: Seen, reconciler: Reconciler, view: View) -> bool:
        """Do what may be done now, and return whether anything was."""
        specs = World.index(reconciler.desired)
        full, refused = self._within_policy(reconciler, view)
        self._experience.forget_all_but(full)
        limits = Limits(self._asking.approved, self._terms.max_create, refused)
        plan, held = restrain(full, specs, self._experience, limits, self._clock())
        self.seen = seen = replace(seen, plan=full, held=tuple(held))
        self._voice.stuck(full)
        self._voice.held(held)
        self._asking.about(full.changes)
        if not (plan.has_changes or any(access.acts for access in plan.access)):
            return False
        world = self._bench.world(seen.snapshot.repository, view.observed)
        outcomes = await execute(world, plan)
        self.seen = replace(seen, outcomes=tuple(outcomes))
        self._experience.learn(outcomes, world.run.lacking, specs, self._clock())
        self._voice.outcomes(outcomes)
        self._meter.did(outcomes)
        _stop_where_nothing_is_owned(outcomes)
        granted = await apply_access(reconciler.client, plan.access, revoke=not world.run.failed)
        self._voice.granted(granted)
        return any(result == "done" for result in (*(o.result for o in outcomes), *(g.result for g in granted)))

    def _within_policy(self, reconciler: Reconciler, view: View) -> tuple[Plan, str]:
        """Return a plan that policy allows, without what destroys too much; and why nothing may be bought, if so."""
        plan = view.plan
        if plan.unsafe:
            plan = replace(reconciler, options=replace(reconciler.options, partial=True)).plan(view.observed)
        self._voice.limits(dict.fromkeys((*view.plan.unsafe, *plan.unsafe)), plan.warnings)
        return replace(plan, unsafe=()), "; ".join(plan.unsafe)

    async def _nudge(self, reconciler: Reconciler, observed: Observed) -> None:
        """Retrieve active jobs that have shown no change for long; one that has moved is looked at soon."""
        now, known = self._clock(), self._unmoved
        waiting = {job.id: job.status for job in observed.jobs if job.active and job.status != "paused"}
        fresh = {i: (status, now) for i, status in waiting.items()}
        self._unmoved = {i: known[i] if i in known and known[i][0] == fresh[i][0] else fresh[i] for i in fresh}
        due = [i for i, (_, since) in self._unmoved.items() if now - since >= _NUDGE]

        async def moved(job_id: str) -> bool:
            self._unmoved[job_id] = fresh[job_id]
            try:
                return (await reconciler.client.job(job_id)).status != waiting[job_id]
            except ApiError:
                return False

        if any(await concurrently(moved, due)):
            self.soon()


def _stop_where_nothing_is_owned(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if isinstance(outcome.error, OwnershipLost):
            raise outcome.error
