"""A plan becomes outcomes: create, then resume and pause, then cancel.

Within a phase changes run concurrently, bounded. The first create on a server that is not known to keep metadata runs
alone: it is its own test. After any error nothing is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from reconciler.api.types import TERMINAL, Job
from reconciler.apply.create import create, resolve_duplicate
from reconciler.apply.model import Outcome
from reconciler.apply.world import World
from reconciler.errors import (
    Conflict,
    DailyLimit,
    InvalidRequest,
    NotAuthenticated,
    NotPermitted,
    NotThisApi,
    OwnershipLost,
    ReconcilerError,
)
from reconciler.plan.model import Action, Change, Plan

STOPS_ALL = (OwnershipLost, NotAuthenticated, NotPermitted, DailyLimit, NotThisApi)
"""Errors that every further change would meet too."""

_PHASES: tuple[tuple[Action, ...], ...] = ((Action.CREATE,), (Action.RESUME, Action.PAUSE), (Action.CANCEL,))


async def execute(world: World, plan: Plan) -> list[Outcome]:
    """Apply a plan. Failures come back as outcomes, one for each acting change, in the plan's order."""
    outcomes: dict[Change, Outcome] = {}
    for phase in _PHASES:
        changes = [c for c in plan.changes if c.action in phase]
        proven = world.proven or Action.CREATE not in phase
        for batch in [changes] if proven else [changes[:1], changes[1:]]:
            await _run(world, batch, outcomes)
        if Action.CREATE in phase:
            await _settle(world, outcomes)
    return [outcomes[c] for c in plan.changes if c in outcomes]


async def _run(world: World, changes: Sequence[Change], outcomes: dict[Change, Outcome]) -> None:
    gate = asyncio.Semaphore(world.concurrency)

    async def one(change: Change) -> None:
        async with gate:
            outcomes[change] = _obstacle(change, outcomes) or await _attempt(world, change)

    async with asyncio.TaskGroup() as group:
        for change in changes:
            group.create_task(one(change))


def _obstacle(change: Change, outcomes: dict[Change, Outcome]) -> Outcome | None:
    """Say why a change may not run after what has happened, if so."""
    failed = [o for o in outcomes.values() if o.result == "failed"]
    for outcome in failed:
        if isinstance(outcome.error, STOPS_ALL):
            return Outcome(
                change, "skipped", job_id=change.job_id, detail="skipped: every change would meet this error"
            )
    if failed and change.action is Action.CANCEL:
        return Outcome(change, "skipped", job_id=change.job_id, detail="skipped: after an error nothing is cancelled")
    return None


async def _attempt(world: World, change: Change) -> Outcome:
    act = _ACTS[change.action]
    try:
        return await act(world, change)
    except ReconcilerError as error:
        world.follower.job(change.name, "failed")
        request_id = getattr(error, "request_id", None)
        return Outcome(change, "failed", job_id=change.job_id, error=error, request_id=request_id)


async def _settle(world: World, outcomes: dict[Change, Outcome]) -> None:
    """Resolve duplicates of racing reconcilers among the jobs just created."""
    created = [o for o in outcomes.values() if o.change.action is Action.CREATE and o.result == "done"]
    gate = asyncio.Semaphore(world.concurrency)

    async def one(outcome: Outcome) -> None:
        async with gate:
            outcomes[outcome.change] = await resolve_duplicate(world, outcome)

    async with asyncio.TaskGroup() as group:
        for outcome in created:
            group.create_task(one(outcome))


async def _resume(world: World, change: Change) -> Outcome:
    return await _operate(world, change, world.api.resume_job)


async def _pause(world: World, change: Change) -> Outcome:
    return await _operate(world, change, world.api.pause_job)


async def _cancel(world: World, change: Change) -> Outcome:
    return await _operate(world, change, world.api.cancel_job)


async def _operate(world: World, change: Change, operation: Callable[[str], Awaitable[Job]]) -> Outcome:
    job_id = change.job_id or ""
    try:
        job = await operation(job_id)
    except (InvalidRequest, Conflict):
        # The job may have ended between plan and apply: then there is nothing left to do.
        job = await world.api.job(job_id)
        if job.status not in TERMINAL:
            raise
        return Outcome(change, "done", job_id=job_id, detail=f"had ended before: {job.status}")
    world.follower.job(change.name, job.status)
    return Outcome(change, "done", job_id=job_id)


_ACTS: dict[Action, Callable[[World, Change], Awaitable[Outcome]]] = {
    Action.CREATE: create,
    Action.RESUME: _resume,
    Action.PAUSE: _pause,
    Action.CANCEL: _cancel,
}
