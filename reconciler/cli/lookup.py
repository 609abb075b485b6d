"""Which job a name on the command line means."""

from __future__ import annotations

import difflib

from reconciler.errors import UsageError
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.planner import bind
from reconciler.report.status import StatusRow
from reconciler.spec.desired import Desired


def job_of(name: str, desired: tuple[Desired, ...], observed: Observed) -> ObservedJob:
    """Find the job that counts for a spec, else the newest job of that name, else the job of that id.

    Raises:
        UsageError: there is none; names that are close are suggested.
    """
    job = bind(desired, observed).get(name)
    if job:
        return job
    if jobs := observed.by_name.get(name) or [j for j in observed.by_id.values() if j.id == name]:
        return max(jobs, key=lambda j: (j.created_at, j.id))
    require_known(name, desired, observed)
    raise UsageError(f"{name} has no job yet.", hint="See what it waits for: reconciler plan")


def require_known(name: str, desired: tuple[Desired, ...], observed: Observed) -> None:
    """Make sure that a spec or a job of ours has this name.

    Raises:
        UsageError: none has; names that are close are suggested.
    """
    names = sorted({*observed.by_name, *(spec.name for spec in desired)})
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"No spec and no job of ours is called {name[:80]!r}.{guess}", hint="List them: reconciler status")


def status_rows(desired: tuple[Desired, ...], observed: Observed) -> list[StatusRow]:
    """Return a row for every spec, and one for every active job that has lost its spec, by name."""
    bound = bind(desired, observed)
    kept = {job.id for job in bound.values() if job}
    rows = [_row(spec.name, bound[spec.name], spec) for spec in desired]
    orphans = [j for j in observed.jobs if j.active and j.name not in bound and j.id not in kept]
    rows += [_row(job.name, job, None) for job in orphans]
    return sorted(rows, key=lambda row: (row.name, row.job_id or ""))


def _row(name: str, job: ObservedJob | None, spec: Desired | None) -> StatusRow:
    return StatusRow(
        name=name,
        job_id=job.id if job else None,
        status=job.status if job else None,
        desired=spec.state if spec else None,
        revision=spec.revision if spec else job.revision if job else None,
        attempt=job.attempt if job else None,
        fine_tuned_model=job.fine_tuned_model if job else None,
        converged=spec is not None and _converged(spec, job),
        estimated_finish=job.estimated_finish if job else None,
        trained_tokens=job.trained_tokens if job else None,
        error=job.error_message if job else None,
    )


def _converged(spec: Desired, job: ObservedJob | None) -> bool:
    """Whether nothing is left to happen: trained, paused as asked, or not running as asked."""
    if spec.state == "running":
        return job is not None and job.status == "succeeded"
    if spec.state == "paused":
        return job is None or job.status == "paused" or not job.active
    return job is None or not job.active
