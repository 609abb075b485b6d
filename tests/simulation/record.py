"""What happened, as the server saw it, and the rules that held each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.errors import ReconcilerError
from reconciler.observe.ownership import Ownership, parse

from .server import TRANSIENT, LiveJob, Server

OURS = "acme/models"
"""The one owner that every reconciler here works for."""


def owner_of(job: LiveJob) -> Ownership | None:
    """Read whose a job is; None for every job that is not clearly ours."""
    try:
        own = parse(job.metadata)
    except ValueError:
        return None
    return own if own and own.owner == OURS else None


def _name(job: LiveJob) -> str | None:
    own = owner_of(job)
    return own.name if own else None


def _revision(job: LiveJob) -> str | None:
    own = owner_of(job)
    return own.revision if own else None


@dataclass
class Run:
    """One reconcile by one reconciler.

    ``looked`` is when its newest listing began, ``heard`` when it sent its last request; ``failed`` when it first
    reported an error; ``killed`` when it was ended from outside. ``sent`` holds the creates that may have had their
    effect; ``retry_limits`` are those of every version of the specs, by name.
    """

    number: int
    retry_limits: Sequence[Mapping[str, int]]
    recreates: bool = False
    looked: float = 0.0
    heard: float = 0.0
    failed: float | None = None
    killed: float | None = None
    requests: int = 0
    sent: Counter[Ownership] = field(default_factory=Counter)
    made: set[str] = field(default_factory=set)
    cancelling: set[str] = field(default_factory=set)


@dataclass
class Record:
    """Judges every effect at the moment it happens. ``checks`` counts the judgements, by rule."""

    server: Server
    checks: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    trace: list[tuple[Any, ...]] = field(default_factory=list)

    def check(self, rule: str, *, holds: bool, words: str) -> None:
        self.checks[rule] += 1
        if not holds:
            self.broken.append(f"{rule}: {words} (at {self.server.clock():.1f} s)")

    def note(self, *what: Any) -> None:
        self.trace.append((round(self.server.clock(), 3), *what))

    # What reconcilers do

    def sends_create(self, run: Run, own: Ownership) -> None:
        """A create leaves, and may have its effect."""
        run.sent[own] += 1
        self.check("a create is never repeated", holds=run.sent[own] == 1, words=f"run {run.number} repeats {own}")

    def created(self, run: Run, job: LiveJob, looked: float) -> None:
        """A create had its effect: the listing before it, begun at ``looked``, must not have shown it unwanted."""
        self.counts["creates"] += 1
        self.note("create", run.number, job.id, dict(job.metadata))
        own = owner_of(job)
        if own is None:
            self.check("what is created is ours", holds=False, words=f"run {run.number} made {job.id} for nobody")
            return
        run.made.add(job.id)
        same = [j for j in self.ours() if j is not job and _revision(j) == own.revision]
        plain = [j for j in same if j.shown <= looked and _name(j) == own.name]
        self.check(
            "what a listing showed is not created again",
            holds=not any(owner_of(j) == own for j in plain),
            words=f"run {run.number} made {job.id} although its listing had {own}",
        )
        self.check(
            "what succeeded is not trained again",
            holds=not any(j.status == "succeeded" and (j.ended or 0) <= looked for j in plain),
            words=f"run {run.number} made {job.id} although {own.revision} of {own.name} had succeeded",
        )
        self.check(
            "every attempt is explained",
            holds=own.attempt == 1 or any(self._explains(j, run, own) for j in same),
            words=f"run {run.number} made {job.id}, attempt {own.attempt} of {own.name}, for no reason",
        )

    def _explains(self, job: LiveJob, run: Run, own: Ownership) -> bool:
        """Whether a job's end is why the next attempt was wanted."""
        before = owner_of(job)
        if before is None or before.attempt != own.attempt - 1:
            return False
        if job.status == "cancelled":
            return run.recreates
        return (
            job.status == "failed"
            and job.course.code == TRANSIENT
            and any(before.attempt <= limits.get(own.name, 0) for limits in run.retry_limits)
        )

    def sends_change(self, run: Run, verb: str, job_id: str) -> None:
        """A cancel, pause or resume leaves."""
        job = self.server.jobs.get(job_id)
        self.check(
            "foreign jobs are left alone",
            holds=job is not None and owner_of(job) is not None,
            words=f"run {run.number} wants to {verb} {job_id}",
        )
        if verb == "cancel" and job_id not in run.cancelling:
            run.cancelling.add(job_id)
            self.check(
                "nothing is destroyed after an error",
                holds=run.failed is None or job_id in run.made,
                words=f"run {run.number} cancels {job_id} after it had failed at {run.failed}",
            )

    def changed(self, run: Run, verb: str, job: LiveJob) -> None:
        self.counts[verb] += 1
        self.note(verb, run.number, job.id)

    def sends_anything(self, run: Run) -> None:
        run.requests += 1
        run.heard = self.server.clock()

    def ended(self, run: Run, error: BaseException | None) -> None:
        self.note("ends", run.number, repr(error))
        self.check(
            "every command ends in words",
            holds=error is None or isinstance(error, ReconcilerError),
            words=f"run {run.number} ended in {error!r}",
        )
        if run.killed is not None:
            words = f"run {run.number} was killed at {run.killed}, and sent something at {run.heard}"
            self.check("the dead send nothing", holds=run.heard <= run.killed, words=words)

    def ours(self) -> list[LiveJob]:
        """Every job that is clearly ours, oldest first."""
        return [job for job in self.server.all_jobs() if owner_of(job)]
