"""What happened, as the server saw it, and the rules that held each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.errors import ReconcilerError
from reconciler.observe.ownership import Ownership
from reconciler.plan.table import adopts
from reconciler.spec.desired import Desired
from reconciler.spec.policy import Policy

from .rules import (
    adoptable,
    adopter,
    asks,
    managed,
    needs_of_file,
    needs_of_model,
    owner_of,
    protects,
    surely_wants_access,
    wants_access,
)
from .server import TRANSIENT, LiveJob, Server


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
    effect; ``retry_limits`` are those of every version of the specs, by name; ``desired`` is what its clone says.
    ``known`` holds the jobs that it has made; runs share it where one remembers what the other did.
    """

    number: int
    retry_limits: Sequence[Mapping[str, int]]
    recreates: bool = False
    looked: float = 0.0
    heard: float = 0.0
    failed: float | None = None
    killed: float | None = None
    requests: int = 0
    desired: Sequence[Desired] = ()
    policy: Policy = field(default_factory=Policy)
    sent: Counter[Ownership] = field(default_factory=Counter)
    made: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
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
            "what one has made one does not make again",
            holds=not any(owner_of(j) == own and j.id in run.known for j in same),
            words=f"run {run.number} made {job.id} although it had made {own} before",
        )
        run.known.add(job.id)
        self.check(
            "what succeeded is not trained again",
            holds=not any(j.status == "succeeded" and (j.ended or 0) <= looked for j in plain),
            words=f"run {run.number} made {job.id} although {own.revision} of {own.name} had succeeded",
        )
        adopted = self._adopted(run, own)
        self.check(
            "every attempt is explained",
            holds=own.attempt == 1 or any(self._explains(j, run, own) for j in (*same, *adopted)),
            words=f"run {run.number} made {job.id}, attempt {own.attempt} of {own.name}, for no reason",
        )
        if adopted:
            bought = own.attempt == 1 or any(j.live or j.status == "succeeded" for j in adopted)
            words = f"run {run.number} made {job.id} although {own.name} adopts {adopted[0].id}"
            self.check("what is adopted is not bought again", holds=not bought, words=words)

    def _adopted(self, run: Run, own: Ownership) -> list[LiveJob]:
        """Return the job that counts for what is made, by the word of its spec."""
        specs = (spec for spec in run.desired if (spec.name, spec.revision) == (own.name, own.revision))
        jobs = [self.server.job(job_id) for spec in specs if (job_id := adopts(spec))]
        return [job for job in jobs if adoptable(job)]

    def _explains(self, job: LiveJob, run: Run, own: Ownership) -> bool:
        """Whether a job's end is why the next attempt was wanted."""
        before = owner_of(job) or Ownership("", "", "", 1)
        if before.attempt != own.attempt - 1:
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
        job = self.server.job(job_id)
        spec = adopter(job, run.desired)
        words = f"run {run.number} wants to {verb} {job_id}"
        if spec:
            holds = asks(spec, verb, job, self.server)
            self.check("what is adopted is changed only as its spec asks", holds=holds, words=words)
        else:
            self.check("foreign jobs are left alone", holds=owner_of(job) is not None, words=words)
        if verb == "cancel":
            spared = not protects(job, run.desired) or self._raced(run, job)
            self.check("what is protected is not cancelled", holds=spared, words=words)
        if verb == "cancel" and job_id not in run.cancelling:
            run.cancelling.add(job_id)
            self.check(
                "nothing is destroyed after an error",
                holds=run.failed is None or job_id in run.made,
                words=f"run {run.number} cancels {job_id} after it had failed at {run.failed}",
            )

    def _raced(self, run: Run, job: LiveJob) -> bool:
        """Whether two runs have just made the same job, one of them this: then the younger one goes at once."""
        return any(owner_of(self.server.job(job_id)) == owner_of(job) for job_id in run.made)

    def sends_delete(self, run: Run, kind: str, name: str, looked: float) -> None:
        """A file or a model is about to go, and ``looked`` is when the newest listing began."""
        if kind == "files":
            needs = list(needs_of_file(self.server, name, run.desired, looked)) if name in self.server.files else []
            self.check("no file goes that is needed", holds=not needs, words=f"run {run.number}, {name}: {needs}")
        else:
            there = name not in self.server.gone
            needs = list(needs_of_model(self.server, name, run.desired, looked)) if there else []
            self.check("no model goes that is needed", holds=not needs, words=f"run {run.number}, {name}: {needs}")

    def sends_grant(self, run: Run, model: str, projects: Sequence[str]) -> None:
        """Projects are about to be let in."""
        holds = all(wants_access(self.server, model, project, run.desired) for project in projects)
        self.check("who is let in is named", holds=holds, words=f"run {run.number}, {model}: {projects}")

    def sends_revoke(self, run: Run, model: str, permission_id: str) -> None:
        """A permission is about to be taken back."""
        row = self.server.permissions.get(permission_id)
        if row is None:
            return
        project = row["project_id"]
        ours = managed(project, run.policy) and not surely_wants_access(self.server, model, project, run.desired)
        self.check("who is let in by others stays", holds=ours, words=f"run {run.number}, {model}: {project}")
        words = f"run {run.number} shuts {project} out after it had failed at {run.failed}"
        self.check("nothing is destroyed after an error", holds=run.failed is None, words=words)

    def changed(self, run: Run, verb: str, job: LiveJob) -> None:
        self.did(run, verb, job.id)

    def did(self, run: Run, verb: str, *what: Any) -> None:
        """Count and note what happened."""
        self.counts[verb] += 1
        self.note(verb, run.number, *what)

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
        shown = {owner_of(job) for job in self.ours() if job.shown <= self.server.clock()}
        late = [job_id for job_id in run.made if owner_of(self.server.job(job_id)) not in shown]
        if run.killed is None and run.made:
            words = f"run {run.number} ended before a list had {late}"
            self.check("what a run has made is listed when it ends", holds=not late, words=words)
        if run.killed is not None:
            words = f"run {run.number} was killed at {run.killed}, and sent something at {run.heard}"
            self.check("the dead send nothing", holds=run.heard <= run.killed, words=words)

    def ours(self) -> list[LiveJob]:
        """Every job that is clearly ours, oldest first."""
        return [job for job in self.server.all_jobs() if owner_of(job)]
