"""Who may use the models that specs produced: what has to be granted, and what taken back. Pure.

A permission carries no sign of who gave it. So what a spec names is granted where it is missing, and nothing is taken
back but from the projects that ``policy.permissions`` says are for the specs alone to decide on. All other permissions
are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.model import Access
from reconciler.spec.desired import Desired
from reconciler.spec.policy import Policy


def plan_access(
    desired: Sequence[Desired], bound: Mapping[str, ObservedJob | None], observed: Observed, policy: Policy
) -> Iterator[Access]:
    """Yield what differs, for the model of each spec's job, once there is one. ``bound`` holds the job that counts."""
    for spec in sorted(desired, key=lambda s: s.name):
        job = bound[spec.name]
        model = job.fine_tuned_model if job and job.status == "succeeded" else None
        found = observed.permissions.get(model) if model else None
        if model is None or found is None:
            continue
        if isinstance(found, str):
            if spec.permissions:
                yield Access(spec.name, model, blocked=f"its permissions cannot be read: {found}")
            continue
        held = {permission.project_id for permission in found}
        beyond = sorted((p.project_id, p.id) for p in found if p.project_id not in spec.permissions)
        access = Access(
            spec.name,
            model,
            grant=tuple(sorted(set(spec.permissions) - held)),
            revoke=tuple(pair for pair in beyond if _managed(pair[0], policy)),
            left=tuple(project for project, _ in beyond if not _managed(project, policy)),
        )
        if access.acts or access.left:
            yield access


def _managed(project: str, policy: Policy) -> bool:
    return any(fnmatchcase(project, pattern) for pattern in policy.permissions)
