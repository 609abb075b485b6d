"""What became of each change. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reconciler.errors import ReconcilerError
from reconciler.plan.model import Change

Result = Literal["done", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A change and its end. A failure is data, never an escaped exception.

    ``job_id`` is the job made or acted on; ``error`` is set for ``failed``; ``detail`` says in words what happened
    (for ``skipped``: why). ``request_id`` is the server's id of the answer that settled it.
    """

    change: Change
    result: Result
    job_id: str | None = None
    error: ReconcilerError | None = None
    detail: str = ""
    request_id: str | None = None
