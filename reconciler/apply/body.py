"""The create body of a planned job, and whether the job that came back is the one asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.api.types import CreateJob, Job
from reconciler.observe.ownership import OWNER, Ownership, parse, stamp
from reconciler.spec.desired import DataFile, Desired


def create_body(spec: Desired, model: str, ownership: Ownership, file_ids: Mapping[str, str]) -> CreateJob:
    """Build the body of a create. ``file_ids`` maps digests of data files to their ids on the server."""

    def file_id(data: DataFile | str | None) -> str | None:
        return file_ids[data.digest] if isinstance(data, DataFile) else data

    return CreateJob.model_validate(
        {
            "model": model,
            "training_file": file_id(spec.training_file),
            "validation_file": file_id(spec.validation_file),
            "suffix": spec.suffix,
            "seed": spec.seed,
            "method": dict(spec.method),
            "integrations": list(spec.integrations) or None,
            "metadata": {**spec.metadata, **stamp(ownership)},
        }
    )


def keeps_ownership(job: Job, ownership: Ownership) -> bool:
    """Whether a job carries the metadata it was sent with."""
    try:
        return parse(job.metadata) == ownership
    except ValueError:
        return False


def belongs_to(job: Job, ownership: Ownership) -> str | None:
    """Say whose a job is that came back where one of ``ownership`` was asked for; None where nothing says so."""
    try:
        found = parse(job.metadata)
    except ValueError:
        owner = (job.metadata or {}).get(OWNER)
        return owner if owner != ownership.owner else None
    return f"{found.name} of {found.owner}" if found and found != ownership else None


def mismatches(job: Job, body: CreateJob) -> Iterator[str]:
    """Say where a created job is not the one asked for; what a server leaves out or renames is no mismatch."""
    for field in ("training_file", "validation_file", "seed"):
        sent, got = getattr(body, field), getattr(job, field)
        if sent is not None and got is not None and sent != got:
            yield f"{field} is {got}, not {sent}"
    if body.method and job.method and job.method.get("type") not in {None, body.method.type}:
        yield f"method is {job.method['type']}, not {body.method.type}"
