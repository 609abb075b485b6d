"""The words that several reasons share. Pure."""

from __future__ import annotations

import re

from reconciler.observe.state import ObservedJob

_SNAPSHOT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{4})")


def short(revision: str | None) -> str:
    """Return a revision as people compare it: its first eight digits."""
    return (revision or "")[:8]


def time_left(job: ObservedJob, now: float) -> str:
    """Say how long a job still needs by the server's own estimate, or nothing where there is none."""
    if job.estimated_finish is None or job.estimated_finish <= now:
        return ""
    minutes = (job.estimated_finish - now) / 60
    if minutes < 1:
        return ", less than a minute left"
    return f", about {minutes:.0f} min left" if minutes < 120 else f", about {minutes / 60:.0f} h left"


def is_snapshot_of(model: str, alias: str) -> bool:
    """Whether ``model`` is the dated form in which servers echo ``alias``."""
    return model.startswith(alias) and _SNAPSHOT.fullmatch(model, len(alias)) is not None
