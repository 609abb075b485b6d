"""Limits that policy sets: each a function from changes to changes, or to reasons why not. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.model import Action, Change
from reconciler.plan.words import is_snapshot_of
from reconciler.spec.desired import Desired
from reconciler.spec.policy import Budget, MaxActive, MaxPrune


def matches(model: str, pattern: str) -> bool:
    """Whether a model, or the one it was fine-tuned from (``ft:MODEL:…``), is named by a pattern or its alias."""
    base = model.removeprefix("ft:").partition(":")[0]
    return any(fnmatchcase(m, pattern) or is_snapshot_of(m, pattern) for m in (model, base))


@dataclass
class _Slots:
    """How many jobs may train at once under one limit, and how many do. Paused jobs hold no slot."""

    words: str
    pattern: str
    limit: int
    used: int
    ahead: int = 0

    def concerns(self, model: str) -> bool:
        return matches(model, self.pattern)

    @property
    def full(self) -> bool:
        return self.used >= self.limit


def admit(
    changes: Sequence[Change], desired: Mapping[str, Desired], observed: Observed, limit: MaxActive
) -> list[Change]:
    """Turn what finds no free slot under ``max_active`` into a wait.

    Resumed jobs go first, then creates by falling priority, then by name. A create takes over the slot of the
    predecessors that are cancelled right after it, so that a full queue can still be replaced.
    """
    jobs = observed.by_id
    slots = _slots([job for job in jobs.values() if _holds_a_slot(job)], limit)
    leaving: dict[str, list[ObservedJob]] = {}
    for c in changes:
        if c.requires and c.job_id and _holds_a_slot(jobs[c.job_id]):
            leaving.setdefault(c.requires, []).append(jobs[c.job_id])
    queue = [c for c in changes if c.action in {Action.RESUME, Action.CREATE}]
    queue.sort(key=lambda c: (c.action is Action.CREATE, -_priority(c, desired), c.name))
    admitted = {id(c): _admit(c, slots, jobs, leaving.get(c.name, [])) for c in queue}
    return [admitted.get(id(c), c) for c in changes]


def _holds_a_slot(job: ObservedJob) -> bool:
    return job.active and job.status != "paused"


def _slots(active: Sequence[ObservedJob], limit: MaxActive) -> list[_Slots]:
    slots = [_Slots("slots", "*", limit.total, len(active))] if limit.total is not None else []
    for pattern, count in sorted(limit.models.items()):
        used = sum(matches(job.model, pattern) for job in active)
        slots.append(_Slots(f"slots of {pattern}", pattern, count, used))
    return slots


def _priority(change: Change, desired: Mapping[str, Desired]) -> int:
    spec = desired.get(change.name)
    return spec.priority if spec else 0


def _admit(
    change: Change, slots: list[_Slots], jobs: Mapping[str, ObservedJob], predecessors: Sequence[ObservedJob]
) -> Change:
    job = jobs.get(change.job_id or "")
    model = change.model or (job.model if job else "")
    concerned = [s for s in slots if s.concerns(model)]
    inherited = [s for s in concerned if any(s.concerns(each.model) for each in predecessors)]
    for slot in concerned:
        if slot.full and slot not in inherited:
            ahead = f"; {slot.ahead} ahead of it" if slot.ahead else ""
            for each in concerned:
                each.ahead += 1
            reason = f"waits: {slot.used} of {slot.limit} {slot.words} in use{ahead}"
            return replace(change, action=Action.WAIT, reason=reason, model=None)
    for slot in concerned:
        if slot not in inherited:
            slot.used += 1
    return change


def prune_limit(pruned: Sequence[Change], owned: int, limit: MaxPrune) -> Iterator[str]:
    """Say why cancelling jobs that lost their spec goes too far. ``owned`` is the number of names we own."""
    count, names = len(pruned), len({c.name for c in pruned})
    if count > limit.count:
        yield (
            f"{count} jobs have lost their spec and would be cancelled; policy max_prune allows {limit.count}. "
            f"If that is meant, pass --max-prune {count}."
        )
    elif count > 1 and names > limit.share * owned:
        yield (
            f"{names} of {owned} names we own have lost their spec and their jobs would be cancelled; policy max_prune "
            f"allows {limit.share:.0%}. If that is meant, pass --max-prune {count}."
        )


def budget_limit(changes: Sequence[Change], desired: Mapping[str, Desired], budget: Budget) -> Iterator[str]:
    """Say why the jobs to come go beyond the budget of one plan.

    Those that still wait (for a slot, a base, a predecessor) count too: ``apply --wait`` buys them under this plan.
    """
    creates = [c for c in changes if c.buys]
    if budget.creates is not None and len(creates) > budget.creates:
        later = sum(c.action is Action.WAIT for c in creates)
        yield (
            f"{len(creates)} jobs would be created{f' ({later} of them later)' if later else ''}; policy "
            f"budget.creates allows {budget.creates} a plan. Raise it, or apply in parts with --target."
        )
    if budget.tokens is not None:
        tokens = sum(estimated_tokens(desired[c.name]) for c in creates)
        if tokens > budget.tokens:
            yield (
                f"the new jobs would train on about {tokens:,} tokens; policy budget.tokens allows {budget.tokens:,} a "
                "plan. Raise it, or apply in parts with --target."
            )


def estimated_tokens(spec: Desired) -> int:
    """Estimate the training tokens a job is billed for: bytes / 4 x epochs; 3 epochs where the server chooses.

    A file known by its id alone counts as nothing: its size is the server's to know.
    """
    kind = spec.method["type"]
    epochs = (spec.method.get(kind) or {}).get("hyperparameters", {}).get("n_epochs", 3)
    return sum(f.size for f in (spec.training_file,) if not isinstance(f, str)) // 4 * int(epochs)
