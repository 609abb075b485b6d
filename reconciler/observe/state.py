"""The observed state: our live jobs, and which of them counts. Pure values, no I/O."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from reconciler.api.types import TERMINAL, Checkpoint, Job, Permission
from reconciler.spec.desired import Desired

_CONTENT_NAME = re.compile(r".*\.([0-9a-f]{16})\.[^.]+")


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """A live job of ours, reduced to what planning and reports read. Times are Unix seconds."""

    id: str
    name: str
    revision: str
    attempt: int
    status: str
    created_at: int
    model: str = ""
    fine_tuned_model: str | None = None
    finished_at: int | None = None
    estimated_finish: int | None = None
    trained_tokens: int | None = None
    training_file: str | None = None
    validation_file: str | None = None
    seed: int | None = None
    suffix: str | None = None
    method: Mapping[str, Any] = field(default_factory=dict)
    integrations: tuple[Mapping[str, Any], ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    error_code: str | None = None
    error_message: str | None = None

    @classmethod
    def of(cls, job: Job, name: str, revision: str, attempt: int) -> Self:
        """Reduce a wire job. The deprecated top-level ``hyperparameters`` become a supervised method."""
        method = job.method or {
            "type": "supervised",
            "supervised": {"hyperparameters": job.hyperparameters or {}},
        }
        suffix = (job.model_extra or {}).get("user_provided_suffix")
        return cls(
            id=job.id,
            name=name,
            revision=revision,
            attempt=attempt,
            status=job.status,
            created_at=job.created_at,
            model=job.model,
            fine_tuned_model=job.fine_tuned_model,
            finished_at=job.finished_at,
            estimated_finish=job.estimated_finish,
            trained_tokens=job.trained_tokens,
            training_file=job.training_file,
            validation_file=job.validation_file,
            seed=job.seed,
            suffix=suffix if isinstance(suffix, str) else suffix_of(job.fine_tuned_model),
            method=method,
            integrations=tuple(job.integrations or ()),
            metadata=job.metadata or {},
            error_code=job.error.code if job.error else None,
            error_message=job.error.message if job.error else None,
        )

    @property
    def active(self) -> bool:
        """Whether it may still train: every status but the three final ones, unknown ones included."""
        return self.status not in TERMINAL


def suffix_of(model: str | None) -> str | None:
    """Read the suffix out of ``ft:MODEL:ORG:SUFFIX:ID``, the only place where the API shows it."""
    parts = (model or "").split(":")
    return parts[3] or None if len(parts) >= 5 and parts[0] == "ft" else None


def counting(jobs: Iterable[ObservedJob]) -> ObservedJob | None:
    """Choose the job that counts among those of one revision. Every reconciler that sees the same jobs agrees."""
    return min(jobs, key=lambda job: precedence(job, job.attempt), default=None)


def precedence(job: ObservedJob | Job, attempt: int) -> tuple[int, int, bool, int, str]:
    """Return the order in which jobs of one revision count.

    First what has its model, then what may still get one, then what ended without: as long as one job of a revision is
    any good, no other one's failure is a reason to buy again. Among equals the highest attempt; within it the oldest
    (``created_at``, then id), one that failed before one that was cancelled.
    """
    standing = 0 if job.status == "succeeded" else 1 if job.status not in TERMINAL else 2
    return (standing, -attempt, job.status == "cancelled", job.created_at, job.id)


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A data file on the server, as far as a diff needs it. ``size`` is in bytes."""

    name: str
    size: int | None

    @property
    def digest(self) -> str | None:
        """The first 16 hex digits of its content's SHA-256, where its name is made of them."""
        match = _CONTENT_NAME.fullmatch(self.name)
        return match[1] if match else None

    def holds(self, digest: str) -> bool:
        """Whether its name says that this is its content."""
        return self.digest is not None and digest.startswith(self.digest)


@dataclass(frozen=True)
class Observed:
    """All that was seen of a server for one owner, complete: a partial reading never becomes one of these.

    ``jobs`` holds every job of this owner, ended ones too, in order of (created_at, id). ``malformed`` maps the ids of
    jobs that claim our owner but cannot be read to why. ``adopted`` holds jobs made elsewhere, by id, as far as they
    exist; ``refused`` maps the ids of those that may not be adopted to why. ``taken`` holds the jobs of owners whose
    work is taken over. ``checkpoints`` (by job id, oldest first) and ``files`` (by file id) hold what this plan needs,
    no more. ``rows`` says how many rows are added and removed, by the id of an old file and the digest of the data that
    takes its place, as far as that is known. ``permissions`` holds who may use a model, or why that cannot be read, for
    the models it was asked for.
    """

    jobs: tuple[ObservedJob, ...] = ()
    malformed: Mapping[str, str] = field(default_factory=dict)
    adopted: Mapping[str, ObservedJob] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    taken: tuple[ObservedJob, ...] = ()
    checkpoints: Mapping[str, tuple[Checkpoint, ...]] = field(default_factory=dict)
    files: Mapping[str, FileInfo] = field(default_factory=dict)
    rows: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    permissions: Mapping[str, tuple[Permission, ...] | str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Be brief: ten thousand jobs are no help in a log, and asyncio.run takes the repr of what it returns."""
        return f"<Observed: {len(self.jobs)} jobs>"

    @cached_property
    def by_id(self) -> Mapping[str, ObservedJob]:
        """Every job by its id; an adopted one under the name of the spec that adopts it."""
        return {**{job.id: job for job in (*self.taken, *self.jobs)}, **self.adopted}

    @cached_property
    def by_name(self) -> Mapping[str, tuple[ObservedJob, ...]]:
        """Our jobs by the spec's name."""
        index: dict[str, list[ObservedJob]] = defaultdict(list)
        for job in self.jobs:
            index[job.name].append(job)
        return {name: tuple(jobs) for name, jobs in index.items()}

    def job_for(self, name: str, revision: str) -> ObservedJob | None:
        """Return the job that counts for a revision of a name."""
        return counting(j for j in self.by_name.get(name, ()) if j.revision == revision)

    def others(self, spec: Desired) -> Iterator[ObservedJob]:
        """Yield the jobs of a spec's name, the one it adopts among them, that are of another revision than its own."""
        adopted = self.adopted.get(spec.adopt.job) if spec.adopt else None
        mine = adopted if adopted and adopted.name == spec.name else None
        for job in (*self.by_name.get(spec.name, ()), *((mine,) if mine else ())):
            if job.revision != spec.revision and (job is mine or job.id not in self.adopted):
                yield job
