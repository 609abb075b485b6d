"""Jobs, their events and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Body, Request
from fastapi.responses import Response
from pydantic import BeforeValidator
from starlette.datastructures import QueryParams

from reconciler.api.types import CreateJob
from reconciler.server import documents, jobs, operations
from reconciler.server.context import Context
from reconciler.server.jobs import Page
from reconciler.server.lifecycle import Verb
from reconciler.server.problems import Problem, not_found
from reconciler.server.routes.shared import After, Here, Limit, answer, known_cursor, storable
from reconciler.server.schemas import CheckpointAnswer, EdgedListing, EventAnswer, JobAnswer, Listing

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])

_MOST_FILTERS = 16
_FILTER = {
    "name": "metadata",
    "in": "query",
    "required": False,
    "style": "deepObject",
    "explode": True,
    "description": "Only jobs with each of these pairs: metadata[k]=v. `metadata=null`: those without metadata.",
    "schema": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": _MOST_FILTERS},
}


@router.post("", response_model=JobAnswer)
def create_job(here: Here, body: Annotated[CreateJob, BeforeValidator(storable), Body()]) -> Response:
    """Create a job. Its data is checked afterwards, by method; bad rows make it fail."""
    document = operations.create_job(
        here.store, here.engine.trainer, body, now=here.clock(), max_unfinished=here.settings.max_unfinished
    )
    here.engine.wake()
    return answer(document)


@router.get("", response_model=Listing[JobAnswer], openapi_extra={"parameters": [_FILTER]})
def list_jobs(here: Here, request: Request, after: After = None, limit: Limit = 20) -> Response:
    """List jobs, newest first."""
    metadata = metadata_filter(request.query_params)
    with known_cursor(), here.store.read() as db:
        page = jobs.page(db, limit=limit, after=after, metadata=metadata)
    return answer(documents.page(page.texts, has_more=page.has_more))


@router.get("/{fine_tuning_job_id}", response_model=JobAnswer)
def retrieve_job(here: Here, fine_tuning_job_id: str) -> Response:
    """Show a job."""
    with here.store.read() as db:
        found = jobs.text(db, fine_tuning_job_id)
    if found is None:
        raise _no_job(fine_tuning_job_id)
    return answer(found[1])


@router.post("/{fine_tuning_job_id}/cancel", response_model=JobAnswer)
def cancel_job(here: Here, fine_tuning_job_id: str) -> Response:
    """End a job that has not ended, for good."""
    return _act(here, fine_tuning_job_id, "cancel")


@router.post("/{fine_tuning_job_id}/pause", response_model=JobAnswer)
def pause_job(here: Here, fine_tuning_job_id: str) -> Response:
    """Pause a running job; its trainer saves a checkpoint."""
    return _act(here, fine_tuning_job_id, "pause")


@router.post("/{fine_tuning_job_id}/resume", response_model=JobAnswer)
def resume_job(here: Here, fine_tuning_job_id: str) -> Response:
    """Queue a paused job again; it goes on where it was."""
    return _act(here, fine_tuning_job_id, "resume")


@router.get("/{fine_tuning_job_id}/events", response_model=Listing[EventAnswer])
def list_events(here: Here, fine_tuning_job_id: str, after: After = None, limit: Limit = 20) -> Response:
    """List a job's events, newest first. A run of more than 500 steps shows every n-th, and those with a validation."""
    page = _of_job(here, fine_tuning_job_id, jobs.events, limit, after)
    return answer(documents.page(page.texts, has_more=page.has_more))


@router.get("/{fine_tuning_job_id}/checkpoints", response_model=EdgedListing[CheckpointAnswer])
def list_checkpoints(here: Here, fine_tuning_job_id: str, after: After = None, limit: Limit = 10) -> Response:
    """List the checkpoints that can be used, newest first: those of the last three epochs, and a pause's."""
    page = _of_job(here, fine_tuning_job_id, jobs.checkpoints, limit, after)
    ids = [json.loads(text)["id"] for text in page.texts]
    ends = (ids[0], ids[-1]) if ids else (None, None)
    return answer(documents.page(page.texts, has_more=page.has_more, ends=ends))


def metadata_filter(query: QueryParams) -> list[tuple[str, str]] | None:
    """Read ``metadata[k]=v`` (several must all hold), or ``metadata=null``, which is None.

    Raises:
        Problem: both forms at once, another value, too many, or a filter that is not understood, which would match
            every job if it were passed over.
    """
    given = [(k, v) for k, v in query.multi_items() if k.startswith("metadata")]
    pairs = [(k[9:-1], v) for k, v in given if k.startswith("metadata[") and k.endswith("]")]
    bare = query.getlist("metadata")
    if len(pairs) + len(bare) < len(given) or (bare and (pairs or set(bare) != {"null"})):
        words = "Use metadata[key]=value, or metadata=null alone."
        raise Problem(400, words, code="invalid_value", param="metadata")
    if len(pairs) > _MOST_FILTERS:
        raise Problem(400, f"At most {_MOST_FILTERS} pairs.", code="invalid_value", param="metadata")
    return None if bare else pairs


def _act(here: Context, job_id: str, verb: Verb) -> Response:
    document = operations.act(here.store, job_id, verb, now=here.clock())
    here.engine.wake()
    return answer(document)


def _of_job(here: Context, job_id: str, listing: Callable[..., Page], limit: int, after: str | None) -> Page:
    with known_cursor(), here.store.read() as db:
        found = jobs.text(db, job_id)
        if found is None:
            raise _no_job(job_id)
        return listing(db, found[0], limit=limit, after=after)


def _no_job(job_id: str) -> Problem:
    return not_found("fine-tuning job", job_id, "fine_tuning_job_id")
