"""What a server keeps for us that nothing needs any more: data files, and checkpoints on the way to older models. Pure.

A data file is ours where its name is made of its content and every job that names it is ours: a file that no job names
may be anybody's. A checkpoint is ours where its job is, and old where its job's spec has a newer revision that has its
model. The model at the end of a job is never garbage: it makes ``git revert`` cost nothing.

Whatever an unfinished job of anybody uses stays, and whatever a spec names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reconciler.api.types import Checkpoint, FileObject, Job
from reconciler.observe.ownership import parse
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.planner import bind
from reconciler.plan.words import short
from reconciler.spec.desired import Desired

_BY_CONTENT = re.compile(r"[A-Za-z0-9._-]+\.([0-9a-f]{16})\.jsonl")


@dataclass(frozen=True, slots=True)
class Garbage:
    """One thing to delete. ``id`` is a file's id or a model's name; ``name`` a file's name, or the spec's.

    ``size`` is in bytes, None where it is unknown or, as for models, has no meaning; ``job_id`` is the newest job of
    ours that used the file, or the one that made the checkpoint.
    """

    kind: Literal["file", "model"]
    id: str
    name: str
    size: int | None
    created_at: int
    job_id: str
    reason: str


@dataclass(frozen=True)
class Needs:
    """What must stay: ids of files, names of models, and the starts of data files' digests."""

    ids: frozenset[str]
    digests: frozenset[str]

    @classmethod
    def of(cls, desired: Iterable[Desired], jobs: Iterable[Job], observed: Iterable[ObservedJob] = ()) -> Needs:
        """Gather what specs name and what unfinished jobs, anybody's, use. ``observed``: also not listed yet."""
        ids: set[str] = set()
        digests: set[str] = set()
        for spec in desired:
            ids.update(
                value for value in (spec.model, spec.training_file, spec.validation_file) if isinstance(value, str)
            )
            digests.update(file.digest[:16] for file in spec.files)
        for job in jobs:
            if not job.terminal:
                ids.update(used_by(job))
        for made in observed:
            if made.active:
                ids.update(used_by(made))
        return cls(frozenset(ids), frozenset(digests))

    def keep(self, item: Garbage) -> bool:
        """Whether something is needed after all."""
        return item.id in self.ids or (item.kind == "file" and _digest(item.name) in self.digests)


def used_by(job: Job | ObservedJob) -> set[str]:
    """Return the ids of the files and the name of the model that a job trains on."""
    return {value for value in (job.model, job.training_file, job.validation_file) if value}


def _digest(name: str) -> str | None:
    match = _BY_CONTENT.fullmatch(name)
    return match[1] if match else None


def old_files(
    files: Iterable[FileObject], jobs: Sequence[Job], needs: Needs, *, owner: str, before: float
) -> Iterator[Garbage]:
    """Yield the data files of ours that nothing needs. ``jobs`` are everybody's, oldest first.

    A file made at ``before`` (Unix seconds) or later stays, whoever needs it: its job may be about to be created.
    """
    users = _users(jobs, owner)
    for file in files:
        user = users.get(file.id)
        if user is None or _digest(file.filename) is None or file.created_at >= before:
            continue
        item = Garbage(
            "file",
            file.id,
            file.filename,
            file.bytes,
            file.created_at,
            user.id,
            f"no spec names this data any more; last used by {user.id}, which {_ended(user)}",
        )
        if not needs.keep(item):
            yield item


def _users(jobs: Iterable[Job], owner: str) -> Mapping[str, Job]:
    """Return by file the newest job that names it, for the files that no job of anybody else names."""
    users: dict[str, Job] = {}
    others: set[str] = set()
    for job in jobs:
        named = {file for file in (job.training_file, job.validation_file) if file}
        if _is_ours(job, owner):
            users.update(dict.fromkeys(named, job))
        else:
            others |= named
    return {file: job for file, job in users.items() if file not in others}


def _is_ours(job: Job, owner: str) -> bool:
    try:
        own = parse(job.metadata)
    except ValueError:
        return False
    return own is not None and own.owner == owner


def _ended(job: Job) -> str:
    return f"has {job.status}" if job.status in {"succeeded", "failed"} else f"was {job.status}"


def superseded(desired: Sequence[Desired], observed: Observed) -> list[ObservedJob]:
    """Find the ended jobs of ours whose spec has a newer revision that has its model, in order of age.

    A spec with ``protect: true`` keeps all it has.
    """
    bound = bind(desired, observed)
    specs = {spec.name: spec for spec in desired}
    kept = {job.id for job in bound.values() if job}
    return [
        job
        for job in observed.jobs
        if not job.active
        and job.id not in kept
        and (spec := specs.get(job.name)) is not None
        and not spec.protect
        and (current := bound[job.name]) is not None
        and current.status == "succeeded"
        and current.revision != job.revision
    ]


def old_checkpoints(checkpoints: Iterable[tuple[ObservedJob, Sequence[Checkpoint]]], needs: Needs) -> Iterator[Garbage]:
    """Yield the checkpoints of superseded jobs that nothing needs, all but the model at the end."""
    for job, saved in checkpoints:
        for checkpoint in saved:
            model = checkpoint.fine_tuned_model_checkpoint
            item = Garbage(
                "model",
                model,
                job.name,
                None,
                checkpoint.created_at,
                job.id,
                f"step {checkpoint.step_number} of revision {short(job.revision)}, which has a successor with a model",
            )
            if model != job.fine_tuned_model and not needs.keep(item):
                yield item
