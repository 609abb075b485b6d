"""Following jobs to their end: ``apply --wait``.

Waiting retrieves the jobs it waits for, since some servers move a job on only then. Whenever one of them changes, a new
plan is made of the same specs: what waited for it (a chain, a free slot, a retry) is then applied too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from reconciler.api.types import Event, Job
from reconciler.apply.execute import STOPS_ALL, execute
from reconciler.apply.model import Outcome
from reconciler.apply.world import World
from reconciler.errors import NotFound, ReconcilerError, TransientError
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.model import Action, Change, Plan

_MOST_FAILING_ROUNDS = 3
_MOST_SILENT_POLLS = 5


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
    """Go on until every job has ended and nothing more can be done.

    ``approved`` holds the ids of the jobs that the approved plan saw: of the others none is cancelled, since they may
    be the work of newer specs than ours.

    Returns:
        The last plan, and the outcomes of everything applied on the way.

    Raises:
        ReconcilerError: the server stayed silent; the jobs go on without us.
    """
    outcomes: list[Outcome] = []
    failing = 0
    while True:
        view = await replan()
        todo = _restrict(view.plan, approved)
        if todo.has_changes and failing < _MOST_FAILING_ROUNDS:
            done = await execute(world, todo)
            outcomes += done
            errors = [o.error for o in done if o.error]
            failing = failing + 1 if errors else 0
            if any(isinstance(error, STOPS_ALL) for error in errors):
                failing = _MOST_FAILING_ROUNDS
            continue
        watched = _watched(view)
        if not watched:
            return view.plan, outcomes
        await _until_one_changes(world, watched, poll)


def _restrict(plan: Plan, approved: frozenset[str]) -> Plan:
    kept = [c for c in plan.changes if c.action is not Action.CANCEL or c.job_id in approved]
    return Plan.of(plan.owner, plan.server, kept, plan.warnings)


def _watched(view: View) -> dict[str, ObservedJob]:
    """Find the jobs to wait for: this plan's, and where something waits also all that may free its way."""
    named = {c.job_id for c in view.plan.changes}
    waits = any(c.action is Action.WAIT for c in view.plan.changes)
    jobs = (*view.observed.jobs, *view.observed.adopted.values())
    return {j.id: j for j in jobs if j.active and j.status != "paused" and (waits or j.id in named)}


async def _until_one_changes(world: World, watched: Mapping[str, ObservedJob], poll: Poll) -> None:
    pause, silent = poll.shortest, 0
    while True:
        await world.sleep(pause)
        try:
            jobs = await _look(world, watched, poll)
        except TransientError as error:
            silent += 1
            if silent >= _MOST_SILENT_POLLS:
                error.hint = "The jobs go on without this command. Run it again to follow them."
                raise
            world.follower.note(f"no answer ({error}); looking again")
            continue
        silent = 0
        if any(job is None or job.status != watched[job_id].status for job_id, job in jobs.items()):
            return
        pause = min(pause * 1.5, poll.longest)


async def _look(world: World, watched: Mapping[str, ObservedJob], poll: Poll) -> dict[str, Job | None]:
    gate = asyncio.Semaphore(world.concurrency)

    async def one(job_id: str) -> Job | None:
        async with gate:
            try:
                job = await world.api.job(job_id)
            except NotFound:
                return None
            await _tell(world, watched[job_id].name, job, poll)
            return job

    return dict(zip(watched, await asyncio.gather(*map(one, watched)), strict=True))


async def _tell(world: World, name: str, job: Job, poll: Poll) -> None:
    step = total = loss = None
    if poll.events and job.status == "running":
        for event in await poll.events(job.id):
            if event.type == "metrics" and event.data:
                step, total, loss = (_number(event.data.get(k)) for k in ("step", "total_steps", "train_loss"))
                break
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
    """Say what is not as desired once nothing moves any more: failed jobs, blocked specs, actions that failed."""
    blocked: list[Change] = [c for c in plan.changes if c.action is Action.BLOCKED]
    unsettled = {o.change.name: o for o in outcomes if o.result != "done"}
    still = {c.name for c in plan.changes if c.action.acts}
    return [f"{c.name}: {c.reason}" for c in blocked] + [
        f"{name}: {_message(o.error)}" for name, o in sorted(unsettled.items()) if name in still
    ]


def _message(error: ReconcilerError | None) -> str:
    return str(error) if error else "not done"
