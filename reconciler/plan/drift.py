"""Drift: live jobs that differ from their specs although no spec changed. Pure.

A spec has drifted where the job of its current revision is not in the state that the spec asks for, nor on its way
there (somebody paused, resumed or cancelled it), and where a second active job of that revision has appeared. A job
that claims our owner in words that cannot be read is drift too.

Not drift: a new spec, a new revision, a spec that is gone (``plan`` shows what they lead to), a job that failed by
itself, and a status nobody knows. A ``state`` that was edited and not applied yet cannot be told from a job changed
outside: both are reported until the next apply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.observe.state import Observed
from reconciler.plan.model import Action
from reconciler.plan.planner import make_plan
from reconciler.plan.table import Situation, situation
from reconciler.spec.desired import Desired, State
from reconciler.spec.policy import Policy


@dataclass(frozen=True, slots=True)
class Drift:
    """One live job that differs. What nobody can read of a malformed job is None."""

    name: str | None
    job_id: str
    desired: State | None
    status: str | None
    reason: str


def find_drift(desired: Sequence[Desired], observed: Observed, now: float) -> tuple[Drift, ...]:
    """Find what differs, by name. ``now`` is in Unix seconds.

    The plan knows already what each job should be doing; policy limits what is done about it, and is left out here.
    """
    specs = {spec.name: spec for spec in desired}
    jobs = observed.by_id
    drift = []
    for change in make_plan("", "", desired, observed, Policy(), now).changes:
        spec, job = specs.get(change.name), jobs.get(change.job_id or "")
        if not (spec and job) or change.action is Action.NONE or change.revision != spec.revision:
            continue
        if situation(job) is not Situation.FAILED:
            drift.append(Drift(spec.name, job.id, spec.state, job.status, change.reason))
    drift += [
        Drift(None, job_id, None, None, f"claims our owner, but cannot be read: {why}")
        for job_id, why in observed.malformed.items()
    ]
    return tuple(sorted(drift, key=lambda d: (d.name or "", d.job_id)))
