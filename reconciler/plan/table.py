"""The decision table: what the desired state asks of the job that counts. Pure.

::

    desired    the job that counts                    action
    running    none                                   create, or wait, or blocked (a predecessor, its base, adopt)
    running    in flight, or a status nobody knows    none
    running    paused                                 resume
    running    succeeded                              none: converged
    running    failed, transient, attempts left       create the next attempt
    running    failed otherwise                       blocked, with the job's own error
    running    cancelled, not by this plan            blocked: drift; or create where asked for
    paused     running                                pause
    paused     not yet running                        wait, then pause
    paused     none                                   hold: nothing is created
    cancelled  active                                 cancel
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.chain import Base
from reconciler.plan.diff import difference, label_notes
from reconciler.plan.model import Action, Change, Difference
from reconciler.plan.words import short, time_left
from reconciler.spec.desired import Desired

TRANSIENT_CODES: Mapping[str, str] = {
    "server_error": "the host's own fault",
    "internal_error": "the host's own fault",
    "internal_server_error": "the host's own fault",
    "service_unavailable": "the host was down",
    "timeout": "the host was too slow",
    "rate_limit_exceeded": "too much at once; later there is room",
    "resource_exhausted": "too much at once; later there is room",
    "overloaded": "too much at once; later there is room",
    "capacity_exceeded": "too much at once; later there is room",
    "preempted": "the machine was taken away",
    "node_lost": "the machine was lost",
    "worker_lost": "the machine was lost",
}
"""Error codes of a failed job after which the same training may succeed, and why. Every other code needs a person."""


class Situation(Enum):
    """How the job that counts stands. Statuses nobody knows are UNKNOWN and left alone."""

    NONE = auto()
    STARTING = auto()
    RUNNING = auto()
    PAUSING = auto()
    PAUSED = auto()
    RESUMING = auto()
    UNKNOWN = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    CANCELLED = auto()


_SITUATIONS = {
    "validating_files": Situation.STARTING,
    "queued": Situation.STARTING,
    "pending": Situation.STARTING,
    "running": Situation.RUNNING,
    "pausing": Situation.PAUSING,
    "paused": Situation.PAUSED,
    "resuming": Situation.RESUMING,
    "succeeded": Situation.SUCCEEDED,
    "failed": Situation.FAILED,
    "cancelled": Situation.CANCELLED,
}


def situation(job: ObservedJob | None) -> Situation:
    """Classify a job's status."""
    return Situation.NONE if job is None else _SITUATIONS.get(job.status, Situation.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Subject:
    """A spec and everything its row depends on.

    ``job`` is the one that counts; ``predecessors`` are the active jobs of other revisions, ``latest`` the newest job
    of another revision; ``base`` is the resolved base model; ``recreate`` says whether a cancelled job is to be
    started again.
    """

    spec: Desired
    job: ObservedJob | None
    predecessors: tuple[ObservedJob, ...]
    latest: ObservedJob | None
    base: Base
    recreate: bool
    observed: Observed
    now: float


def adopts(spec: Desired) -> str | None:
    """Return the id of the job a spec adopts, as long as its revision is the one that job was made from."""
    return spec.adopt.job if spec.adopt and spec.adopt.revision == spec.revision else None


def decide(subject: Subject) -> Change:  # noqa: C901, PLR0911, PLR0912 - a table has as many rows as it has
    """Find the row of the table."""
    spec, job = subject.spec, subject.job
    match spec.state, situation(job):
        case "running", Situation.NONE:
            return _create(subject, 1, f"no job of revision {short(spec.revision)} exists")
        case _, Situation.UNKNOWN:
            return _on_job(subject, Action.NONE, f"status {_status(job)!r} is not known here: left alone")
        case "running", Situation.STARTING | Situation.RUNNING | Situation.RESUMING:
            return _on_job(subject, Action.NONE, f"{_status(job)}{_left(subject)}")
        case "running", Situation.PAUSED:
            return _on_job(subject, Action.RESUME, "is paused; the spec says running")
        case "running", Situation.PAUSING:
            return _on_job(subject, Action.WAIT, "is pausing; it is resumed once it has paused")
        case "running", Situation.SUCCEEDED:
            return _on_job(subject, Action.NONE, "converged")
        case "running", Situation.FAILED:
            return _failed(subject)
        case "running", Situation.CANCELLED:
            return _cancelled(subject)
        case "paused", Situation.RUNNING:
            return _on_job(subject, Action.PAUSE, "is running; the spec says paused")
        case "paused", Situation.STARTING | Situation.RESUMING:
            return _on_job(subject, Action.WAIT, f"is {_status(job)}: only a running job can be paused")
        case "paused", Situation.PAUSED | Situation.PAUSING:
            return _on_job(subject, Action.NONE, _status(job))
        case "paused", Situation.NONE:
            return _plain(subject, Action.HOLD, "the spec says paused: nothing is created" + _goes_on(subject))
        case "paused", _:
            return _on_job(subject, Action.NONE, f"{_status(job)}: nothing is left to pause")
        case "cancelled", Situation.NONE:
            return _plain(subject, Action.NONE, "the spec says cancelled, and no job exists")
        case "cancelled", Situation.SUCCEEDED | Situation.FAILED | Situation.CANCELLED:
            return _on_job(subject, Action.NONE, f"{_status(job)}: nothing is left to cancel")
        case _:
            if spec.protect:
                return _on_job(subject, Action.BLOCKED, "the spec says cancelled, and protect: true forbids it")
            return _on_job(subject, Action.CANCEL, "the spec says cancelled")


def _create(subject: Subject, attempt: int, reason: str) -> Change:
    """Create, unless a predecessor or the base model stands in the way."""
    spec, base = subject.spec, subject.base
    if subject.job is None and (adopted := adopts(spec)):
        why = subject.observed.refused.get(adopted, "which is not here or counts for another spec")
        reason = f"adopts {adopted}, {why}; remove `adopt` to train a job of its own"
        return _plain(subject, Action.BLOCKED, reason)
    if subject.predecessors:
        old = subject.predecessors[0]
        if spec.protect:
            return _plain(
                subject, Action.BLOCKED, f"protect: true: {old.id} of revision {short(old.revision)} is {old.status}"
            )
        if spec.replace == "wait":
            return _plain(
                subject,
                Action.WAIT,
                f"replace: wait: {old.id} of revision {short(old.revision)} is {old.status}"
                f"{time_left(old, subject.now)}",
            )
    if base.kind != "ready":
        return _plain(subject, Action.WAIT if base.kind == "waits" else Action.BLOCKED, base.reason)
    return Change(
        name=spec.name,
        action=Action.CREATE,
        reason=reason,
        revision=spec.revision,
        attempt=attempt,
        diff=_diff(subject),
        model=base.model,
        notes=tuple(note for note in (base.note, _silent_note(subject)) if note),
    )


def _failed(subject: Subject) -> Change:
    spec, job = subject.spec, _present(subject.job)
    why = job.error_message or "the server gives no reason"
    code = f" ({job.error_code})" if job.error_code else ""
    if subject.recreate:
        return _create(subject, job.attempt + 1, f"{job.id} failed{code}; another attempt was asked for")
    if job.error_code not in TRANSIENT_CODES:
        return _on_job(subject, Action.BLOCKED, f"failed{code}: {why}")
    limit = f"attempt {job.attempt}, retry.limit {spec.retry_limit}"
    if job.attempt > spec.retry_limit:
        return _on_job(subject, Action.BLOCKED, f"failed{code}, which may pass, but no retry is left ({limit}): {why}")
    return _create(subject, job.attempt + 1, f"{job.id} failed{code}, which may pass ({limit})")


def _cancelled(subject: Subject) -> Change:
    job = _present(subject.job)
    if subject.recreate:
        return _create(subject, job.attempt + 1, f"{job.id} was cancelled; another attempt was asked for")
    return _on_job(
        subject,
        Action.BLOCKED,
        f"was cancelled, by hand or for another revision; set a new `rerun`, or use --recreate {subject.spec.name}",
    )


def _diff(subject: Subject) -> tuple[Difference, ...]:
    if subject.latest is None:
        return ()
    return difference(subject.spec, subject.base.model, subject.latest, subject.observed)


def _silent_note(subject: Subject) -> str:
    """Explain a revision whose difference no job shows."""
    if subject.latest is None or _diff(subject):
        return ""
    return (
        f"{subject.latest.id} of revision {short(subject.latest.revision)} shows no difference: what changed is "
        "`rerun`, or a value now left to the server"
    )


def _plain(subject: Subject, action: Action, reason: str) -> Change:
    """Return a change of a spec that has no job of its revision."""
    return Change(subject.spec.name, action, reason, revision=subject.spec.revision, attempt=1, diff=_diff(subject))


def _on_job(subject: Subject, action: Action, reason: str) -> Change:
    job = _present(subject.job)
    return Change(
        name=subject.spec.name,
        action=action,
        reason=reason,
        job_id=job.id,
        revision=job.revision,
        attempt=job.attempt,
        notes=tuple(label_notes(subject.spec, job)),
    )


def _goes_on(subject: Subject) -> str:
    if not subject.predecessors:
        return ""
    old = subject.predecessors[0]
    return f"; {old.id} of revision {short(old.revision)} is {old.status} and goes on"


def _present(job: ObservedJob | None) -> ObservedJob:
    if job is None:
        raise AssertionError("this row has a job")
    return job


def _status(job: ObservedJob | None) -> str:
    return _present(job).status


def _left(subject: Subject) -> str:
    return time_left(_present(subject.job), subject.now)
