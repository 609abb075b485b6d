"""What of a look is worth telling people who are elsewhere. Pure.

A thing is what one notification is about: the end of a job, a spec that is blocked for a reason, a job that differs,
a run that waits for approval. As long as it stands it is the same thing, whatever its words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reconciler.errors import TransientError
from reconciler.observe.state import ObservedJob
from reconciler.plan.model import Action, Change
from reconciler.report.fault import messages
from reconciler.report.words import estimate
from reconciler.spec.notifications import Event
from reconciler.watch.engine import Seen

_ENDS = {"succeeded": Event.SUCCEEDED, "failed": Event.FAILED, "cancelled": Event.CANCELLED}
_LOST = 3
"""Looks in a row that failed: fewer are no reason to wake anybody."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing to tell; ``spec`` is empty where it is of none, ``ended_at`` in Unix seconds.

    ``key`` is the same as long as it is the same thing. ``ends`` says that it is how a job ended: true for ever, unlike
    what stands only now.
    """

    event: Event
    key: str
    spec: str
    reason: str = ""
    job: str = ""
    model: str = ""
    ends: bool = False
    ended_at: float | None = None


def things(seen: Seen) -> Iterator[Thing]:
    """Yield all that stands in a look, old and new."""
    for job in seen.observed.jobs:
        if job.status in _ENDS:
            yield _ended(job)
    yield from _changes(seen)
    for drift in seen.drift:
        key = _key(Event.DRIFT, drift.job_id, drift.status, drift.desired)
        yield Thing(Event.DRIFT, key, drift.name or drift.job_id, drift.reason, drift.job_id)
    if seen.limits:
        yield Thing(Event.LIMITS, Event.LIMITS, "", "; ".join(seen.limits))
    if seen.failures >= _LOST:
        yield Thing(Event.SERVER, Event.SERVER, "", seen.failed)


def _changes(seen: Seen) -> Iterator[Thing]:
    """Yield what is not done, or was not; that a failed job blocks its spec is one thing with its failure."""
    for change in seen.plan.changes:
        job = seen.observed.by_id.get(change.job_id or "")
        if change.action is Action.BLOCKED and not (job and job.status == "failed"):
            yield _of(Event.BLOCKED, change, change.reason, change.reason)
    for held in seen.held:
        if held.kind == "approval":
            cost = f" ({estimate(held.change.cost)})" if held.change.cost else ""
            yield _of(Event.APPROVAL, held.change, held.change.reason + cost, held.change.revision)
        elif held.kind == "budget":
            yield _of(Event.BLOCKED, held.change, held.reason, held.kind, held.change.revision)
    for outcome in seen.outcomes:
        if outcome.error is not None and not isinstance(outcome.error, TransientError):
            change = outcome.change
            why = f"{change.action}: {'; '.join(messages(outcome.error))}"
            yield _of(Event.FAILED, change, why, change.action, change.revision, change.job_id)


def _ended(job: ObservedJob) -> Thing:
    event = _ENDS[job.status]
    reason = (job.error_message if event is Event.FAILED else job.fine_tuned_model) or ""
    key, model = f"{event} {job.id}", job.fine_tuned_model or ""
    return Thing(event, key, job.name, reason, job.id, model, ends=True, ended_at=job.finished_at)


def _of(event: Event, change: Change, reason: str, *what: str | None) -> Thing:
    key = _key(event, change.name, *what)
    return Thing(event, key, change.name, reason, change.job_id or "", change.model or "")


def _key(event: Event, *what: str | None) -> str:
    digest = hashlib.sha256("\0".join(each or "" for each in what).encode(errors="surrogatepass"))
    return f"{event} {digest.hexdigest()[:24]}"


def together(found: Iterable[Thing]) -> Iterator[tuple[Thing, ...]]:
    """Yield what is told in one message: new runs that wait for approval are one plan, all else is told by itself."""
    approvals = []
    for thing in found:
        if thing.event is Event.APPROVAL:
            approvals.append(thing)
        else:
            yield (thing,)
    if approvals:
        yield tuple(approvals)
