"""Uploads in parts: for files too large for one request."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field, StringConstraints

from reconciler.api.types import Request as Body
from reconciler.server import files, jobs, parts
from reconciler.server.context import Context
from reconciler.server.documents import Document
from reconciler.server.problems import Problem
from reconciler.server.routes.shared import Here, answer
from reconciler.server.schemas import PartAnswer, UploadAnswer
from reconciler.server.uploads import EXPIRY_SECONDS, Form, pieces, safe_name

router = APIRouter(prefix="/uploads", tags=["uploads"])

_MOST_PARTS = 10_000
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["data"],
                    "additionalProperties": False,
                    "properties": {"data": {"type": "string", "format": "binary", "minLength": 1}},
                }
            }
        },
    }
}


class Expiry(Body):
    """How long the file is to live, in seconds from when it is made."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=EXPIRY_SECONDS[0], le=EXPIRY_SECONDS[1], strict=True)]


class CreateUpload(Body):
    """What is said of a file before its parts come."""

    bytes: Annotated[int, Field(ge=1, strict=True)]
    filename: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    mime_type: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    purpose: Literal["fine-tune", "assistants", "batch", "vision", "user_data"]
    expires_after: Expiry | None = None


class CompleteUpload(Body):
    """Which parts make the file, in order."""

    part_ids: Annotated[list[str], Field(min_length=1, max_length=_MOST_PARTS)]
    md5: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{32}$")] | None = None


@router.post("", response_model=UploadAnswer)
def create_upload(here: Here, body: CreateUpload) -> Response:
    """Begin an upload. It takes parts for an hour."""
    most = here.settings.max_upload
    if body.bytes > most:
        raise Problem(400, f"An upload may have at most {most} bytes.", code="file_too_large", param="bytes")
    begun = parts.Begun(
        size=body.bytes,
        filename=safe_name(body.filename),
        purpose=body.purpose,
        expires_after=body.expires_after.seconds if body.expires_after else None,
    )
    with here.store.write() as db:
        document = parts.begin(db, begun, now=here.clock())
    return answer(document)


@router.post("/{upload_id}/parts", response_model=PartAnswer, openapi_extra=_FORM)
async def add_upload_part(here: Here, upload_id: str, request: Request) -> Response:
    """Add a part. Parts may come in any order, and at the same time."""
    return answer(await _receive(here, upload_id, request))


async def _receive(here: Context, upload_id: str, request: Request) -> Document:
    def check() -> None:
        with here.store.read() as db:
            parts.check_room(db, parts.pending(db, upload_id, now=here.clock()), 1)

    await to_thread.run_sync(check)
    with files.incoming(here.store) as target:
        form = Form(request.headers.get("content-type", ""), target, here.settings.max_part, blob="data", fields=())
        async for piece in pieces(request.stream()):
            await to_thread.run_sync(form.feed, piece)
        form.finish()

        def store() -> Document:
            part_id = jobs.new_id("part_")
            target.finish(part_id)
            with here.store.write() as db:
                return parts.add(db, upload_id, part_id, target.size, now=here.clock())

        return await to_thread.run_sync(store)


@router.post("/{upload_id}/complete", response_model=UploadAnswer)
def complete_upload(here: Here, upload_id: str, body: CompleteUpload) -> Response:
    """Make a file of the parts."""
    return answer(parts.complete(here.store, upload_id, body.part_ids, body.md5, now=here.clock()))


@router.post("/{upload_id}/cancel", response_model=UploadAnswer)
def cancel_upload(here: Here, upload_id: str) -> Response:
    """Give an upload up; its parts are deleted."""
    return answer(parts.cancel(here.store, upload_id, now=here.clock()))
