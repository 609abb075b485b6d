"""Following jobs to their end: ``apply --wait``.

Waiting retrieves the jobs it waits for, since some servers move a job on only then. Whenever one of them changes, a new
plan is made of the same specs: what waited for it (a chain, a free slot, a retry) is then applied too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from reconciler.api.concurrently import concurrently
from reconciler.api.types import Event, Job
from reconciler.apply.execute import execute
from reconciler.apply.model import Outcome
from reconciler.apply.world import World
from reconciler.errors import ApiError, NotFound, TransientError
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.model import Action, Change, Plan

T = TypeVar("T")

_MOST_SILENT_CALLS = 5


@dataclass(frozen=True, slots=True)
class View:
    """A fresh plan and what it was made from."""

    plan: Plan
    observed: Observed


@dataclass(frozen=True, slots=True)
class Poll:
    """How often to look, in seconds: ``shortest`` after a change, slowly rising to ``longest``.

    ``events`` reads a job's newest events for its step and loss; None where nobody watches them.
    """

    shortest: float = 1.0
    longest: float = 10.0
    events: Callable[[str], Awaitable[list[Event]]] | None = None


async def follow(
    world: World, replan: Callable[[], Awaitable[View]], approved: frozenset[str], poll: Poll
) -> tuple[Plan, list[Outcome]]:
    """Go on until every job has ended and nothing more can be done, or an error stops everything.

    ``approved`` holds the ids of the jobs that the approved plan saw: of the others none is cancelled, since they may
    be the work of newer specs than ours. Nothing that ``world`` has tried before is tried again.

    Returns:
        The last plan, and the outcomes of everything applied on the way.

    Raises:
        ReconcilerError: the server stayed silent; the jobs go on without us.
    """
    outcomes: list[Outcome] = []
    visible_at = world.clock() + world.visible_within
    while True:
        began = world.clock()
        view = await _patiently(world, poll, replan)
        world.run.seen.update((job.name, job.revision, job.attempt) for job in view.observed.jobs)
        if world.run.halted:
            return view.plan, outcomes
        todo = _todo(world, view.plan, approved)
        if todo.has_changes:
            outcomes += await execute(world, todo)
            visible_at = world.clock() + world.visible_within
        elif began < visible_at and any(_of_before(world, c) for c in view.plan.changes):
            await world.sleep(poll.shortest)
        elif watched := _watched(world, view):
            await _until_one_changes(world, watched, poll)
        else:
            return view.plan, outcomes


def _of_before(world: World, change: Change) -> bool:
    """Whether a change is of a list from before this run: it wants what was done, or waits until it can be."""
    return world.run.did(change) or (change.action is Action.WAIT and change.job_id in world.run.paused)


def _todo(world: World, plan: Plan, approved: frozenset[str]) -> Plan:
    """Leave out what must not be done in this run; a create goes together with the cancel of its predecessor."""

    def may(change: Change) -> bool:
        retries = world.specs[change.name].retry_limit if change.action is Action.CREATE else 0
        return world.run.allows(change, retries)

    spared = {c for c in plan.changes if c.action is Action.CANCEL and (world.run.failed or c.job_id not in approved)}
    stranded = {c.requires for c in spared}
    kept = [c for c in plan.changes if c not in spared and c.name not in stranded and may(c)]
    created = {c.name for c in kept if c.action is Action.CREATE}
    kept = [c for c in kept if c.requires is None or c.requires in created]
    return Plan.of(plan.owner, plan.server, kept, plan.warnings)


def _watched(world: World, view: View) -> dict[str, ObservedJob]:
    """Find the jobs to wait for: this plan's, and where something waits also all that may free its way.

    A job that this run has paused is not, even where the server shows it as one that waits to be started.
    """
    changes = [c for c in view.plan.changes if c.action is not Action.WAIT or c.job_id not in world.run.paused]
    named = {c.job_id for c in changes}
    waits = any(c.action is Action.WAIT for c in changes)
    jobs = view.observed.by_id.values()
    return {j.id: j for j in jobs if j.active and j.status != "paused" and (waits or j.id in named)}


async def _until_one_changes(world: World, watched: Mapping[str, ObservedJob], poll: Poll) -> None:
    pause = poll.shortest

    async def one_changed() -> bool:
        changed = await concurrently(partial(_changed, world, poll), watched.values(), limit=world.concurrency)
        return any(changed)

    while True:
        await world.sleep(pause)
        if await _patiently(world, poll, one_changed):
            return
        pause = min(pause * 1.5, poll.longest)


async def _changed(world: World, poll: Poll, watched: ObservedJob) -> bool:
    """Look at a job, and say whether it is another than it was. One that is gone is."""
    try:
        job = await world.api.job(watched.id)
    except NotFound:
        return True
    await _tell(world, watched.name, job, poll)
    return job.status != watched.status


async def _patiently(world: World, poll: Poll, call: Callable[[], Awaitable[T]]) -> T:
    """Call, and after an error that may pass call again, a few times."""
    for _ in range(_MOST_SILENT_CALLS - 1):
        try:
            return await call()
        except TransientError as error:
            world.follower.note(f"no answer ({error}); looking again")
            await world.sleep(poll.longest)
    try:
        return await call()
    except TransientError as error:
        error.hint = "The jobs go on without this command. Run it again to follow them."
        raise


async def _newest_metrics(job: Job, poll: Poll) -> Mapping[str, object]:
    """Read the numbers of a running job's newest step; none where they cannot be had, since nothing depends on them."""
    if poll.events and job.status == "running":
        with contextlib.suppress(ApiError):
            for event in await poll.events(job.id):
                if event.type == "metrics" and event.data:
                    return event.data
    return {}


async def _tell(world: World, name: str, job: Job, poll: Poll) -> None:
    metrics = await _newest_metrics(job, poll)
    step, total, loss = (_number(metrics.get(key)) for key in ("step", "total_steps", "train_loss"))
    world.follower.job(
        name,
        job.status,
        step=int(step) if step is not None else None,
        total=int(total) if total is not None else None,
        loss=loss,
        eta=job.estimated_finish,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def failures(plan: Plan, outcomes: list[Outcome]) -> list[str]:
    """Say what is not as desired once nothing moves any more: blocked specs, actions that failed or were left out."""
    unsettled = {o.change.name: o for o in outcomes if o.result != "done"}
    acting = {c.name: c for c in plan.changes if c.action.acts and (c.action is Action.CREATE or c.name in unsettled)}
    return [f"{c.name}: {c.reason}" for c in plan.changes if c.action is Action.BLOCKED] + [
        f"{name}: {_message(unsettled.get(name), change)}" for name, change in sorted(acting.items())
    ]


def _message(outcome: Outcome | None, change: Change) -> str:
    if outcome is None:
        return f"{change.reason}; {change.action} is left to the next run"
    return str(outcome.error or outcome.detail)
