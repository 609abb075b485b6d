"""A plan becomes outcomes: create, then resume and pause, then cancel.

Within a phase changes run concurrently, bounded. On a server that is not known to keep metadata, creates run one at a
time until one of them has shown that it does. After any error nothing is cancelled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from reconciler.api.concurrently import concurrently
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
    Unsupported,
)
from reconciler.plan.model import Action, Change, Plan

STOPS_ALL = (OwnershipLost, NotAuthenticated, NotPermitted, DailyLimit, NotThisApi)
"""Errors that every further change would meet too."""

_PHASES: tuple[tuple[Action, ...], ...] = ((Action.CREATE,), (Action.RESUME, Action.PAUSE), (Action.CANCEL,))


async def execute(world: World, plan: Plan) -> list[Outcome]:
    """Apply a plan. Failures come back as outcomes, one for each acting change, in the plan's order.

    What the same ``world`` has met before counts: after an error nothing is cancelled, in later plans either.
    """
    outcomes: dict[Change, Outcome] = {}
    for phase in _PHASES:
        changes = [c for c in plan.changes if c.action in phase]
        if Action.CREATE in phase:
            while changes and not (world.proven or world.run.proven):
                await _run(world, [changes.pop(0)], outcomes)
        await _run(world, changes, outcomes)
        if Action.CREATE in phase:
            await _settle(world, outcomes)
    done = [outcomes[c] for c in plan.changes if c in outcomes]
    world.run.outcomes += done
    return done


async def _run(world: World, changes: Sequence[Change], outcomes: dict[Change, Outcome]) -> None:
    async def one(change: Change) -> None:
        outcomes[change] = _obstacle(world, change) or await _attempt(world, change)

    await concurrently(one, changes, limit=world.concurrency)


def _obstacle(world: World, change: Change) -> Outcome | None:
    """Say why a change may not run after what has happened, if so."""
    if world.run.halted:
        detail = "skipped: every change would meet the same error"
    elif change.action in world.run.lacking:
        detail = f"blocked: {world.run.lacking[change.action]}"
    elif world.run.failed and change.action is Action.CANCEL:
        detail = "skipped: after an error nothing is cancelled"
    else:
        return None
    world.run.results.setdefault(change.key, "skipped")
    return Outcome(change, "skipped", job_id=change.job_id, detail=detail)


async def _attempt(world: World, change: Change) -> Outcome:
    try:
        outcome = await _ACTS[change.action](world, change)
        request_id = world.api.request_ids.get(outcome.job_id or "")
        outcome = replace(outcome, request_id=request_id)
    except ReconcilerError as error:
        world.follower.job(change.name, "failed")
        world.run.halted = world.run.halted or isinstance(error, STOPS_ALL)
        request_id = getattr(error, "request_id", None)
        outcome = Outcome(change, "failed", job_id=change.job_id, error=error, request_id=request_id)
    world.run.results[change.key] = outcome.result
    return outcome


async def _settle(world: World, outcomes: dict[Change, Outcome]) -> None:
    """Wait until the jobs just created are listed, and resolve duplicates of racing reconcilers among them."""
    deadline = world.clock() + world.visible_within

    async def one(outcome: Outcome) -> None:
        outcomes[outcome.change] = await resolve_duplicate(world, outcome, deadline)

    created = [o for o in outcomes.values() if o.result == "done"]
    await concurrently(one, created, limit=world.concurrency)


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
    except Unsupported as error:
        return _blocked(world, change, error)
    world.follower.job(change.name, job.status)
    return Outcome(change, "done", job_id=job_id)


def _blocked(world: World, change: Change, error: Unsupported) -> Outcome:
    """A server that cannot do it at all is no error: it is said once, and not asked again."""
    if change.action not in world.run.lacking:
        world.run.lacking[change.action] = str(error)
        world.follower.note(f"{error} {error.hint}".strip())
    detail = f"blocked: {world.run.lacking[change.action]}"
    return Outcome(change, "skipped", job_id=change.job_id, detail=detail)


_ACTS: dict[Action, Callable[[World, Change], Awaitable[Outcome]]] = {
    Action.CREATE: create,
    Action.RESUME: _resume,
    Action.PAUSE: _pause,
    Action.CANCEL: _cancel,
}
