"""One row a spec: what it asks for, where its job stands, and why nothing happens if nothing does. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from reconciler.api.types import TERMINAL
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.cost import base_model, cost_of, price_of
from reconciler.plan.limits import estimated_tokens
from reconciler.plan.model import Action, Change, Cost, Plan
from reconciler.plan.planner import bind
from reconciler.report.words import money
from reconciler.spec.desired import Desired
from reconciler.spec.policy import Price
from reconciler.watch.restraint import Held

MOST_POINTS = 400
"""Losses kept of one job."""

_PLANNED = {
    Action.CREATE: "to start",
    Action.WAIT: "waits",
    Action.HOLD: "on hold",
    Action.BLOCKED: "blocked",
}
NO_JOB = "no job"
TO_APPROVE = "to approve"
_ORDER = (
    ("failed", "blocked"),
    (TO_APPROVE,),
    ("running",),
    ("to start", "validating_files", "queued", "pending", "pausing", "resuming"),
    ("waits", "on hold", "paused"),
    (NO_JOB,),
    ("succeeded",),
    ("cancelled",),
)
_RANKS = {status: rank for rank, group in enumerate(_ORDER) for status in group}


@dataclass(slots=True)
class Steps:
    """How far a job is, as far as its events were read; ``losses`` are (step, loss), oldest first."""

    step: int | None = None
    total: int | None = None
    losses: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=MOST_POINTS))

    @property
    def share(self) -> float | None:
        """How much of the training is done, from 0 to 1."""
        return min(self.step / self.total, 1.0) if self.step is not None and self.total else None


@dataclass(frozen=True, slots=True)
class Row:
    """One spec, or one active job that has lost its spec (``spec`` None). ``job`` is the one that counts, or did last.

    ``status`` is the server's word, or what is planned where no job of the spec's revision is there. ``why`` says what
    stands in the way, or what will be done.
    """

    name: str
    spec: Desired | None
    job: ObservedJob | None
    status: str
    why: str = ""
    price: Price | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Which row this is, whatever its state."""
        return (self.name, self.job.id if self.job and self.spec is None else "")

    @property
    def rank(self) -> int:
        """What needs a person first, what is over last; a status that nobody knows comes with what runs."""
        return _RANKS.get(self.status, 2)

    @property
    def active(self) -> bool:
        """Whether its job may still train."""
        return self.job is not None and self.job.active

    def cost(self, steps: Steps | None) -> Cost | None:
        """Return what the job has cost so far: of the tokens that it was billed, else of its share of the estimate."""
        if self.price is None or self.job is None:
            return None
        tokens = self.job.trained_tokens
        if tokens is None:
            share = steps.share if steps else None
            if share is None or self.spec is None:
                return None
            tokens = round(estimated_tokens(self.spec) * share)
        return cost_of(tokens, self.price)


def make_rows(
    desired: Sequence[Desired],
    observed: Observed,
    plan: Plan,
    held: Mapping[str, Held],
    prices: Mapping[str, Price],
) -> list[Row]:
    """Return all rows, by name. ``held`` holds by name what is held back."""
    bound = bind(desired, observed)
    changes: dict[str, Change] = {}
    for change in plan.changes:
        changes.setdefault(change.name, change)
    specs = {spec.name: spec for spec in desired}
    priced = cache(lambda model: price_of(model, prices))

    def row(spec: Desired) -> Row:
        name, own = spec.name, bound[spec.name]
        change = changes.get(name)
        job = own or max(observed.by_name.get(name, ()), key=lambda j: (j.created_at, j.id), default=None)
        status = own.status if own and not _replaced(own, change) else _planned(change, held.get(name))
        price = priced(job.model if job and job.model else base_model(spec, specs)) if prices else None
        return Row(name, spec, job, status, _why(change, held.get(name), own), price)

    rows = [row(spec) for spec in desired]
    counted = {job.id for job in bound.values() if job}
    orphans = (j for j in observed.jobs if j.active and j.name not in bound and j.id not in counted)
    for job in orphans:
        why = _why(changes.get(job.name), held.get(job.name), job)
        rows.append(Row(job.name, None, job, job.status, why or "has no spec"))
    return sorted(rows, key=lambda r: r.key)


def _replaced(job: ObservedJob, change: Change | None) -> bool:
    """Whether another attempt is about to take the place of a job that has ended."""
    return change is not None and change.buys and job.status in TERMINAL


def _planned(change: Change | None, held: Held | None) -> str:
    if held and held.kind == "approval":
        return TO_APPROVE
    return _PLANNED.get(change.action, NO_JOB) if change else NO_JOB


def _why(change: Change | None, held: Held | None, job: ObservedJob | None) -> str:
    """Say what stands in the way, or what will be done; else what is wrong with the job."""
    if change is None or change.action is Action.NONE:
        if job is None:
            return ""
        return job.error_message or "" if job.status == "failed" else ""
    words = change.reason
    if held and held.kind == "approval":
        return f"about {money(change.cost.amount, change.cost.currency)}: {words}" if change.cost else words
    if change.action.acts and change.action is not Action.CREATE:
        words = f"{change.action}: {words}"
    return f"{held.reason}: {words}" if held else words


SORTS: Mapping[str, Callable[[Row], tuple[int | str, ...]]] = {
    "state": lambda row: (row.rank, row.name),
    "name": lambda row: (row.name,),
    "newest": lambda row: (-(row.job.created_at if row.job else 0), row.name),
    "finish": lambda row: ((row.job.estimated_finish if row.active and row.job else None) or 2**53, row.name),
}
"""By what the table can be sorted."""


def chosen(rows: Iterable[Row], words: str, sort: str) -> list[Row]:
    """Return the rows in which every word occurs (name, status, wanted state, reason, job, model), sorted."""
    wanted = words.lower().split()
    kept = [row for row in rows if all(word in _text(row) for word in wanted)] if wanted else list(rows)
    return sorted(kept, key=SORTS[sort])


def _text(row: Row) -> str:
    job, spec = row.job, row.spec
    more = f"{job.id} {job.model} {job.fine_tuned_model or ''}" if job else ""
    return f"{row.name} {row.status} {spec.state if spec else 'no spec'} {row.why} {more}".lower()
