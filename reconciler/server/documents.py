"""What the API shows, as JSON documents made from facts. Pure.

A document is stored as the text that is sent, so a page of a listing is a join of strings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.api.types import CreateJob
from reconciler.server import lifecycle

Document = dict[str, Any]


def dump(document: Mapping[str, Any]) -> str:
    """Serialise as it is stored and sent."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def job(body: CreateJob, *, job_id: str, created_at: int, seed: int) -> Document:
    """Return a new job. ``auto`` stays until the data has been read; an alias becomes its dated name."""
    kind = body.method.type if body.method else "supervised"
    settings = body.method.settings if body.method else None
    given = (settings.hyperparameters if settings else None) or body.hyperparameters
    hyperparameters = lifecycle.unresolved(kind, given.model_dump(exclude_none=True) if given else {})
    method = settings.model_dump(exclude_none=True, exclude={"hyperparameters"}) if settings else {}
    return {
        "id": job_id,
        "object": "fine_tuning.job",
        "created_at": created_at,
        "finished_at": None,
        "estimated_finish": None,
        "model": lifecycle.ALIASES.get(body.model, body.model),
        "fine_tuned_model": None,
        "organization_id": "org-local",
        "status": "validating_files",
        "training_file": body.training_file,
        "validation_file": body.validation_file,
        "result_files": [],
        "hyperparameters": _shared(hyperparameters),
        "method": {"type": kind, kind: {**method, "hyperparameters": hyperparameters}},
        "integrations": [i.model_dump(exclude_none=True) for i in body.integrations or ()],
        "seed": body.seed if body.seed is not None else seed,
        "metadata": body.metadata,
        "trained_tokens": None,
        "error": None,
        "user_provided_suffix": body.suffix,
    }


def with_run_ids(document: Document) -> Document:
    """Return the job with the ids by which its integrations show it: its own."""
    shown = [
        {**each, each["type"]: {**each[each["type"]], "run_id": document["id"]}} for each in document["integrations"]
    ]
    return {**document, "integrations": shown}


def with_hyperparameters(document: Document, hyperparameters: Mapping[str, Any]) -> Document:
    """Return the job with ``auto`` replaced in both places that show hyperparameters."""
    kind = document["method"]["type"]
    settings = {**document["method"][kind], "hyperparameters": dict(hyperparameters)}
    method = {**document["method"], kind: settings}
    return {**document, "method": method, "hyperparameters": _shared(hyperparameters)}


def _shared(hyperparameters: Mapping[str, Any]) -> Document:
    """The old top-level field knows three of them."""
    names = ("n_epochs", "batch_size", "learning_rate_multiplier")
    return {name: hyperparameters[name] for name in names}


def event(
    *, event_id: str, created_at: int, message: str, level: str = "info", data: Mapping[str, Any] | None = None
) -> Document:
    """Return an event; one with data carries metrics."""
    return {
        "id": event_id,
        "object": "fine_tuning.job.event",
        "created_at": created_at,
        "level": level,
        "message": message,
        "type": "metrics" if data else "message",
        "data": dict(data or {}),
    }


def checkpoint(*, job_id: str, model: str, step: int, created_at: int, metrics: Mapping[str, float]) -> Document:
    """Return a checkpoint. Its id follows from job and step: made again after a crash, it is the same one."""
    return {
        "id": lifecycle.derived_id("ftckpt_", job_id, step),
        "object": "fine_tuning.job.checkpoint",
        "created_at": created_at,
        "fine_tuning_job_id": job_id,
        "fine_tuned_model_checkpoint": lifecycle.checkpoint_name(model, step),
        "step_number": step,
        "metrics": {"step": step, **metrics},
    }


def file(
    *, file_id: str, size: int, created_at: int, filename: str, purpose: str, expires_at: int | None = None
) -> Document:
    """Return a file. It is processed at once; its rows are judged by the job that uses it."""
    expiry = {} if expires_at is None else {"expires_at": expires_at}
    return {
        "id": file_id,
        "object": "file",
        "bytes": size,
        "created_at": created_at,
        "filename": filename,
        "purpose": purpose,
        "status": "processed",
        **expiry,
    }


def upload(*, upload_id: str, size: int, created_at: int, expires_at: int, filename: str, purpose: str) -> Document:
    """Return an upload in parts that has just begun. ``size`` is what its parts are to come to, in bytes."""
    return {
        "id": upload_id,
        "object": "upload",
        "bytes": size,
        "created_at": created_at,
        "expires_at": expires_at,
        "filename": filename,
        "purpose": purpose,
        "status": "pending",
        "file": None,
    }


def part(*, part_id: str, upload_id: str, created_at: int) -> Document:
    """Return a part of an upload."""
    return {"id": part_id, "object": "upload.part", "created_at": created_at, "upload_id": upload_id}


def permission(*, permission_id: str, created_at: int, project_id: str) -> Document:
    """Return a project's permission to use a checkpoint."""
    return {
        "id": permission_id,
        "object": "checkpoint.permission",
        "created_at": created_at,
        "project_id": project_id,
    }


def model(model_id: str, *, created: int, owned_by: str) -> Document:
    """Return a model."""
    return {"id": model_id, "object": "model", "created": created, "owned_by": owned_by}


def deleted(object_id: str, kind: str) -> bytes:
    """Say that something is gone."""
    return dump({"id": object_id, "object": kind, "deleted": True}).encode()


def page(texts: Sequence[str], *, has_more: bool, ends: tuple[str | None, str | None] | None = None) -> bytes:
    """Join stored documents into one page; ``ends`` are the first and last id, where the endpoint shows them."""
    edges = "" if ends is None else f',"first_id":{json.dumps(ends[0])},"last_id":{json.dumps(ends[1])}'
    return f'{{"object":"list","data":[{",".join(texts)}],"has_more":{json.dumps(has_more)}{edges}}}'.encode()
