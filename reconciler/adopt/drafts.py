"""Jobs become drafts of specs, with names, and chained where one made the model that another starts from. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.adopt.naming import name_for
from reconciler.adopt.shape import Inexpressible, Shape, shape
from reconciler.adopt.text import document
from reconciler.api.types import Checkpoint, Job
from reconciler.observe.state import ObservedJob

Model = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """A job and the spec it becomes."""

    job: Job
    name: str
    shape: Shape
    text: str


@dataclass(frozen=True)
class Known:
    """What drafts are made among.

    ``names`` are spoken for; ``models`` are the jobs that count for specs, by the specs' names; ``checkpoints`` those
    of jobs, by id; ``files`` maps ids of files to where their content was saved.
    """

    names: Collection[str] = ()
    models: Mapping[str, ObservedJob] = field(default_factory=dict)
    checkpoints: Mapping[str, Sequence[Checkpoint]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def draft(jobs: Sequence[Job], known: Known, name: str | None = None) -> tuple[list[Draft], dict[str, str]]:
    """Draft a spec for every job, named ``name`` where that is given.

    Returns:
        The drafts, oldest job first; and by id, why a job can have none.
    """
    drafts: list[Draft] = []
    skipped: dict[str, str] = {}
    names = set(known.names)
    made = _Made()
    for above, maker in known.models.items():
        made.add(above, maker, known.checkpoints.get(maker.id, ()))
    for job in sorted(jobs, key=lambda j: (j.created_at, j.id)):
        suffix = ObservedJob.of(job, "", "", 1).suffix
        chosen = name or name_for(job, suffix, names)
        try:
            found = shape(job, chosen, made.base(job), known.files)
            drafts.append(Draft(job, chosen, found, document(job, found)))
        except Inexpressible as error:
            skipped[job.id] = str(error)
            continue
        names.add(chosen)
        made.add(chosen, job, known.checkpoints.get(job.id, ()))
    return drafts, skipped


class _Made:
    """Which spec made a model. A model that two jobs claim is nobody's."""

    def __init__(self) -> None:
        self._makers: dict[str, list[tuple[int, str, Mapping[str, Any]]]] = {}

    def add(self, name: str, job: Job | ObservedJob, checkpoints: Sequence[Checkpoint]) -> None:
        chains: dict[str, Mapping[str, Any]] = {
            c.fine_tuned_model_checkpoint: {"job": name, "checkpoint": c.step_number}
            for c in checkpoints
            if c.step_number > 0
        }
        if job.fine_tuned_model:
            chains[job.fine_tuned_model] = {"job": name}
        for made, chain in chains.items():
            self._makers.setdefault(made, []).append((job.created_at, job.id, chain))

    def base(self, job: Job) -> Model:
        """Return what a job starts from: an older job's spec where one made its model, else the model itself."""
        match self._makers.get(job.model, []):
            case [(created_at, job_id, chain)] if (created_at, job_id) < (job.created_at, job.id):
                return chain
        return job.model
